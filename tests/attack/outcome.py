"""What came of an attack."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import pytest

from tests.attack.search import Search
from tests.attack.target import KINDS, PAIRS, Kind, Target


@dataclass(frozen=True)
class Outcome:
    """One attack on one subject."""

    succeeded: bool
    """A secret was found, or the attacker's will was done."""
    detail: str
    size: int = 0
    """How much was found. Of several tries the best one is shown."""


@dataclass(frozen=True)
class Attack:
    """One way in."""

    name: str
    run: Callable[[Target], Outcome]
    stopped: bool = True
    """The architecture says that an armed worker withstands it. Otherwise it is only reported."""
    destructive: bool = False
    """Its subject is of no use afterwards."""
    kinds: tuple[Kind, ...] = KINDS
    """What it means something for."""
    controls: tuple[Kind, ...] = ("bare", "software")
    """Where it must succeed, or the attack proves nothing."""
    times: int = 1
    """How often it is tried, each time on another subject: it depends on chance."""

    def must(self, kind: Kind) -> str:
        """The outcome that there must be; empty where it is only reported."""
        if kind in self.controls:
            return SUCCEEDS
        return FAILS if self.stopped and kind in PAIRS else ""


SUCCEEDS = "succeeds"
FAILS = "fails"
_SKIPPED = "skipped: "


@dataclass(frozen=True)
class Row:
    """What was measured of one attack on one level."""

    attack: str
    level: str
    outcome: str
    """`SUCCEEDS`, `FAILS`, or why it was skipped."""
    evidence: str

    @property
    def skipped(self) -> bool:
        return self.outcome.startswith(_SKIPPED)

    def __str__(self) -> str:
        return f"{self.attack}, {self.level}: {self.outcome} ({self.evidence})"


def measure(attack: Attack, kind: Kind, start: Callable[[Kind], Target]) -> Row:
    """Carry out an attack. A subject that was not to be destroyed still serves afterwards."""
    outcomes = []
    try:
        for _ in range(attack.times):
            subject = start(kind)
            outcomes.append(attack.run(subject))
            if not attack.destructive:
                subject.use_keys()
    except pytest.skip.Exception as skipped:
        return Row(attack.name, kind, f"{_SKIPPED}{skipped}", "")
    successes = [outcome for outcome in outcomes if outcome.succeeded]
    evidence = max(successes or outcomes, key=lambda outcome: outcome.size).detail
    if attack.times > 1:
        evidence = f"{len(successes)} of {attack.times} tries; the best one: {evidence}"
    return Row(attack.name, kind, SUCCEEDS if successes else FAILS, evidence)


def found(search: Search, detail: str = "") -> Outcome:
    """The outcome of searching what an attack got hold of."""
    names = ", ".join(sorted(search.found)) or "nothing"
    size = f"{search.searched >> 20} MiB" if search.searched >> 20 else f"{search.searched} bytes"
    return Outcome(bool(search.found), f"{detail or size + ' read'}; found: {names}")


def found_words(words: set[tuple[str, int]], detail: str) -> Outcome:
    """The outcome of looking into registers: single words of secrets, by name and place."""
    names = ", ".join(sorted({name for name, _ in words})) or "nothing"
    detail = f"{detail}; {len(words)} words of 8 bytes found: {names}"
    return Outcome(bool(words), detail, len(words))


def impossible(why: str) -> NoReturn:
    """This machine cannot carry out the attack at all."""
    pytest.skip(why)
