"""A machine, or an instance, that has no armed workers."""

from collections.abc import Iterator

import pytest

from keyiso import Key, Protection, ncrypt
from keyiso import flags as f
from keyiso import identifiers as names
from keyiso.errors import NCryptError, VbsUnavailableError
from keyiso.keys import Provider
from keyiso.router import process_router
from keyiso.status import Status
from tests.instance import RunningInstance

REQUIRING = {
    "REQUIRE": f.NCRYPT_REQUIRE_VBS_FLAG,
    "PER_BOOT": f.NCRYPT_USE_PER_BOOT_KEY_FLAG,
    "REQUIRE PREFER": f.NCRYPT_REQUIRE_VBS_FLAG | f.NCRYPT_PREFER_VBS_FLAG,
    "REQUIRE PER_BOOT": f.NCRYPT_REQUIRE_VBS_FLAG | f.NCRYPT_USE_PER_BOOT_KEY_FLAG,
}


@pytest.fixture(scope="module", autouse=True)
def without_vbs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    home = tmp_path_factory.mktemp("without") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYISO_HOME", str(home))
        process_router.cache_clear()
        running = RunningInstance(home, ("--vbs=off",))
        running.start()
        try:
            yield running
        finally:
            process_router.cache_clear()
            running.end()


@pytest.mark.parametrize("name", [None, "named"])
@pytest.mark.parametrize("flags", REQUIRING.values(), ids=list(REQUIRING))
def test_isolation_that_is_required_never_falls_back(flags: int, name: str | None) -> None:
    with Provider() as provider, pytest.raises(VbsUnavailableError) as caught:
        ncrypt.NCryptCreatePersistedKey(provider.handle, "ECDSA_P256", name, 0, flags)
    assert caught.value.cause
    assert caught.value.action
    assert not Key.exists("named")


@pytest.mark.parametrize("name", [None, "preferred"])
def test_isolation_that_is_preferred_falls_back_and_the_key_says_so(name: str | None) -> None:
    with Key.create(
        name, "ECDSA_P256", protection=Protection.PREFER_VBS, overwrite=bool(name)
    ) as key:
        key.verify(key.sign(b"data"), b"data")
        assert key.protection.level == "software"
        with pytest.raises(NCryptError) as caught:
            ncrypt.NCryptGetProperty(key.handle, names.NCRYPT_USE_VIRTUAL_ISOLATION_PROPERTY)
        assert caught.value.status == Status.NTE_NOT_SUPPORTED


def test_a_per_boot_key_that_falls_back_still_ends_with_the_boot() -> None:
    with Key.create(
        "of the boot", "ECDSA_P256", protection=Protection.PREFER_VBS, per_boot=True
    ) as key:
        key.verify(key.sign(b"data"), b"data")
        report = key.protection
        assert (report.level, report.lifetime) == ("software", "per-boot")


def test_no_pair_runs(without_vbs: RunningInstance) -> None:
    assert not [name for name in without_vbs.pids() if name.startswith("vbs")]
