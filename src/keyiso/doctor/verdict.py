"""Whether a key that requires `vbs` can be made here, for each lifetime that a key may have."""

from collections.abc import Sequence
from typing import Final

from keyiso.doctor.finding import Finding, Question
from keyiso.doctor.isolation import BOOT_ROOT
from keyiso.doctor.machine_root import MACHINE_ROOT
from keyiso.doctor.tpm import OWNER, SHA256_BANK, TPM, VERSION
from keyiso.doctor.trial import SIGN_VBS
from keyiso.trustlet.arming.shields import Answer

EPHEMERAL: Final = Question(
    "ephemeral",
    "A key without a name can require `vbs`; it ends with its process.",
    "A key without a name that requires `vbs` is refused; one that prefers it is of level"
    " `software`, where the machine lacks the means.",
)
PER_BOOT: Final = Question(
    "per-boot",
    "A key that requires `vbs` can have a name until the machine is restarted.",
    "A key for this boot that requires `vbs` is refused.",
)
PERSISTED: Final = Question(
    "persisted",
    "A key that requires `vbs` can be kept.",
    "A key to be kept that requires `vbs` is refused; one that prefers it is of level `software`,"
    " where the machine lacks the means.",
)

_OF_THE_TPM: Final = frozenset(one.name for one in (TPM, VERSION, SHA256_BANK, OWNER))
"""What enrolling takes."""


def verdicts_from(
    signatures: Sequence[Finding],
    needed: Sequence[Finding],
    workers: Sequence[Finding],
    kept: Sequence[Finding],
) -> tuple[Finding, Finding, Finding]:
    """For each lifetime. A signature that was made says more than what it takes to make one, and a
    root that is there more than what it takes to enrol one.

    ``needed`` is what arming takes, ``workers`` what those say that are armed, ``kept`` what is
    found of the TPM and of the root that it keeps.
    """
    signed = [one for one in signatures if one.name == SIGN_VBS.name]
    tried = all(one.state is not Answer.UNKNOWN for one in signed)
    ephemeral = signed if tried else needed
    boot = [one for one in workers if one.name == BOOT_ROOT.name]
    root = [one for one in kept if one.name == MACHINE_ROOT.name]
    enrolled = all(one.state is Answer.YES for one in root)
    tpm = [] if enrolled else [one for one in kept if one.name in _OF_THE_TPM]
    return (
        verdict(EPHEMERAL, ephemeral),
        verdict(PER_BOOT, [*ephemeral, *boot]),
        verdict(PERSISTED, [*ephemeral, *tpm, *root]),
    )


def verdict(question: Question, needs: Sequence[Finding]) -> Finding:
    """The weakest of what is needed decides."""
    for state, answer in ((Answer.NO, question.no), (Answer.UNKNOWN, question.unknown)):
        missing = [need for need in needs if need.state is state]
        if missing:
            names = ", ".join(need.name for need in missing)
            remedy = next((need.remedy for need in missing if need.remedy), "")
            return answer(f"{names}: {missing[0].evidence}", remedy)
    return question.yes(f"{', '.join(need.name for need in needs)}: yes")
