"""A parser under bad inputs: every one ends as documented, soon, and leaves nothing behind."""

import faulthandler
import gc
import os
import random
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from keyiso.errors import NCryptError
from keyiso.status import Status
from keyiso.wire.session import RemoteProtocolError
from tests.fuzz.mutations import mutated

INPUTS = int(os.environ.get("KEYISO_FUZZ_INPUTS", "20000"))
"""For each parser."""
SEED = int(os.environ.get("KEYISO_FUZZ_SEED", str(random.SystemRandom().randrange(1 << 32))))

MOST_STEPS = 20_000
"""Calls, of Python and of C, that one input may cause. A loop that an input can make long would
take more; what nests 5,000 deep takes a few thousand."""

MOST_BLOCKS = 0.05
"""Blocks of memory that an input may leave behind, on average over many."""

MOST_BYTES = 64
"""The same for the memory of the whole process, which C libraries take from too."""

_SPARE_BLOCKS = 500
_SPARE_BYTES = 4 << 20
"""What caches and allocators may take without being a leak."""

_COUNTED_INPUTS = 20
"""Of so many inputs, the steps of one are counted: counting makes it slow."""

_HANG_SECONDS = 600
"""A parser that takes so long ends the run with a traceback."""

Outcome = type[BaseException] | int
"""How an input ended: an exception's class, or the status of an `NCryptError`."""


@dataclass(frozen=True)
class Parser:
    """A parser, good inputs for it, and how bad ones may end."""

    name: str
    parse: Callable[[bytes], object]
    corpus: Sequence[bytes]
    documented: frozenset[Outcome]
    once_broken: dict[Outcome, bytes] = field(default_factory=dict)
    """Inputs that once had an undocumented outcome, by that outcome."""

    def outcome(self, data: bytes) -> Outcome | None:
        """How an input ends; None when it is taken."""
        try:
            self.parse(data)
        except KeyboardInterrupt:
            raise
        except RemoteProtocolError:
            return RemoteProtocolError
        except NCryptError as error:
            return error.status
        except BaseException as error:  # a panic of a library is no Exception
            return type(error)
        return None


def statuses(*known: Status) -> frozenset[Outcome]:
    return frozenset(int(status) for status in known)


def has_a_good_input(parser: Parser) -> None:
    """A corpus of which nothing is taken would test one line of the parser."""
    good = [data for data in parser.corpus if parser.outcome(data) is None]
    assert good, f"{parser.name} takes none of its good inputs"


def fuzz(parser: Parser, inputs: int = INPUTS) -> Counter[Outcome | None]:
    """Give a parser what is known to be bad for it, and many mutations. How they ended."""
    outcomes: Counter[Outcome | None] = Counter()
    for defect, data in parser.once_broken.items():
        assert parser.outcome(data) != defect, "this defect is back"
    rng = random.Random(f"{SEED} {parser.name}")
    faulthandler.dump_traceback_later(_HANG_SECONDS, exit=True)
    try:
        outcomes += _give(parser, rng, inputs // 2)  # what is kept once is kept now
        with _no_growth(parser, inputs - inputs // 2):
            outcomes += _give(parser, rng, inputs - inputs // 2)
    finally:
        faulthandler.cancel_dump_traceback_later()
    return outcomes


def _give(parser: Parser, rng: random.Random, inputs: int) -> Counter[Outcome | None]:
    outcomes: Counter[Outcome | None] = Counter()
    allowed = {None, *parser.documented}
    for number in range(inputs):
        data = mutated(rng, parser.corpus)
        if number % _COUNTED_INPUTS:
            outcome, steps = parser.outcome(data), 0
        else:
            outcome, steps = _counted(parser, data)
        if outcome not in allowed or steps > MOST_STEPS:
            pytest.fail(
                f"{parser.name} ended with {outcome!r} after {steps or 'uncounted'} steps"
                f" (KEYISO_FUZZ_SEED={SEED}) for {data[:2000].hex()}"
            )
        outcomes[outcome] += 1
    return outcomes


def _counted(parser: Parser, data: bytes) -> tuple[Outcome | None, int]:
    """The outcome, and how many calls it took."""
    steps = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal steps
        steps += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        outcome = parser.outcome(data)
    finally:
        sys.setprofile(None)
    return outcome, steps


@contextmanager
def _no_growth(parser: Parser, inputs: int) -> Iterator[None]:
    gc.collect()
    blocks, size, descriptors = sys.getallocatedblocks(), _resident(), _descriptors()
    yield
    gc.collect()
    blocks, size = sys.getallocatedblocks() - blocks, _resident() - size
    assert blocks <= MOST_BLOCKS * inputs + _SPARE_BLOCKS, f"{parser.name} keeps {blocks} blocks"
    assert size <= MOST_BYTES * inputs + _SPARE_BYTES, f"{parser.name} keeps {size} bytes"
    assert _descriptors() == descriptors, f"{parser.name} keeps descriptors"


def _resident() -> int:
    """Bytes of memory that this process occupies."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
