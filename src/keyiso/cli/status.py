"""``keyiso status``: an instance as it is. Asking starts nothing."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import click

from keyiso.cli._exit import error_object, exit_code, print_error
from keyiso.cli._options import json_option
from keyiso.cli._output import heading, print_details, print_json, print_table, printable
from keyiso.client.binding import bind_process, trusted_uids
from keyiso.client.request import Request
from keyiso.client.retry import RetryPolicy
from keyiso.client.supervision import supervisor_status
from keyiso.errors import NCryptError
from keyiso.paths import Instance, client_instance
from keyiso.wire.control import (
    BINDINGS_FEATURE,
    Bindings,
    BoundProcess,
    GetBindings,
    GetServiceStatus,
    ServiceStatus,
)
from keyiso.wire.results import WorkerStatus
from keyiso.wire.supervision import ProcessStatus, SupervisorStatus

_DEADLINE_SECONDS: Final = 3.0
"""What the KeyIso service may take. Its supervisor listens for it: without a deadline, a service
that cannot start would be waited for."""

_SHOWN_DIGITS: Final = 8
"""Of an instance id's 32: enough to see that it is another one."""


@click.command()
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """What runs: processes, restarts, memory, loaded keys; and who is bound to them.

    Nothing is started by asking. The exit code is 6 when keyiso, or its KeyIso service, does not
    answer; what is known is printed all the same.
    """
    report = _look(client_instance(os.environ))
    if as_json:
        print_json(_as_object(report))
    else:
        _print(report)
    if report.error is not None:
        context.exit(exit_code(report.error))


@dataclass(frozen=True, slots=True)
class _Process:
    """One process of the instance."""

    service: str
    pid: int
    """0 while it is not running."""
    worker_pid: int
    """Of the worker that it guards; 0 for what is no pair, and until that worker is armed."""
    uid: int | None
    restarts: int
    started: float
    """Seconds since 1970-01-01 UTC; 0 for one that waits until somebody needs it."""
    stopped: bool
    """By somebody, who has to start it again."""
    instance_id: bytes | None
    """None where the process did not say."""
    worker: WorkerStatus | None
    """What a process that holds keys says of itself."""

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(pid for pid in (self.pid, self.worker_pid) if pid)


@dataclass(frozen=True, slots=True)
class _Report:
    """What could be found out."""

    instance: Instance
    processes: tuple[_Process, ...]
    """Empty when no supervisor answered."""
    clients: int | None
    """Other than this command; None when the KeyIso service did not answer."""
    error: NCryptError | None
    """Who did not answer."""
    shields: tuple[str, ...] = ()
    """Protections that the supervisor holds up."""
    lost: Mapping[str, int] | None = None
    """What the event log could not record, by the reason; None when nobody could say."""
    bindings: Bindings | None = None
    """Who is bound, without this command; None when nobody could say."""


def _look(instance: Instance) -> _Report:
    try:
        supervisor = supervisor_status(instance, trusted_uids())
    except NCryptError as error:
        return _Report(instance, (), None, error)
    instance = replace(instance, system=supervisor.system)
    try:
        service, bindings = _service_status(instance)
    except NCryptError as error:
        return _Report(instance, _processes(supervisor, None), None, error, supervisor.shields)
    return _Report(
        instance,
        _processes(supervisor, service),
        max(0, service.clients - 1),
        None,
        supervisor.shields,
        _lost(service),
        bindings,
    )


def _lost(service: ServiceStatus) -> dict[str, int]:
    return {
        "events": service.lost_events,
        "journal": service.lost_journal,
        "suppressed": service.suppressed_events,
        "uses": service.lost_uses,
    }


def _service_status(instance: Instance) -> tuple[ServiceStatus, Bindings | None]:
    binding = bind_process(
        os.environ,
        resolve=lambda: instance,
        policy=RetryPolicy(deadline=_DEADLINE_SECONDS),
        autostart=False,
    )
    return (
        binding.control(GetServiceStatus()),
        binding.try_until_done("GetBindings", _bindings_of_others),
    )


def _bindings_of_others(request: Request) -> Bindings | None:
    if not request.offers(BINDINGS_FEATURE):
        return None
    found = request.control(GetBindings())
    others = (process for process in found.processes if process.pid != os.getpid())
    return Bindings(found.instance_id, tuple(others), found.more)


def _processes(supervisor: SupervisorStatus, service: ServiceStatus | None) -> tuple[_Process, ...]:
    workers = {} if service is None else {worker.service: worker for worker in service.workers}
    itself = _Process(
        "supervisor",
        supervisor.pid,
        0,
        _uid_of(supervisor.pid),
        0,
        supervisor.started,
        False,
        None,
        None,
    )
    return (
        itself,
        *(_process(entry, service, workers.get(entry.service)) for entry in supervisor.processes),
    )


def _process(
    entry: ProcessStatus, service: ServiceStatus | None, worker: WorkerStatus | None
) -> _Process:
    """What the supervisor knows of a process, and what that process says, if it is the same."""
    instance_id = None
    if worker is not None and worker.pid == (entry.worker_pid or entry.pid):
        instance_id = worker.instance_id
    elif service is not None and service.pid == entry.pid:
        instance_id = service.instance_id
    return _Process(
        entry.service,
        entry.pid,
        entry.worker_pid,
        entry.uid,
        entry.restarts,
        entry.started,
        entry.stopped,
        instance_id,
        worker if instance_id is not None else None,
    )


# --- /proc -------------------------------------------------------------------------------------


def _uid_of(pid: int) -> int | None:
    value = _proc_status(pid, "Uid")
    return None if value is None else int(value.split()[1])


def _memory_of(pids: Iterable[int]) -> int | None:
    """Resident bytes: what the processes have in memory, what they share with others included."""
    return _sum(map(_resident_bytes, pids))


def _resident_bytes(pid: int) -> int | None:
    value = _proc_status(pid, "VmRSS")
    return None if value is None else int(value.split()[0]) * 1024


def _proc_status(pid: int, field: str) -> str | None:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(field + ":"):
            return line.partition(":")[2]
    return None


def _descriptors_of(pids: Iterable[int]) -> int | None:
    """None where only root may count: a process that holds keys shows others nothing."""
    return _sum(map(_descriptors, pids))


def _descriptors(pid: int) -> int | None:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


def _sum(numbers: Iterable[int | None]) -> int | None:
    """None when one is not known, or there is none."""
    known = list(numbers)
    return None if None in known or not known else sum(filter(None, known))


# --- printing ----------------------------------------------------------------------------------


def _as_object(report: _Report) -> dict[str, Any]:
    instance = report.instance
    return {
        "running": bool(report.processes),
        "clients": report.clients,
        "lost": report.lost,
        "shields": report.shields,
        "processes": [_process_object(process) for process in report.processes],
        "bindings": report.bindings and _bindings_object(report.bindings),
        "instance": {
            "system": instance.system,
            "state": str(instance.state),
            "runtime": str(instance.runtime),
            "config": [str(directory) for directory in instance.config],
            "control_socket": str(instance.control_socket),
            "supervisor_socket": str(instance.supervisor_socket),
            "store": str(instance.store),
            "events": str(instance.events),
        },
        **({} if report.error is None else {"error": error_object(report.error)}),
    }


def _process_object(process: _Process) -> dict[str, Any]:
    worker = process.worker
    return {
        "service": process.service,
        "pid": process.pid or None,
        "worker_pid": process.worker_pid or None,
        "uid": process.uid,
        "restarts": process.restarts,
        "started": process.started,
        "stopped": process.stopped,
        "instance_id": process.instance_id.hex() if process.instance_id else None,
        "loaded_keys": None if worker is None else worker.loaded_keys,
        "channels": None if worker is None else worker.channels,
        "operations": None if worker is None else worker.operations,
        "failures": None if worker is None else worker.failures,
        "lost_uses": None if worker is None else worker.lost,
        "memory_bytes": _memory_of(process.pids),
        "descriptors": _descriptors_of(process.pids),
    }


def _bindings_object(bindings: Bindings) -> dict[str, Any]:
    return {
        "instance_id": bindings.instance_id.hex(),
        "more": bindings.more,
        "processes": [
            {
                "process": process.process,
                "pid": process.pid,
                "uid": process.uid,
                "connections": process.connections,
                "workers": [
                    {
                        "service": worker.worker,
                        "instance_id": worker.instance_id.hex(),
                        "channels": worker.channels,
                    }
                    for worker in process.workers
                ],
            }
            for process in bindings.processes
        ],
    }


def _print(report: _Report) -> None:
    if report.processes:
        print_table(_COLUMNS, map(_row, report.processes), right=_NUMBERS)
    else:
        click.echo("keyiso is not running here. The first program that uses a key starts it.")
    if report.clients is not None:
        click.echo()
        click.echo(f"Programs connected to the KeyIso service: {report.clients}")
    if report.shields:
        click.echo(f"Shields that are up: {', '.join(report.shields)}")
    if report.lost is not None:
        click.echo(_what_is_lost(report.lost))
    if report.bindings is not None and report.bindings.processes:
        _print_bindings(report.bindings)
    heading("Where")
    print_details(_places(report.instance))
    if report.error is not None:
        print_error(report.error)


_COLUMNS: Final = (
    "SERVICE",
    "PID",
    "UID",
    "RESTARTS",
    "SINCE",
    "INSTANCE",
    "KEYS",
    "CHANNELS",
    "CALLS",
    "FAILED",
    "LOST",
    "MEMORY",
    "FILES",
)
_NUMBERS: Final = frozenset(_COLUMNS) - {"SERVICE", "SINCE", "INSTANCE"}


def _row(process: _Process) -> Sequence[str]:
    worker, memory = process.worker, _memory_of(process.pids)
    return (
        printable(process.service),
        str(process.pid) if process.pid else _why_down(process),
        _number(process.uid),
        str(process.restarts),
        _time(process.started) if process.started else "-",
        process.instance_id.hex()[:_SHOWN_DIGITS] if process.instance_id else "-",
        _number(None if worker is None else worker.loaded_keys),
        _number(None if worker is None else worker.channels),
        _number(None if worker is None else worker.operations),
        _number(None if worker is None else worker.failures),
        _number(None if worker is None else worker.lost),
        "-" if memory is None else f"{memory / (1 << 20):.1f} MiB",
        _number(_descriptors_of(process.pids)),
    )


def _why_down(process: _Process) -> str:
    if process.stopped:
        return "stopped"
    return "down" if process.started else "waits"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _print_bindings(bindings: Bindings) -> None:
    heading("Who is bound to which instance")
    instance = bindings.instance_id.hex()[:_SHOWN_DIGITS]
    print_table(
        ("PROGRAM", "PID", "UID", "KEYISO", "WORKERS"),
        (
            (
                printable(process.process) or "-",
                str(process.pid),
                str(process.uid),
                instance if process.connections else "-",
                _workers_of(process),
            )
            for process in bindings.processes
        ),
        right={"PID", "UID"},
    )
    if bindings.more:
        click.echo(f"... and {bindings.more} more")


def _workers_of(process: BoundProcess) -> str:
    """Each with the first digits of its instance, and how many channels there are if several."""
    return (
        ", ".join(
            f"{printable(worker.worker)} {worker.instance_id.hex()[:_SHOWN_DIGITS]}"
            + (f" ({worker.channels} channels)" if worker.channels > 1 else "")
            for worker in process.workers
        )
        or "-"
    )


def _what_is_lost(lost: Mapping[str, int]) -> str:
    """What the event log does not tell, since the KeyIso service started."""
    missing = [f"{count} ({_REASONS[reason]})" for reason, count in lost.items() if count]
    return f"Events that are not recorded: {', '.join(missing) or 'none'}"


_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "events": "the log could not be written",
        "journal": "the journal did not take them",
        "suppressed": "one user had too many failures",
        "uses": "a worker had no room to count",
    }
)


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _places(instance: Instance) -> list[tuple[str, str | list[str]]]:
    return [
        ("Serves", "every user" if instance.system else "you"),
        ("State", printable(str(instance.state))),
        ("Sockets", printable(str(instance.runtime))),
        ("Events", printable(str(instance.events))),
        ("Configuration", [printable(str(directory)) for directory in instance.config]),
    ]
