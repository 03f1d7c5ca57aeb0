"""Attacks that have memory written to a disk, or moved about, from outside."""

import contextlib
import ctypes
import os
import re
import struct
from pathlib import Path

from keyiso.trustlet.arming.kernel import system_call
from keyiso.trustlet.arming.mappings import Region
from keyiso.trustlet.arming.process import status_of
from tests.attack.outcome import Outcome, impossible
from tests.attack.reading import regions
from tests.attack.target import Target

_ADVICE = {"MADV_COLD": 20, "MADV_PAGEOUT": 21, "MADV_COLLAPSE": 25}
"""What process_madvise(2) does to the pages of another process. (It takes MADV_WILLNEED too, for
any memory, and has nothing to fetch.)"""

_ADDRESSES = re.compile(r"([0-9a-f]+)-[0-9a-f]+ ")
_LOCKED = "lo"


def page_out(subject: Target) -> Outcome:
    """Ask for every writable page to be written to swap, and look for pages that may be.

    There need not be any swap here: what the kernel would write it says of each mapping.
    """
    writable = [region for region in regions(subject.worker) if region.writable]
    unlocked = _unlocked(subject.worker)
    process = os.pidfd_open(subject.worker)
    try:
        taken = sum(_advise(process, region, _ADVICE["MADV_PAGEOUT"]) for region in writable)
    except OSError as error:
        impossible(f"process_madvise is refused here: {error.strerror}")
    finally:
        os.close(process)
    loose = sum(region.start in unlocked for region in writable)
    return Outcome(
        taken > 0 or loose > 0,
        f"of {len(writable)} writable mappings {taken} could be paged out,"
        f" {loose} are not locked; VmSwap {status_of(subject.worker, 'VmSwap')}",
    )


def move_about(subject: Target) -> Outcome:
    """Have pages aged, written out, and put together into huge ones, which copies them."""
    taken = []
    writable = [region for region in regions(subject.worker) if region.writable]
    process = os.pidfd_open(subject.worker)
    with subject.at_work():
        for name, advice in _ADVICE.items():
            with contextlib.suppress(OSError):
                if sum(_advise(process, region, advice) for region in writable):
                    taken.append(name)
    os.close(process)
    return Outcome(bool(taken), f"taken for writable memory: {', '.join(taken) or 'none'}")


def _advise(process: int, region: Region, advice: int) -> bool:
    """Whether advice on a mapping of another process was taken. Raises `OSError` where nobody
    may give any.
    """
    vector = ctypes.create_string_buffer(struct.pack("PN", region.start, region.size))
    try:
        system_call("process_madvise", process, ctypes.addressof(vector), 1, advice, 0)
    except PermissionError:
        raise
    except OSError:
        return False
    return True


def _unlocked(pid: int) -> set[int]:
    """Where the mappings begin that are not locked into memory."""
    loose = set()
    start = 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if address := _ADDRESSES.match(line):
            start = int(address[1], 16)
        elif line.startswith("VmFlags:") and _LOCKED not in line.split():
            loose.add(start)
    return loose
