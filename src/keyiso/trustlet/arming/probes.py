"""Which shields this machine can give: found out with a pair without keys, which is attacked.

For the services that decide whether to arm, and for those that explain. A worker does not import
this: it probes itself (self_probes.py).
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from keyiso.errors import NCryptError
from keyiso.interpreter import module_command
from keyiso.trustlet.arming.backing import secret_memory
from keyiso.trustlet.arming.bpf_lsm import probe_bpf_lsm
from keyiso.trustlet.arming.mappings import regions_of
from keyiso.trustlet.arming.process import threads_of, tracer_of
from keyiso.trustlet.arming.ptrace import seize
from keyiso.trustlet.arming.self_probes import probe_reading, probe_writing
from keyiso.trustlet.arming.shields import (
    ARMED,
    GUARDED,
    NO_CORE,
    REHOMED,
    SECCOMP,
    SECRETMEM,
    Finding,
    no,
    unknown,
    yes,
)

_SECONDS: Final = 30


def probe_machine() -> tuple[Finding, ...]:
    """What was found of each shield. It takes about half a second.

    Asked by root, the attacks are root's; asked by another user, some are refused for that reason
    alone, and the evidence says so.
    """
    with _trial_pair() as pair:
        if isinstance(pair, str):
            return (*_without_pair(pair), probe_bpf_lsm())
        return (
            *_probe_memory(pair),
            _probe_guard(pair),
            yes(SECCOMP, pair.said[SECCOMP]),
            yes(NO_CORE, pair.said[NO_CORE]),
            probe_bpf_lsm(),
        )


@dataclass(frozen=True, slots=True)
class _Pair:
    guardian: int
    worker: int
    said: Mapping[str, str]
    """The worker's own evidence, by shield."""


@contextlib.contextmanager
def _trial_pair() -> Iterator[_Pair | str]:
    """A pair, or why there is none."""
    process = subprocess.Popen(
        module_command("keyiso.trustlet.arming"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stderr is not None  # noqa: S101 (they are)
        lines = [process.stdout.readline().strip() for _ in range(1 + len(ARMED))]
        if all(lines):
            said = dict(line.split("=", 1) for line in lines[1:])
            yield _Pair(process.pid, int(lines[0]), said)
        else:
            yield process.stderr.read().strip() or "the guardian ended without a word"
    finally:
        process.kill()  # and its worker dies with it
        process.communicate(timeout=_SECONDS)


def _without_pair(why: str) -> tuple[Finding, ...]:
    findings = {name: unknown(name, why) for name in ARMED}
    try:
        os.close(secret_memory())
    except (NCryptError, OSError) as error:
        findings[SECRETMEM] = no(SECRETMEM, str(error))
    return tuple(findings.values())


def _probe_memory(pair: _Pair) -> tuple[Finding, Finding]:
    try:
        memory = os.open(f"/proc/{pair.worker}/mem", os.O_RDWR | os.O_CLOEXEC)
    except PermissionError as error:
        # Not root, who could. The worker has tried on itself what an open file allows.
        how = f"opening its memory: {error.strerror}"
        return (
            yes(SECRETMEM, f"{pair.said[SECRETMEM]}; {how}"),
            yes(REHOMED, f"{pair.said[REHOMED]}; {how}"),
        )
    try:
        regions = [one for one in regions_of(pair.worker) if not one.of_the_kernel]
        return probe_reading(memory, regions), probe_writing(memory, regions)
    finally:
        os.close(memory)


def _probe_guard(pair: _Pair) -> Finding:
    threads = threads_of(pair.worker)
    for thread in (*threads, pair.guardian):
        if not tracer_of(thread):
            return no(GUARDED, f"thread {thread} has no tracer")
        with contextlib.suppress(PermissionError):
            seize(thread)
            return no(GUARDED, f"thread {thread} could be traced")
    return yes(GUARDED, f"{len(threads)} threads and the guardian, none of which could be traced")
