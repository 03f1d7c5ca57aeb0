"""What a command did with keys, as a tree: processes, operations, what was asked, by whom."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from keyiso.cli._output import printable
from keyiso.client.tracing import CONNECT, Step
from keyiso.status import Status, status_name
from keyiso.wire.messages import Span

_BROKEN: Final = Status.KEYISO_E_STALE
_SHOWN_DIGITS: Final = 8
"""Of an instance id's 32, as `keyiso status` shows them."""


@dataclass(frozen=True, slots=True)
class _Operation:
    """What a program asked for, with everything that was done for it."""

    steps: Sequence[Step]
    rebound: frozenset[int]
    """Which of the steps connected to the next instance of a service that was known before."""

    @property
    def last(self) -> Step:
        return self.steps[-1]

    @property
    def seconds(self) -> float:
        return max(step.began + step.spans[0].seconds for step in self.steps) - self.steps[0].began

    @property
    def status(self) -> int:
        return self.last.spans[0].status


@dataclass(frozen=True, slots=True)
class _Process:
    """A program, with what it asked for in the order in which it began."""

    first: Step
    operations: Sequence[_Operation]


def as_object(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The tree for programs."""
    return [
        {
            "process": process.first.process,
            "pid": process.first.pid,
            "parent": process.first.parent,
            "operations": [_operation_object(operation) for operation in process.operations],
        }
        for process in _processes(steps)
    ]


def as_lines(steps: Sequence[Step]) -> Iterator[str]:
    """The tree for people."""
    processes = list(_processes(steps))
    known = {process.first.pid for process in processes}
    for process in processes:
        first = process.first
        child = f", child of {first.parent}" if first.parent in known else ""
        yield f"{printable(first.process)}[{first.pid}]{child}"
        for operation in process.operations:
            yield from _operation_lines(operation)


def _processes(steps: Sequence[Step]) -> Iterator[_Process]:
    """Processes in the order of their first step."""
    by_pid: dict[int, list[Step]] = {}
    for step in steps:
        by_pid.setdefault(step.pid, []).append(step)
    for of_process in by_pid.values():
        yield _Process(of_process[0], list(_operations(of_process)))


def _operations(steps: Sequence[Step]) -> Iterator[_Operation]:
    """What one process asked for."""
    traces: dict[str, list[Step]] = {}
    rebound: dict[str, set[int]] = {}
    instances: dict[str, str] = {}
    for step in steps:
        seen, told = step.spans[0], traces.setdefault(step.trace, [])
        if seen.function == CONNECT and not seen.status:
            if instances.setdefault(seen.service, step.note) != step.note:
                rebound.setdefault(step.trace, set()).add(len(told))
            instances[seen.service] = step.note
        told.append(step)
    for trace, of_trace in traces.items():
        yield _Operation(of_trace, frozenset(rebound.get(trace, ())))


# --- for programs ------------------------------------------------------------------------------


def _operation_object(operation: _Operation) -> dict[str, Any]:
    return {
        "trace": operation.last.trace,
        "function": operation.last.function,
        "subject": operation.last.subject,
        "began": operation.steps[0].began,
        "seconds": operation.seconds,
        "status": status_name(operation.status),
        "attempts": operation.last.attempt,
        "rebinds": len(operation.rebound),
        "steps": [
            {
                "attempt": step.attempt,
                "began": step.began,
                "note": step.note,
                "spans": [
                    _span_object(span, depth)
                    for span, depth in zip(step.spans, _depths(step), strict=True)
                ],
            }
            for step in operation.steps
        ],
    }


def _span_object(span: Span, depth: int) -> dict[str, Any]:
    return {
        "depth": depth,
        "service": span.service,
        "pid": span.pid,
        "function": span.function,
        "seconds": span.seconds,
        "status": status_name(span.status),
    }


def _depths(step: Step) -> Iterator[int]:
    """0 for what the client saw; 1 for what the service that it asked told of itself."""
    yield 0
    yield from (span.depth + 1 for span in step.spans[1:])


# --- for people --------------------------------------------------------------------------------


def _operation_lines(operation: _Operation) -> Iterator[str]:
    last = operation.last
    about = f" '{printable(last.subject)}'" if last.subject else ""
    tries = f", {last.attempt} tries" if last.attempt > 1 else ""
    status = _status(operation.status)
    if operation.status:
        tries += f", trace {printable(last.trace)}"
    yield f"  {printable(last.function)}{about}  {_time(operation.seconds)}  {status}{tries}"
    steps = (
        _step_lines(step, again=number in operation.rebound)
        for number, step in enumerate(operation.steps)
    )
    for _, equal in itertools.groupby(steps, key=lambda lines: [line.what for line in lines]):
        same = list(equal)
        times = f", {len(same)} times" if len(same) > 1 else ""
        for lines in zip(*same, strict=True):
            seconds = sum(line.seconds for line in lines)
            there = [line.there for line in lines if line.there is not None]
            inside = f" ({_time(sum(there))} there)" if there else ""
            yield f"{'  ' * (lines[0].depth + 2)}{lines[0].what}  {_time(seconds)}{inside}{times}"


class _Line(NamedTuple):
    """A process on the way of one step."""

    depth: int
    what: str
    seconds: float
    there: float | None = None
    """How much of it the process that was asked says that it took itself, if it says so."""


def _step_lines(step: Step, *, again: bool) -> list[_Line]:
    seen, told = step.spans[0], step.spans[1:]
    what = f"{_who(seen)} {printable(seen.function)}"
    if seen.function == CONNECT and not seen.status:
        instance = printable(step.note[:_SHOWN_DIGITS])
        what = f"{_who(seen)} {'re-bound' if again else 'bound'}, instance {instance}"
    elif seen.status:
        why = printable(step.note) if seen.status == _BROKEN or not told else ""
        what += f"  {_status(seen.status)}{': ' if why else ''}{why}"
    there = None
    if told and not told[0].depth:
        there, told = told[0].seconds, told[1:]
    lines = [_Line(0, what, seen.seconds, there)]
    for span in told:
        failed = f"  {_status(span.status)}" if span.status else ""
        what = f"{_who(span)} {printable(span.function)}{failed}"
        lines.append(_Line(span.depth, what, span.seconds))
    return lines


def _who(span: Span) -> str:
    return f"{printable(span.service)}[{span.pid or '-'}]"


def _status(status: int) -> str:
    if status == _BROKEN:
        return "broken"
    return status_name(status) if status else "ok"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
