"""``python -I -m keyiso.supervisor``: what ``keyiso serve`` runs, and what a client starts."""

import argparse
import contextlib
import os
import sys
from pathlib import Path

from keyiso.clock import SystemClock
from keyiso.config.pin_rules import read_pin_rules
from keyiso.config.required_shields import read_required_shields
from keyiso.errors import NCryptError
from keyiso.paths import JOURNAL_SOCKET, Instance, server_instance
from keyiso.required_shields import BPF_LSM
from keyiso.server.identity import new_identity
from keyiso.server.loop import Loop
from keyiso.server.startup import stop_on_signals, usable_quotas
from keyiso.supervisor.layout import (
    link_runtime,
    listen_at,
    make_directories,
    make_state,
    receive_at,
    take_lock,
)
from keyiso.supervisor.served_with import note_options, noted_options
from keyiso.supervisor.services import ServiceSettings, service_specs
from keyiso.supervisor.spawn import User
from keyiso.supervisor.supervisor import Supervisor
from keyiso.tpm.enrolment import read_enrolment

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_RUNNING = 9
"""Another supervisor serves this state directory."""


def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    try:
        return _serve(options, arguments)
    except NCryptError as error:
        print(f"keyiso serve: {error}", file=sys.stderr)
        return EXIT_FAILED
    except OSError as error:
        print(f"keyiso serve: {error.filename or ''} {error.strerror}", file=sys.stderr)
        return EXIT_FAILED


def _serve(options: argparse.Namespace, arguments: list[str]) -> int:
    instance = server_instance(os.environ, system=options.system)
    if options.as_before:
        make_state(instance)  # what others can write there is not believed
        arguments = [*noted_options(instance.served_with), "--detach"]
        options = _parse(arguments)
    for descriptor in options.shield_descriptor:
        os.set_inheritable(descriptor, False)  # it is held by this process, and by no other one
    quotas = usable_quotas(options.limit)
    try:
        keyiso, trustlet, passport = _users(options)
    except KeyError as error:
        print(
            f"keyiso serve: there is no user {error.args[0]}. Make all three with:\n"
            "  useradd --system --user-group --no-create-home --shell /usr/sbin/nologin keyiso\n"
            "  useradd --system --user-group --no-create-home --shell /usr/sbin/nologin"
            " keyiso-trustlet\n"
            "  useradd --system --user-group --no-create-home --shell /usr/sbin/nologin"
            " keyiso-passport",
            file=sys.stderr,
        )
        return EXIT_USAGE
    make_state(instance)
    lock = take_lock(instance.lock)
    if lock is None:
        print(f"keyiso serve: {instance.state} is served already", file=sys.stderr)
        return EXIT_RUNNING
    if not options.system:  # that one is started again by the system
        with contextlib.suppress(OSError):  # a full disk can still be read
            note_options(instance.served_with, [one for one in arguments if one != "--detach"])
    may_create_root = not instance.store.exists()
    make_directories(instance, keyiso, trustlet)
    link_runtime(instance, dict(os.environ))
    once = _once_per_boot(instance)
    shields = (BPF_LSM,) if options.shield_descriptor else ()
    settings = ServiceSettings(
        workers=options.workers,
        vbs=options.vbs != "off",
        vbs_at_start=options.vbs == "at-start",
        vbs_once=once,
        keyiso=keyiso,
        trustlet=trustlet,
        passport=passport,
        manager_uids=_manager_uids(options),
        manager_gids=() if keyiso is None else (keyiso.gid,),
        pin_rules=read_pin_rules(instance.config),
        required=read_required_shields(instance.config),
        shields=shields,
        journal=options.journal,
        limits_set=options.limit,
    )
    specs = service_specs(instance, settings)
    listening = listen_at(instance.supervisor_socket, mode=0o666 if options.system else 0o600)
    # Services of other users send here; the kernel says who sent, so that the mode may be wide.
    beats = receive_at(instance.notify_socket, mode=0o622 if options.system else 0o600)
    if options.detach and not _detach(instance):
        return 0
    loop = Loop(SystemClock())
    supervisor = Supervisor(
        loop,
        new_identity("supervisor"),
        instance,
        specs,
        once=once,
        may_create_root=may_create_root,
        shields=shields,
    )
    stop_on_signals(loop, supervisor.stop)
    supervisor.listen(listening, quotas)
    supervisor.hear(beats)
    supervisor.start()
    loop.run()
    for path in (
        instance.control_socket,
        instance.passport_socket,
        instance.supervisor_socket,
        instance.notify_socket,
    ):
        path.unlink(missing_ok=True)
    return 0


def _once_per_boot(instance: Instance) -> bool:
    """As it was enrolled."""
    try:
        enrolment = read_enrolment(instance.vbs_enrolment)
    except (NCryptError, OSError):
        return False  # the pairs say what is wrong with it
    return enrolment is not None and enrolment.unseal == "once-per-boot"


def _users(options: argparse.Namespace) -> tuple[User | None, User | None, User | None]:
    """Different users for the services when root starts a system instance."""
    if not options.system or os.geteuid() != 0:
        return None, None, None
    return (
        User.named(options.keyiso_user),
        User.named(options.trustlet_user),
        User.named(options.passport_user),
    )


def _manager_uids(options: argparse.Namespace) -> tuple[int, ...]:
    return (0,) if options.system else (os.geteuid(),)


def _detach(instance: Instance) -> bool:
    """Go on in the background, in a session of our own. True in the process that goes on."""
    if os.fork():
        return False
    os.setsid()
    os.chdir("/")
    log = os.open(instance.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.dup2(log, 2)
    for descriptor in (log, nothing):
        os.close(descriptor)
    return True


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="keyiso serve")
    parser.add_argument("--system", action="store_true")
    parser.add_argument("--detach", action="store_true")
    parser.add_argument("--as-before", action="store_true")
    parser.add_argument("--journal", type=Path, default=JOURNAL_SOCKET)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--vbs", choices=("on-demand", "at-start", "off"), default="on-demand")
    parser.add_argument("--shield-descriptor", type=int, action="append", default=[])
    parser.add_argument("--limit", action="append", default=[], metavar="NAME=NUMBER")
    parser.add_argument("--keyiso-user", default="keyiso")
    parser.add_argument("--trustlet-user", default="keyiso-trustlet")
    parser.add_argument("--passport-user", default="keyiso-passport")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
