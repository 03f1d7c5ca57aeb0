"""Shields: single protections, each found out by trying, never by a version number."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

SECRETMEM: Final = "secretmem"
"""What the worker writes is in memory that the kernel itself cannot reach by accident."""

REHOMED: Final = "rehomed"
"""None of the worker's memory, its code included, can be changed from outside."""

GUARDED: Final = "guarded"
"""Worker and guardian trace each other, so that nobody else can."""

SECCOMP: Final = "seccomp"
"""The worker cannot open, map, start or trace anything."""

NO_CORE: Final = "no-core"
"""No core of the worker is ever written."""

ARMED: Final = (SECRETMEM, REHOMED, GUARDED, SECCOMP, NO_CORE)
"""What an armed worker has, all of it or it is not armed."""


class Answer(enum.Enum):
    """Whether a shield is there."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found."""

    shield: str
    answer: Answer
    evidence: str
    """What was tried, and what came of it."""

    def __str__(self) -> str:
        return f"{self.shield}: {self.answer.value} ({self.evidence})"


def yes(shield: str, evidence: str) -> Finding:
    return Finding(shield, Answer.YES, evidence)


def no(shield: str, evidence: str) -> Finding:
    return Finding(shield, Answer.NO, evidence)


def unknown(shield: str, evidence: str) -> Finding:
    return Finding(shield, Answer.UNKNOWN, evidence)


def missing(findings: Iterable[Finding], required: Iterable[str] = ARMED) -> tuple[Finding, ...]:
    """Required shields that are not certainly there."""
    by_name = {finding.shield: finding for finding in findings}
    wanted = (by_name.get(name) or unknown(name, "it was not probed") for name in required)
    return tuple(finding for finding in wanted if finding.answer is not Answer.YES)
