"""The provider that the tests go through, and what tests with several users need."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso import ncrypt
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER
from tests.conformance import raw_client
from tests.conformance.readable_tree import Unreadable, make_tree
from tests.instance import RunningInstance


@pytest.fixture(scope="module", params=[MS_KEY_STORAGE_PROVIDER], ids=["software"])
def provider_name(request: pytest.FixtureRequest) -> str:
    """The provider under test: the same body runs over every one that is listed here."""
    return str(request.param)


@pytest.fixture(scope="module")
def provider(shared_instance: RunningInstance, provider_name: str) -> ncrypt.NCryptProvHandle:
    """An open handle of the provider under test."""
    return ncrypt.NCryptOpenStorageProvider(provider_name)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A key name that no other test of the module uses."""
    return str(request.node.name)


@pytest.fixture(scope="module")
def python() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="keyiso-python-", dir="/tmp"))
    try:
        yield make_tree(directory, Path(raw_client.__file__))
    except Unreadable as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def homes() -> Iterator[Path]:
    """A directory that everybody can pass through, for homes of instances."""
    directory = Path(tempfile.mkdtemp(prefix="keyiso-homes-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)
