"""What a process has mapped, and what becomes of it."""

import itertools
import mmap
import os

import pytest

from keyiso.errors import VbsUnavailableError
from keyiso.trustlet.arming.mappings import Region, parse_regions, regions_of
from keyiso.trustlet.arming.rehome import STACK_BYTES, check_rehomed, plan_moves

MAPS = """\
55d0c0e00000-55d0c0e01000 r--p 00000000 fe:00 26723                      /usr/bin/python3.11
55d0c0e01000-55d0c0e03000 r-xp 00001000 fe:00 26723                      /usr/bin/python3.11
55d0c0e03000-55d0c0e04000 rw-p 00003000 fe:00 26723                      /usr/bin/python3.11
55d0c2000000-55d0c2100000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000001000 ---p 00000000 00:00 0
7f0000001000-7f0000081000 rw-p 00000000 00:00 0
7f0000100000-7f0000107000 r--s 00000000 fe:00 338846                     /usr/lib/a name (deleted)
7f0000200000-7f0000204000 r--p 00000000 00:00 0                          [vvar]
7f0000204000-7f0000206000 r--p 00000000 00:00 0                          [vvar_vclock]
7f0000206000-7f0000208000 r-xp 00000000 00:00 0                          [vdso]
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""


def region(permissions: str, name: str = "", start: int = 0x1000, size: int = 0x1000) -> Region:
    return Region(start, start + size, permissions, name)


def test_every_field_of_a_line_is_read() -> None:
    regions = parse_regions(MAPS)

    assert len(regions) == 12
    assert regions[1] == Region(
        0x55D0C0E01000, 0x55D0C0E03000, "r-xp", "/usr/bin/python3.11", 0x1000, 26723
    )
    assert regions[5].name == ""
    assert regions[6].name == "/usr/lib/a name (deleted)"
    assert regions[-1].start == 0xFFFFFFFFFF600000


def test_what_is_no_line_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="not a line"):
        parse_regions("something else\n")


def test_a_mapping_of_this_process_is_among_its_regions() -> None:
    with mmap.mmap(-1, 5 * mmap.PAGESIZE) as mapped:
        mapped[0] = 1
        sizes = [one.size for one in regions_of(os.getpid()) if one.shared and one.writable]

    assert 5 * mmap.PAGESIZE in sizes


def test_every_region_has_one_fate() -> None:
    regions = parse_regions(MAPS)
    plan = plan_moves(regions)

    secret = [move.region for move in plan.secret]
    sealed = [move.region for move in plan.sealed]
    assert [one.permissions for one in secret] == ["rw-p"] * 4
    assert [one.name for one in sealed] == [
        "/usr/bin/python3.11",
        "/usr/bin/python3.11",
        "/usr/lib/a name (deleted)",
        "[vdso]",
    ]
    assert [one.permissions for one in plan.dropped] == ["---p"]
    left = set(regions) - {*secret, *sealed, *plan.dropped}
    assert {one.name for one in left} == {"[vvar]", "[vvar_vclock]", "[vsyscall]"}


def test_moves_do_not_overlap_in_their_files() -> None:
    plan = plan_moves(parse_regions(MAPS))

    for moves in (plan.secret, plan.sealed):
        places = [(move.offset, move.offset + move.region.size) for move in moves]
        assert places[0][0] == 0
        assert all(end == start for (_, end), (start, _) in itertools.pairwise(places))


def test_the_main_stack_gets_all_it_will_ever_have() -> None:
    plan = plan_moves(parse_regions(MAPS))
    room = plan.stack_room

    assert room is not None
    assert room.region.end == 0x7FFC00000000
    assert 0x7FFC00021000 - room.region.start == STACK_BYTES
    assert room.offset == plan.secret[-1].offset + plan.secret[-1].region.size
    assert plan.secret_bytes == room.offset + room.region.size


def test_a_stack_that_is_large_enough_stays_as_it_is() -> None:
    stack = region("rw-p", "[stack]", size=STACK_BYTES)

    assert plan_moves([stack]).stack_room is None


@pytest.mark.parametrize("permissions", ["rwxp", "rwxs", "-wxp"])
def test_memory_that_can_be_written_and_executed_is_refused(permissions: str) -> None:
    with pytest.raises(VbsUnavailableError, match="writable and executable"):
        plan_moves([region(permissions)])


@pytest.mark.parametrize(
    "left",
    [
        region("rw-p", "[heap]"),
        region("rw-s", "/dev/shm/somebody's"),
        region("r-xp", "/usr/lib/libc.so.6"),
        region("---p"),
        region("r--p"),
    ],
    ids=str,
)
def test_memory_that_was_left_behind_is_noticed(left: Region) -> None:
    moved = [
        region("rw-s", "/secretmem (deleted)"),
        region("r-xs", "/memfd:keyiso-sealed (deleted)"),
        region("r--p", "[vvar]"),
        region("--xp", "[vsyscall]"),
    ]
    check_rehomed(moved)

    with pytest.raises(VbsUnavailableError, match="has not moved"):
        check_rehomed([*moved, left])
