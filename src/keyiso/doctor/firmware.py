"""What was there before the kernel, and what is below it."""

from typing import Final

from keyiso.doctor.finding import Finding, Question, answers
from keyiso.doctor.tree import Tree

SECURE_BOOT: Final = Question(
    "secure-boot",
    "The firmware started nothing but signed code.",
    "Whoever can write the boot disk can boot a changed kernel, which reads every key.",
    "Switch Secure Boot on in the machine's firmware.",
)
IOMMU: Final = Question(
    "iommu",
    "Devices reach the memory that the kernel gives them, and no other.",
    "A device that is plugged in, or taken over, may read all memory.",
    "Switch it on in the machine's firmware (VT-d, AMD-Vi) and boot with intel_iommu=on. A virtual"
    " machine has devices of its host only.",
)
HOST: Final = Question(
    "host-shut-out",
    "Nobody below this kernel reads its memory.",
    "Whoever runs the host of this virtual machine reads all of its memory, every key in it.",
    "Use a confidential guest (AMD SEV-SNP, Intel TDX), or a machine of your own.",
)

_FIRMWARE: Final = "/sys/firmware"
_EFI: Final = "/sys/firmware/efi"
_VARIABLES: Final = "/sys/firmware/efi/efivars"
_SECURE_BOOT: Final = "SecureBoot-"
_ATTRIBUTE_BYTES: Final = 4
"""What an EFI variable's file begins with."""

_GROUPS: Final = "/sys/kernel/iommu_groups"
_UNITS: Final = "/sys/class/iommu"
_CPU_FILE: Final = "/proc/cpuinfo"
_CONFIDENTIAL: Final = {
    "/dev/sev-guest": "AMD SEV-SNP",
    "/dev/tdx_guest": "Intel TDX",
    "/dev/nsm": "an AWS Nitro enclave",
}


@answers(SECURE_BOOT)
def secure_boot(tree: Tree) -> Finding:
    """What the firmware says of it; nothing here proves that it was the firmware."""
    if not tree.exists(_EFI):
        if tree.names(_FIRMWARE):
            return SECURE_BOOT.no(f"not booted by UEFI: there is no {_EFI}")
        return SECURE_BOOT.unknown(f"{_FIRMWARE} shows nothing")
    variable = next((name for name in tree.names(_VARIABLES) if name.startswith(_SECURE_BOOT)), "")
    if not variable:
        if tree.names(_VARIABLES):
            return SECURE_BOOT.no(f"{_VARIABLES} has no variable {_SECURE_BOOT}…")
        return SECURE_BOOT.unknown(
            "efivarfs is not mounted", f"Mount it to know: mount -t efivarfs efivarfs {_VARIABLES}"
        )
    value = tree.path(f"{_VARIABLES}/{variable}").read_bytes()[_ATTRIBUTE_BYTES:]
    if value == b"\1":
        return SECURE_BOOT.yes(f"{variable} is 1")
    return SECURE_BOOT.no(f"{variable} is {value.hex() or 'empty'}")


@answers(IOMMU)
def iommu(tree: Tree) -> Finding:
    if not tree.has_sysfs():
        return IOMMU.unknown("/sys is not mounted")
    groups, units = tree.names(_GROUPS), tree.names(_UNITS)
    if groups and units:
        return IOMMU.yes(f"{len(groups)} groups of devices behind {', '.join(units)}")
    return IOMMU.no(f"{_GROUPS} has {len(groups)} entries, {_UNITS} has {len(units)}")


@answers(HOST)
def host_shut_out(tree: Tree) -> Finding:
    """Whether there is no host, or one that cannot read. pKVM has no sign that could be read."""
    for device, kind in _CONFIDENTIAL.items():
        if tree.exists(device):
            return HOST.yes(f"a confidential guest, {kind}: {device} is there")
    flags = _cpu_flags(tree)
    if not flags:
        return HOST.unknown(f"{_CPU_FILE} has no flags")
    if "tdx_guest" in flags:
        return HOST.yes(f"a confidential guest, Intel TDX: {_CPU_FILE} has tdx_guest")
    if "hypervisor" in flags:
        return HOST.no(
            f"a virtual machine ({_CPU_FILE} has hypervisor), and not a confidential one"
        )
    return HOST.yes(f"not a virtual machine: {_CPU_FILE} does not have hypervisor")


def _cpu_flags(tree: Tree) -> frozenset[str]:
    for line in (tree.text(_CPU_FILE) or "").splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()
