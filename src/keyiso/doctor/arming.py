"""The shields, as a pair has them that is armed for the purpose and attacked."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from keyiso.doctor.finding import Finding, Question, answers
from keyiso.errors import NCryptError
from keyiso.required_shields import BPF_LSM
from keyiso.trustlet.arming import shields
from keyiso.trustlet.arming.shields import Answer
from keyiso.wire.results import ShieldFinding

_NOT_ARMED: Final = "Keys that require `vbs` cannot be made."

QUESTIONS: Final[Mapping[str, Question]] = MappingProxyType(
    {
        shield: Question(shield, good, _NOT_ARMED)
        for shield, good in {
            shields.SECRETMEM: "What a worker writes, keys included, is read by nobody else.",
            shields.REHOMED: "A worker's memory, its code too, is changed by nobody else.",
            shields.GUARDED: "No debugger gets at a worker.",
            shields.SECCOMP: "A worker that is taken over opens, maps and starts nothing.",
            shields.NO_CORE: "No worker's memory is ever in a core file.",
        }.items()
    }
)
BPF: Final = Question(
    BPF_LSM,
    "BPF programs, perf and ptrace can be kept from armed workers, if the machine's owner consents:"
    " it forbids them to everybody.",
    "Root's BPF programs and perf read armed workers too.",
    "It takes a kernel with CONFIG_BPF_LSM and CONFIG_DEBUG_INFO_BTF, and bpf in its lsm= list.",
)


def probed_shields(probe: Callable[[], Iterable[shields.Finding]]) -> tuple[Finding, ...]:
    """What a probe finds of each shield that an armed worker has."""
    try:
        found = tuple(probe())
    except (NCryptError, OSError) as error:
        return _unknown(str(error))
    return tuple(_answer(QUESTIONS[one.shield], one) for one in found if one.shield in QUESTIONS)


def missing_shields(ingredients: Sequence[Finding]) -> tuple[Finding, ...]:
    """What is said of the shields where arming lacks something; nothing where it does not."""
    lacking = [one.name for one in ingredients if one.state is Answer.NO]
    return _unknown(f"nothing was armed, for lack of {', '.join(lacking)}") if lacking else ()


def told_shields(found: Iterable[Finding], told: Iterable[ShieldFinding]) -> tuple[Finding, ...]:
    """What could not be found out, on the word of the armed workers that serve."""
    words = {one.shield: one for one in told}
    return tuple(
        _answer(QUESTIONS[one.name], _as_finding(words[one.name]))
        if one.state is Answer.UNKNOWN and one.name in words
        else one
        for one in found
    )


@answers(BPF)
def bpf_lsm(probe: Callable[[], shields.Finding], held_up: Collection[str] = ()) -> Finding:
    """Whether the kernel takes the programs of that shield; only root can try. One of the shields
    that a keyiso holds up answers for itself, and refuses the trial.
    """
    if BPF_LSM in held_up:
        return BPF.yes("it is up: keyiso serves with it")
    found = probe()
    if found.answer is Answer.UNKNOWN and os.geteuid() != 0:
        return BPF.unknown(found.evidence, "Ask as root.")
    return _answer(BPF, found)


def _unknown(evidence: str) -> tuple[Finding, ...]:
    return tuple(question.unknown(evidence) for question in QUESTIONS.values())


def _as_finding(told: ShieldFinding) -> shields.Finding:
    evidence = f"an armed worker that serves: {told.evidence}"
    return shields.Finding(told.shield, Answer(told.answer), evidence)


def _answer(question: Question, found: shields.Finding) -> Finding:
    match found.answer:
        case Answer.YES:
            return question.yes(found.evidence)
        case Answer.NO:
            return question.no(found.evidence)
        case Answer.UNKNOWN:
            return question.unknown(found.evidence)
