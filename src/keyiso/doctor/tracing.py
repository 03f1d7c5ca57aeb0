"""Who reads processes by means of the kernel, or may."""

import os
from collections.abc import Callable
from typing import Final

from keyiso.doctor.finding import Finding, Question, answers
from keyiso.doctor.tree import Tree

YAMA: Final = Question(
    "guard-allowed",
    "A guardian may trace its worker, and the worker its guardian, so that nobody else can.",
    "A worker cannot be armed: the guard itself is forbidden.",
    "sysctl kernel.yama.ptrace_scope=1",
)
PROGRAMS: Final = Question(
    "no-tracing-programs",
    "No BPF program that can read processes is loaded now.",
    "Such a program can read the keys of any process, armed or not; somebody with root's rights"
    " loaded it.",
    "See what they are with `bpftool prog`, and end what you do not know.",
)
UPROBES: Final = Question(
    "no-uprobes",
    "Nobody has put a probe into programs or libraries.",
    "Code of a probed program runs with somebody looking; a pair that meets one is not armed.",
    "See who set them, and clear the file.",
)
USERS_BPF: Final = Question(
    "users-bpf-off",
    "Only root loads BPF programs.",
    "Any user may load BPF programs, with which errors of the kernel have been used before.",
    "sysctl kernel.unprivileged_bpf_disabled=1",
)
USERS_PERF: Final = Question(
    "users-perf-off",
    "Users measure their own processes at most.",
    "Any user may sample registers and stacks of what runs on a processor, keys in them.",
    "sysctl kernel.perf_event_paranoid=2",
)

_SCOPE_FILE: Final = "/proc/sys/kernel/yama/ptrace_scope"
_BPF_FILE: Final = "/proc/sys/kernel/unprivileged_bpf_disabled"
_PERF_FILE: Final = "/proc/sys/kernel/perf_event_paranoid"
_UPROBE_FILES: Final = (
    "/sys/kernel/tracing/uprobe_events",
    "/sys/kernel/debug/tracing/uprobe_events",
)
_TRACING: Final = "/sys/kernel/tracing"

_SCOPE_OF_ROOT: Final = "2"
_SCOPE_OF_NOBODY: Final = "3"
_OWN_PROCESSES: Final = 1
"""From this value on, perf of users is for their own processes."""

_MOUNT: Final = "Mount it to know: mount -t tracefs tracefs /sys/kernel/tracing"
_NO_SYSCTL: Final = "/proc/sys is not there"
_SHOWN: Final = 3


@answers(YAMA)
def guard_allowed(tree: Tree, uid: int) -> Finding:
    """Whether Yama lets a process of this user trace another one of its own."""
    if not tree.has_sysctl():
        return YAMA.unknown(_NO_SYSCTL)
    scope = tree.text(_SCOPE_FILE)
    if scope is None:
        return YAMA.yes(f"a kernel without Yama: it has no {_SCOPE_FILE}")
    found = f"{_SCOPE_FILE} is {scope}"
    if scope == _SCOPE_OF_NOBODY:
        return YAMA.no(found, "Set kernel.yama.ptrace_scope=1 in /etc/sysctl.d and boot again.")
    if scope == _SCOPE_OF_ROOT and uid != 0:
        return YAMA.no(f"{found}, and this is uid {uid}")
    return YAMA.yes(found)


@answers(PROGRAMS)
def no_tracing_programs(loaded: Callable[[], tuple[str, ...] | None]) -> Finding:
    """Whether BPF programs that trace are loaded; ``loaded`` is None where it may not be asked."""
    programs = loaded()
    if programs is None:
        why = "the kernel has no BPF" if os.geteuid() == 0 else "only root may ask"
        return PROGRAMS.unknown(why, "Ask as root.")
    if not programs:
        return PROGRAMS.yes("the kernel lists none of their kinds")
    more = f" and {len(programs) - _SHOWN} more" if len(programs) > _SHOWN else ""
    return PROGRAMS.no(", ".join(programs[:_SHOWN]) + more)


@answers(UPROBES)
def no_uprobes(tree: Tree) -> Finding:
    """Whether the kernel's list of probes is empty."""
    for name in _UPROBE_FILES:
        lines = tree.text(name)
        if lines:
            return UPROBES.no(f"{name} has {len(lines.splitlines())} of them")
        if lines is not None:
            return UPROBES.yes(f"{name} is empty")
    if tree.exists(_TRACING) and not tree.names(_TRACING):
        return UPROBES.unknown("tracefs is not mounted", _MOUNT)
    return UPROBES.unknown("the kernel shows no list of them", "")


@answers(USERS_BPF)
def users_bpf_off(tree: Tree) -> Finding:
    if not tree.has_sysctl():
        return USERS_BPF.unknown(_NO_SYSCTL)
    value = tree.text(_BPF_FILE)
    if value is None:
        return USERS_BPF.yes(f"a kernel without BPF: it has no {_BPF_FILE}")
    found = f"{_BPF_FILE} is {value}"
    return USERS_BPF.no(found) if value == "0" else USERS_BPF.yes(found)


@answers(USERS_PERF)
def users_perf_off(tree: Tree) -> Finding:
    if not tree.has_sysctl():
        return USERS_PERF.unknown(_NO_SYSCTL)
    value = tree.text(_PERF_FILE)
    if value is None:
        return USERS_PERF.yes(f"a kernel without perf: it has no {_PERF_FILE}")
    found = f"{_PERF_FILE} is {value}"
    return USERS_PERF.yes(found) if int(value) >= _OWN_PROCESSES else USERS_PERF.no(found)
