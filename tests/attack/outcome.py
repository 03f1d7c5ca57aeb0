"""What came of an attack."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import pytest

from tests.attack.search import Search
from tests.attack.subject import Subject


@dataclass(frozen=True)
class Outcome:
    """One attack on one subject."""

    succeeded: bool
    """A secret was found, or the attacker's will was done."""
    detail: str

    def __str__(self) -> str:
        return f"{'LEAK' if self.succeeded else 'blocked'}: {self.detail}"


@dataclass(frozen=True)
class Attack:
    """One way in."""

    name: str
    run: Callable[[Subject], Outcome]
    stopped: bool = True
    """The architecture says that an armed worker withstands it. Otherwise it is only reported."""
    destructive: bool = False
    """Its subject is of no use afterwards."""
    on_bare: bool = True
    """It means something for a worker without a guardian."""


def found(search: Search, detail: str = "") -> Outcome:
    """The outcome of searching what an attack got hold of."""
    names = ", ".join(sorted(search.found)) or "nothing"
    size = f"{search.searched >> 20} MiB" if search.searched >> 20 else f"{search.searched} bytes"
    return Outcome(bool(search.found), f"{detail or size + ' read'}; found: {names}")


def found_words(words: set[tuple[str, int]], detail: str) -> Outcome:
    """The outcome of looking into registers: single words of secrets, by name and place."""
    names = ", ".join(sorted({name for name, _ in words})) or "nothing"
    return Outcome(bool(words), f"{detail}; {len(words)} words of 8 bytes found: {names}")


def impossible(why: str) -> NoReturn:
    """This machine cannot carry out the attack at all."""
    pytest.skip(why)
