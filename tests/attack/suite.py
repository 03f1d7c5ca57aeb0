"""All attacks, in the order of the table."""

from tests.attack import cores, kernel_tracing, pair, reading, tracing
from tests.attack.outcome import Attack

ATTACKS = (
    Attack("/proc/PID/mem, read", reading.read_proc_mem),
    Attack("/proc/PID/mem, written", reading.write_proc_mem),
    Attack("process_vm_readv", reading.read_with_process_vm_readv),
    Attack("descriptors and mapped files", reading.take_descriptors),
    Attack("code, through its file", reading.change_sealed_code, on_bare=False),
    Attack("environ, cmdline and so on", reading.read_proc_files),
    Attack("ptrace: memory", tracing.peek),
    Attack("ptrace: registers", tracing.registers),
    Attack("ptrace: any thread", tracing.all_threads),
    Attack("ptrace: injected calls", tracing.inject),
    Attack("strace", tracing.strace),
    Attack("gcore", tracing.gcore),
    Attack("gdb call", tracing.gdb_call),
    Attack("uprobe", kernel_tracing.uprobe),
    Attack("BPF probe_read_user", kernel_tracing.bpf_probe_read, stopped=False),
    Attack("perf registers and stack", kernel_tracing.perf_samples, stopped=False),
    Attack("core by a fatal signal", cores.dump_core, destructive=True),
    Attack("guardian traced", pair.take_over_guardian, on_bare=False),
    Attack("guardian's code replaced", pair.overwrite_guardian, on_bare=False, destructive=True),
    Attack("guardian killed: memory", pair.read_after_guardian, on_bare=False, destructive=True),
    Attack(
        "guardian killed: registers",
        pair.race_for_registers,
        on_bare=False,
        destructive=True,
        stopped=False,
    ),
)
