"""The provider that the tests go through."""

import pytest

from keyiso import ncrypt
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER
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
