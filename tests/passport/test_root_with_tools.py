"""What root tries with tpm2-tools and with files: nothing releases a secret or gains a guess."""

import itertools
import shutil
from collections.abc import Callable

import pytest

from keyiso.crypto.pin_counters import LockSchedule
from keyiso.errors import NCryptError
from keyiso.status import Status
from keyiso.tpm.capabilities import lockout_state
from keyiso.tpm.pin_sealed import PinSealed, decode_pin_sealed
from keyiso.tpm.srk import enrol_srk
from keyiso.trustlet.passport.tpm_protector import TpmPinProtector, TpmProtector
from tests.conformance.statuses import fails
from tests.passport import with_tools
from tests.passport.conftest import NEW, POLICY, RIGHT, WRONG, Setting, pin
from tests.passport.with_tools import (
    clear,
    redefine,
    redefine_for_anybody,
    undefine,
    write_in_vain,
)
from tests.passport.worker import CONTAINER_ID, opened_container
from tests.tpm.held_in import holds_nothing_after_any_failure
from tests.tpm.swtpm import Swtpm
from tests.waiting import wait_until

IDS = (number.to_bytes(16) for number in itertools.count(1))
SHORT = LockSchedule(2, (3, 3000))


def stored(setting: Setting) -> TpmProtector:
    record = setting.container._files.record.read()
    assert record is not None
    assert record.tpm is not None
    return record.tpm


def sealed(setting: Setting) -> PinSealed:
    return decode_pin_sealed(stored(setting).under_pin)


def swtpm_of(setting: Setting) -> Swtpm:
    assert setting.swtpm is not None
    return setting.swtpm


def index_of(setting: Setting) -> str:
    return hex(sealed(setting).index.handle)


def outcome(setting: Setting, text: str) -> str:
    """The status of an attempt."""
    try:
        setting.container.verify(next(IDS), pin(text))
    except NCryptError as error:
        return Status(error.status).name
    return "right"


def counted(setting: Setting) -> bytes:
    return with_tools.counted(swtpm_of(setting), index_of(setting))


@pytest.mark.parametrize("attack", [undefine, redefine, redefine_for_anybody])
def test_an_index_that_was_replaced_is_reported_and_releases_nothing(
    with_tpm: Setting, attack: Callable[[Swtpm, str], None]
) -> None:
    """To the right PIN, a wrong one, root's own one, and to a change; nothing is made anew."""
    status = Status.KEYISO_E_TPM_PIN_INDEX
    attack(swtpm_of(with_tpm), index_of(with_tpm))
    for text in (RIGHT, WRONG, "evil"):
        assert outcome(with_tpm, text) == status.name
    with fails(status):
        with_tpm.container.change(next(IDS), pin(RIGHT), pin(NEW))
    with fails(status):
        with_tpm.container.status()
    swtpm = swtpm_of(with_tpm)
    present = swtpm.tool("tpm2_getcap", "handles-nv-index")
    assert (index_of(with_tpm).upper()[2:] in present.upper()) == (attack is not undefine)


def test_a_tpm_that_was_cleared_is_reported(with_tpm: Setting) -> None:
    under_pin = sealed(with_tpm)
    clear(swtpm_of(with_tpm))
    with swtpm_of(with_tpm).opened() as tpm:
        assert enrol_srk(tpm) != under_pin.srk
    assert outcome(with_tpm, RIGHT) == "KEYISO_E_TPM_CHANGED"
    with_tpm.container.reset(pin(NEW))
    assert outcome(with_tpm, NEW) == "right"


def test_the_index_is_not_written_by_root(with_tpm: Setting) -> None:
    assert outcome(with_tpm, WRONG) == "NTE_INCORRECT_PASSWORD"
    before = counted(with_tpm)
    write_in_vain(swtpm_of(with_tpm), index_of(with_tpm))
    assert counted(with_tpm) == before == bytes.fromhex("000000010000001e")


def locked_soon(setting: Setting) -> None:
    """Enrolled anew with a schedule that a test can wait for, and locked."""
    undefine(swtpm_of(setting), index_of(setting))
    (setting.directory / "record").unlink()
    setting.container.enrol(1000, pin(RIGHT), POLICY, SHORT)
    for _ in range(SHORT.attempts):
        assert outcome(setting, WRONG) == "NTE_INCORRECT_PASSWORD"


def test_the_right_pin_works_after_the_backoff_and_the_tpm_has_counted_nothing(
    with_tpm: Setting,
) -> None:
    locked_soon(with_tpm)
    assert outcome(with_tpm, RIGHT) == outcome(with_tpm, WRONG) == "NTE_AUTHENTICATION_IGNORED"
    wait_until(lambda: outcome(with_tpm, RIGHT) == "right", "the end of the lock")
    assert counted(with_tpm) == bytes.fromhex("0000000000000002")
    with swtpm_of(with_tpm).opened() as tpm:
        assert lockout_state(tpm).failures == 0


def test_after_a_lock_one_wrong_pin_locks_again_and_setting_the_clock_does_not_end_that(
    with_tpm: Setting,
) -> None:
    locked_soon(with_tpm)
    wait_until(lambda: outcome(with_tpm, WRONG) == "NTE_INCORRECT_PASSWORD", "the end of the lock")
    swtpm = swtpm_of(with_tpm)
    assert outcome(with_tpm, RIGHT) == "NTE_AUTHENTICATION_IGNORED"
    before = counted(with_tpm)
    clock = int(swtpm.tool("tpm2_readclock").split("clock:")[1].split()[0])
    swtpm.tool("tpm2_setclock", str(clock + 7 * 24 * 3600 * 1000))
    for text in (RIGHT, WRONG):
        assert outcome(with_tpm, text) == "NTE_AUTHENTICATION_IGNORED"
    assert counted(with_tpm) == before


def test_a_restart_of_the_machine_ends_no_lock(with_tpm: Setting) -> None:
    locked_soon(with_tpm)
    wait_until(lambda: outcome(with_tpm, WRONG) == "NTE_INCORRECT_PASSWORD", "the end of the lock")
    for orderly in (True, False):
        swtpm_of(with_tpm).reboot(orderly=orderly)
        for text in (RIGHT, WRONG):
            assert outcome(with_tpm, text) == "NTE_AUTHENTICATION_IGNORED"
        assert 0 < with_tpm.container.status().locked_seconds <= 3000


def test_a_lock_that_a_restart_made_long_begins_anew_for_who_only_looks_at_it(
    with_tpm: Setting,
) -> None:
    locked_soon(with_tpm)
    wait_until(lambda: outcome(with_tpm, WRONG) == "NTE_INCORRECT_PASSWORD", "the end of the lock")
    assert with_tpm.container.status().locked_seconds > 0
    before = counted(with_tpm)
    swtpm_of(with_tpm).reboot()

    assert 0 < with_tpm.container.status().locked_seconds <= 3000
    assert counted(with_tpm) < before


def test_old_files_that_are_put_back_gain_no_guess(with_tpm: Setting) -> None:
    """Those of every moment from enrolment to the lock."""
    locked_soon(with_tpm)
    saved = with_tpm.directory.parent / "saved"
    shutil.copytree(with_tpm.directory, saved / "0")
    wait_until(lambda: outcome(with_tpm, WRONG) == "NTE_INCORRECT_PASSWORD", "the end of the lock")
    shutil.copytree(with_tpm.directory, saved / "1")
    before = counted(with_tpm)
    for number in range(2):
        shutil.copytree(saved / str(number), with_tpm.directory, dirs_exist_ok=True)
        assert outcome(with_tpm, WRONG) == "NTE_AUTHENTICATION_IGNORED"
        assert outcome(with_tpm, RIGHT) == "NTE_AUTHENTICATION_IGNORED"
        (with_tpm.directory / "notes").unlink()
        assert outcome(with_tpm, WRONG) == "NTE_AUTHENTICATION_IGNORED"
    assert counted(with_tpm)[4:] == before[4:] == (1).to_bytes(4)


def test_the_files_of_an_old_pin_open_nothing_and_are_reported(with_tpm: Setting) -> None:
    old = (with_tpm.directory / "record").read_bytes()
    with_tpm.container.change(next(IDS), pin(RIGHT), pin(NEW))
    (with_tpm.directory / "record").write_bytes(old)
    for text in (RIGHT, NEW):
        assert outcome(with_tpm, text) == "KEYISO_E_TPM_PIN_INDEX"


def test_another_users_container_is_untouched(with_tpm: Setting) -> None:
    other = with_tpm.directory.parent / "other"
    other.mkdir()
    neighbour = opened_container(other, swtpm_of(with_tpm).socket)
    neighbour.enrol(1001, pin(NEW), POLICY, SHORT)
    for _ in range(SHORT.attempts):
        with fails(Status.NTE_INCORRECT_PASSWORD):
            neighbour.verify(next(IDS), pin(WRONG))
    with fails(Status.NTE_AUTHENTICATION_IGNORED):
        neighbour.verify(next(IDS), pin(NEW))
    assert outcome(with_tpm, RIGHT) == "right"
    undefine(swtpm_of(with_tpm), index_of(with_tpm))
    secret = neighbour.reset(pin(RIGHT))
    assert neighbour.verify(next(IDS), pin(RIGHT)) == secret


def test_an_offline_copy_has_nothing_to_try_a_pin_against(with_tpm: Setting) -> None:
    """Not even with the trustlet's root: another TPM opens it for no PIN."""
    copied = with_tpm.directory.parent / "copied"
    copied.mkdir()
    elsewhere = Swtpm(copied)
    try:
        elsewhere.boot()
        container = opened_container(with_tpm.directory, elsewhere.socket)
        for text in (RIGHT, WRONG):
            with fails(Status.KEYISO_E_TPM_CHANGED):
                container.verify(next(IDS), pin(text))
    finally:
        elsewhere.power_off()
    record = with_tpm.container._files.record.read()
    assert record is not None
    assert record.software is None
    assert record.history
    assert with_tpm.secret.secret not in b"".join(
        (record.history, stored(with_tpm).under_pin, stored(with_tpm).writer)
    )


def test_root_who_asks_the_tpm_himself_is_counted(with_tpm: Setting) -> None:
    """With tpm2-tools, past the trustlet: a wrong authValue counts like a wrong PIN."""
    swtpm, index = swtpm_of(with_tpm), index_of(with_tpm)
    swtpm.tool("tpm2_startauthsession", "--policy-session", "-S", "session.ctx")
    for number in range(1, 4):
        swtpm.tool(
            *("tpm2_policysecret", "-S", "session.ctx", "-c", index, f"hex:{number:064x}"),
            fails=True,
        )
    swtpm.flush_all()
    assert counted(with_tpm)[:4] == (3).to_bytes(4)
    assert outcome(with_tpm, RIGHT) == "right"


def test_a_failure_anywhere_in_an_attempt_leaves_nothing_in_the_tpm(with_tpm: Setting) -> None:
    protector = stored(with_tpm)
    holds_nothing_after_any_failure(
        swtpm_of(with_tpm),
        lambda tpm: TpmPinProtector(tpm, CONTAINER_ID, protector).attempt(next(IDS), pin(RIGHT)),
    )
