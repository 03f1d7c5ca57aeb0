"""One running instance for a whole module, and the provider that its tests go through."""

import shutil
from collections.abc import Iterator

import pytest

from keyiso import ncrypt
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER
from keyiso.router import process_router
from tests.instance import RunningInstance


@pytest.fixture(scope="module")
def shared_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    """A running instance that this process uses, for the tests of a module that leave it whole."""
    home = tmp_path_factory.mktemp("shared") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYISO_HOME", str(home))
        process_router.cache_clear()
        running = RunningInstance(home)
        running.start()
        runtime = running.instance.runtime
        try:
            yield running
        finally:
            process_router.cache_clear()
            running.end()
            shutil.rmtree(runtime)


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
