"""``python -I -m keyiso.trustlet``: one ``software`` worker. Started by the supervisor."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from keyiso.clock import SystemClock
from keyiso.crypto.key_blob import Root
from keyiso.errors import NCryptError
from keyiso.server.heartbeat import start_heartbeat
from keyiso.server.identity import boot_id, new_identity
from keyiso.server.loop import Loop
from keyiso.server.startup import (
    StartupError,
    harden_process,
    inherited_sockets,
    stop_on_signals,
    usable_quotas,
)
from keyiso.trustlet.engine import Engine
from keyiso.trustlet.roots import boot_root, machine_root
from keyiso.trustlet.worker import Worker


def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    try:
        sockets = inherited_sockets()
        harden_process()
        quotas = usable_quotas(options.limit)
    except (StartupError, NCryptError, OSError) as error:
        print(f"keyiso {options.service}: {error}", file=sys.stderr)
        return 1
    path, may_create = options.machine_root, options.may_create_root
    machine = _usable(options.service, lambda: machine_root(path, may_create=may_create))
    boot = _usable(options.service, lambda: boot_root(options.boot_roots, boot_id()))
    engine = Engine("software", machine, boot)
    loop = Loop(SystemClock())
    stop_on_signals(loop, loop.stop)
    start_heartbeat(loop, os.environ)
    worker = Worker(loop, new_identity(options.service), engine, options.keyiso_uid, quotas)
    worker.listen(sockets["link"])
    loop.run()
    return 0


def _usable(service: str, root: Callable[[], Root | None]) -> Root | None:
    """A root, if there is a usable one: without it the other one's keys are still served."""
    try:
        return root()
    except (NCryptError, OSError) as error:
        print(f"keyiso {service}: {error}", file=sys.stderr)
        return None


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="keyiso.trustlet")
    parser.add_argument("--service", required=True)
    parser.add_argument("--keyiso-uid", type=int, required=True)
    parser.add_argument("--machine-root", type=Path, required=True)
    parser.add_argument("--boot-roots", type=Path, required=True)
    parser.add_argument("--may-create-root", action="store_true")
    parser.add_argument("--limit", action="append", default=[], metavar="NAME=NUMBER")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
