"""``python -I -m keyiso.trustlet``: one ``software`` worker. Started by the supervisor."""

import argparse
import functools
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
from keyiso.server.startup import begin_service, stop_on_signals
from keyiso.trustlet.engine import Engine, missing_root
from keyiso.trustlet.roots import boot_root, machine_root
from keyiso.trustlet.worker import PassportDesk, Worker


def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    sockets, quotas = begin_service(options.service, options.limit)
    path, may_create = options.machine_root, options.may_create_root
    machine = _usable(options.service, lambda: machine_root(path, may_create=may_create))
    boot = _usable(options.service, lambda: boot_root(options.boot_roots, boot_id()))
    engine = Engine("software", machine, boot)
    loop = Loop(SystemClock())
    stop_on_signals(loop, loop.stop)
    start_heartbeat(loop, os.environ)
    passport = None if options.containers is None else _passport(loop, options, machine)
    identity = new_identity(options.service)
    worker = Worker(loop, identity, engine, options.keyiso_uid, quotas, passport=passport)
    worker.listen(sockets["link"])
    loop.run()
    return 0


def _passport(loop: Loop, options: argparse.Namespace, machine: Root | None) -> PassportDesk:
    """What only the worker loads that has the Passport containers."""
    from keyiso.crypto.pin_rules import rules_of_argument
    from keyiso.trustlet.passport.desk import Desk
    from keyiso.trustlet.passport.tpm_place import machines_tpm

    def root() -> Root:
        if machine is None:
            raise missing_root("machine")
        return machine

    tpm = functools.partial(machines_tpm, options.enrolment, loop.clock)
    return Desk(loop, options.containers, root, tpm, rules_of_argument(options.pin_rules))


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
    # Of the one worker that serves Passport: its containers, which TPM keeps their PINs, the rules.
    parser.add_argument("--containers", type=Path)
    parser.add_argument("--pin-rules")
    parser.add_argument("--enrolment", type=Path)
    parser.add_argument("--limit", action="append", default=[], metavar="NAME=NUMBER")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
