"""What the keyiso that runs says of its armed workers."""

from typing import Final

from keyiso.doctor.finding import Finding, Question
from keyiso.wire.results import Isolation

ARMED: Final = Question(
    "vbs-workers",
    "Armed workers serve.",
    "Keys that require `vbs` cannot be made, nor used, as far as is known.",
)
BOOT_ROOT: Final = Question(
    "boot-root",
    "The armed workers have the root of this boot, which seals ephemeral and per-boot keys.",
    "Ephemeral and per-boot keys of level `vbs` cannot be made, as far as is known.",
)


def isolation_findings(isolation: Isolation) -> tuple[Finding, Finding]:
    """Of a keyiso that runs: the armed workers, and the root of this boot."""
    return _armed(isolation), _boot_root(isolation)


def _armed(isolation: Isolation) -> Finding:
    match isolation.state:
        case "armed":
            shields = ", ".join(f"{one.shield} {one.answer}" for one in isolation.findings)
            return ARMED.yes(f"they found of themselves: {shields}")
        case "unavailable":
            return ARMED.no(isolation.cause, isolation.action)
        case "starting":
            return ARMED.unknown(isolation.cause, "Ask again.")


def _boot_root(isolation: Isolation) -> Finding:
    if isolation.state != "armed":
        return BOOT_ROOT.unknown("no armed worker serves")
    if isolation.boot_root == "present":
        return BOOT_ROOT.yes("the armed workers say so")
    return BOOT_ROOT.no(
        isolation.root_cause or "the armed workers have none", isolation.root_action
    )
