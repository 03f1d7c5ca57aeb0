"""What a level stops, and what it does not."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Level:
    """A level of protection, or what is added to it."""

    name: str
    stops: tuple[str, ...]
    not_stopped: tuple[str, ...]


SOFTWARE: Final = Level(
    "software",
    ("other users", "memory bugs of the application"),
    ("root",),
)
VBS: Final = Level(
    "vbs",
    ("root's reading of memory: /proc/PID/mem, ptrace, debuggers, core dumps, injection",),
    (
        "eBPF and perf by root",
        "a fraction of a register in a kill race",
        "changed code at the next start",
        "kernel modules",
        "use as a signing oracle",
    ),
)
TPM: Final = Level(
    "tpm",
    ("copied disks",),
    ("a process of this boot that asks the TPM, unless latched",),
)
LATCHED: Final = Level(
    "latched",
    ("changed code at a restart", "root with tpm2-tools"),
    ("code changed before boot, unless secure boot measures it",),
)
