"""The keyiso that this user's programs use. Asking starts nothing, and waits for nobody long."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from keyiso.client.binding import Binding, bind_process, trusted_uids
from keyiso.client.retry import RetryPolicy
from keyiso.client.supervision import supervisor_status
from keyiso.doctor.finding import Finding, Question
from keyiso.doctor.memory import THIS_PROCESS
from keyiso.errors import NCryptError
from keyiso.paths import Instance, client_instance
from keyiso.wire.control import GetIsolation, GetServiceStatus
from keyiso.wire.results import Isolation
from keyiso.wire.supervision import ProcessStatus, SupervisorStatus

RUNNING: Final = Question(
    "running",
    "Keys can be used.",
    "No key can be used now. The first program that uses a key starts a keyiso of its user's own;"
    " the system's is started by the system.",
    "Start it: `keyiso doctor --start`, or `keyiso serve`.",
)
COMPLETE: Final = Question(
    "complete",
    "Every process of keyiso runs.",
    "What the missing processes do waits until they are back.",
    "See `keyiso status` and `keyiso events show`.",
)
SEPARATE_USERS: Final = Question(
    "separate-users",
    "The processes that hold keys belong to a user of their own, whom no program of yours is.",
    "Programs of the user that keyiso runs as can start it wrongly, and read its keys of level"
    " `software`.",
    "Run the system's keyiso, for all users: `keyiso serve --system`.",
)

_DEADLINE_SECONDS: Final = 3.0
"""What the KeyIso service may take to answer."""

_CONTROL_SERVICE: Final = "keyiso"
_WORKERS: Final = ("software-", "vbs-")
_VBS: Final = "vbs-"


@dataclass(frozen=True, slots=True)
class Running:
    """What answered."""

    instance: Instance
    supervisor: SupervisorStatus | None
    trouble: NCryptError | None
    """Who did not answer, the supervisor or the KeyIso service; None when both did."""

    @property
    def answers(self) -> bool:
        return self.trouble is None

    @property
    def worker_uid(self) -> int:
        """As whom keys are held, or would be."""
        processes = () if self.supervisor is None else self.supervisor.processes
        uids = (one.uid for one in processes if one.service.startswith(_WORKERS))
        return next(uids, os.geteuid())

    @property
    def arming(self) -> str:
        """The process whose limits armed workers have: a directory of /proc."""
        if self.supervisor is None:
            return THIS_PROCESS
        pairs = (one.pid for one in self.supervisor.processes if one.service.startswith(_VBS))
        return str(next(filter(None, pairs), self.supervisor.pid))


def isolation_of(running: Running, environ: Mapping[str, str]) -> Isolation | None:
    """What it says of its armed workers, which it starts for that. None: it says nothing."""
    if not running.answers:
        return None
    try:
        return _binding(running.instance, environ).control(GetIsolation())
    except NCryptError:
        return None


def running_instance(environ: Mapping[str, str]) -> Running:
    """The instance of this environment, if it runs."""
    instance = client_instance(environ)
    supervisor: SupervisorStatus | None = None
    try:
        supervisor = supervisor_status(instance, trusted_uids())
        instance = replace(instance, system=supervisor.system)
    except NCryptError as error:
        if not instance.outside.exists():
            return Running(instance, None, error)
        # It is outside, and not for this machine to ask.
    try:
        _binding(instance, environ).control(GetServiceStatus())
    except NCryptError as error:
        return Running(instance, supervisor, error)
    return Running(instance, supervisor, None)


def instance_findings(running: Running) -> tuple[Finding, ...]:
    """Whether it runs, all of it, and as whom."""
    if running.supervisor is None:
        return (
            RUNNING.no(running.trouble.cause)
            if running.trouble
            else RUNNING.yes("outside of this machine, by `keyiso guest relay`"),
        )
    return (
        _running(running),
        _complete(running.supervisor.processes),
        _separate_users(running.supervisor),
    )


def _binding(instance: Instance, environ: Mapping[str, str]) -> Binding:
    return bind_process(
        environ,
        resolve=lambda: instance,
        policy=RetryPolicy(deadline=_DEADLINE_SECONDS),
        autostart=False,
    )


def _running(running: Running) -> Finding:
    whose = "the system's" if running.instance.system else "your own"
    if running.trouble is not None:
        return RUNNING.no(
            f"{whose}, in {running.instance.runtime}: {running.trouble.cause}",
            "See `keyiso status` and `keyiso events show`.",
        )
    return RUNNING.yes(f"{whose}, in {running.instance.runtime}")


def _complete(processes: tuple[ProcessStatus, ...]) -> Finding:
    started = [one for one in processes if one.started]  # the others wait until they are wanted
    down = [one.service for one in started if not one.pid]
    if down:
        return COMPLETE.no(f"down: {', '.join(down)}")
    restarts = sum(one.restarts for one in started)
    return COMPLETE.yes(f"{len(started)} processes and a supervisor; {restarts} restarts")


def _separate_users(supervisor: SupervisorStatus) -> Finding:
    control = {one.uid for one in supervisor.processes if one.service == _CONTROL_SERVICE}
    workers = {one.uid for one in supervisor.processes if one.service.startswith(_WORKERS)}
    found = f"uids {_listed(control)} (KeyIso service) and {_listed(workers)} (workers)"
    if workers & (control | {0}):
        return SEPARATE_USERS.no(found)
    return SEPARATE_USERS.yes(found)


def _listed(uids: set[int]) -> str:
    return ", ".join(map(str, sorted(uids)))
