"""The provider that the tests go through, and what tests with several users need."""

import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyiso import Key, ncrypt
from keyiso.crypto.key_header import Level
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER
from keyiso.router import process_router
from keyiso.status import Status
from keyiso.wire.control import ServiceStatus
from tests.conformance import isolating_provider, raw_client
from tests.conformance.raw_client import RawClient
from tests.conformance.readable_tree import Unreadable, make_tree
from tests.conformance.statuses import fails
from tests.conformance.world import SystemInstance, World
from tests.instance import RunningInstance, in_use

LEVELS = ("software", pytest.param("vbs", marks=pytest.mark.soak))
IN_SHORT = "test_ncrypt_lifecycle"
"""The module that `make test` runs over both levels; the others take minutes."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What is marked ``both_levels`` runs over keys of each; ``software_only`` takes it back."""
    marked = metafunc.definition.get_closest_marker
    if "level" in metafunc.fixturenames and marked("both_levels") and not marked("software_only"):
        short = metafunc.module.__name__.endswith(IN_SHORT)
        levels = ("software", "vbs") if short else LEVELS
        metafunc.parametrize("level", levels, indirect=True, scope="module")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """What needs a private key to leave its worker is refused for a ``vbs`` key."""
    if (
        pyfuncitem.get_closest_marker("exports_private_key")
        and pyfuncitem.funcargs.get("level") == "vbs"
    ):
        with fails(Status.NTE_NOT_SUPPORTED):
            yield
        return True
    return (yield)


@pytest.fixture(scope="module")
def level(request: pytest.FixtureRequest) -> Level:
    """The level of the keys that a test makes."""
    found: Level = getattr(request, "param", "software")
    return found


@pytest.fixture(scope="module")
def can_be_had(level: Level, request: pytest.FixtureRequest) -> None:
    """Skips what is of a level that this machine does not give."""
    if level == "vbs":
        request.getfixturevalue("armed_machine")


@pytest.fixture(scope="module")
def shared_instance(
    shared_instance: RunningInstance, level: Level, can_be_had: None
) -> Iterator[RunningInstance]:
    """The module's instance, where the keys that a test makes are of its level."""
    with _keys_of(level, shared_instance):
        yield shared_instance


@pytest.fixture
def instance(
    can_be_had: None, instance: RunningInstance, level: Level
) -> Iterator[RunningInstance]:
    """The same for a test's own instance."""
    with _keys_of(level, instance):
        yield instance


@contextmanager
def _keys_of(level: Level, running: RunningInstance) -> Iterator[None]:
    """At ``vbs`` the software provider's place is taken by one that isolates every key."""
    if level == "software":
        yield
        return
    providers = running.instance.config[0] / "providers.d"
    providers.mkdir(parents=True)
    registration = providers / f"{MS_KEY_STORAGE_PROVIDER}.toml"
    registration.write_text(f'image = "{isolating_provider.__name__}"\n')
    process_router.cache_clear()
    try:
        yield
    finally:
        shutil.rmtree(providers)
        process_router.cache_clear()


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


@pytest.fixture(scope="module")
def system(python: Path, homes: Path) -> Iterator[SystemInstance]:
    """A running system instance, for the tests of a module."""
    with in_use(SystemInstance(homes / "system", python)) as running:
        yield running


@pytest.fixture(scope="module")
def world(python: Path, system: SystemInstance) -> World:
    """Its users."""
    return World(python, system.home)


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
