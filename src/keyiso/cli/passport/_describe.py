"""How a container stands, in words and for programs."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from keyiso.cli._fingerprints import fingerprint_text
from keyiso.cli._output import printable
from keyiso.wire.passport import ContainerState

_PROTECTORS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tpm": "tpm: the TPM counts wrong PINs",
        "software": "software: a file counts wrong PINs, which is weaker than a TPM",
    }
)


def container_rows(state: ContainerState) -> list[tuple[str, str | list[str]]]:
    """What keeps the PIN, and what all the same is not stopped."""
    lock = f"for another {state.locked_seconds} seconds at most" if state.locked_seconds else "no"
    return [
        ("Container", state.container_id.hex()),
        ("Kept by", _PROTECTORS.get(state.protector, printable(state.protector))),
        ("Attempts left", str(state.attempts_left)),
        ("Locked", lock),
        ("Expired", "yes: change the PIN" if state.has_expired else "no"),
        ("Reset key", fingerprint_text(state.reset_key) if state.reset_key else "none"),
        ("Not stopped", [f"- {printable(threat)}" for threat in state.not_stopped] or "-"),
    ]


def container_object(state: ContainerState) -> dict[str, Any]:
    """The same for programs."""
    return {
        "enrolled": True,
        "container_id": state.container_id.hex(),
        "protector": state.protector,
        "attempts_left": state.attempts_left,
        "locked_seconds": state.locked_seconds,
        "expired": state.has_expired,
        "reset_key": fingerprint_text(state.reset_key) if state.reset_key else None,
        "not_stopped": list(state.not_stopped),
    }
