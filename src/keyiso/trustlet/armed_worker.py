"""The worker of a pair: ``vbs`` keys in memory that root's tools cannot read.

Everything is opened, started and done once before it is armed; roots and keys come after that.
"""

import os
import socket
import sys
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from keyiso import limits
from keyiso.clock import SystemClock
from keyiso.crypto.key_blob import SECRET_BYTES, Root
from keyiso.crypto.root_seal import Roots
from keyiso.errors import NCryptError, VbsUnavailableError, ncrypt_error
from keyiso.quotas import Quotas
from keyiso.required_shields import BPF_LSM, RequiredShields
from keyiso.server.background import Background
from keyiso.server.heartbeat import Heartbeat
from keyiso.server.identity import Identity, new_identity
from keyiso.server.loop import Loop
from keyiso.server.startup import StartupError, inherited_sockets, usable_quotas
from keyiso.status import Status
from keyiso.trustlet.armed_roots import MachineRoots
from keyiso.trustlet.arming.armed import become_armed
from keyiso.trustlet.arming.handshake import tell_guardian
from keyiso.trustlet.arming.heap import HEAP_BYTES, Heap, prepare_heap
from keyiso.trustlet.arming.shields import Finding
from keyiso.trustlet.arming.warm_up import warm_up
from keyiso.trustlet.engine import Engine
from keyiso.trustlet.key_cache import KeyCache
from keyiso.trustlet.root_sharing import ask_for_roots, share_roots
from keyiso.trustlet.worker import Worker
from keyiso.trustlet.worker_options import parse_options, required_shields
from keyiso.wire.results import Isolation, ShieldFinding

LATCHED = "STATUS=latched"
KEPT_BOOT_ROOT = "X_KEYISO_BOOT_ROOT="
"""Said to the supervisor: that nobody gets the machine roots any more; what it keeps."""

EXIT_NO_ROOTS = 3
"""No sibling gave roots, and this worker may not make any."""

ROOT_SECONDS = 60
"""A TPM that is busy, or tests itself, answers late; one that unseals must not be interrupted."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What a worker has opened and started before it is armed."""

    identity: Identity
    quotas: Quotas
    sockets: dict[str, socket.socket]
    heap: Heap
    loop: Loop
    background: Background
    heartbeat: Heartbeat
    siblings: tuple[socket.socket, ...]
    machine: MachineRoots


def main(arguments: list[str]) -> int:
    options = parse_options("keyiso.trustlet.armed_worker", arguments)
    try:
        prepared = _prepare(options)
        findings = become_armed()
    except (NCryptError, StartupError, OSError) as error:
        _print(options.service, error)
        if isinstance(error, VbsUnavailableError):
            tell_guardian(error)
        return 1
    prepared.heartbeat.extend(ROOT_SECONDS)
    try:
        roots = _roots(prepared, may_found=options.found_roots)
    except NCryptError as error:
        _print(options.service, error)
        return EXIT_NO_ROOTS
    _serve(prepared, options, roots, findings)
    return 0


def _prepare(options: Namespace) -> _Prepared:
    heap = prepare_heap()  # first of all
    required = required_shields(options)
    _check_shields(required, options.shield)
    loop = Loop(SystemClock())
    prepared = _Prepared(
        new_identity(options.service),
        usable_quotas(options.limit).within_memory(HEAP_BYTES),
        inherited_sockets(),
        heap,
        loop,
        Background(loop),
        Heartbeat(os.environ),
        tuple(_connected(options.ask)),
        MachineRoots(
            options.enrolment,
            loop.clock,
            pool=options.pool,
            founds=options.found_roots,
            kept=options.kept_boot_root,
            required=required,
        ),
    )
    warm_up(prepared.background)
    return prepared


def _check_shields(required: RequiredShields, held_up: Iterable[str]) -> None:
    """Raise `VbsUnavailableError` where a shield is down that all vbs keys require."""
    if BPF_LSM in required and BPF_LSM not in held_up:
        raise required.lacking(
            BPF_LSM,
            "keyiso serves without that shield",
            "Start it as root with `keyiso serve --system --shield bpf-lsm`",
        )


def _connected(siblings: Iterable[Path]) -> Iterable[socket.socket]:
    for path in siblings:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()  # it ended; another one may be there
        else:
            yield connection


def _roots(prepared: _Prepared, *, may_found: bool) -> Roots:
    """The roots, of which that of this boot is left to later workers. Raises as `_found_roots`."""
    roots = _found_roots(prepared, may_found=may_found)
    if kept := prepared.machine.keep_boot_root(roots.boot, roots.machine):
        prepared.heartbeat.tell(f"{KEPT_BOOT_ROOT}{kept.hex()}")
    return roots


def _found_roots(prepared: _Prepared, *, may_found: bool) -> Roots:
    """The roots of a sibling; else of the TPM, and a new one for this boot.

    Raises ``KEYISO_E_ROOT_MISSING`` for a worker that may not begin a boot.
    """
    for sibling in prepared.siblings:
        try:
            roots, trouble = ask_for_roots(sibling, prepared.identity)
        except NCryptError as error:
            _print(prepared.identity.service, error)
        else:
            return Roots(roots.boot, prepared.machine.completed(roots.machine, trouble))
    if not may_found:
        raise ncrypt_error(Status.KEYISO_E_ROOT_MISSING, "no sibling has given its roots")
    machine = prepared.machine.unseal()
    if found := prepared.machine.boot_root(machine):
        return Roots(found, machine)
    boot = Root(os.urandom(limits.ROOT_ID_BYTES), "boot", os.urandom(SECRET_BYTES))
    return Roots(boot, machine)


def _serve(
    prepared: _Prepared, options: Namespace, roots: Roots, findings: tuple[Finding, ...]
) -> None:
    machine = prepared.machine
    if not machine.latches:
        machine.close()
    engine = Engine(
        "vbs",
        roots.machine[0] if roots.machine else None,
        roots.boot,
        older_roots=roots.machine[1:],
        missing=machine.missing,
    )
    worker = Worker(
        prepared.loop,
        prepared.identity,
        engine,
        options.keyiso_uid,
        prepared.quotas,
        cache=KeyCache(prepared.quotas.loaded_key_bytes, prepared.heap.is_short),
        background=prepared.background,
        isolation=machine.described(_armed(findings), roots),
    )
    sockets = prepared.sockets
    worker.listen(sockets["link"])
    giving = machine.giving(roots, options.pool, lambda: _latch(prepared))
    share_roots(
        prepared.loop,
        prepared.identity,
        roots,
        sockets["roots"],
        prepared.quotas,
        giving,
        None if roots.machine else machine.trouble,
    )
    prepared.heartbeat.start(prepared.loop, "armed")
    if machine.latches:
        alone = options.pool == 1
        prepared.loop.call_later(0 if alone else limits.LATCH_SECONDS, giving.end)
    prepared.loop.run()


def _latch(prepared: _Prepared) -> None:
    """Beside the loop, as a TPM may take a second for it; again and again until it has fallen."""
    done = prepared.background.run(prepared.machine.latch, lambda: True)

    def tell() -> None:
        try:
            done.result()
        except NCryptError as error:
            _print(prepared.identity.service, error)
            prepared.loop.call_later(limits.LATCH_RETRY_SECONDS, lambda: _latch(prepared))
        else:
            prepared.heartbeat.tell(LATCHED)

    done.when_kept(tell)


def _armed(findings: Iterable[Finding]) -> Isolation:
    return Isolation(
        "armed",
        findings=tuple(
            ShieldFinding(one.shield, one.answer.value, one.evidence) for one in findings
        ),
        boot_root="present",
    )


def _print(service: str, error: Exception) -> None:
    print(f"keyiso {service}: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)
