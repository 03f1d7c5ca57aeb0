"""A PIN is wiped, is never printed, and follows its policy."""

import copy
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyiso import limits
from keyiso.crypto.pin import CHARACTERS, Pin
from keyiso.crypto.pin_cost import COST_64_KIB, PinCost, stretched
from keyiso.crypto.pin_policy import PinPolicy
from keyiso.errors import NCryptError
from keyiso.status import Status
from tests.conformance.statuses import fails

LOOSE = PinPolicy(minimum_length=4, digits="allowed", simple_patterns=True)
CHEAP = PinCost(8, 1, 1)


def pin(text: str) -> Pin:
    return Pin(bytearray(text, "utf-8"))


def test_a_pin_is_wiped_when_its_block_ends() -> None:
    characters = bytearray(b"482915")
    seen = memoryview(characters).toreadonly()
    with pytest.raises(KeyError), Pin(characters) as used:
        assert used.characters is characters
        seen.release()
        raise KeyError

    assert characters == b""
    assert used.characters == b""


def test_wiping_overwrites_before_it_forgets() -> None:
    class Watched(bytearray):
        cleared_as = b"?"

        def clear(self) -> None:
            Watched.cleared_as = bytes(self)
            super().clear()

    Pin(Watched(b"482915")).wipe()

    assert Watched.cleared_as == bytes(6)


@pytest.mark.parametrize(
    "text", ["", "123", "a" * 128, "48 915", "48291\n", "4829\0", "48291\x7f", "48291é", "482９15"]
)
def test_what_is_no_pin_is_refused_and_wiped(text: str) -> None:
    characters = bytearray(text, "utf-8")
    with fails(Status.NTE_INVALID_PARAMETER) as caught:
        Pin(characters)

    assert characters == b""
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("length", [4, 127])
def test_the_shortest_and_the_longest_pin_are_pins(length: int) -> None:
    assert len(pin("a" * length).characters) == length


def test_a_pin_is_not_shown_and_not_copied() -> None:
    secret = pin("482915-canary")
    shown = [repr(secret), str(secret), f"{secret!r:>20}"]
    try:
        raise ValueError(secret)
    except ValueError as error:
        shown.append("".join(traceback.format_exception(error)))
    assert not [text for text in shown if "canary" in text]
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            copied(secret)


@pytest.mark.parametrize(
    ("policy", "text", "cause"),
    [
        (PinPolicy(), "48291", "shorter than 6"),
        (PinPolicy(maximum_length=8), "482915371", "longer than 8"),
        (PinPolicy(), "secret!", "has no digits"),
        (PinPolicy(lowercase_letters="required"), "482915", "has no lower-case letters"),
        (PinPolicy(uppercase_letters="required"), "482915", "has no upper-case letters"),
        (PinPolicy(special_characters="required"), "482915", "has no special characters"),
        (PinPolicy(digits="forbidden"), "secret1", "has digits"),
        (PinPolicy(lowercase_letters="forbidden"), "48291a", "has lower-case letters"),
        (PinPolicy(uppercase_letters="forbidden"), "48291A", "has upper-case letters"),
        (PinPolicy(special_characters="forbidden"), "48291~", "has special characters"),
    ],
)
def test_a_pin_that_breaks_a_rule_is_refused_by_its_name(
    policy: PinPolicy, text: str, cause: str
) -> None:
    with fails(Status.NTE_VALIDATION_FAILED) as caught:
        policy.check(pin(text))

    assert cause in caught.value.cause
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        *("1111", "1234", "4321", "1357", "9630", "1593", "7036", "aaaa", "aceg", "AAAAaaaa"),
        *("1212", "123123", "48294829", "abcabca", "aB3aB3aB", "4848484"),
        *(
            "qwerty",
            "QwErTy",
            "ytrewq",
            "asdf",
            "zxcvbnm",
            "wxcvbn",
            "7890",
            "0987",
            "!@#$",
            "7410",
        ),
    ],
)
def test_a_simple_pattern_is_refused(text: str) -> None:
    policy = PinPolicy(minimum_length=4, digits="allowed")
    with fails(Status.NTE_VALIDATION_FAILED):
        policy.check(pin(text))
    LOOSE.check(pin(text))


@pytest.mark.parametrize("text", ["1231", "1872", "4829", "482948", "qwertz1", "abd1", "12344321"])
def test_what_is_no_simple_pattern_is_taken(text: str) -> None:
    PinPolicy(minimum_length=4).check(pin(text))


def test_a_pin_expires_after_its_days() -> None:
    policy, day = PinPolicy(expiration_days=2), 24 * 60 * 60

    assert not policy.has_expired(1000.0, 1000.0 + 2 * day - 1)
    assert policy.has_expired(1000.0, 1000.0 + 2 * day)
    assert not PinPolicy().has_expired(0.0, 1e12)


@pytest.mark.parametrize(
    "rules",
    [
        {"minimum_length": 3},
        {"maximum_length": 128},
        {"minimum_length": 9, "maximum_length": 8},
        {"history": limits.PIN_HISTORY + 1},
        {"history": -1},
        {"expiration_days": -1},
        dict.fromkeys(
            ("digits", "lowercase_letters", "uppercase_letters", "special_characters"), "forbidden"
        ),
    ],
    ids=str,
)
def test_a_policy_that_nothing_can_follow_is_refused(rules: dict[str, object]) -> None:
    with fails(Status.NTE_INVALID_PARAMETER):
        PinPolicy(**rules)  # type: ignore[arg-type]


@given(
    st.text(
        st.characters(codec="ascii", min_codepoint=0x21, max_codepoint=0x7E),
        min_size=4,
        max_size=127,
    )
)
def test_a_check_takes_a_pin_or_says_why_and_changes_nothing(text: str) -> None:
    secret = pin(text)
    try:
        PinPolicy(minimum_length=4).check(secret)
    except NCryptError as error:
        assert error.status == Status.NTE_VALIDATION_FAILED

    assert secret.characters == text.encode()
    assert all(one in CHARACTERS for one in secret.characters)


def test_a_pin_is_stretched_under_its_salt_and_its_cost() -> None:
    salt, other = b"s" * 16, b"t" * 16
    key = stretched(pin("482915"), salt, CHEAP)

    assert len(key) == 32
    assert stretched(pin("482915"), salt, CHEAP) == key
    assert (
        len(
            {
                key,
                stretched(pin("482916"), salt, CHEAP),
                stretched(pin("482915"), other, CHEAP),
                stretched(pin("482915"), salt, COST_64_KIB),
            }
        )
        == 4
    )


@pytest.mark.parametrize(
    ("cost", "status"),
    [
        ((limits.PIN_COST_KIB + 1, 1, 1), Status.KEYISO_E_LIMIT),
        ((64, limits.PIN_COST_ITERATIONS + 1, 1), Status.KEYISO_E_LIMIT),
        ((64, 0, 1), Status.NTE_INVALID_PARAMETER),
        ((64, 1, 0), Status.NTE_INVALID_PARAMETER),
        ((31, 1, 4), Status.NTE_INVALID_PARAMETER),
    ],
)
def test_a_cost_that_nobody_pays_is_refused(cost: tuple[int, int, int], status: Status) -> None:
    with fails(status):
        PinCost(*cost)
