"""All attacks, in the order of the table."""

from tests.attack import (
    cores,
    kernel_tracing,
    pair,
    places,
    reading,
    root_asking,
    standing,
    stored,
    swap,
    tracing,
)
from tests.attack.outcome import Attack
from tests.attack.target import PAIRS, Kind

BARE: tuple[Kind, ...] = ("bare",)
"""A software worker is hardened as well, though not against root."""

LIBRARY: tuple[Kind, ...] = ("bare", "armed")
SERVICES: tuple[Kind, ...] = ("software", "vbs")
VBS: tuple[Kind, ...] = ("vbs",)

ATTACKS = (
    Attack("/proc/PID/mem, read", reading.read_proc_mem),
    Attack("/proc/PID/mem, written", reading.write_proc_mem),
    Attack("process_vm_readv", reading.read_with_process_vm_readv),
    Attack("process_vm_writev", reading.write_with_process_vm_writev),
    Attack("descriptors, by pidfd_getfd", reading.take_descriptors, controls=BARE),
    Attack("descriptors, by /proc/PID/fd", reading.open_descriptors, controls=BARE),
    Attack("mapped files, by /proc/PID/map_files", reading.open_mapped_files, controls=BARE),
    Attack("code, through its file", reading.change_sealed_code, kinds=PAIRS),
    Attack("environ, cmdline and the rest of /proc/PID", reading.read_proc_files, controls=BARE),
    Attack("swap", swap.page_out),
    Attack("process_madvise", swap.move_about),
    Attack("ptrace: memory", tracing.peek),
    Attack("ptrace: registers", tracing.registers, controls=BARE),
    Attack("ptrace: any thread", tracing.all_threads),
    Attack("ptrace: injected calls", tracing.inject),
    Attack("ptrace: userfaultfd", tracing.catch_faults),
    Attack("strace", tracing.strace),
    Attack("gcore", tracing.gcore),
    Attack("gdb call", tracing.gdb_call),
    Attack("CRIU", tracing.checkpoint),
    Attack("uprobe", kernel_tracing.uprobe),
    Attack("BPF probe_read_user", kernel_tracing.bpf_probe_read, stopped=False),
    Attack("perf registers and stack", kernel_tracing.perf_samples, stopped=False),
    Attack("core by a fatal signal", cores.dump_core, destructive=True, kinds=LIBRARY),
    Attack(
        "core by a fatal signal, to a program", cores.pipe_core, destructive=True, controls=BARE
    ),
    Attack("SIGSTOP", standing.stop, destructive=True, controls=BARE),
    Attack("SIGSTOP, many", standing.stop_again_and_again, kinds=PAIRS, destructive=True),
    Attack("signals, many", standing.flood, kinds=PAIRS, destructive=True),
    Attack("guardian's memory", reading.read_guardian, kinds=PAIRS),
    Attack("guardian traced", pair.take_over_guardian, kinds=PAIRS),
    Attack("guardian's code replaced", pair.overwrite_guardian, kinds=PAIRS, destructive=True),
    Attack("guardian killed: memory", pair.read_after_guardian, kinds=PAIRS, destructive=True),
    Attack(
        "guardian killed: registers",
        pair.race_for_registers,
        kinds=PAIRS,
        destructive=True,
        stopped=False,
        times=10,
    ),
    Attack("imported key: in other services", places.other_processes, kinds=SERVICES, controls=()),
    Attack("imported key: in files, logs, events", places.files, kinds=SERVICES, controls=()),
    Attack("cores of all services", places.cores, kinds=SERVICES, controls=(), destructive=True),
    Attack("generated key: in memory", places.generated_key, kinds=SERVICES),
    Attack("roots in files", places.stored_roots, kinds=SERVICES),
    Attack("roots, read along", root_asking.read_along, kinds=VBS),
    Attack("roots, asked for by a fake worker", root_asking.fake_worker, kinds=VBS, stopped=False),
    Attack("roots, given by a fake one", root_asking.fake_sibling, kinds=VBS, stopped=False),
    Attack("rows swapped", stored.swap_rows, kinds=SERVICES, controls=()),
    Attack("export policy edited", stored.edit_policy, kinds=SERVICES, controls=()),
    Attack("access list edited", stored.edit_access, kinds=SERVICES, controls=()),
    Attack("level edited", stored.edit_level, kinds=SERVICES, controls=()),
    Attack("old row put back", stored.restore_row, kinds=SERVICES, stopped=False),
)
