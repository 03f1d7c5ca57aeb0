"""The provider that the tests go through, and what tests with several users need."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso import Key, ncrypt
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER
from keyiso.wire.operations import ServiceStatus
from tests.conformance import raw_client
from tests.conformance.raw_client import RawClient
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


@pytest.fixture
def everybody_else_is_served(shared_instance: RunningInstance) -> Iterator[None]:
    """A client that was there before goes on, a new one is welcome, and nothing was restarted."""
    processes = shared_instance.pids()
    with Key.create(None, "ECDSA_P256") as before:
        before.sign(b"")

        yield

        before.verify(before.sign(b""), b"")
    with RawClient.bound(shared_instance.instance.control_socket) as after:
        assert isinstance(after.call(after.harmless), ServiceStatus)
    status = shared_instance.status()
    assert shared_instance.pids() == processes
    assert [one.restarts for one in status.processes] == [0] * len(status.processes)
