"""Questions about a machine, and answers."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec

from keyiso.trustlet.arming.shields import Answer

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Finding:
    """An answer, and what follows from it."""

    name: str
    state: Answer
    evidence: str
    """What was looked at, and what came of it."""
    consequence: str
    """What that means for keys."""
    remedy: str
    """What to do; empty when there is nothing to do."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something that is good for keys when it is so."""

    name: str
    good: str
    """What it means for keys that it is so."""
    bad: str
    """What it means that it is not so, or may not be so."""
    remedy: str = ""

    def yes(self, evidence: str) -> Finding:
        return Finding(self.name, Answer.YES, evidence, self.good, "")

    def no(self, evidence: str, remedy: str | None = None) -> Finding:
        return self._not(Answer.NO, evidence, remedy)

    def unknown(self, evidence: str, remedy: str | None = None) -> Finding:
        return self._not(Answer.UNKNOWN, evidence, remedy)

    def _not(self, state: Answer, evidence: str, remedy: str | None) -> Finding:
        return Finding(
            self.name, state, evidence, self.bad, self.remedy if remedy is None else remedy
        )


def answers(question: Question) -> Callable[[Callable[P, Finding]], Callable[P, Finding]]:
    """Of a function that answers a question: what it cannot look at is *unknown*."""

    def decorate(look: Callable[P, Finding]) -> Callable[P, Finding]:
        @functools.wraps(look)
        def asked(*arguments: P.args, **named: P.kwargs) -> Finding:
            try:
                return look(*arguments, **named)
            except OSError as error:
                where = f"{error.filename}: " if error.filename else ""
                return question.unknown(f"{where}{error.strerror or type(error).__name__}")

        return asked

    return decorate
