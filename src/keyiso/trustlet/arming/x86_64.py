"""x86-64: registers, system calls (arch/x86 of the kernel: user_64.h, syscall_64.tbl)."""

import ctypes
from types import MappingProxyType
from typing import Final

from keyiso.trustlet.arming.machine import Machine, Registers


class _Registers(Registers):
    """struct user_regs_struct."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8"),
            *("rax", "rcx", "rdx", "rsi", "rdi", "orig_rax", "rip", "cs", "eflags"),
            *("rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"),
        )
    )

    instruction_pointer = "rip"
    number = "rax"
    arguments = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
    returned = "rax"
    outside_of_a_call = MappingProxyType({"orig_rax": -1})


X86_64: Final = Machine(
    registers=_Registers,
    instruction=b"\x0f\x05",
    audit_architecture=0xC000003E,
    foreign_numbers=0x40000000,  # x32
    numbers=MappingProxyType(
        {
            "read": 0,
            "write": 1,
            "open": 2,
            "close": 3,
            "poll": 7,
            "mmap": 9,
            "mprotect": 10,
            "munmap": 11,
            "brk": 12,
            "rt_sigprocmask": 14,
            "rt_sigreturn": 15,
            "ioctl": 16,
            "pread64": 17,
            "sched_yield": 24,
            "mremap": 25,
            "getpid": 39,
            "socket": 41,
            "connect": 42,
            "sendto": 44,
            "recvfrom": 45,
            "sendmsg": 46,
            "recvmsg": 47,
            "getsockname": 51,
            "getsockopt": 55,
            "clone": 56,
            "fork": 57,
            "vfork": 58,
            "execve": 59,
            "exit": 60,
            "wait4": 61,
            "kill": 62,
            "fcntl": 72,
            "ptrace": 101,
            "getuid": 102,
            "getgid": 104,
            "geteuid": 107,
            "getegid": 108,
            "getppid": 110,
            "rt_sigtimedwait": 128,
            "prctl": 157,
            "gettid": 186,
            "futex": 202,
            "remap_file_pages": 216,
            "restart_syscall": 219,
            "timer_create": 222,
            "timer_settime": 223,
            "clock_gettime": 228,
            "clock_nanosleep": 230,
            "exit_group": 231,
            "epoll_wait": 232,
            "epoll_ctl": 233,
            "openat": 257,
            "epoll_pwait": 281,
            "accept4": 288,
            "perf_event_open": 298,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "seccomp": 317,
            "getrandom": 318,
            "memfd_create": 319,
            "bpf": 321,
            "execveat": 322,
            "userfaultfd": 323,
            "pkey_mprotect": 329,
            "io_uring_setup": 425,
            "clone3": 435,
            "pidfd_getfd": 438,
            "process_madvise": 440,
            "memfd_secret": 447,
        }
    ),
)
