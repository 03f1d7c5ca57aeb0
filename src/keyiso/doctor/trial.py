"""A trial signature at each level, by a key that ends with the trial."""

from typing import Final

from keyiso.doctor.finding import Finding, Question
from keyiso.doctor.instance import RUNNING, Running
from keyiso.errors import NCryptError
from keyiso.keys import Key
from keyiso.protection import Protection

SIGN_SOFTWARE: Final = Question(
    "sign-software",
    "Keys of level `software` can be made and used.",
    "No key can be used, as far as is known.",
)
SIGN_VBS: Final = Question(
    "sign-vbs",
    "Keys of level `vbs` can be made and used.",
    "Keys that require `vbs` cannot be made, as far as is known.",
)

_LEVELS: Final = ((SIGN_SOFTWARE, Protection.SOFTWARE), (SIGN_VBS, Protection.REQUIRE_VBS))
_ALGORITHM: Final = "ECDSA_P256"
_DATA: Final = b"keyiso doctor"


def trial_signatures() -> tuple[Finding, ...]:
    """Make an ephemeral key of each level, sign, verify.

    The keyiso that this process uses is asked, and started if it is the user's own and does not
    run.
    """
    return tuple(_trial(question, protection) for question, protection in _LEVELS)


def no_signatures(running: Running) -> tuple[Finding, ...]:
    """What is said where there is nobody to ask."""
    if running.supervisor is None:
        why, remedy = "keyiso does not run, and asking starts nothing", RUNNING.remedy
    else:
        why, remedy = "the KeyIso service does not answer", ""
    return tuple(question.unknown(why, remedy) for question, _ in _LEVELS)


def _trial(question: Question, protection: Protection) -> Finding:
    try:
        with Key.create(None, _ALGORITHM, protection=protection) as key:
            key.verify(key.sign(_DATA), _DATA)
            level = key.protection.level
    except NCryptError as error:
        return question.no(error.cause or str(error), error.action)
    return question.yes(f"an ephemeral {_ALGORITHM} key of level {level} signed, and it verifies")
