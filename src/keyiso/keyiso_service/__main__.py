"""``python -I -m keyiso.keyiso_service``: the KeyIso service. Started by the supervisor."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from keyiso.clock import SystemClock
from keyiso.crypto.key_header import Level
from keyiso.errors import NCryptError
from keyiso.events.channels import Channels
from keyiso.events.journal import Journal
from keyiso.events.log import EventLog
from keyiso.events.writer import EventWriter
from keyiso.keyiso_service.access import Authority
from keyiso.keyiso_service.audit import Audit
from keyiso.keyiso_service.ephemeral_keys import EphemeralKeys
from keyiso.keyiso_service.isolation_audit import IsolationAudit
from keyiso.keyiso_service.key_store import KeyStore
from keyiso.keyiso_service.key_uses import KeyUses
from keyiso.keyiso_service.service import KeyIsoService
from keyiso.keyiso_service.workers import Workers, WorkerSockets
from keyiso.server.heartbeat import start_heartbeat
from keyiso.server.identity import new_identity
from keyiso.server.loop import Loop
from keyiso.server.startup import begin_service, stop_on_signals
from keyiso.store.ephemerals import EphemeralStore
from keyiso.wire.link import Uses


def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    sockets, quotas = begin_service(options.service, options.limit)
    loop = Loop(SystemClock())
    stop_on_signals(loop, loop.stop)
    start_heartbeat(loop, os.environ)
    identity = new_identity(options.service)
    audit = Audit(_event_writer(options), loop.clock)
    uses = KeyUses(loop, audit)
    isolation = IsolationAudit(audit)

    def take_uses(batch: Uses, level: Level) -> None:
        uses.take(batch)
        if level == "vbs":
            isolation.take(batch)

    store = KeyStore(loop, options.store, identity.boot_id)
    ephemerals = EphemeralStore(options.ephemerals, identity.boot_id)
    vbs_wanted = options.ephemerals / "vbs-wanted"
    workers = Workers(
        loop,
        options.service,
        WorkerSockets(options.worker, options.vbs_worker),
        _revoked_keys(store),
        take_uses,
        quotas,
        wanted=lambda: _note(vbs_wanted),
        heard=isolation.heard,
    )
    if options.vbs_at_start or vbs_wanted.exists():
        workers.want_vbs()
    service = KeyIsoService(
        loop,
        identity,
        store,
        workers,
        Authority(
            options.system,
            frozenset(options.manager_uid),
            frozenset(options.manager_gid),
            frozenset(options.service_uid),
        ),
        EphemeralKeys(loop, identity, ephemerals, workers, quotas),
        audit,
        uses,
        isolation,
        quotas=quotas,
    )
    service.listen(sockets["control"])
    if "served" in sockets:
        service.listen_for_passport(sockets["served"], options.passport_socket)
    loop.run()
    uses.tell_all()
    store.close()
    ephemerals.close()
    return 0


def _event_writer(options: argparse.Namespace) -> EventWriter:
    def tell(what: str) -> None:
        print(f"keyiso {options.service}: {what}", file=sys.stderr, flush=True)

    log = EventLog(options.events)
    return EventWriter(log, Journal(options.journal), Channels(options.events, tell))


def _note(path: Path) -> None:
    """Have the next KeyIso service of this boot know what this one did. Armed workers outlive it,
    and must hear what is revoked.
    """
    with contextlib.suppress(OSError):  # a full disk; their lease ends
        path.touch(mode=0o600)


def _revoked_keys(store: KeyStore) -> Callable[[], tuple[bytes, ...]]:
    def revoked() -> tuple[bytes, ...]:
        try:
            return store.read.revoked()
        except NCryptError:
            return ()  # without a store nothing is opened, and nothing was revoked by it

    return revoked


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="keyiso.keyiso_service")
    parser.add_argument("--service", default="keyiso")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--ephemerals", type=Path, required=True)
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--journal", type=Path)
    parser.add_argument("--worker", type=Path, action="append", default=[])
    parser.add_argument("--vbs-worker", type=Path, action="append", default=[])
    parser.add_argument("--vbs-at-start", action="store_true")
    parser.add_argument("--system", action="store_true")
    parser.add_argument("--manager-uid", type=int, action="append", default=[])
    parser.add_argument("--manager-gid", type=int, action="append", default=[])
    parser.add_argument("--passport-socket", type=Path)
    parser.add_argument("--service-uid", type=int, action="append", default=[])
    parser.add_argument("--limit", action="append", default=[], metavar="NAME=NUMBER")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
