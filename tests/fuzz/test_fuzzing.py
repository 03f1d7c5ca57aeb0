"""The fuzzing notices what it is there to notice: parsers with a planted defect fail."""

import ctypes
import mmap
import os
from collections.abc import Callable

import pytest

from tests.fuzz.parser import MOST_STEPS, Parser, fuzz

INPUTS = 2_000


def parser(parse: Callable[[bytes], object]) -> Parser:
    return Parser("planted", parse, [b"a good input", b"another one"], frozenset({ValueError}))


def refuse(data: bytes) -> None:
    raise ValueError("not a good input")


def test_a_parser_without_defect_passes() -> None:
    fuzz(parser(refuse), INPUTS)


def test_an_undocumented_exception_is_noticed_with_its_input() -> None:
    def parse(data: bytes) -> None:
        if b"\x80" in data:
            raise KeyError("quotes nothing")
        refuse(data)

    with pytest.raises(pytest.fail.Exception, match=r"KeyError.*KEYISO_FUZZ_SEED=\d+.* for .*80"):
        fuzz(parser(parse), INPUTS)


def test_a_defect_that_is_back_is_noticed() -> None:
    once = Parser("planted", bytes.decode, [b"good"], frozenset(), {UnicodeDecodeError: b"\xff"})

    with pytest.raises(AssertionError, match="this defect is back"):
        fuzz(once, INPUTS)


def test_a_loop_that_an_input_makes_long_is_noticed() -> None:
    def parse(data: bytes) -> None:
        for _ in range(max(data, default=0) * MOST_STEPS // 200):
            len(data)

    with pytest.raises(pytest.fail.Exception, match="steps"):
        fuzz(parser(parse), INPUTS)


def test_objects_that_are_kept_are_noticed() -> None:
    kept: list[bytes] = []

    with pytest.raises(AssertionError, match=r"keeps \d+ blocks"):
        fuzz(parser(lambda data: kept.append(bytes(bytearray(data)))), INPUTS)


def test_memory_of_a_library_that_is_kept_is_noticed() -> None:
    """Fresh pages: what ``malloc`` gives may be of memory that was freed long before."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    size = 2 * mmap.PAGESIZE
    last = 0

    def parse(data: bytes) -> None:
        """Each piece keeps the address of the one before, and Python only that of the last."""
        nonlocal last
        access = mmap.PROT_READ | mmap.PROT_WRITE
        address = libc.mmap(None, size, access, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        ctypes.memset(address, 1, size)
        ctypes.c_size_t.from_address(address).value = last
        last = address

    try:
        with pytest.raises(AssertionError, match=r"keeps \d+ bytes"):
            fuzz(parser(parse), INPUTS)
    finally:
        while last:
            before = ctypes.c_size_t.from_address(last).value
            libc.munmap(ctypes.c_void_p(last), ctypes.c_size_t(size))
            last = before


def test_descriptors_that_are_kept_are_noticed() -> None:
    kept: list[int] = []

    def parse(data: bytes) -> None:
        if data.startswith(b"another") and len(kept) < 100:
            kept.append(os.open(os.devnull, os.O_RDONLY))

    try:
        with pytest.raises(AssertionError, match="keeps descriptors"):
            fuzz(parser(parse), INPUTS // 20)
    finally:
        for descriptor in kept:
            os.close(descriptor)
