"""A virtio-serial port without a machine around it, and the two commands at its ends.

As with QEMU, the outside's socket stays when the inside restarts; what is said while nobody is
there waits or is lost.
"""

import os
import selectors
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Mapping
from pathlib import Path

from keyiso.paths import Instance, client_instance
from tests.waiting import wait_until

SECONDS = 120
_KEYISO = Path(sysconfig.get_path("scripts"), "keyiso")


class Port:
    """Two Unix sockets, and a thread that carries bytes between those who connected."""

    def __init__(self, directory: Path) -> None:
        self.paths = {name: directory / f"{name}.sock" for name in ("inside", "outside")}
        self._listening = {name: _listen(path) for name, path in self.paths.items()}
        self._connected: dict[str, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        for name, listening in self._listening.items():
            self._selector.register(listening, selectors.EVENT_READ, (self._accept, name))
        self._stop, stopped = socket.socketpair()
        self._selector.register(stopped, selectors.EVENT_READ, None)
        self._stopped = stopped
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def say(self, to: str, data: bytes) -> None:
        """Put something on the line that its other end did not say."""
        self._connected[to].sendall(data)

    def close(self) -> None:
        self._stop.close()
        self._thread.join(SECONDS)
        for one in (*self._connected.values(), *self._listening.values(), self._stopped):
            one.close()
        self._selector.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                act, name = key.data
                if name in self._connected or act == self._accept:
                    act(name)

    def _accept(self, name: str) -> None:
        accepted, _ = self._listening[name].accept()
        self._drop(name)  # a new end takes the place of the old one
        self._connected[name] = accepted
        self._hear()

    def _carry(self, name: str) -> None:
        other = "outside" if name == "inside" else "inside"
        try:
            data = self._connected[name].recv(65536)
        except OSError:
            data = b""
        if not data:
            self._drop(name)
            if name == "outside":
                self._drop("inside")  # the guest sees that nobody is connected
            return
        if other in self._connected:
            try:
                self._connected[other].sendall(data)
            except OSError:
                self._drop(other)

    def _drop(self, name: str) -> None:
        old = self._connected.pop(name, None)
        if old is not None:
            if old in self._selector.get_map():
                self._selector.unregister(old)
            old.close()
            self._hear()

    def _hear(self) -> None:
        """What comes from outside waits while nobody is inside."""
        for name, one in self._connected.items():
            wanted, heard = "inside" in self._connected, one in self._selector.get_map()
            if wanted and not heard:
                self._selector.register(one, selectors.EVENT_READ, (self._carry, name))
            elif heard and not wanted:
                self._selector.unregister(one)


class Guest:
    """A machine's side and the outside's, each a process of its own."""

    def __init__(self, directory: Path, outside: Mapping[str, str], *, user: str = "") -> None:
        directory.mkdir()
        self.home = directory / "home"
        self.environ = {**os.environ, "KEYISO_HOME": str(self.home)}
        self.port = Port(directory)
        self._outside = outside
        self._user = user
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def instance(self) -> Instance:
        """As clients in the machine see it."""
        return client_instance(self.environ)

    def start(self, *names: str, group: str = "") -> None:
        """Start ``relay``, for a group too, or ``serve``, or both; returns when the relay
        listens.
        """
        for name in names or ("relay", "serve"):
            inside = name == "relay"
            path = self.port.paths["inside" if inside else "outside"]
            options = ["--group", group] if inside and group else []
            if inside:
                # Its socket outlives a relay: only a new one says that a new relay listens.
                self.instance.control_socket.unlink(missing_ok=True)
            elif self._user:
                options = ["--as", self._user]
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-I", _KEYISO, "guest", name, path, *options],
                env=self.environ if inside else self._outside,
            )
        wait_until(self._relay_listens, "the relay's socket")

    def _relay_listens(self) -> bool:
        """A socket that does not listen yet has no mode, which does not stop root."""
        path = self.instance.control_socket
        return path.exists() and bool(path.stat().st_mode & 0o777)

    def pid_of(self, name: str) -> int:
        """``relay``, ``serve``, or ``connection``: the process that reads what the guest says."""
        if name != "connection":
            return self._processes[name].pid
        serve = self._processes["serve"].pid
        children = Path(f"/proc/{serve}/task/{serve}/children")
        wait_until(lambda: bool(children.read_text(encoding="ascii").strip()), "a connection")
        return int(children.read_text(encoding="ascii").split()[0])

    def kill(self, name: str) -> None:
        os.kill(self.pid_of(name), signal.SIGKILL)
        if name != "connection":
            self._processes.pop(name).wait(SECONDS)

    def end(self) -> None:
        for process in self._processes.values():
            process.terminate()
            process.wait(SECONDS)
        self.port.close()


def _listen(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    path.chmod(0o666)
    listening.listen(1)
    return listening
