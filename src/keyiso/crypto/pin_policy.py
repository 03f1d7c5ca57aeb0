"""What a new PIN must be like. It is checked when a PIN is set, never when one is tried."""

from collections.abc import Callable
from itertools import pairwise
from typing import Final, Literal

import msgspec

from keyiso import limits
from keyiso.crypto.pin import CHARACTERS, Pin, wipe
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

Demand = Literal["allowed", "required", "forbidden"]
"""Of a class of characters."""

_DAY: Final = 24 * 60 * 60
_DIGITS: Final = frozenset(b"0123456789")
_LOWER: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz")
_UPPER: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SPECIAL: Final = frozenset(CHARACTERS) - _DIGITS - _LOWER - _UPPER

_ROWS: Final = (
    b"1234567890",
    b"qwertyuiop",
    b"qwertzuiop",
    b"azertyuiop",
    b"asdfghjkl",
    b"qsdfghjklm",
    b"zxcvbnm",
    b"yxcvbnm",
    b"wxcvbn",
    b"!@#$%^&*()",
    b"7410",
    b"8520",
    b"9630",
)
"""Rows of English, German and French keyboards, and the columns of a number pad."""


class PinPolicy(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Rules for new PINs; the names are those of Windows' policy, PIN Complexity.

    Raises ``NTE_INVALID_PARAMETER`` for rules that nothing can follow.
    """

    minimum_length: int = 6
    maximum_length: int = limits.PIN_CHARACTERS
    digits: Demand = "required"
    lowercase_letters: Demand = "allowed"
    uppercase_letters: Demand = "allowed"
    special_characters: Demand = "allowed"
    simple_patterns: bool = False
    """Allowed: one character many times, steps of one size, repetitions, rows of a keyboard."""
    expiration_days: int = 0
    """A PIN that is older must be changed; 0 for never."""
    history: int = 0
    """So many PINs, the present one among them, cannot be set again."""

    def __post_init__(self) -> None:
        """Raises ``NTE_INVALID_PARAMETER``."""
        demands = [demand for _, _, demand in self._classes()]
        shortest = max(limits.SHORTEST_PIN_CHARACTERS, demands.count("required"))
        if (
            not shortest <= self.minimum_length <= self.maximum_length <= limits.PIN_CHARACTERS
            or set(demands) == {"forbidden"}
            or not 0 <= self.history <= limits.PIN_HISTORY
            or self.expiration_days < 0
        ):
            raise ncrypt_error(
                Status.NTE_INVALID_PARAMETER,
                "no PIN can follow this policy",
                f"Lengths are from {limits.SHORTEST_PIN_CHARACTERS} to {limits.PIN_CHARACTERS};"
                f" PIN_HISTORY is {limits.PIN_HISTORY}.",
            )

    def check(self, pin: Pin) -> None:
        """Raises ``NTE_VALIDATION_FAILED`` for a PIN that breaks a rule, which it names."""
        length = len(pin.characters)
        if length < self.minimum_length:
            raise _broken(f"is shorter than {self.minimum_length} characters")
        if length > self.maximum_length:
            raise _broken(f"is longer than {self.maximum_length} characters")
        for name, members, demand in self._classes():
            has_some = not members.isdisjoint(pin.characters)
            if has_some and demand == "forbidden":
                raise _broken(f"has {name}")
            if not has_some and demand == "required":
                raise _broken(f"has no {name}")
        if not self.simple_patterns:
            _check_no_pattern(pin)

    def has_expired(self, set_at: float, now: float) -> bool:
        """A PIN that was set then must be changed now; both in seconds since 1970."""
        return bool(self.expiration_days) and now - set_at >= self.expiration_days * _DAY

    def _classes(self) -> tuple[tuple[str, frozenset[int], Demand], ...]:
        return (
            ("digits", _DIGITS, self.digits),
            ("lower-case letters", _LOWER, self.lowercase_letters),
            ("upper-case letters", _UPPER, self.uppercase_letters),
            ("special characters", _SPECIAL, self.special_characters),
        )


def _check_no_pattern(pin: Pin) -> None:
    folded = pin.characters.lower()
    try:
        for is_one, what in _PATTERNS:
            if is_one(folded):
                raise _broken(f"is {what}")
    finally:
        wipe(folded)


def _has_one_step(characters: bytearray) -> bool:
    """1111, 1234, 9753, and 7418 too: of digits the last one counts, as Windows counts."""
    modulus = 10 if _DIGITS.issuperset(characters) else 0x80
    steps = {(second - first) % modulus for first, second in pairwise(characters)}
    return len(steps) == 1


def _repeats(characters: bytearray) -> bool:
    """1212, 123123, abcabca: nothing new after the first half."""
    length = len(characters)
    return any(
        all(characters[at] == characters[at - period] for at in range(period, length))
        for period in range(1, length // 2 + 1)
    )


def _is_a_row(characters: bytearray) -> bool:
    return any(characters in row or characters in row[::-1] for row in _ROWS)


_PATTERNS: Final[tuple[tuple[Callable[[bytearray], bool], str], ...]] = (
    (_has_one_step, "a sequence in equal steps"),
    (_repeats, "a repetition"),
    (_is_a_row, "a row of keys"),
)


def _broken(what: str) -> NCryptError:
    return ncrypt_error(Status.NTE_VALIDATION_FAILED, f"the new PIN {what}", "Choose another PIN.")
