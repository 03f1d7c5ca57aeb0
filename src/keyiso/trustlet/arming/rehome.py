"""Moving a worker's memory to where root's tools do not reach.

What reads another process's memory (/proc/PID/mem, process_vm_readv, ptrace, debuggers) has the
kernel look up the page, and the kernel refuses that for secret memory. What writes it can also
force its way into private pages that are read-only for the process itself, because the kernel
copies such a page first; it never does that to a shared page. A uprobe wants a private mapping
too. So after the move there is no private page left:

* writable memory (heap, data, stacks, thread storage) is on shared secret memory, which cannot be
  executed;
* everything else (code, constants, what was relocated, the vDSO) is on a sealed file that is
  mapped shared and can never become writable;
* mappings without any access (guard pages, reserved addresses) are holes.

Each mapping is replaced at its own address (MAP_FIXED), so that no pointer changes. The stopped
worker makes the calls itself, by its registers (injector.py). The page that holds the instruction
is replaced by a page with the same bytes.
"""

import mmap
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from keyiso.trustlet.arming.backing import Backing
from keyiso.trustlet.arming.injector import Injector
from keyiso.trustlet.arming.kernel import cannot_arm, this_machine
from keyiso.trustlet.arming.mappings import Region, regions_of

STACK_BYTES: Final = 2 << 20
"""The main thread's stack, all there will be: shared memory does not grow. A thousand Python calls
that come through C take well under half of it."""

_MAP_FIXED_NOREPLACE: Final = 0x100000
_MAP_FIXED: Final = 0x10
_MOST_READ: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Move:
    """One region and its place in a file."""

    region: Region
    offset: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of each mapping of a process."""

    secret: tuple[Move, ...]
    sealed: tuple[Move, ...]
    dropped: tuple[Region, ...]
    stack_room: Move | None
    """New memory below the main thread's stack."""

    @property
    def secret_bytes(self) -> int:
        """Memory that will be locked."""
        return sum(move.region.size for move in (*self.secret, *self._room()))

    def _room(self) -> tuple[Move, ...]:
        return () if self.stack_room is None else (self.stack_room,)


def plan_moves(regions: Iterable[Region]) -> Plan:
    """What becomes of each mapping.

    Raises `VbsUnavailableError` for memory that is both writable and executable: secret memory
    cannot be executed.
    """
    writable, fixed, dropped = [], [], []
    for region in regions:
        if region.of_the_kernel:
            continue
        if region.writable and region.executable:
            raise cannot_arm(f"the worker has memory that is writable and executable: {region}")
        if region.writable:
            writable.append(region)
        elif region.accessible:
            fixed.append(region)
        else:
            dropped.append(region)
    secret = tuple(_placed(writable))
    end = secret[-1].offset + secret[-1].region.size if secret else 0
    room = _stack_room(writable)
    return Plan(
        secret, tuple(_placed(fixed)), tuple(dropped), None if room is None else Move(room, end)
    )


def rehome(pid: int, backing: Backing, plan: Plan) -> None:
    """Carry out a plan in a process whose threads are all stopped.

    ``pid`` is also the thread that makes the calls. Raises `OSError` or `VbsUnavailableError`; the
    worker is of no use then.
    """
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        backing.resize(plan.secret_bytes)
        for move in plan.sealed:
            for offset, data in _content(memory, move):
                backing.put_sealed(data, offset)
        backing.seal()
        for move in plan.secret:
            for offset, data in _content(memory, move):
                backing.put_staged(data, offset)
        instruction = _instruction_in(memory, plan)
    finally:
        os.close(memory)
    with Injector(pid, instruction) as worker:
        for move in plan.sealed:
            _map(worker, move, backing.sealed, _MAP_FIXED)
        for move in plan.secret:
            _map(worker, move, backing.secret, _MAP_FIXED)
            _fill(worker, move, backing.staged)
        if plan.stack_room is not None:
            _map(worker, plan.stack_room, backing.secret, _MAP_FIXED_NOREPLACE)
            _fill(worker, plan.stack_room, backing.staged)
        for region in plan.dropped:
            worker.call("munmap", region.start, region.size)
        for descriptor in backing.inherited:
            worker.call("close", descriptor)
    check_rehomed(regions_of(pid))


def check_rehomed(regions: Iterable[Region]) -> None:
    """Raise `VbsUnavailableError` for memory that is not where it should be."""
    for region in regions:
        if region.of_the_kernel:
            continue
        if not region.shared or region.writable != region.secret:
            raise cannot_arm(f"memory of the worker has not moved: {region}")


def _placed(regions: Iterable[Region]) -> Iterator[Move]:
    offset = 0
    for region in regions:
        yield Move(region, offset)
        offset += region.size


def _stack_room(writable: Iterable[Region]) -> Region | None:
    """What the main thread's stack may still grow by."""
    for region in writable:
        if region.name == "[stack]" and region.size < STACK_BYTES:
            return Region(region.end - STACK_BYTES, region.start, "rw-p", "[stack]")
    return None


def _content(memory: int, move: Move) -> Iterator[tuple[int, bytes]]:
    """The bytes of a region in pieces, each with its place in the file."""
    done = 0
    while done < move.region.size:
        piece = os.pread(memory, min(_MOST_READ, move.region.size - done), move.region.start + done)
        if not piece:
            raise cannot_arm(f"memory of the worker cannot be read: {move.region}")
        yield move.offset + done, piece
        done += len(piece)


def _instruction_in(memory: int, plan: Plan) -> int:
    """The address of a system call instruction. The vDSO has one on every machine."""
    for move in plan.sealed:
        if move.region.name == "[vdso]":
            code = os.pread(memory, move.region.size, move.region.start)
            place = code.find(this_machine().instruction)
            if place >= 0:
                return move.region.start + place
    raise cannot_arm("the worker's vDSO has no system call instruction")


def _map(worker: Injector, move: Move, descriptor: int, how: int) -> None:
    region = move.region
    protection = mmap.PROT_WRITE if region.writable else 0
    protection |= mmap.PROT_EXEC if region.executable else 0
    protection |= mmap.PROT_READ if region.permissions[0] == "r" else 0
    flags = mmap.MAP_SHARED | how
    worker.call("mmap", region.start, region.size, protection, flags, descriptor, move.offset)


def _fill(worker: Injector, move: Move, staged: int) -> None:
    """Copy the content. It also brings every page into being: none has to be found later."""
    done = 0
    while done < move.region.size:
        left = move.region.size - done
        copied = worker.call("pread64", staged, move.region.start + done, left, move.offset + done)
        if not copied:
            raise cannot_arm(f"memory of the worker was not copied: {move.region}")
        done += copied
