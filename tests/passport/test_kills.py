"""Attempts of real processes, at once and killed at each of their steps: each is counted once."""

import itertools
import random
import time
from collections import Counter

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso.crypto.container_copy import answer_reset
from keyiso.tpm.pin_sealed import decode_pin_sealed
from tests.passport.conftest import NEW, RIGHT, SCHEDULE, WRONG, Setting, Worker, pin

IDS = (number.to_bytes(16) for number in itertools.count(1))
IS_WRONG = "NTE_INCORRECT_PASSWORD"
NO_ROOM = ("TPM_20_E_OBJECT_MEMORY", "TPM_20_E_SESSION_MEMORY")
"""What the TPM answers when those that were killed have filled it. The kernel would clear up."""


def wrong_so_far(setting: Setting) -> int:
    return SCHEDULE.attempts - setting.container.status().attempts_left


def index_of(setting: Setting) -> str:
    record = setting.container._files.record.read()
    assert record is not None
    assert record.tpm is not None
    return hex(decode_pin_sealed(record.tpm.under_pin).index.handle)


def run(worker: Worker, setting: Setting, *job: object, **more: object) -> str:
    worker.begin(setting.job(*job, **more))  # type: ignore[arg-type]
    answer = worker.answer()
    if answer == "killed":
        setting.clear_up()
    return answer


@pytest.mark.parametrize("text", [RIGHT, WRONG], ids=["right", "wrong"])
def test_a_kill_at_every_step_charges_each_attempt_once(setting: Setting, text: str) -> None:
    """An attempt is killed at its first step, the next one at its second, until one is not."""
    worker = setting.worker()
    for kill_at in itertools.count():
        attempt_id = next(IDS)
        if run(worker, setting, attempt_id, text, kill_at=kill_at) != "killed":
            break
        answer = run(worker, setting, attempt_id, text)
        assert answer == ("right" if text == RIGHT else IS_WRONG), kill_at
        assert wrong_so_far(setting) == (text == WRONG), kill_at
        if text == WRONG:
            assert run(worker, setting, next(IDS), RIGHT) == "right"
    assert kill_at >= (40 if setting.swtpm else 6)


def test_a_right_pin_after_wrong_ones_is_right_wherever_it_is_killed(setting: Setting) -> None:
    worker = setting.worker()
    for kill_at in itertools.count(0, 7 if setting.swtpm else 1):
        for _ in range(2):
            assert run(worker, setting, next(IDS), WRONG) == IS_WRONG
        attempt_id = next(IDS)
        if run(worker, setting, attempt_id, RIGHT, kill_at=kill_at) != "killed":
            break
        assert wrong_so_far(setting) in (0, 2, 3)
        assert run(worker, setting, attempt_id, RIGHT) == "right"
        assert wrong_so_far(setting) == 0


def test_a_change_that_is_killed_is_whole_or_was_not(setting: Setting) -> None:
    """And repeating it ends it, wherever that was."""
    worker, old, new = setting.worker(), RIGHT, NEW
    for kill_at in itertools.count(0, 9 if setting.swtpm else 1):
        attempt_id = next(IDS)
        answer = run(worker, setting, attempt_id, old, kill_at=kill_at, new_pin=new)
        if answer == "killed":
            assert run(worker, setting, attempt_id, old, new_pin=new) == "right"
        assert run(worker, setting, next(IDS), new) == "right"
        assert run(worker, setting, next(IDS), old) == IS_WRONG
        assert run(worker, setting, next(IDS), new) == "right"
        if answer != "killed":
            break
        old, new = new, f"4829{kill_at:04}7"
    if setting.swtpm:
        assert setting.swtpm.tool("tpm2_getcap", "handles-nv-index").count("0x") == 1


def test_an_enrolment_that_is_killed_is_whole_or_was_not(setting: Setting) -> None:
    """And repeating it ends it. Nothing is left behind in the TPM."""
    worker = setting.worker()
    for kill_at in itertools.count(0, 4 if setting.swtpm else 1):
        setting.directory = setting.directory.parent / f"enrolled {kill_at}"
        setting.directory.mkdir()
        job = msgspec.structs.replace(setting.job(next(IDS), RIGHT), enrols=True)
        worker.begin(msgspec.structs.replace(job, kill_at=kill_at))
        answer = worker.answer()
        if answer == "killed":
            setting.clear_up()
            worker.begin(job)
            assert worker.answer() in ("right", "NTE_EXISTS")
        assert run(worker, setting, next(IDS), RIGHT) == "right"
        assert wrong_so_far(setting) == 0
        if setting.swtpm:  # the index of the container that was enrolled first, and this one's
            indices = setting.swtpm.tool("tpm2_getcap", "handles-nv-index").split()
            assert len([one for one in indices if one.startswith("0x")]) == 2
            setting.swtpm.tool("tpm2_nvundefine", index_of(setting), "-C", "o")
        if answer != "killed":
            break


def test_an_unlock_that_is_killed_is_whole_or_was_not(setting: Setting) -> None:
    """And repeating it ends it. The keys are kept, and wrong PINs forgotten, wherever that was."""
    reset_key, worker = X25519PrivateKey.generate(), setting.worker()
    setting.container.set_reset_key(
        next(IDS), pin(RIGHT), reset_key.public_key().public_bytes_raw()
    )
    old = RIGHT
    for kill_at in itertools.count(0, 9 if setting.swtpm else 1):
        for _ in range(3):
            assert run(worker, setting, next(IDS), WRONG) == IS_WRONG
        answer = answer_reset(setting.container.request_reset(), reset_key)
        new = f"4829{kill_at:04}7"
        job = msgspec.structs.replace(setting.job(next(IDS), new), answer=answer)
        worker.begin(msgspec.structs.replace(job, kill_at=kill_at))
        ended = worker.answer()
        if ended == "killed":
            setting.clear_up()
            is_done = {0: True, 3: False}[wrong_so_far(setting)]
            if kill_at % 2:  # otherwise nobody uses the PIN before this is repeated
                secret = setting.container.verify(next(IDS), pin(new if is_done else old))
                assert secret == setting.secret
            worker.begin(job)
            assert worker.answer() == "right"
        assert wrong_so_far(setting) == 0
        assert run(worker, setting, next(IDS), old) == IS_WRONG
        assert setting.container.verify(next(IDS), pin(new)) == setting.secret
        if ended != "killed":
            break
        old = new
    assert kill_at >= (40 if setting.swtpm else 10)
    if setting.swtpm:
        assert setting.swtpm.tool("tpm2_getcap", "handles-nv-index").count("0x") == 1


def test_processes_at_once_are_counted_exactly(setting: Setting) -> None:
    workers = [setting.worker() for _ in range(3)]
    for _ in range(4):
        for worker in workers:
            worker.begin(setting.job(next(IDS), WRONG))
        assert [worker.answer() for worker in workers] == [IS_WRONG] * 3
    assert wrong_so_far(setting) == 12


def test_processes_at_once_that_are_killed_anywhere_are_counted_exactly(setting: Setting) -> None:
    """Prompts repeat an attempt until it is answered."""
    seed = time.time_ns()
    print(f"seed {seed}")
    rng, workers = random.Random(seed), [setting.worker() for _ in range(3)]
    prompts = [next(IDS) for _ in workers]
    answers = Counter[str]()
    for _ in range(8):
        for worker, attempt_id in zip(workers, prompts, strict=True):
            worker.begin(setting.job(attempt_id, WRONG, rng.choice([-1, rng.randrange(60)])))
        for number, worker in enumerate(workers):
            answer = worker.answer()
            answers[answer] += 1
            if answer == IS_WRONG:
                prompts[number] = next(IDS)
        setting.clear_up()
    for attempt_id in prompts:
        assert run(workers[0], setting, attempt_id, WRONG) == IS_WRONG
    print(dict(answers))
    assert answers["killed"]
    assert answers.keys() <= {IS_WRONG, "killed", *NO_ROOM}
    assert wrong_so_far(setting) == answers[IS_WRONG] + len(workers)


@pytest.mark.parametrize("text", [RIGHT, WRONG])
def test_locked_is_locked_for_right_and_wrong_after_a_kill_too(setting: Setting, text: str) -> None:
    worker = setting.worker()
    for _ in range(SCHEDULE.attempts):
        assert run(worker, setting, next(IDS), WRONG) == IS_WRONG
    for kill_at in range(0, 30, 6):
        attempt_id = next(IDS)
        run(worker, setting, attempt_id, text, kill_at=kill_at)
        assert run(worker, setting, attempt_id, text) == "NTE_AUTHENTICATION_IGNORED"
    assert setting.container.status().locked_seconds <= 60
