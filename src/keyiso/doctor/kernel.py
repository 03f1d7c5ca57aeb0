"""What root can have the kernel do, and what the kernel refuses to root."""

import os
from typing import Final

from keyiso.doctor.finding import Finding, Question, answers
from keyiso.doctor.tree import Tree

LOCKDOWN: Final = Question(
    "lockdown",
    "The kernel refuses to be changed by root.",
    "Root may be able to change the kernel while it runs, and with it read every key.",
    "Boot with lockdown=integrity, or with Secure Boot where the distribution ties it to that.",
)
MODULES: Final = Question(
    "modules-closed",
    "Root cannot bring code of its own into the kernel as a module.",
    "Root can load a kernel module, and with it read every key, `vbs` or not.",
    "Have the kernel want signed modules (module.sig_enforce=1, or lockdown), or close it once"
    " everything is loaded: sysctl kernel.modules_disabled=1.",
)
KEXEC: Final = Question(
    "kexec-closed",
    "Root cannot start another kernel over this one.",
    "Root can start a kernel of its own over this one, which finds the memory as it was.",
    "sysctl kernel.kexec_load_disabled=1",
)
DEV_MEM: Final = Question(
    "dev-mem-closed",
    "Physical memory cannot be read as a file.",
    "Root can read all physical memory, that of armed workers too.",
    "Use a kernel with STRICT_DEVMEM, as distributions have it, or boot with lockdown=integrity.",
)
KCORE: Final = Question(
    "kcore-closed",
    "The kernel's view of memory cannot be read as a file.",
    "Root can read what the kernel has mapped: all keys of level `software`. Secret memory is not"
    " among it, so that an armed worker's keys are not.",
    "Boot with lockdown=confidentiality.",
)
HIBERNATION: Final = Question(
    "hibernation-off",
    "Memory is never written to a disk as a whole.",
    "A hibernating machine writes keys of level `software` to its disk, and waking lifts the TPM's"
    " latch. As long as an armed worker runs, the kernel refuses to hibernate.",
    "Switch it off: boot with nohibernate, or mask systemd's hibernate.target.",
)

_LOCKDOWN_FILE: Final = "/sys/kernel/security/lockdown"
_LSM_FILE: Final = "/sys/kernel/security/lsm"
_MODULES_FILE: Final = "/proc/sys/kernel/modules_disabled"
_SIGNED_FILE: Final = "/sys/module/module/parameters/sig_enforce"
_KEXEC_FILE: Final = "/proc/sys/kernel/kexec_load_disabled"
_DISK_FILE: Final = "/sys/power/disk"
_IOMEM_FILE: Final = "/proc/iomem"
_DEV_MEM: Final = "/dev/mem"
_KCORE: Final = "/proc/kcore"

_NOT_MOUNTED: Final = "securityfs is not mounted"
_MOUNT: Final = "Mount it to know: mount -t securityfs securityfs /sys/kernel/security"
_NO_SYSCTL: Final = "/proc/sys is not there"
_FIRST_MEBIBYTE: Final = 1 << 20
"""Below, /dev/mem may always be read: it is for old firmware."""


@answers(LOCKDOWN)
def lockdown(tree: Tree) -> Finding:
    """Whether the kernel is locked down (kernel_lockdown(7)), for integrity at least."""
    mode = _lockdown_mode(tree)
    if mode is None:
        return LOCKDOWN.unknown(_NOT_MOUNTED, _MOUNT)
    if not mode:
        return LOCKDOWN.no("the kernel has no lockdown module")
    if mode == "none":
        return LOCKDOWN.no(f"{_LOCKDOWN_FILE} says none")
    return LOCKDOWN.yes(f"{_LOCKDOWN_FILE} says {mode}")


@answers(MODULES)
def modules_closed(tree: Tree) -> Finding:
    """Whether modules are unwanted, or wanted with a signature."""
    if not tree.has_sysctl():
        return MODULES.unknown(_NO_SYSCTL)
    disabled = tree.text(_MODULES_FILE)
    if disabled is None:
        return MODULES.yes(f"a kernel without modules: it has no {_MODULES_FILE}")
    if disabled == "1":
        return MODULES.yes(f"{_MODULES_FILE} is 1")
    if tree.text(_SIGNED_FILE) == "Y":
        return MODULES.yes(f"only signed ones: {_SIGNED_FILE} is Y")
    return _closed_by_lockdown(MODULES, tree, f"{_MODULES_FILE} is {disabled}")


@answers(KEXEC)
def kexec_closed(tree: Tree) -> Finding:
    """Whether kexec_load(2) is shut."""
    if not tree.has_sysctl():
        return KEXEC.unknown(_NO_SYSCTL)
    disabled = tree.text(_KEXEC_FILE)
    if disabled is None:
        return KEXEC.yes(f"a kernel without kexec: it has no {_KEXEC_FILE}")
    if disabled == "1":
        return KEXEC.yes(f"{_KEXEC_FILE} is 1")
    return _closed_by_lockdown(KEXEC, tree, f"{_KEXEC_FILE} is {disabled}")


@answers(DEV_MEM)
def dev_mem_closed(tree: Tree) -> Finding:
    """Whether a byte of ordinary memory can be read there; only root can try."""
    if not tree.exists(_DEV_MEM):
        return DEV_MEM.yes(f"there is no {_DEV_MEM}")
    try:
        device = os.open(tree.path(_DEV_MEM), os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        return _refused(DEV_MEM, _DEV_MEM)
    try:
        address = _memory_address(tree)
        if address is None:
            return DEV_MEM.unknown(f"{_IOMEM_FILE} does not say where memory is")
        os.pread(device, 1, address)
    except PermissionError:
        return DEV_MEM.yes(f"reading {_DEV_MEM} at {address:#x} was refused")
    finally:
        os.close(device)
    return DEV_MEM.no(f"{_DEV_MEM} could be read at {address:#x}")


@answers(KCORE)
def kcore_closed(tree: Tree) -> Finding:
    """Whether it can be opened; only root can try."""
    if not tree.exists(_KCORE):
        return KCORE.yes(f"there is no {_KCORE}")
    try:
        os.close(os.open(tree.path(_KCORE), os.O_RDONLY | os.O_CLOEXEC))
    except PermissionError:
        return _refused(KCORE, _KCORE)
    return KCORE.no(f"{_KCORE} could be opened")


@answers(HIBERNATION)
def hibernation_off(tree: Tree) -> Finding:
    """Whether the kernel would hibernate now."""
    if not tree.has_sysfs():
        return HIBERNATION.unknown("/sys is not mounted")
    modes = tree.text(_DISK_FILE)
    if modes is None:
        return HIBERNATION.yes(f"a kernel that cannot hibernate: it has no {_DISK_FILE}")
    if modes == "[disabled]":
        return HIBERNATION.yes(f"{_DISK_FILE} is [disabled]")
    return HIBERNATION.no(f"{_DISK_FILE} is {modes}")


def _lockdown_mode(tree: Tree) -> str | None:
    """``none``, ``integrity``, ``confidentiality``, or nothing where the kernel has no lockdown.
    None: it cannot be known.
    """
    if tree.text(_LSM_FILE) is None:
        return None
    line = tree.text(_LOCKDOWN_FILE)
    return "" if line is None else line.partition("[")[2].partition("]")[0]


def _closed_by_lockdown(question: Question, tree: Tree, evidence: str) -> Finding:
    """What is open by itself, and shut by a lockdown."""
    mode = _lockdown_mode(tree)
    if mode is None:
        return question.unknown(f"{evidence}; whether the kernel is locked down: {_NOT_MOUNTED}")
    if mode in ("", "none"):
        return question.no(f"{evidence}, and the kernel is not locked down")
    return question.yes(f"{evidence}, but the kernel is locked down ({mode})")


def _refused(question: Question, name: str) -> Finding:
    if os.geteuid() == 0:
        return question.yes(f"opening {name} is refused to root")
    return question.unknown(f"only root may try to open {name}", "Ask as root.")


def _memory_address(tree: Tree) -> int | None:
    """Where ordinary memory begins that is above the first mebibyte; root alone is told."""
    for line in (tree.text(_IOMEM_FILE) or "").splitlines():
        span, _, what = line.partition(" : ")
        start, _, end = span.partition("-")
        if what == "System RAM" and int(end, 16) > _FIRST_MEBIBYTE:
            return max(int(start, 16), _FIRST_MEBIBYTE)
    return None
