"""The one heap of an armed worker: all memory that it will ever have.

After arming, nothing can be mapped: new memory would be ordinary memory. So before, everything that
allocates is led to malloc(3), malloc to the program break alone, and the break is moved once. glibc
is configured by the environment that the guardian gives the worker (`ENVIRONMENT`), so that it
holds from the first allocation on.

What does not fit any more gets NULL from malloc: Python raises `MemoryError`, OpenSSL fails, and
both go on. Rust code ends its process instead. So a worker asks `Heap.is_short` and refuses work
while there is still room for what is under way.
"""

import ctypes
import functools
import gc
import os
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from keyiso.trustlet.arming.kernel import cannot_arm
from keyiso.trustlet.arming.mappings import regions_of

HEAP_BYTES: Final = 16 << 20
"""Free memory at the start: more than a thousand RSA keys that have signed, at 8.5 KiB each."""

RESERVE_BYTES: Final = 1 << 20
"""What must be free for new work to be taken."""

PIECE_BYTES: Final = 80 << 10
"""In pieces of this size: what is read from a socket at once, in a buffer that grows by an eighth.
One large piece would be asking too much, for a few small blocks that stay can keep it from ever
coming together."""

THREAD_STACK_BYTES: Final = 512 << 10
"""Stacks are locked memory, so that they are not the usual 8 MiB."""

ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        # Python's own allocator maps memory; this makes it use malloc.
        "PYTHONMALLOC": "malloc",
        # One arena, so that threads do not map others; of freed blocks only small ones are kept
        # for a thread, because each keeps what is around it from coming together; no mapping for
        # large blocks; nothing is given back (glibc: Memory Allocation Tunables).
        "GLIBC_TUNABLES": (
            "glibc.malloc.arena_max=1"
            ":glibc.malloc.tcache_max=128"
            ":glibc.malloc.mmap_max=0"
            f":glibc.malloc.trim_threshold={1 << 40}"
        ),
    }
)

_ALIGNMENT: Final = 16
"""What malloc gives anyway."""

_RAW_DOMAIN: Final = 0
"""PYMEM_DOMAIN_RAW."""


class _PyMemAllocator(ctypes.Structure):
    """PyMemAllocatorEx."""

    _fields_ = [
        (name, ctypes.c_void_p) for name in ("context", "malloc", "calloc", "realloc", "free")
    ]


class _PyArenaAllocator(ctypes.Structure):
    """PyObjectArenaAllocator."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("context", "alloc", "free")]


class Heap:
    """Asks whether there is room, by doing: in some ten microseconds while there is."""

    def __init__(self, reserve: int = RESERVE_BYTES) -> None:
        self._pieces = tuple(ctypes.c_void_p() for _ in range(-(-reserve // PIECE_BYTES)))
        self._libc = _malloc()

    def is_short(self) -> bool:
        """Whether so much is not free."""
        if not self._lacks_pieces():
            return False
        # Python keeps thousands of small objects for later, each of which may lie between two
        # large blocks that are free. A collection lets them go, but for the names of attributes
        # that were looked up: those are in a cache of its types.
        gc.collect()
        ctypes.pythonapi.PyType_ClearCache()
        return self._lacks_pieces()

    def _lacks_pieces(self) -> bool:
        try:
            for piece in self._pieces:
                if self._libc.posix_memalign(ctypes.byref(piece), _ALIGNMENT, PIECE_BYTES) != 0:
                    return True
            return False
        finally:
            for piece in self._pieces:
                self._libc.free(piece)
                piece.value = None


def prepare_heap(size: int = HEAP_BYTES) -> Heap:
    """Have all memory come from the heap, and make it this large. First of all, before threads.

    Raises `VbsUnavailableError` in a process that a guardian has not started. One that has called
    this must end by ``os._exit``.
    """
    for name, value in ENVIRONMENT.items():
        if os.environ.get(name) != value:
            raise cannot_arm(f"the worker was started without {name}={value}")
    threading.stack_size(THREAD_STACK_BYTES)
    _take_frames_from_heap()
    grow_heap(size)
    return Heap()


def grow_heap(size: int) -> None:
    """See to it that so many bytes are free in one piece.

    Raises `VbsUnavailableError` where malloc does not take them from the break.
    """
    libc = _malloc()
    block = libc.malloc(size)
    heap = [region for region in regions_of("self") if region.name == "[heap]"]
    within = block is not None and any(
        region.start <= block and block + size <= region.end for region in heap
    )
    libc.free(block)
    if not within:
        raise cannot_arm(
            "the C library does not keep its memory in one heap", "Arming needs glibc's malloc."
        )


def _take_frames_from_heap() -> None:
    """The frames of Python functions too.

    Python keeps them in chunks that its arena allocator maps, whatever PYTHONMALLOC says: a stack
    of calls that grows beyond 16 KiB would need a new one. The functions of the raw domain do:
    they take the arguments that an arena's do, but for the size in ``free``, which comes last and
    which a C function that does not know of it does not see. The chunk of this moment was mapped;
    it is in use until the process ends, which must not try to free it.
    """
    raw = _PyMemAllocator()
    ctypes.pythonapi.PyMem_GetAllocator(_RAW_DOMAIN, ctypes.byref(raw))
    arena = _PyArenaAllocator(raw.context, raw.malloc, raw.free)
    ctypes.pythonapi.PyObject_SetArenaAllocator(ctypes.byref(arena))


@functools.cache
def _malloc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    return libc
