"""What an instance requires of ``vbs`` keys, besides what armed workers always have."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

LATCHED: Final = "latched"
"""Of stored keys: the TPM gives their roots out once in a boot."""

BPF_LSM: Final = "bpf-lsm"
"""Of all of them: the shield in the kernel is up."""


@dataclass(frozen=True, slots=True)
class RequiredShields:
    """Names of shields, and where they stand."""

    names: frozenset[str] = frozenset()
    file: Path | None = None

    def lacking(self, shield: str, what_is: str, action: str) -> NCryptError:
        """What a key is refused with that would have to do without one of them."""
        return ncrypt_error(
            Status.NTE_VBS_UNAVAILABLE,
            f"{self.file} requires '{shield}' of vbs keys, and {what_is}",
            f"{action}, or take '{shield}' off that list and start keyiso again.",
        )
