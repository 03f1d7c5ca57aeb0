"""An instance on a machine with a TPM in software, where nothing may be enrolled yet."""

import contextlib
from collections.abc import Iterator

from keyiso.router import process_router
from tests.instance import RunningInstance
from tests.roots.machine import EnrolledMachine


@contextlib.contextmanager
def instance_on(machine: EnrolledMachine, *options: str) -> Iterator[RunningInstance]:
    """One that tests start; it ends with the block."""
    process_router.cache_clear()
    instance = RunningInstance(machine.directory / "home", options)
    try:
        yield instance
    finally:
        process_router.cache_clear()
        instance.end()
        machine.tpm.flush_all()  # what killed workers had loaded: there is no resource manager
