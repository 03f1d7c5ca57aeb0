"""What an instance requires of ``vbs`` keys, besides what armed workers always have."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

LATCHED: Final = "latched"
"""Of stored keys: the TPM gives their roots out once in a boot."""

BPF_LSM: Final = "bpf-lsm"
"""Of all of them: a shield in the kernel is up, which refuses tracing of pairs to everybody, by BPF
and perf too.
"""


@dataclass(frozen=True, slots=True)
class RequiredShields:
    """Names of shields, each with the file that it stands in."""

    files: Mapping[str, Path] = field(default_factory=dict)

    def __contains__(self, shield: str) -> bool:
        return shield in self.files

    def lacking(self, shield: str, what_is: str, action: str) -> NCryptError:
        """What a key is refused with that would have to do without one of them."""
        return ncrypt_error(
            Status.NTE_VBS_UNAVAILABLE,
            f"{self.files[shield]} requires '{shield}' of vbs keys, and {what_is}",
            f"{action}, or take '{shield}' off that list and start keyiso again.",
        )
