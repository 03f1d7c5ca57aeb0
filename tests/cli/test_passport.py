"""``keyiso passport``: PINs that are typed and PINs that are piped, against real services."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyiso.client.binding import Binding, bind_process
from keyiso.client.passport import (
    find_passport_key,
    get_container,
    reset_pin,
    sign_with_pin,
    try_pin,
)
from keyiso.crypto.signatures import NO_PADDING
from keyiso.status import Status
from tests.cli.command import Ended, keyiso, on_terminal
from tests.conformance.statuses import fails
from tests.instance import RunningInstance
from tests.passport.conftest import NEW, RIGHT, WRONG, pin

CANARY = "kanari8!" + os.urandom(8).hex()


@pytest.fixture(autouse=True)
def asked_on_the_terminal(instance: RunningInstance, tmp_path: Path) -> Iterator[None]:
    """By no pinentry that the machine may have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GNUPGHOME", str(tmp_path))
        (tmp_path / "gpg-agent.conf").write_text("pinentry-program /nonexistent/pinentry\n")
        yield


@pytest.fixture
def binding() -> Binding:
    return bind_process(os.environ, service="passport")


def piped(command: str, *pins: str, options: tuple[str, ...] = ()) -> Ended:
    lines = "".join(f"{one}\n" for one in pins).encode()
    return keyiso("passport", command, "--pin-stdin", *options, stdin=lines)


def logon_signature(binding: Binding, text: str) -> bytes:
    key = find_passport_key(binding, "logon")
    return sign_with_pin(binding, pin(text), key, b"d" * 32, NO_PADDING)


def test_a_life_of_a_pin(binding: Binding) -> None:
    assert keyiso("passport", "status", "--json").json == {"enrolled": False}
    assert "No PIN is set" in keyiso("passport", "status").text
    for command in ("change-pin", "reset"):
        assert piped(command, RIGHT, NEW, options=("--yes",) * (command == "reset")).code == 3
    enrolled = piped("enroll", RIGHT)

    assert enrolled.code == 0, enrolled.errors
    assert "software" in enrolled.text
    assert logon_signature(binding, RIGHT)
    assert piped("enroll", NEW).code == 4
    assert piped("change-pin", RIGHT, NEW).code == 0
    assert logon_signature(binding, NEW)
    assert piped("reset", RIGHT).code == 2
    try_pin(binding, pin(NEW))
    assert piped("reset", RIGHT, options=("--yes",)).code == 0
    assert logon_signature(binding, RIGHT)


def test_status_is_told_to_people_and_to_programs(binding: Binding) -> None:
    piped("enroll", RIGHT)
    with fails(Status.NTE_INCORRECT_PASSWORD):
        try_pin(binding, pin(WRONG))
    state = get_container(binding)
    told = keyiso("passport", "status", "--json").json

    assert told == {
        "enrolled": True,
        "container_id": state.container_id.hex(),
        "protector": "software",
        "attempts_left": 4,
        "locked_seconds": 0,
        "expired": False,
        "reset_key": None,
        "not_stopped": list(state.not_stopped),
    }
    text = keyiso("passport", "status").text
    assert "Attempts left: 4\n" in text
    assert all(threat in text for threat in state.not_stopped)
    named = keyiso("passport", "status", "--user", "root", "--json")
    if os.geteuid() == 0:
        assert named.json == told


def test_a_wrong_pin_of_a_pipe_is_told_once_and_then_the_lock() -> None:
    piped("enroll", RIGHT)
    wrong = piped("change-pin", WRONG, NEW)

    assert wrong.code == 1
    assert "left before it is locked: 4" in wrong.errors
    for _ in range(3):
        piped("change-pin", WRONG, NEW)
    last = piped("change-pin", WRONG, NEW)
    assert "the PIN is wrong, and is locked now" in last.errors
    locked = piped("change-pin", RIGHT, NEW)
    assert locked.code == 1
    assert "NTE_AUTHENTICATION_IGNORED" in locked.errors
    assert "Try again in " in locked.errors
    assert "for another " in keyiso("passport", "status").text


def test_somebody_types_a_wrong_pin_and_is_asked_again(binding: Binding) -> None:
    code, seen = on_terminal(
        "passport",
        "enroll",
        prompt=b"New PIN:",
        typed=RIGHT.encode() + b"\n",
        then=[(b"New PIN again:", RIGHT.encode() + b"\n")],
    )
    assert code == 0, seen
    code, seen = on_terminal(
        "passport",
        "change-pin",
        prompt=b"PIN:",
        typed=WRONG.encode() + b"\n",
        then=[
            (b"PIN:", RIGHT.encode() + b"\n"),
            (b"New PIN:", NEW.encode() + b"\n"),
            (b"New PIN again:", NEW.encode() + b"\n"),
        ],
    )

    assert code == 0, seen
    assert b"After 4 more wrong ones it is locked" in seen
    assert not any(one.encode() in seen for one in (RIGHT, WRONG, NEW))
    try_pin(binding, pin(NEW))


def test_a_reset_asks_and_a_no_changes_nothing(binding: Binding) -> None:
    piped("enroll", RIGHT)
    code, seen = on_terminal("passport", "reset", prompt=b"[y/N]:", typed=b"n\n")

    assert code == 1
    assert b"lost for good" in seen
    assert b"Nothing was done." in seen
    assert logon_signature(binding, RIGHT)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: os.truncate(path, 40)])
def test_a_reset_mends_what_counts_wrong_pins(
    instance: RunningInstance, binding: Binding, damage: Callable[[Path], None]
) -> None:
    piped("enroll", RIGHT)
    damage(instance.instance.containers / str(os.geteuid()) / "counters")
    assert keyiso("passport", "status").code != 0

    assert piped("reset", NEW, options=("--yes",)).code == 0
    assert logon_signature(binding, NEW)


def test_a_pin_that_breaks_the_rules_makes_nothing(binding: Binding) -> None:
    for simple in ("111111", "abcdef", "12", "", "1" * 200):
        assert piped("enroll", simple).code == 1
    with fails(Status.NTE_NOT_FOUND):
        get_container(binding)


def test_a_change_makes_the_key_for_logons_that_a_reset_has_lost(binding: Binding) -> None:
    piped("enroll", RIGHT)
    reset_pin(binding, pin(RIGHT))  # as root does for a user: without the key
    with fails(Status.NTE_BAD_DATA):
        logon_signature(binding, RIGHT)
    changed = piped("change-pin", RIGHT, NEW)

    assert "A new key for logons is made." in changed.text
    assert logon_signature(binding, NEW)


# --- unlock --------------------------------------------------------------------------------------


@pytest.fixture
def reset_key(tmp_path: Path) -> Path:
    """The file of a private one; the public one is beside it."""
    file = tmp_path / "reset.key"
    assert keyiso("recovery", "keygen", "--no-password", file).code == 0
    return file


def public(file: Path) -> tuple[str, ...]:
    return "--reset-key", f"{file}.pub"


def answered(file: Path, tmp_path: Path) -> Path:
    """The answer to a new request."""
    asked = keyiso("passport", "unlock")
    assert asked.code == 0, asked.errors
    answer = keyiso("passport", "answer", "-", "--key", file, "--yes", stdin=asked.output)
    assert answer.code == 0, answer.errors
    path = tmp_path / "answer"
    path.write_bytes(answer.output)
    return path


def lock() -> None:
    for _ in range(5):
        piped("change-pin", WRONG, NEW)
    assert keyiso("passport", "status", "--json").json["locked_seconds"]


def test_who_forgot_the_pin_unlocks_with_an_answer_and_keeps_keys(
    binding: Binding, reset_key: Path, tmp_path: Path
) -> None:
    enrolled = piped("enroll", RIGHT, options=public(reset_key))
    key = find_passport_key(binding, "logon").header
    known_by = keyiso("passport", "status", "--json").json["reset_key"]
    lock()
    answer = answered(reset_key, tmp_path)
    unlocked = piped("unlock", NEW, options=("--answer", str(answer)))

    assert unlocked.code == 0, unlocked.errors
    assert known_by in enrolled.text
    assert get_container(binding).attempts_left == 5
    assert logon_signature(binding, NEW)
    assert find_passport_key(binding, "logon").header.key_id == key.key_id
    again = piped("unlock", WRONG, options=("--answer", str(answer)))
    assert again.code == 1
    assert "no request waits for an answer" in again.errors
    try_pin(binding, pin(NEW))


def test_an_old_answer_and_a_foreign_one_are_refused(
    binding: Binding, reset_key: Path, tmp_path: Path
) -> None:
    piped("enroll", RIGHT, options=public(reset_key))
    old = answered(reset_key, tmp_path).read_bytes()
    newest = answered(reset_key, tmp_path)
    good = newest.read_bytes()
    for refused in (old, good.replace(b"PASSPORT", b"RECOVERY"), good[:-40], b""):
        newest.write_bytes(refused)
        ended = piped("unlock", NEW, options=("--answer", str(newest)))
        assert ended.code == 1
        assert "NTE_BAD_DATA" in ended.errors
    newest.write_bytes(good)
    simple = piped("unlock", "111111", options=("--answer", str(newest)))
    assert "NTE_VALIDATION_FAILED" in simple.errors
    try_pin(binding, pin(RIGHT))
    assert piped("unlock", NEW, options=("--answer", str(newest))).code == 0


def test_who_answers_is_shown_what_was_asked(reset_key: Path, tmp_path: Path) -> None:
    piped("enroll", RIGHT, options=public(reset_key))
    asked = keyiso("passport", "unlock")
    request = tmp_path / "request"
    request.write_bytes(asked.output)
    arguments = "passport", "answer", str(request), "--key", str(reset_key)
    known_by = asked.errors.split()[-1]

    assert known_by.startswith("SHA256:")
    assert keyiso(*arguments).code == 2
    code, seen = on_terminal(*arguments, prompt=b"[y/N]:", typed=b"n\n")
    assert code == 1
    assert known_by.encode() in seen
    assert f"uid {os.geteuid()}".encode() in seen
    assert b"BEGIN" not in seen
    other = tmp_path / "other.key"
    keyiso("recovery", "keygen", "--no-password", other)
    refused = keyiso("passport", "answer", request, "--key", other, "--yes")
    assert (refused.code, refused.output) == (1, b"")
    assert "NTE_BAD_KEY" in refused.errors
    assert "NTE_BAD_DATA" in keyiso("recovery", "answer", request, "--key", other, "--yes").errors


def test_without_a_reset_key_it_says_what_can_be_done() -> None:
    assert keyiso("passport", "unlock").code == 3
    piped("enroll", RIGHT)
    open_yet = keyiso("passport", "unlock")
    lock()
    locked = keyiso("passport", "unlock")

    for ended in (open_yet, locked):
        assert (ended.code, ended.output) == (1, b"")
        assert "NTE_NOT_SUPPORTED" in ended.errors
        assert "`keyiso passport reset`, which loses the keys" in ended.errors
    assert "Try again in" not in open_yet.errors
    assert "Try again in " in locked.errors


def test_a_reset_key_is_set_and_removed_with_the_pin(
    binding: Binding, reset_key: Path, tmp_path: Path
) -> None:
    file = f"{reset_key}.pub"
    piped("enroll", RIGHT)
    assert piped("reset-key", RIGHT).code == 2
    assert piped("reset-key", RIGHT, options=(file, "--remove")).code == 2
    assert "NTE_BAD_DATA" in piped("reset-key", RIGHT, options=(str(reset_key),)).errors
    wrong = piped("reset-key", WRONG, options=(file,))
    assert "left before it is locked: 4" in wrong.errors
    assert not get_container(binding).reset_key
    assert piped("reset-key", RIGHT, options=(file,)).code == 0
    assert get_container(binding).reset_key
    answer = answered(reset_key, tmp_path)
    assert "none" in piped("reset-key", RIGHT, options=("--remove",)).text
    assert piped("unlock", NEW, options=("--answer", str(answer))).code == 1
    assert logon_signature(binding, RIGHT)


def test_somebody_types_the_new_pin(binding: Binding, reset_key: Path, tmp_path: Path) -> None:
    piped("enroll", RIGHT, options=public(reset_key))
    answer = answered(reset_key, tmp_path)
    code, seen = on_terminal(
        *("passport", "unlock", "--answer", str(answer)),
        prompt=b"New PIN:",
        typed=NEW.encode() + b"\n",
        then=[(b"New PIN again:", NEW.encode() + b"\n")],
    )

    assert code == 0, seen
    assert b"The keys of the container are kept." in seen
    assert NEW.encode() not in seen
    assert logon_signature(binding, NEW)


def test_a_pin_is_in_nothing_that_is_printed_or_kept(
    instance: RunningInstance, reset_key: Path, tmp_path: Path
) -> None:
    ended = [
        piped("enroll", CANARY, options=public(reset_key)),
        piped("change-pin", CANARY + "x", NEW),
        piped("change-pin", CANARY, CANARY),
        piped("change-pin", CANARY, CANARY[:5] + " " + CANARY),
        piped("reset", CANARY, options=("--yes",)),
        piped("reset-key", CANARY, options=("--remove",)),
        piped("reset-key", CANARY, options=(f"{reset_key}.pub",)),
        piped("unlock", CANARY, options=("--answer", str(answered(reset_key, tmp_path)))),
        keyiso("passport", "enroll", CANARY),
    ]
    told = b"".join(one.output + one.errors.encode() for one in ended[:-1])
    kept = [path for path in instance.instance.state.rglob("*") if path.is_file()]

    assert [one.code for one in ended] == [0, 1, 0, 1, 0, 0, 0, 0, 2]
    assert CANARY.encode() not in told
    assert kept
    assert not [path for path in kept if CANARY.encode() in path.read_bytes()]
