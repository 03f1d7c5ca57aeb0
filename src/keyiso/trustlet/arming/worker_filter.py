"""The system calls of an armed worker.

What is allowed is what ``strace`` saw of a worker that serves, under the tests of every operation,
with what the C library calls in the place of those on other versions. All of it works on
descriptors that the worker has or is sent. Nothing opens, maps, creates or starts anything.
"""

import errno
import fcntl
from typing import Final

from keyiso.trustlet.arming.ptrace import CONT
from keyiso.trustlet.arming.seccomp import ALLOW, KILL, Only, Rule, Table, answer

_FIONBIO: Final = 0x5421

_TAKEN_OVER: Final = "no code of ours does this: the worker has been taken over"


def worker_table(guardian: int) -> Table:
    """The table of a worker; ``guardian`` is the pid of the one process that it may let go on."""
    return Table(
        rules=(
            # Serving.
            Rule("epoll_wait", ALLOW, "the loop waits"),
            Rule("epoll_pwait", ALLOW, "the loop waits, where the C library prefers it"),
            Rule("epoll_ctl", ALLOW, "the loop watches a channel, or no more"),
            Rule("accept4", ALLOW, "the KeyIso service connects to the link"),
            Rule("recvfrom", ALLOW, "requests on a key channel"),
            Rule("recvmsg", ALLOW, "requests on the link, with the descriptors of key channels"),
            Rule("sendto", ALLOW, "answers, and heartbeats to the supervisor"),
            Rule("sendmsg", ALLOW, "answers with descriptors, of the loop that all services share"),
            Rule("getsockopt", ALLOW, "who is at the other end; what kind of socket came"),
            Rule("getsockname", ALLOW, "what kind of socket came"),
            Rule(
                "ioctl",
                ALLOW,
                "a socket that came is not to block",
                (Only(1, (_FIONBIO,)),),
                otherwise=answer(errno.EPERM),
            ),
            Rule(
                "fcntl",
                ALLOW,
                "the same, on other versions of Python",
                (Only(1, (fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL)),),
                otherwise=answer(errno.EPERM),
            ),
            Rule("close", ALLOW, "a channel ended"),
            Rule("read", ALLOW, "wake-ups of the loop by the thread beside it; answers of a TPM"),
            Rule("write", ALLOW, "messages on standard error; commands to a TPM"),
            Rule("poll", ALLOW, "waiting for a TPM"),
            Rule("clock_nanosleep", ALLOW, "waiting until a TPM is ready for a command"),
            Rule("getrandom", ALLOW, "random numbers for keys and nonces"),
            Rule("clock_gettime", ALLOW, "timers, where the vDSO cannot read the clock"),
            # The C library and Python.
            Rule("futex", ALLOW, "locks between the threads"),
            Rule("sched_yield", ALLOW, "locks between the threads"),
            Rule("getpid", ALLOW, "OpenSSL's random numbers look whether the process has forked"),
            Rule("gettid", ALLOW, "locks know their owner"),
            *(
                Rule(name, ALLOW, "never fails, so that a refusal would be taken for an id")
                for name in ("getppid", "getuid", "geteuid", "getgid", "getegid")
            ),
            Rule("rt_sigprocmask", ALLOW, "the C library, around what must not be interrupted"),
            Rule("rt_sigreturn", ALLOW, "the end of a signal handler"),
            Rule("restart_syscall", ALLOW, "the kernel, when a wait was interrupted"),
            Rule("exit", ALLOW, "the end of a thread"),
            Rule("exit_group", ALLOW, "the end"),
            # The guard.
            Rule("wait4", ALLOW, "the watcher waits for the guardian's stops"),
            Rule(
                "ptrace",
                ALLOW,
                "the watcher lets the guardian go on",
                (Only(0, (CONT,)), Only(1, (guardian,))),
            ),
            # Memory does not grow: MemoryError, and the request is refused.
            Rule("mmap", answer(errno.ENOMEM), "private memory could be read from outside"),
            Rule("mremap", answer(errno.ENOMEM), "as mmap"),
            Rule(
                "brk",
                # An errno would be taken for the new break, as brk(2) itself never fails by one.
                # 0 is below any break that is asked for, which is how glibc sees a failure.
                answer(0),
                "as mmap",
            ),
            # Signs of an enemy.
            Rule("mprotect", KILL, _TAKEN_OVER),
            Rule("pkey_mprotect", KILL, _TAKEN_OVER),
            Rule("remap_file_pages", KILL, _TAKEN_OVER),
            Rule("clone", KILL, _TAKEN_OVER),
            Rule("clone3", KILL, _TAKEN_OVER),
            Rule("fork", KILL, _TAKEN_OVER),
            Rule("vfork", KILL, _TAKEN_OVER),
            Rule("execve", KILL, _TAKEN_OVER),
            Rule("execveat", KILL, _TAKEN_OVER),
            Rule("process_vm_readv", KILL, _TAKEN_OVER),
            Rule("process_vm_writev", KILL, _TAKEN_OVER),
            Rule("process_madvise", KILL, _TAKEN_OVER),
            Rule("pidfd_getfd", KILL, _TAKEN_OVER),
            Rule("userfaultfd", KILL, _TAKEN_OVER),
            Rule("io_uring_setup", KILL, _TAKEN_OVER),
            Rule("bpf", KILL, _TAKEN_OVER),
            Rule("perf_event_open", KILL, _TAKEN_OVER),
            Rule("seccomp", KILL, _TAKEN_OVER),
        ),
        # A module that is imported late, a file that is looked for: an error, and no more.
        default=answer(errno.EPERM),
    )
