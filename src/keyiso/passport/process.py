"""The process of a Passport service."""

import argparse
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from keyiso.clock import SystemClock
from keyiso.quotas import Quotas
from keyiso.server.heartbeat import start_heartbeat
from keyiso.server.identity import Identity, new_identity
from keyiso.server.loop import Loop
from keyiso.server.startup import begin_service, stop_on_signals

_DESCRIPTORS: Final = 4
"""What one client takes: its connection, the next one, the application's socket, a key channel."""


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """What a service finds when it starts."""

    loop: Loop
    identity: Identity
    quotas: Quotas
    upstream: Path
    """Where the next service of the chain listens."""
    passport_socket: Path
    """Where applications connect to."""
    system: bool
    """Every user is served."""


def start_service(
    arguments: list[str], service: Callable[[ServiceProcess], Callable[[socket.socket], Any]]
) -> int:
    """Serve until this process is asked to end. Returns its exit code."""
    options = _parse(arguments)
    sockets, quotas = begin_service(
        options.service, options.limit, descriptors_of_client=_DESCRIPTORS
    )
    loop = Loop(SystemClock())
    stop_on_signals(loop, loop.stop)
    start_heartbeat(loop, os.environ)
    identity = new_identity(options.service)
    process = ServiceProcess(
        loop, identity, quotas, options.upstream, options.passport_socket, options.system
    )
    service(process)(sockets["clients"])
    loop.run()
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="keyiso.passport")
    parser.add_argument("--service", required=True)
    parser.add_argument("--upstream", type=Path, required=True)
    parser.add_argument("--passport-socket", type=Path, required=True)
    parser.add_argument("--system", action="store_true")
    parser.add_argument("--limit", action="append", default=[], metavar="NAME=NUMBER")
    return parser.parse_args(arguments)
