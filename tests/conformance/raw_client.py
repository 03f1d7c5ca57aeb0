"""A client that says what it likes: bytes on a socket, without keyiso's client in between.

It needs nothing of the tests, so that it can be copied to where another user can read it.
"""

import os
import socket
import struct
from pathlib import Path
from typing import Any

import msgspec

from keyiso.crypto.key_header import Level, Lifetime, Scope
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER
from keyiso.wire.channel import Ping
from keyiso.wire.control import Attach, Attached, Bind, Bound, GetServiceStatus
from keyiso.wire.key_terms import KeyTerms
from keyiso.wire.messages import Call, Failure, Hello, Refusal, Return, Welcome, result_of

PROVIDER = MS_KEY_STORAGE_PROVIDER
SECONDS = 20
"""A server that neither answers nor hangs up by then fails the test."""

_DECODER = msgspec.msgpack.Decoder(Welcome | Return | Failure | Refusal)


class Ended(Exception):
    """The server closed the connection."""


def frame(body: bytes) -> bytes:
    return struct.pack("<I", len(body)) + body


def message(value: Any) -> bytes:
    """A frame of anything that msgpack can say."""
    return frame(msgspec.msgpack.encode(value))


class RawClient:
    """One connection. Nothing is sent that was not asked for, not even a hello.

    It owns the channels that it attaches: they are closed with it.
    """

    def __init__(self, connected: socket.socket, harmless: Any) -> None:
        self.socket = connected
        self.socket.settimeout(SECONDS)
        self.harmless = harmless
        """An operation that this connection allows and that changes nothing."""
        self._received = b""
        self._calls = 0
        self._descriptors: list[int] = []
        self._channels: list[RawClient] = []

    @classmethod
    def at(cls, path: Path) -> "RawClient":
        """Connected to a control socket, with nothing said yet."""
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client = cls(connected, GetServiceStatus())
        connected.connect(os.fspath(path))
        return client

    @classmethod
    def bound(cls, path: Path, group: bytes | None = None) -> "RawClient":
        """A client of the control socket that has said hello and bound."""
        client = cls.at(path)
        client.hello()
        assert isinstance(client.call(Bind(group or os.urandom(16), "raw client")), Bound)
        return client

    def attach_silently(self) -> tuple["RawClient", Attached]:
        """A key channel, with nothing said on it yet."""
        attached = self.call(Attach())
        assert isinstance(attached, Attached), attached
        return self.take_channel(), attached

    def take_channel(self) -> "RawClient":
        """The channel that came with the last answer."""
        channel = RawClient(socket.socket(fileno=self._descriptors.pop()), Ping())
        self._channels.append(channel)
        return channel

    def attach(self) -> tuple["RawClient", Attached]:
        """A key channel, greeted."""
        channel, attached = self.attach_silently()
        channel.hello()
        return channel, attached

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def hello(self) -> Welcome:
        self.send(message(Hello(1, 1, "raw client")))
        answer = self.receive()
        assert isinstance(answer, Welcome), answer
        return answer

    def call(self, operation: Any, trace: str = "", hops: tuple[Any, ...] = ()) -> Any:
        """The result, or the failure or refusal that came instead."""
        self._calls += 1
        self.send(message(Call(self._calls, operation, trace, hops)))
        answer = self.receive()
        return result_of(operation, answer) if isinstance(answer, Return) else answer

    def call_with(self, operation: Any, descriptor: int) -> Any:
        """`call`, with a descriptor that is kept here."""
        self._calls += 1
        socket.send_fds(self.socket, [message(Call(self._calls, operation))], [descriptor])
        answer = self.receive()
        return result_of(operation, answer) if isinstance(answer, Return) else answer

    def status(self, operation: Any, **options: Any) -> int:
        """The status of a call that must fail, and leave the connection as it is."""
        answer = self.call(operation, **options)
        assert isinstance(answer, Failure), answer
        return answer.status

    def receive(self) -> Any:
        """The next message. Raises `Ended` when the server hung up instead."""
        while True:
            if len(self._received) >= 4:
                (length,) = struct.unpack_from("<I", self._received)
                if len(self._received) >= 4 + length:
                    body = self._received[4 : 4 + length]
                    self._received = self._received[4 + length :]
                    return _DECODER.decode(body)
            try:
                data, descriptors, _, _ = socket.recv_fds(self.socket, 65536, 4)
            except ConnectionResetError:
                raise Ended from None
            self._descriptors += descriptors
            if not data:
                raise Ended
            self._received += data

    def close(self) -> None:
        for channel in self._channels:
            channel.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
        self.socket.close()

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def units(name: str) -> bytes:
    return name.encode("utf-16-le")


def terms(
    name: str = "",
    *,
    owner: int | None = None,
    operation_id: bytes | None = None,
    scope: Scope = "user",
    lifetime: Lifetime | None = None,
    algorithm: str = "ECDSA_P256",
    bits: int = 256,
    usage: int = 0xFFFFFF,
    export_policy: int = 0,
    overwrite: bool = False,
    raw_name: bytes | None = None,
    level: Level = "software",
) -> KeyTerms:
    """What a client asks a new key to be; without a name, an ephemeral one."""
    return KeyTerms(
        operation_id=os.urandom(16) if operation_id is None else operation_id,
        provider=PROVIDER,
        scope=scope,
        owner=os.geteuid() if owner is None else owner,
        name=units(name) if raw_name is None else raw_name,
        lifetime=lifetime or ("persisted" if name or raw_name else "ephemeral"),
        algorithm=algorithm,
        bits=bits,
        usage=usage,
        export_policy=export_policy,
        overwrite=overwrite,
        level=level,
    )
