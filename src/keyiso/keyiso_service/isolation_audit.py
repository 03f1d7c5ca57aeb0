"""What the event log tells of ``vbs``: who uses it, what fails, and what became of the pairs."""

from collections import Counter, OrderedDict
from typing import TypeVar

from keyiso import limits
from keyiso.errors import NCryptError
from keyiso.events.records import (
    VBS_CLIENT,
    VBS_NOT_AVAILABLE,
    VBS_OPERATION_FAILED,
    VBS_RESTARTED,
    VBS_STATUS,
)
from keyiso.keyiso_service.audit import Audit, Values
from keyiso.keyiso_service.client import Client
from keyiso.server.peer import start_of
from keyiso.status import Status, describe
from keyiso.wire.link import FailedUse, Uses
from keyiso.wire.results import Isolation

K = TypeVar("K")


class IsolationAudit:
    """Counts since this KeyIso service started; the events carry the counts."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._failures: Counter[str] = Counter()
        """By function."""
        self._successes: Counter[str] = Counter()
        self._failures_of: OrderedDict[tuple[str, int, str], int] = OrderedDict()
        """By client, as it calls itself and by its pid, and function."""
        self._attempts: OrderedDict[tuple[int, int | None], int] = OrderedDict()
        """How often a client process asked for a channel."""
        self._said: dict[str, Isolation] = {}
        """The last that each pair said."""
        self._restarts = 0
        self._successful_restarts = 0

    # --- pairs ---------------------------------------------------------------------------------

    def heard(self, service: str, isolation: Isolation) -> None:
        """A pair has said what it is, after it was connected to."""
        armed = isolation.state == "armed"
        before = self._said.get(service)
        self._said[service] = isolation
        if before is not None:
            self._restarts += 1
            self._successful_restarts += armed
            self._record_restart(service, isolation)
        if not armed:
            self._record_absence(service, isolation)
        if isolation.root_cause and (before is None or not before.root_cause):
            self._record_rootless(service, isolation)
        if before is None or _standing(before) != _standing(isolation):
            more = {"service": service}
            self._audit.isolation(VBS_STATUS, {"Status": _standing(isolation)}, more)

    def _record_restart(self, service: str, isolation: Isolation) -> None:
        armed = isolation.state == "armed"
        values: Values = {
            "LsaIsoLaunchAttempted": 1,
            "Status": int(Status.ERROR_SUCCESS if armed else Status.NTE_VBS_UNAVAILABLE),
            "TotalAttemptedRestarts": self._restarts,
            "TotalSuccessfulRestarts": self._successful_restarts,
            "CanBeEnabled": int(armed),
        }
        self._audit.isolation(VBS_RESTARTED, values, {"service": service})

    def _record_absence(self, service: str, isolation: Isolation) -> None:
        values: Values = {
            "ErrorCode": int(Status.NTE_VBS_UNAVAILABLE),
            "SignaledFailure": self._failures.total(),
            "SignaledSuccess": self._successes.total(),
        }
        more = {"service": service, "cause": isolation.cause, "action": isolation.action}
        self._audit.isolation(VBS_NOT_AVAILABLE, values, more)

    def _record_rootless(self, service: str, isolation: Isolation) -> None:
        values: Values = {
            "Function": "UnsealMachineRoot",
            "Info": isolation.root_cause,
            "StatusCode": isolation.root_status,
            "StatusString": describe(isolation.root_status),
        }
        self._audit.isolation(VBS_OPERATION_FAILED, values, {"service": service})

    # --- clients -------------------------------------------------------------------------------

    def client_binds(self, client: Client, error: NCryptError | None = None) -> None:
        """A client asks for a channel to an armed worker: recorded once for each process."""
        process = client.peer.pid, start_of(client.peer.pid)
        attempts = self._attempts.get(process, 0) + 1
        _remember(self._attempts, process, attempts)
        if attempts > 1:
            return
        status = Status.ERROR_SUCCESS if error is None else error.status
        values: Values = {
            "Client": client.process,
            "BindingStatusCode": int(status),
            "BindingStatusString": describe(status),
            "InstanceBindingAttempts": attempts,
        }
        self._audit.isolation_of_client(client, VBS_CLIENT, values)

    def succeeded(self, function: str) -> None:
        self._successes[function] += 1

    def failed(self, client: Client, function: str, trace: str, error: NCryptError) -> None:
        """Something with a vbs key, that the client asked this service for."""
        self._record_failure(
            client.peer.uid,
            client.peer.pid,
            client.process,
            function,
            trace,
            error.status,
            error.cause,
            1,
        )

    def take(self, uses: Uses) -> None:
        """What an armed worker tells of the uses of its keys."""
        failures: Counter[str] = Counter()
        for failed in uses.failed:
            failures[failed.function] += failed.count
            self._take_failure(failed)
        for use in uses.made:
            self._successes[use.function] += max(0, use.count - failures.pop(use.function, 0))

    def _take_failure(self, failed: FailedUse) -> None:
        self._record_failure(
            failed.uid,
            failed.pid,
            failed.process,
            failed.function,
            failed.trace,
            failed.status,
            "",
            failed.count,
        )

    def _record_failure(
        self,
        uid: int,
        pid: int,
        process: str,
        function: str,
        trace: str,
        status: int,
        info: str,
        count: int,
    ) -> None:
        self._failures[function] += count
        of_client = self._failures_of.get((process, pid, function), 0) + count
        _remember(self._failures_of, (process, pid, function), of_client)
        values: Values = {
            "Function": function,
            "Info": info,
            "StatusCode": status,
            "StatusString": describe(status),
            "Client": process,
            "FailuresCount": of_client,
            "FailuresCountGlobal": self._failures[function],
            "SuccessCountGlobal": self._successes[function],
        }
        self._audit.isolation_failed(uid, pid, trace, values, {"count": count}, count)


def _standing(isolation: Isolation) -> str:
    if isolation.state != "armed":
        return f"{isolation.state}: {isolation.cause}"
    return (
        f"armed; machine root {isolation.machine_root}; boot root {isolation.boot_root}; "
        + ", ".join(f"{one.shield} {one.answer}" for one in isolation.findings)
    )


def _remember(counts: OrderedDict[K, int], key: K, value: int) -> None:
    """The longest unused ones are forgotten."""
    counts[key] = value
    counts.move_to_end(key)
    if len(counts) > limits.VBS_CLIENTS:
        counts.popitem(last=False)
