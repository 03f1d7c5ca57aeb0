"""The programs of the BPF shield, run by hand, and the kernel's types that they need."""

import os
import struct

import pytest

from keyiso.errors import VbsUnavailableError
from keyiso.required_shields import BPF_LSM
from keyiso.trustlet.arming.bpf_lsm import probe_bpf_lsm, refusal, refusal_for
from keyiso.trustlet.arming.btf import KERNEL, KernelTypes
from keyiso.trustlet.arming.shields import Answer

TGID_AT = 1268
STEPS = 100


def run(program: bytes, task_pid: int) -> int:
    """What a program returns when its first argument is a task of this process id."""
    instructions = list(struct.iter_unpack("=BBhi", program))
    registers: dict[int, object] = {1: "arguments"}
    at = 0
    for _ in range(STEPS):
        code, places, offset, value = instructions[at]
        to, of = places & 15, places >> 4
        at += 1
        if code == 0x79:  # 64 bits from memory
            assert (registers[of], offset) == ("arguments", 0)
            registers[to] = "task"
        elif code == 0x61:  # 32 bits from memory
            assert (registers[of], offset) == ("task", TGID_AT)
            registers[to] = task_pid
        elif code == 0x15:  # jump if equal
            at += offset if registers[to] == value else 0
        elif code == 0xB7:  # move
            registers[to] = value
        else:
            assert code == 0x95  # exit
            result = registers[0]
            assert isinstance(result, int)
            return result
    raise AssertionError("the program does not end")


@pytest.mark.parametrize("count", [1, 2, 7])
def test_access_to_the_named_processes_is_refused_and_to_no_other(count: int) -> None:
    pids = list(range(100, 100 + count))
    program = refusal_for(pids, TGID_AT)

    assert [run(program, pid) for pid in pids] == [-1] * count
    assert [run(program, pid) for pid in (1, 99, 100 + count)] == [0] * 3


def test_everybody_is_refused_what_is_refused_to_everybody() -> None:
    assert run(refusal(), 1) == -1


@pytest.fixture(scope="module")
def kernel_types() -> KernelTypes:
    try:
        return KernelTypes(KERNEL.read_bytes())
    except OSError as error:
        pytest.skip(f"this kernel does not describe its types: {error}")


def test_fields_of_the_kernel_are_found(kernel_types: KernelTypes) -> None:
    """pid and tgid stand side by side in task_struct, 4 bytes each."""
    offset = kernel_types.offset

    assert offset("task_struct", "tgid") == offset("task_struct", "pid") + 4
    assert offset("list_head", "next") == 0


def test_functions_of_the_kernel_are_found(kernel_types: KernelTypes) -> None:
    names = ("vfs_read", "vfs_write")
    found = kernel_types.functions(names)

    assert list(found) == list(names)
    assert all(number > 0 for number in found.values())
    assert len(set(found.values())) == 2


def test_what_the_kernel_does_not_have_is_named(kernel_types: KernelTypes) -> None:
    with pytest.raises(VbsUnavailableError, match="the kernel has no no_such_function"):
        kernel_types.functions(("vfs_read", "no_such_function"))
    with pytest.raises(VbsUnavailableError, match="task_struct has no no_such_field"):
        kernel_types.offset("task_struct", "no_such_field")


def test_types_in_another_form_are_refused() -> None:
    with pytest.raises(VbsUnavailableError, match="not known here"):
        KernelTypes(bytes(100))


def test_the_probe_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    finding = probe_bpf_lsm()

    with capsys.disabled():
        print(f"\n  {finding}")
    assert finding.shield == BPF_LSM
    assert finding.evidence
    if os.geteuid() == 0:
        assert finding.answer is not Answer.UNKNOWN
