"""The shields, as a pair has them that is armed for the purpose and attacked."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from keyiso.doctor.finding import Finding, Question
from keyiso.trustlet.arming import shields
from keyiso.trustlet.arming.shields import Answer

_NOT_ARMED: Final = "Keys that require `vbs` cannot be made."
_BPF_OPEN: Final = "Root's BPF programs and perf read armed workers too."

QUESTIONS: Final[Mapping[str, Question]] = MappingProxyType(
    {
        question.name: question
        for question in (
            Question(
                shields.SECRETMEM,
                "What a worker writes, keys included, is read by nobody else.",
                _NOT_ARMED,
                "See what is found of secret-memory, locked-memory and guard-allowed.",
            ),
            Question(
                shields.REHOMED,
                "A worker's memory and code are changed by nobody else.",
                _NOT_ARMED,
            ),
            Question(
                shields.GUARDED,
                "No debugger gets at a worker.",
                _NOT_ARMED,
            ),
            Question(
                shields.SECCOMP,
                "A worker that is taken over opens, maps and starts nothing.",
                _NOT_ARMED,
            ),
            Question(
                shields.NO_CORE,
                "No worker's memory is ever in a core file.",
                _NOT_ARMED,
            ),
            Question(
                shields.BPF_LSM,
                "BPF programs, perf and ptrace can be kept from armed workers, on the owner's"
                " consent: it forbids them to everybody on the machine.",
                _BPF_OPEN,
                "It takes a kernel with CONFIG_BPF_LSM and CONFIG_DEBUG_INFO_BTF, and bpf in its"
                " lsm= list.",
            ),
        )
    }
)


def shield_findings(probe: Callable[[], Iterable[shields.Finding]]) -> tuple[Finding, ...]:
    """What a probe finds of each shield, explained."""
    try:
        found = probe()
    except OSError as error:
        found = [shields.unknown(name, str(error)) for name in QUESTIONS]
    return tuple(_explained(one) for one in found)


def _explained(found: shields.Finding) -> Finding:
    question = QUESTIONS[found.shield]
    match found.answer:
        case Answer.YES:
            return question.yes(found.evidence)
        case Answer.NO:
            return question.no(found.evidence)
        case Answer.UNKNOWN:
            return question.unknown(found.evidence)
