"""The system calls of a guardian on guard.

Its memory can be written from outside (/proc/PID/mem), so that its code is whoever's. What that
code can do is what this table leaves: let the worker go on, or end.
"""

import errno

from keyiso.trustlet.arming.ptrace import CONT
from keyiso.trustlet.arming.seccomp import ALLOW, KILL, Only, Rule, Table, answer


def guardian_table(control: int) -> Table:
    """The table of a guardian; ``control`` is its descriptor to tell the worker by."""
    return Table(
        rules=(
            Rule("ptrace", ALLOW, "the worker goes on after a stop", (Only(0, (CONT,)),)),
            Rule("wait4", ALLOW, "the worker's stops, and its end"),
            Rule("rt_sigtimedwait", ALLOW, "waiting for the worker, or for being asked to end"),
            Rule("timer_settime", ALLOW, "putting off its own end (dead_man.py)"),
            Rule("write", ALLOW, "telling the worker once that it is guarded", _on(control)),
            Rule("close", ALLOW, "after that", _on(control)),
            Rule("exit_group", ALLOW, "the end"),
            Rule("futex", ALLOW, "Python's lock"),
            Rule("rt_sigprocmask", ALLOW, "the C library"),
            Rule("rt_sigreturn", ALLOW, "the C library"),
            Rule("restart_syscall", ALLOW, "the kernel, when a wait was interrupted"),
            Rule("clock_gettime", ALLOW, "Python, where the vDSO cannot read the clock"),
            Rule("getpid", ALLOW, "Python"),
            Rule("munmap", ALLOW, "Python gives memory back"),
            Rule("mmap", answer(errno.ENOMEM), "no new memory"),
            Rule("brk", answer(0), "no new memory (see worker_filter.py)"),
        ),
        default=KILL,
    )


def _on(descriptor: int) -> tuple[Only, ...]:
    return (Only(0, (descriptor,)),)
