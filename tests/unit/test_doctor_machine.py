"""What ``keyiso doctor`` makes of other machines, shown to it as trees of files."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from keyiso.doctor import firmware, kernel, tracing
from keyiso.doctor.finding import Finding
from keyiso.doctor.memory import WORKER_BYTES, locked_memory, secret_memory
from keyiso.doctor.tree import Tree
from keyiso.trustlet.arming.kernel import cannot_arm
from keyiso.trustlet.arming.shields import Answer

Look = Callable[[Tree], Finding]

LSM = "/sys/kernel/security/lsm"
LOCKDOWN = "/sys/kernel/security/lockdown"
MODULES = "/proc/sys/kernel/modules_disabled"
SIGNED = "/sys/module/module/parameters/sig_enforce"
KEXEC = "/proc/sys/kernel/kexec_load_disabled"
DISK = "/sys/power/disk"
YAMA = "/proc/sys/kernel/yama/ptrace_scope"
UPROBES = "/sys/kernel/tracing/uprobe_events"
OLD_UPROBES = "/sys/kernel/debug/tracing/uprobe_events"
USERS_BPF = "/proc/sys/kernel/unprivileged_bpf_disabled"
USERS_PERF = "/proc/sys/kernel/perf_event_paranoid"
SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
OTHER_VARIABLE = "/sys/firmware/efi/efivars/BootCurrent-8be4df61-93ca-11d2-aa0d-00e098032b8c"
CPU = "/proc/cpuinfo"

SYSCTL = {"/proc/sys/kernel/ostype": "Linux\n"}
SYSFS = {"/sys/kernel/vmcoreinfo": "0\n"}
DEBIAN_LSM = "lockdown,capability,landlock,yama,apparmor,tomoyo,bpf\n"
OPEN = {LSM: DEBIAN_LSM, LOCKDOWN: "[none] integrity confidentiality\n"}
LOCKED = {LSM: DEBIAN_LSM, LOCKDOWN: "none [integrity] confidentiality\n"}
WITHOUT = {LSM: "capability,landlock\n"}
"""Kernels that can be locked down, that are, and that know of no such thing."""


def machine(root: Path, files: Mapping[str, str | bytes | None]) -> Tree:
    """A machine that has these files, and those that are None as directories."""
    for name, content in files.items():
        path = root / name.lstrip("/")
        if content is None:
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Tree(root)


@pytest.mark.parametrize(
    ("look", "files", "expected"),
    [
        # Nothing mounted, or masked as in a container.
        (kernel.lockdown, {}, "unknown: securityfs is not mounted"),
        (kernel.lockdown, {"/sys/kernel/security": None}, "unknown: securityfs is not mounted"),
        (kernel.modules_closed, {}, "unknown: /proc/sys is not there"),
        (kernel.kexec_closed, {}, "unknown: /proc/sys is not there"),
        (kernel.hibernation_off, {}, "unknown: /sys is not mounted"),
        (tracing.no_uprobes, {}, "unknown: the kernel shows no list"),
        (tracing.no_uprobes, {"/sys/kernel/tracing": None}, "unknown: tracefs is not mounted"),
        (tracing.users_bpf_off, {}, "unknown: /proc/sys is not there"),
        (tracing.users_perf_off, {}, "unknown: /proc/sys is not there"),
        (firmware.secure_boot, {}, "unknown: /sys/firmware shows nothing"),
        (firmware.secure_boot, {"/sys/firmware": None}, "unknown: /sys/firmware shows nothing"),
        (firmware.iommu, {}, "unknown: /sys is not mounted"),
        (firmware.host_shut_out, {}, "unknown: /proc/cpuinfo has no flags"),
        # Lockdown.
        (kernel.lockdown, OPEN, "no: /sys/kernel/security/lockdown says none"),
        (kernel.lockdown, LOCKED, "yes: /sys/kernel/security/lockdown says integrity"),
        (
            kernel.lockdown,
            {**LOCKED, LOCKDOWN: "none integrity [confidentiality]\n"},
            "yes: /sys/kernel/security/lockdown says confidentiality",
        ),
        (kernel.lockdown, WITHOUT, "no: the kernel has no lockdown module"),
        # Modules.
        (kernel.modules_closed, SYSCTL, "yes: a kernel without modules"),
        (kernel.modules_closed, {MODULES: "1\n"}, f"yes: {MODULES} is 1"),
        (kernel.modules_closed, {MODULES: "0\n", SIGNED: "Y\n"}, "yes: only signed ones"),
        (kernel.modules_closed, {MODULES: "0\n", SIGNED: "N\n", **OPEN}, f"no: {MODULES} is 0"),
        (kernel.modules_closed, {MODULES: "0\n", **LOCKED}, f"yes: {MODULES} is 0, but"),
        (kernel.modules_closed, {MODULES: "0\n", **WITHOUT}, f"no: {MODULES} is 0"),
        (kernel.modules_closed, {MODULES: "0\n", SIGNED: "N\n"}, "unknown: "),
        # kexec.
        (kernel.kexec_closed, SYSCTL, "yes: a kernel without kexec"),
        (kernel.kexec_closed, {KEXEC: "1\n"}, f"yes: {KEXEC} is 1"),
        (kernel.kexec_closed, {KEXEC: "0\n", **OPEN}, f"no: {KEXEC} is 0"),
        (kernel.kexec_closed, {KEXEC: "0\n", **LOCKED}, f"yes: {KEXEC} is 0, but"),
        (kernel.kexec_closed, {KEXEC: "0\n"}, "unknown: "),
        # Memory as a file. An ordinary file lets itself be read, as a careless kernel does.
        (kernel.dev_mem_closed, {}, "yes: there is no /dev/mem"),
        (
            kernel.dev_mem_closed,
            {"/dev/mem": "", "/proc/iomem": "00001000-0009fbff : System RAM\n"},
            "unknown: /proc/iomem does not say",
        ),
        (
            kernel.dev_mem_closed,
            {
                "/dev/mem": "",
                "/proc/iomem": "00001000-0009fbff : System RAM\n00100000-bfffffff : System RAM\n",
            },
            "no: /dev/mem could be read at 0x100000",
        ),
        (kernel.kcore_closed, {}, "yes: there is no /proc/kcore"),
        (kernel.kcore_closed, {"/proc/kcore": ""}, "no: /proc/kcore could be opened"),
        # Hibernation.
        (kernel.hibernation_off, SYSFS, "yes: a kernel that cannot hibernate"),
        (kernel.hibernation_off, {**SYSFS, DISK: "[disabled]\n"}, f"yes: {DISK} is [disabled]"),
        (
            kernel.hibernation_off,
            {**SYSFS, DISK: "[platform] shutdown reboot suspend test_resume\n"},
            f"no: {DISK} is [platform]",
        ),
        # Tracing.
        (tracing.no_uprobes, {UPROBES: ""}, f"yes: {UPROBES} is empty"),
        (tracing.no_uprobes, {UPROBES: "p:a\np:b\n"}, f"no: {UPROBES} has 2"),
        (tracing.no_uprobes, {OLD_UPROBES: "p:a\n"}, f"no: {OLD_UPROBES} has 1"),
        (tracing.users_bpf_off, SYSCTL, "yes: a kernel without BPF"),
        (tracing.users_bpf_off, {USERS_BPF: "0\n"}, f"no: {USERS_BPF} is 0"),
        (tracing.users_bpf_off, {USERS_BPF: "1\n"}, f"yes: {USERS_BPF} is 1"),
        (tracing.users_bpf_off, {USERS_BPF: "2\n"}, f"yes: {USERS_BPF} is 2"),
        (tracing.users_perf_off, SYSCTL, "yes: a kernel without perf"),
        (tracing.users_perf_off, {USERS_PERF: "-1\n"}, f"no: {USERS_PERF} is -1"),
        (tracing.users_perf_off, {USERS_PERF: "0\n"}, f"no: {USERS_PERF} is 0"),
        (tracing.users_perf_off, {USERS_PERF: "1\n"}, f"yes: {USERS_PERF} is 1"),
        (tracing.users_perf_off, {USERS_PERF: "4\n"}, f"yes: {USERS_PERF} is 4"),
        # Firmware. A variable begins with four bytes of attributes.
        (firmware.secure_boot, {"/sys/firmware/acpi": None}, "no: not booted by UEFI"),
        (
            firmware.secure_boot,
            {"/sys/firmware/efi/efivars": None},
            "unknown: efivarfs is not mounted",
        ),
        (firmware.secure_boot, {SECURE_BOOT: b"\6\0\0\0\1"}, "yes: "),
        (firmware.secure_boot, {SECURE_BOOT: b"\6\0\0\0\0"}, "no: "),
        (firmware.secure_boot, {SECURE_BOOT: b"\1\0\0\0\0"}, "no: "),
        (firmware.secure_boot, {SECURE_BOOT: b""}, "no: "),
        (firmware.secure_boot, {OTHER_VARIABLE: b"\7\0\0\0\0\0"}, "no: "),
        (firmware.iommu, SYSFS, "no: "),
        (
            firmware.iommu,
            {"/sys/kernel/iommu_groups/0": None, "/sys/class/iommu/dmar0": None},
            "yes: 1 groups of devices behind dmar0",
        ),
        (firmware.host_shut_out, {CPU: "flags\t\t: fpu vme\n"}, "yes: not a virtual machine"),
        (firmware.host_shut_out, {CPU: "flags\t\t: fpu hypervisor\n"}, "no: a virtual machine"),
        (
            firmware.host_shut_out,
            {CPU: "flags\t\t: hypervisor tdx_guest\n"},
            "yes: a confidential guest, Intel TDX",
        ),
        (
            firmware.host_shut_out,
            {CPU: "flags\t\t: hypervisor\n", "/dev/sev-guest": ""},
            "yes: a confidential guest, AMD SEV-SNP",
        ),
    ],
)
def test_a_machine_is_seen_as_it_is(
    look: Look, files: Mapping[str, str | bytes | None], expected: str, tmp_path: Path
) -> None:
    finding = look(machine(tmp_path, files))

    assert f"{finding.state.value}: {finding.evidence}".startswith(expected)
    assert finding.consequence
    if finding.state is Answer.YES:
        assert not finding.remedy
    if finding.state is Answer.NO:
        assert finding.remedy


@pytest.mark.parametrize(
    ("scope", "uid", "state"),
    [
        (None, 1000, Answer.YES),
        ("0\n", 1000, Answer.YES),
        ("1\n", 1000, Answer.YES),
        ("2\n", 1000, Answer.NO),
        ("2\n", 0, Answer.YES),
        ("3\n", 0, Answer.NO),
        ("3\n", 1000, Answer.NO),
    ],
)
def test_yama_can_forbid_the_guard(
    scope: str | None, uid: int, state: Answer, tmp_path: Path
) -> None:
    files = SYSCTL if scope is None else {YAMA: scope}

    assert tracing.guard_allowed(machine(tmp_path, files), uid).state is state


def test_without_proc_it_is_unknown_whether_yama_does(tmp_path: Path) -> None:
    assert tracing.guard_allowed(Tree(tmp_path), 0).state is Answer.UNKNOWN


@pytest.mark.parametrize(
    ("limit", "capabilities", "state"),
    [
        ("unlimited", "0", Answer.YES),
        (str(WORKER_BYTES), "0", Answer.YES),
        (str(WORKER_BYTES - 1), "0", Answer.NO),
        ("8388608", "0", Answer.NO),
        ("8388608", f"{1 << 14:x}", Answer.YES),
        ("8388608", f"{1 << 24:x}", Answer.YES),
        ("8388608", f"{~(1 << 14 | 1 << 24) & 0x1FFFFFFFFFF:x}", Answer.NO),
    ],
)
def test_locked_memory_is_a_limit_or_a_capability(
    limit: str, capabilities: str, state: Answer, tmp_path: Path
) -> None:
    soft = "65536" if limit != "unlimited" else limit
    tree = machine(
        tmp_path,
        {
            "/proc/7/limits": f"Max locked memory         {soft}    {limit}    bytes\n",
            "/proc/7/status": f"Name:\tkeyiso\nCapEff:\t{capabilities}\n",
        },
    )

    assert locked_memory(tree, "7").state is state
    assert locked_memory(tree, "8").state is Answer.UNKNOWN


def test_a_kernel_without_secret_memory() -> None:
    def refuse() -> None:
        raise cannot_arm("none here", "Boot another one.")

    finding = secret_memory(refuse)

    assert (finding.state, finding.evidence) == (Answer.NO, "none here")
    assert finding.remedy == "Boot another one."


@pytest.mark.parametrize(
    ("loaded", "expected"),
    [
        ((), "yes: the kernel lists none"),
        (("kprobe 7",), "no: kprobe 7"),
        (tuple(f"tracing {number}" for number in range(5)), "no: tracing 0, tracing 1, tracing 2"),
        (None, "unknown: "),
    ],
)
def test_programs_that_trace(loaded: tuple[str, ...] | None, expected: str) -> None:
    finding = tracing.no_tracing_programs(lambda: loaded)

    assert f"{finding.state.value}: {finding.evidence}".startswith(expected)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    tree = machine(tmp_path, {MODULES: "0\n", "/dev/mem": "", "/proc/kcore": ""})
    for name in (MODULES, "/dev/mem", "/proc/kcore"):
        tree.path(name).chmod(0)

    for look in (kernel.modules_closed, kernel.dev_mem_closed, kernel.kcore_closed):
        assert look(tree).state is Answer.UNKNOWN


def test_what_fails_to_be_read_is_unknown(tmp_path: Path) -> None:
    """A directory where a file should be fails for root too."""
    for look, name in (
        (kernel.modules_closed, MODULES),
        (kernel.hibernation_off, DISK),
        (tracing.no_uprobes, UPROBES),
    ):
        finding = look(machine(tmp_path / look.__name__, {name: None, **SYSFS}))

        assert finding.state is Answer.UNKNOWN
        assert name in finding.evidence
