"""What a virtual machine needs of this one."""

import shutil
from pathlib import Path

PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "mkfs.ext4": "e2fsprogs",
    "swtpm": "swtpm",
}
"""Programs, and the Debian packages that have them."""

_SBIN = ("/usr/sbin", "/sbin")
"""Not everybody has these in the search path."""
_KERNELS = Path(__file__).parents[2] / "build" / "vm-kernel" / "boot"
"""Where the Makefile unpacks a kernel of Debian."""


def program(name: str) -> str:
    """Its path; the bare name when it is not here."""
    return next(
        (found for path in (None, *_SBIN) if (found := shutil.which(name, path=path))), name
    )


def missing() -> str:
    """What is not here, in the words of a skipped test; empty when nothing is missing."""
    packages = [package for name, package in PROGRAMS.items() if program(name) == name]
    if not kernels():
        packages.append("a kernel in build/vm-kernel")
    return f"not here: {', '.join(packages)} (`make test-vm` gets them)" if packages else ""


def kernels() -> list[Path]:
    """The kernels that were unpacked."""
    return sorted(_KERNELS.glob("vmlinuz-*"))
