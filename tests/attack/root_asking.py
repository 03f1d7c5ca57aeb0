"""Attacks on how pairs hand each other their roots."""

import contextlib
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_der_private_key

from keyiso import Key
from keyiso.clock import SystemClock
from keyiso.crypto.key_blob import Root, unseal_key
from keyiso.crypto.root_seal import Roots
from keyiso.errors import NCryptError
from keyiso.quotas import Quotas
from keyiso.server.identity import new_identity
from keyiso.server.loop import Loop
from keyiso.trustlet.root_sharing import Giving, ask_for_roots, share_roots
from tests.attack.outcome import Outcome, found
from tests.attack.places import served
from tests.attack.search import Search
from tests.attack.services import Services, imported_name, protection
from tests.attack.target import Target, wait_until

PAIR, GENERATOR = "vbs-0", "vbs-generator"

_PAUSE_SECONDS = 0.1


def fake_worker(subject: Target) -> Outcome:
    """Ask a pair for its roots as a new pair would, as a process of the same user."""
    services = served(subject).services
    boot = ask(services).boot
    _, value = unseal_key(boot, services.blob(imported_name("vbs", "RSA")))
    load_der_private_key(value, None)
    return Outcome(True, "the boot root was given, and opens a stored key")


def read_along(subject: Target) -> Outcome:
    """Stand between two pairs while one asks the other one for its roots."""
    services = served(subject).services
    heard: list[bytes] = []
    with instead_of(services, PAIR, lambda taken, real, stop: _relay(taken, real, stop, heard)):
        replace(services, GENERATOR)
        make_key("made by the new one")
    search = Search({"root": ask(services).boot.secret})
    for data in heard:
        search.look(data)
    assert len(heard) > 1, "no pair has asked"
    return found(search, f"{search.searched} bytes heard")


def fake_sibling(subject: Target) -> Outcome:
    """Give a new pair roots of one's own, in the place of the pair that it asks."""
    services = served(subject).services
    root = Root(os.urandom(16), "boot", os.urandom(32))
    with instead_of(services, PAIR, lambda taken, _, stop: _give(taken, stop, root)):
        replace(services, GENERATOR)
        with contextlib.suppress(NCryptError):  # the other pair has another root, and cannot use it
            make_key("made under a foreign root")
    try:
        _, value = unseal_key(root, services.blob("made under a foreign root"))
        load_der_private_key(value, None)
    except (NCryptError, ValueError) as error:
        return Outcome(False, f"a key made afterwards is not sealed by it: {error}")
    finally:
        replace(services, GENERATOR)
    return Outcome(True, "a key made afterwards is sealed by it")


def ask(services: Services) -> Roots:
    """The roots of a pair."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(services.instance.sharing_socket(PAIR)))
    roots, _ = ask_for_roots(connection, new_identity("fake"))
    return roots


def replace(services: Services, service: str) -> None:
    """Kill a pair, and wait for the next one."""
    pids = services.pids()
    worker = f"{service} worker"
    if worker in pids:
        os.kill(pids[worker], signal.SIGKILL)
        assert wait_until(lambda: services.pids().get(worker) not in (None, pids[worker]))


def make_key(name: str) -> None:
    """A key that the generator makes."""
    Key.create(name, "RSA", overwrite=True, **protection("vbs")).close()  # type: ignore[arg-type]


Serve = Callable[[socket.socket, Path, threading.Event], None]
"""Serves a listening socket, until an event, in the place of the one at a path."""


@contextlib.contextmanager
def instead_of(services: Services, service: str, serve: Serve) -> Iterator[None]:
    """Be where a pair gives its roots to others."""
    path = services.instance.sharing_socket(service)
    real = path.with_suffix(".real")
    path.rename(real)
    stop = threading.Event()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=serve, args=(listening, real, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            path.unlink()
            real.rename(path)


def _relay(listening: socket.socket, real: Path, stop: threading.Event, heard: list[bytes]) -> None:
    """Pass everything on, both ways, and keep a copy."""
    listening.settimeout(_PAUSE_SECONDS)
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            asking, _ = listening.accept()
            with asking, socket.socket(socket.AF_UNIX) as giving:
                giving.connect(str(real))
                other = {asking: giving, giving: asking}
                open_ends = True
                while open_ends and not stop.is_set():
                    for end in select.select(other, [], [], _PAUSE_SECONDS)[0]:
                        data = end.recv(1 << 16)
                        open_ends = open_ends and bool(data)
                        heard.append(data)
                        with contextlib.suppress(OSError):
                            other[end].sendall(data)


def _give(listening: socket.socket, stop: threading.Event, root: Root) -> None:
    """Serve as a pair does that has this root."""
    loop = Loop(SystemClock())

    def look() -> None:
        loop.stop() if stop.is_set() else loop.call_later(_PAUSE_SECONDS, look)

    look()
    share_roots(loop, new_identity("fake"), Roots(root), listening, Quotas(), Giving(), None)
    loop.run()
    loop.close()
