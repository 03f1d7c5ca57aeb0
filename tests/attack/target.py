"""What is attacked: a worker that holds planted keys, with its guardian if it has one."""

import abc
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

from keyiso.errors import NCryptError
from keyiso.trustlet.arming.process import status_of
from tests.attack.planted import Planted
from tests.attack.search import Search
from tests.conformance.raw_client import Ended

Kind = Literal["bare", "armed", "software", "vbs"]
"""A worker of the demonstration without any protection, and armed; workers of running services, of
both levels."""

KINDS: tuple[Kind, ...] = get_args(Kind)
PAIRS: tuple[Kind, ...] = ("armed", "vbs")

SECONDS = 30


class Target(abc.ABC):
    """A worker and its guardian, as they are now, and the keys that were planted in the worker."""

    kind: Kind
    directory: Path
    """Of the suite: for what an attack writes."""
    planted: Planted
    worker: int
    guardian: int
    """0 for a worker that has none."""

    @abc.abstractmethod
    def use_keys(self) -> None:
        """One operation with every planted key; fails when there is no answer."""

    @abc.abstractmethod
    def be_patient(self, seconds: float) -> None:
        """Wait no longer than this for an answer: `TimeoutError`, or an `NCryptError`."""

    @property
    def processes(self) -> tuple[int, ...]:
        return (self.worker, self.guardian) if self.guardian else (self.worker,)

    @property
    def alive(self) -> bool:
        return all(is_alive(pid) for pid in self.processes)

    def search(self) -> Search:
        """For the planted keys. Where they must be found one find proves the attack."""
        return Search(self.planted.forms, thorough=self.kind in PAIRS)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """The worker uses its keys without pause, so that they are in stacks and registers too."""
        stop = threading.Event()

        def work() -> None:
            # An attack may have ended the worker.
            with contextlib.suppress(Ended, OSError, NCryptError):
                while not stop.is_set():
                    self.use_keys()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def wait_for_end(self) -> None:
        """Wait until all its processes have gone."""
        for pid in self.processes:
            assert wait_for_end(pid), f"process {pid} goes on"


def is_alive(pid: int) -> bool:
    """It exists, and is no zombie."""
    try:
        return status_of(pid, "State")[:1] not in ("Z", "X", "")
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for_end(pid: int, seconds: float = SECONDS) -> bool:
    """Whether a process ended in time."""
    return wait_until(lambda: not is_alive(pid), seconds)


def wait_until(condition: Callable[[], bool], seconds: float = SECONDS) -> bool:
    """Whether a condition became true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
