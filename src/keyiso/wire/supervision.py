"""What anybody may ask of the supervisor."""

from keyiso.wire.messages import Operation, Result
from keyiso.wire.results import Done


class ProcessStatus(Result, frozen=True, array_like=True):
    service: str
    pid: int
    """0 while it is not running."""
    uid: int
    restarts: int
    started: float
    """Seconds since 1970-01-01 UTC."""
    worker_pid: int = 0
    """Of the worker that a guardian has; 0 until that is armed and has its roots, and for a process
    that is no guardian.
    """
    stopped: bool = False
    """Somebody has stopped it, and it is not started again before somebody starts it."""


class SupervisorStatus(Result, frozen=True, array_like=True):
    pid: int
    system: bool
    started: float
    processes: tuple[ProcessStatus, ...]
    shields: tuple[str, ...] = ()
    """Protections that the supervisor holds up: ``bpf-lsm``."""


class GetSupervisorStatus(Operation[SupervisorStatus], frozen=True, array_like=True, tag=1):
    pass


class Stop(Operation[Done], frozen=True, array_like=True, tag=2):
    """End all services and the supervisor. For root and the user it runs as."""


class ReplacePairs(Operation[Done], frozen=True, array_like=True, tag=3):
    """Start armed workers anew, one after the other, so that they take a new enrolment up. For
    root and the user that the supervisor runs as.
    """


class StopService(Operation[Done], frozen=True, array_like=True, tag=4):
    """End a service, and do not start it again. For root and the user that the supervisor runs as;
    not for armed workers, whose roots may be in their memory alone.
    """

    service: str


class StartService(Operation[Done], frozen=True, array_like=True, tag=5):
    """Start a service that was stopped. For those who may stop it."""

    service: str


SupervisionOperation = GetSupervisorStatus | Stop | ReplacePairs | StopService | StartService
