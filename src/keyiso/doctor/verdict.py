"""Whether a key that requires `vbs` can be made here, for each lifetime that a key may have."""

from collections.abc import Sequence
from typing import Final

from keyiso.doctor.finding import Finding, Question
from keyiso.trustlet.arming.shields import Answer

EPHEMERAL: Final = Question(
    "ephemeral",
    "A key without a name can require `vbs`; it ends with its process.",
    "A key without a name that requires `vbs` is refused with NTE_VBS_UNAVAILABLE; with"
    " `prefer-vbs` it is of level `software`.",
)
PER_BOOT: Final = Question(
    "per-boot",
    "A key that requires `vbs` can have a name until the machine is restarted.",
    "A key for this boot that requires `vbs` is refused with NTE_VBS_UNAVAILABLE.",
)
PERSISTED: Final = Question(
    "persisted",
    "A key that requires `vbs` can be kept.",
    "A key to be kept that requires `vbs` is refused with NTE_VBS_UNAVAILABLE; with `prefer-vbs`"
    " it is of level `software`.",
)


def verdict(question: Question, needs: Sequence[Finding]) -> Finding:
    """The weakest of what is needed decides."""
    for state, answer in ((Answer.NO, question.no), (Answer.UNKNOWN, question.unknown)):
        missing = [need for need in needs if need.state is state]
        if missing:
            names = ", ".join(need.name for need in missing)
            remedy = next((need.remedy for need in missing if need.remedy), "")
            return answer(f"{names}: {missing[0].evidence}", remedy)
    return question.yes(f"all that it takes is there: {', '.join(need.name for need in needs)}")
