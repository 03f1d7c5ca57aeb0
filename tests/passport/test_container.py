"""What a user can do with a container."""

import itertools

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso.crypto import container_copy
from keyiso.crypto.container_copy import answer_reset, decode_reset
from keyiso.crypto.hand_carried import seal_message
from keyiso.crypto.pin_counters import LockSchedule
from keyiso.crypto.pin_policy import PinPolicy
from keyiso.crypto.recovery import recovery_fingerprint
from keyiso.status import Status
from keyiso.tpm.capabilities import handles, lockout_state
from keyiso.tpm.constants import TPM_HT
from tests.conformance.statuses import fails
from tests.passport.conftest import NEW, RIGHT, SCHEDULE, WRONG, Setting, pin
from tests.passport.worker import opened_container
from tests.unit.samples import pkcs8
from tests.waiting import wait_until

IDS = (number.to_bytes(16) for number in itertools.count(1))


def test_the_right_pin_gives_the_secret_that_wraps_keys(setting: Setting) -> None:
    wrapped = setting.secret.wrap_key(b"k" * 16, pkcs8())
    secret = setting.container.verify(next(IDS), pin(RIGHT))

    assert secret == setting.secret
    assert secret.unwrap_key(b"k" * 16, wrapped) == pkcs8()


def test_a_wrong_pin_gives_nothing_and_is_counted(setting: Setting) -> None:
    for number in range(1, 4):
        with fails(Status.NTE_INCORRECT_PASSWORD):
            setting.container.verify(next(IDS), pin(WRONG))
        assert setting.container.status().attempts_left == SCHEDULE.attempts - number
    setting.container.verify(next(IDS), pin(RIGHT))
    assert setting.container.status().attempts_left == SCHEDULE.attempts


def test_a_changed_pin_is_the_one_that_opens(setting: Setting) -> None:
    setting.container.change(next(IDS), pin(RIGHT), pin(NEW))

    assert setting.container.verify(next(IDS), pin(NEW)) == setting.secret
    with fails(Status.NTE_INCORRECT_PASSWORD):
        setting.container.verify(next(IDS), pin(RIGHT))


def test_a_change_that_is_repeated_after_a_lost_answer_is_done(setting: Setting) -> None:
    attempt_id = next(IDS)
    for _ in range(3):
        setting.container.change(attempt_id, pin(RIGHT), pin(NEW))
    assert setting.container.status().attempts_left == SCHEDULE.attempts


def test_a_change_follows_policy_and_history(setting: Setting) -> None:
    for refused in ("111111", "48291", RIGHT):
        with fails(Status.NTE_VALIDATION_FAILED):
            setting.container.change(next(IDS), pin(RIGHT), pin(refused))
    before = RIGHT
    for text in (NEW, "795148", "806259"):
        setting.container.change(next(IDS), pin(before), pin(text))
        before = text
    with fails(Status.NTE_VALIDATION_FAILED):
        setting.container.change(next(IDS), pin(before), pin(NEW))
    setting.container.change(next(IDS), pin(before), pin(RIGHT))


def test_a_wrong_old_pin_changes_nothing(setting: Setting) -> None:
    with fails(Status.NTE_INCORRECT_PASSWORD):
        setting.container.change(next(IDS), pin(WRONG), pin(NEW))
    assert setting.container.verify(next(IDS), pin(RIGHT)) == setting.secret


def test_a_reset_without_keys_ends_them(setting: Setting) -> None:
    wrapped = setting.secret.wrap_key(b"k" * 16, pkcs8())
    setting.container.reset(pin(NEW))
    secret = setting.container.verify(next(IDS), pin(NEW))

    with fails(Status.NTE_BAD_DATA):
        secret.unwrap_key(b"k" * 16, wrapped)


RESET_KEY = X25519PrivateKey.generate()
PUBLIC = RESET_KEY.public_key().public_bytes_raw()


def give_reset_key(setting: Setting) -> None:
    setting.container.set_reset_key(next(IDS), pin(RIGHT), PUBLIC)


def answer(setting: Setting) -> bytes:
    return answer_reset(setting.container.request_reset(), RESET_KEY)


def test_who_has_the_reset_key_has_a_pin_set_and_keys_kept(setting: Setting) -> None:
    with fails(Status.NTE_NOT_SUPPORTED):
        setting.container.request_reset()
    give_reset_key(setting)
    for _ in range(SCHEDULE.attempts):
        with fails(Status.NTE_INCORRECT_PASSWORD):
            setting.container.verify(next(IDS), pin(WRONG))
    with fails(Status.NTE_AUTHENTICATION_IGNORED):
        setting.container.verify(next(IDS), pin(RIGHT))
    setting.container.unlock(next(IDS), pin(NEW), answer(setting))

    assert setting.container.status().attempts_left == SCHEDULE.attempts
    assert setting.container.verify(next(IDS), pin(NEW)) == setting.secret
    with fails(Status.NTE_INCORRECT_PASSWORD):
        setting.container.verify(next(IDS), pin(RIGHT))


def test_only_the_answer_to_the_last_request_is_good_and_once(setting: Setting) -> None:
    give_reset_key(setting)
    asked, attempt_id = setting.container.request_reset(), next(IDS)
    foreign = seal_message(setting.secret.secret, decode_reset(asked).worker_key, b"another")
    old = answer_reset(asked, RESET_KEY)
    newest = answer(setting)
    for refused in (old, foreign, b"", newest[:-1], newest[:-1] + bytes([newest[-1] ^ 1])):
        with fails(Status.NTE_BAD_DATA):
            setting.container.unlock(next(IDS), pin(NEW), refused)
    assert setting.container.verify(next(IDS), pin(RIGHT)) == setting.secret
    for _ in range(2):  # under the same id: its answer was lost
        setting.container.unlock(attempt_id, pin(NEW), newest)
    with fails(Status.NTE_BAD_DATA):
        setting.container.unlock(next(IDS), pin(RIGHT), newest)
    assert setting.container.verify(next(IDS), pin(NEW)) == setting.secret


def test_an_answer_with_another_secret_sets_nothing(setting: Setting) -> None:
    """Anybody who saw the request can make one."""
    give_reset_key(setting)
    asked = setting.container.request_reset()
    worker_key, info = decode_reset(asked).worker_key, container_copy._answer_info(asked)
    with fails(Status.NTE_BAD_DATA) as caught:
        setting.container.unlock(next(IDS), pin(NEW), seal_message(bytes(32), worker_key, info))
    assert "the secret of another container" in caught.value.cause
    assert setting.container.verify(next(IDS), pin(RIGHT)) == setting.secret


def test_a_pin_that_is_set_meanwhile_ends_the_request(setting: Setting) -> None:
    give_reset_key(setting)
    late = answer(setting)
    setting.container.change(next(IDS), pin(RIGHT), pin(NEW))
    with fails(Status.NTE_BAD_DATA):
        setting.container.unlock(next(IDS), pin("795148"), late)
    late = answer(setting)
    setting.container.reset(pin(RIGHT))  # a new secret has a new copy
    with fails(Status.NTE_BAD_DATA):
        setting.container.unlock(next(IDS), pin(NEW), late)
    setting.container.unlock(next(IDS), pin(NEW), answer(setting))
    secret = setting.container.verify(next(IDS), pin(NEW))
    assert secret != setting.secret


def test_an_answer_is_not_used_up_by_a_pin_that_cannot_be_set(setting: Setting) -> None:
    give_reset_key(setting)
    good = answer(setting)
    for refused in ("111111", RIGHT):  # simple, and in the history
        with fails(Status.NTE_VALIDATION_FAILED):
            setting.container.unlock(next(IDS), pin(refused), good)
    setting.container.unlock(next(IDS), pin(NEW), good)


def test_a_reset_key_is_set_with_the_pin_and_taken_away_with_it(setting: Setting) -> None:
    with fails(Status.NTE_INCORRECT_PASSWORD):
        setting.container.set_reset_key(next(IDS), pin(WRONG), PUBLIC)
    for no_key in (b"k" * 31, bytes(32)):
        with fails(Status.NTE_BAD_DATA):
            setting.container.set_reset_key(next(IDS), pin(RIGHT), no_key)
    assert setting.container.status().reset_key == b""
    give_reset_key(setting)
    assert setting.container.status().reset_key == recovery_fingerprint(PUBLIC)
    late = answer(setting)
    setting.container.set_reset_key(next(IDS), pin(RIGHT), b"")
    assert setting.container.status().reset_key == b""
    with fails(Status.NTE_BAD_DATA) as caught:
        setting.container.unlock(next(IDS), pin(NEW), late)
    assert "no request waits" in caught.value.cause
    with fails(Status.NTE_NOT_SUPPORTED):
        setting.container.request_reset()


def test_an_enrolled_container_is_not_enrolled_again(setting: Setting) -> None:
    with fails(Status.NTE_EXISTS):
        setting.container.enrol(1000, pin(NEW), PinPolicy(), LockSchedule())
    assert setting.container.verify(next(IDS), pin(RIGHT)) == setting.secret


def test_a_pin_that_expired_must_be_changed(with_software: Setting) -> None:
    files = with_software.container._files
    record = files.record.read()
    assert record is not None
    policy = PinPolicy(expiration_days=1)
    files.record.write(msgspec.structs.replace(record, policy=policy, pin_set_at=0.0))
    assert with_software.container.status().has_expired
    with fails(Status.NTE_PASSWORD_CHANGE_REQUIRED):
        with_software.container.verify(next(IDS), pin(RIGHT))
    with fails(Status.NTE_INCORRECT_PASSWORD):
        with_software.container.verify(next(IDS), pin(WRONG))
    with_software.container.change(next(IDS), pin(RIGHT), pin(NEW))
    with_software.container.verify(next(IDS), pin(NEW))


def test_a_container_says_what_keeps_it_and_what_that_does_not_stop(setting: Setting) -> None:
    status = setting.container.status()

    if setting.swtpm:
        assert (status.protector, status.not_stopped) == ("tpm", ())
    else:
        assert status.protector == "software"
        assert status.not_stopped == ("rollback", "offline guessing")


def test_a_lock_ends_for_who_only_looks_at_it(setting: Setting) -> None:
    """As the commands do, which make no attempt while there is a lock."""
    directory = setting.directory.parent / "locks soon"
    directory.mkdir()
    container = opened_container(directory, setting.swtpm.socket if setting.swtpm else None)
    container.enrol(1000, pin(RIGHT), PinPolicy(), LockSchedule(2, (3, 3000)))
    for _ in range(2):
        with fails(Status.NTE_INCORRECT_PASSWORD):
            container.verify(next(IDS), pin(WRONG))

    assert 0 < container.status().locked_seconds <= 3
    assert container.status().attempts_left == 0
    wait_until(lambda: container.status().locked_seconds == 0, "the end of the lock")
    assert container.status().attempts_left == 1
    container.verify(next(IDS), pin(RIGHT))


def test_a_container_without_a_pin_says_so(setting: Setting) -> None:
    empty = setting.directory.parent / "empty"
    empty.mkdir()
    with fails(Status.NTE_NOT_FOUND):
        opened_container(empty, None).verify(next(IDS), pin(RIGHT))


def test_a_container_of_a_tpm_is_not_opened_without_it(with_tpm: Setting) -> None:
    alone = opened_container(with_tpm.directory, None)
    for operation in (
        lambda: alone.verify(next(IDS), pin(RIGHT)),
        lambda: alone.reset(pin(NEW)),
        alone.status,
    ):
        with fails(Status.NTE_DEVICE_NOT_FOUND):
            operation()


def test_the_tpm_holds_one_index_and_counts_nothing_itself(with_tpm: Setting) -> None:
    assert with_tpm.swtpm
    for old, new in ((RIGHT, NEW), (NEW, "795148")):
        with fails(Status.NTE_INCORRECT_PASSWORD):
            with_tpm.container.verify(next(IDS), pin(WRONG))
        with_tpm.container.change(next(IDS), pin(old), pin(new))
    with with_tpm.swtpm.opened() as tpm:
        assert len(handles(tpm, TPM_HT.NV_INDEX)) == 1
        assert lockout_state(tpm).failures == 0


def test_an_answer_keeps_keys_whose_index_is_gone_from_the_tpm(with_tpm: Setting) -> None:
    give_reset_key(with_tpm)
    assert with_tpm.swtpm
    with with_tpm.swtpm.opened() as tpm:
        (index,) = handles(tpm, TPM_HT.NV_INDEX)
    with_tpm.swtpm.tool("tpm2_nvundefine", hex(index), "-C", "o")
    with fails(Status.KEYISO_E_TPM_PIN_INDEX):
        with_tpm.container.verify(next(IDS), pin(RIGHT))
    with_tpm.container.unlock(next(IDS), pin(NEW), answer(with_tpm))

    assert with_tpm.container.verify(next(IDS), pin(NEW)) == with_tpm.secret


def test_what_is_stored_shows_neither_pin_nor_secret(setting: Setting) -> None:
    setting.container.verify(next(IDS), pin(RIGHT))
    stored = b"".join(path.read_bytes() for path in setting.directory.iterdir())

    assert RIGHT.encode() not in stored
    assert setting.secret.secret not in stored


@pytest.mark.parametrize("name", ["record", "notes", "counters"])
def test_a_file_of_another_container_or_a_changed_one_is_refused(
    with_software: Setting, name: str
) -> None:
    with fails(Status.NTE_INCORRECT_PASSWORD):
        with_software.container.verify(next(IDS), pin(WRONG))
    path = with_software.directory / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with fails(Status.NTE_BAD_DATA):
        with_software.container.verify(next(IDS), pin(RIGHT))


def test_counters_that_are_missing_are_not_begun_anew(with_software: Setting) -> None:
    (with_software.directory / "counters").unlink()
    with fails(Status.KEYISO_E_STORE):
        with_software.container.verify(next(IDS), pin(RIGHT))
    assert not (with_software.directory / "counters").exists()


def test_an_attempt_that_cannot_be_counted_is_not_judged(with_software: Setting) -> None:
    """A full disk makes no guess free: right and wrong PINs are answered alike."""
    in_the_way = with_software.directory / "counters.new"
    in_the_way.mkdir()
    for text in (RIGHT, WRONG):
        with fails(Status.KEYISO_E_STORE):
            with_software.container.verify(next(IDS), pin(text))
    in_the_way.rmdir()
    assert with_software.container.status().attempts_left == SCHEDULE.attempts
    assert with_software.container.verify(next(IDS), pin(RIGHT)) == with_software.secret


def test_another_pin_under_the_id_of_an_attempt_that_was_cut_off_is_not_judged(
    with_software: Setting,
) -> None:
    """It was counted for the first PIN; for the same PIN it is judged, at no further charge."""
    worker, attempt_id = with_software.worker(), next(IDS)
    counters = with_software.directory / "counters"
    before = counters.read_bytes()
    for kill_at in itertools.count():
        worker.begin(with_software.job(attempt_id, WRONG, kill_at))
        assert worker.answer() == "killed"
        if counters.read_bytes() != before:
            break
    with fails(Status.NTE_INCORRECT_PASSWORD):
        with_software.container.verify(attempt_id, pin(RIGHT))
    assert with_software.container.status().attempts_left == SCHEDULE.attempts - 1
