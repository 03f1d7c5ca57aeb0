"""What a client tells `keyiso trace`: each thing that it did, with what the services told.

Nothing of this is used unless ``KEYISO_TRACE`` names a socket. A record has names, functions,
statuses and times, and nothing that was signed, decrypted or typed in.
"""

import contextlib
import functools
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from keyiso import limits
from keyiso.client.channel import KeyChannel
from keyiso.client.connection import Connection, ControlConnection
from keyiso.client.reference import KeyReference
from keyiso.client.request import Links, Request, RequestMaker, Settings, process_name
from keyiso.client.trouble import Broken, Trouble
from keyiso.errors import NCryptError
from keyiso.names import decode_name, printable_name
from keyiso.paths import runs_with_more_rights
from keyiso.status import Status
from keyiso.wire.messages import Operation, R_co, Span

TRACE_VARIABLE: Final = "KEYISO_TRACE"
"""The path of a datagram socket, where the records go."""

CONNECT: Final = "connect"
"""The function of a step that connected to a service, whose instance the note names."""

COMPARE: Final = "compare"
"""The function of a step that found another key under the name."""

GIVE_UP: Final = "give up"
"""The function of a step that waited no longer."""

_TIMEVAL: Final = struct.Struct("ll")
_ENCODER: Final = msgspec.msgpack.Encoder()


class Step(msgspec.Struct, frozen=True, array_like=True):
    """One thing that a client did for one operation of its program."""

    trace: str
    """The operation's W3C traceparent, as in the event log."""
    pid: int
    parent: int
    """The pid of the process's parent."""
    process: str
    """The program's name, its own word."""
    function: str
    """What the program asked for: ``SignHash``."""
    subject: str
    """The name of the key or the provider, printable; empty where there is none."""
    attempt: int
    """1, and one more whenever something was broken before."""
    began: float
    """Seconds since 1970-01-01 UTC."""
    spans: tuple[Span, ...]
    """What the client saw of the service that it asked, and then what the services told."""
    note: str = ""
    """Which instance answered, in hexadecimal; or what was broken; or the way of an error."""
    lost: int = 0
    """Records that this process could not tell before."""


def request_maker(environ: Mapping[str, str]) -> RequestMaker:
    """How requests begin in this environment: `Request`, unless they are to be told of.

    ``KEYISO_TRACE`` is ignored in a process that runs with more rights than its caller.
    """
    path = environ.get(TRACE_VARIABLE)
    if not path or runs_with_more_rights():
        return Request
    return functools.partial(_TracedRequest, _Listener(path))


class _Listener:
    """Who wants to know. A socket is opened for each record: nothing of it is there that a fork, or
    a program that closes all its files, could have taken for something else.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.lost = 0

    def tell(self, step: Step) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
                sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
                patience = socket.MSG_DONTWAIT if step.lost else 0  # it was waited for once
                sending.sendto(_ENCODER.encode(step), patience, self._path)
        except (OSError, ValueError):  # nobody listens any more; a path that cannot be one
            self.lost += 1
        else:
            self.lost -= step.lost


_PATIENCE: Final = _TIMEVAL.pack(int(limits.TRACE_SECONDS), int(limits.TRACE_SECONDS % 1 * 1e6))


class _TracedRequest(Request):
    """Tells of each thing that it does, when it is done."""

    __slots__ = ("_attempt", "_function", "_listener", "_posted", "_subject")

    def __init__(
        self, listener: _Listener, settings: Settings, links: Links, function: str
    ) -> None:
        super().__init__(settings, links, function)
        self._listener = listener
        self._function = function
        self._subject = ""
        self._attempt = 1
        self._posted: dict[tuple[KeyChannel, int], _Moment] = {}
        """When what is under way was asked for, by the id that its answer has."""

    # --- what is told of -----------------------------------------------------------------------

    def again(self, broken: Broken) -> None:
        began = self._now()
        try:
            super().again(broken)
        except NCryptError as error:
            self._tell_own(GIVE_UP, began, error)
            raise
        self._attempt += 1

    def slot(self, channel: KeyChannel, reference: KeyReference) -> int:
        self._subject = self._subject or _printable(reference.header.name)
        return super().slot(channel, reference)

    def on_channel(self, channel: KeyChannel, operation: Operation[R_co]) -> R_co:
        with self._asking(channel.connection, type(operation).__name__):
            return super().on_channel(channel, operation)

    def post(self, channel: KeyChannel, operation: Operation[Any]) -> int:
        began = self._now()
        call_id = super().post(channel, operation)
        self._posted[channel, call_id] = began
        return call_id

    def take(self, channel: KeyChannel, operation: Operation[R_co], call_id: int) -> R_co:
        began = self._posted.pop((channel, call_id))
        with self._asking(channel.connection, type(operation).__name__, began):
            return super().take(channel, operation, call_id)

    def _ask(
        self,
        control: ControlConnection,
        operation: Operation[R_co],
        stale: Trouble = Trouble.NOT_READY,
    ) -> R_co:
        self._subject = self._subject or _subject_of(operation)
        with self._asking(control, type(operation).__name__):
            return super()._ask(control, operation, stale)

    def _connect(self) -> ControlConnection:
        began = self._now()
        try:
            control = super()._connect()
        except (Broken, NCryptError) as error:
            status, note = _verdict(error)
            seen = Span(self._settings.service, 0, CONNECT, self._since(began), status)
            self._tell(seen, began, note)
            raise
        self._tell_connected(control, began)
        return control

    def _greet(self, channel: Connection) -> None:
        with self._failing(channel, CONNECT, began := self._now()):
            super()._greet(channel)
        self._tell_connected(channel, began)

    def _replaced(self, reference: KeyReference) -> NCryptError:
        error = super()._replaced(reference)
        self._tell_own(COMPARE, self._now(), error)
        return error

    # --- telling -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _asking(
        self, connection: Connection, function: str, began: "_Moment | None" = None
    ) -> Iterator[None]:
        """Something that the service at the other end is asked."""
        began = began or self._now()
        connection.told = ()
        with self._failing(connection, function, began):
            yield
        self._tell(self._seen(connection, function, began), began, told=connection.told)

    @contextlib.contextmanager
    def _failing(self, connection: Connection, function: str, began: "_Moment") -> Iterator[None]:
        """Tell of what fails, and how."""
        try:
            yield
        except (Broken, NCryptError) as error:
            status, note = _verdict(error)
            seen = self._seen(connection, function, began, status)
            self._tell(seen, began, note, connection.told)
            raise

    def _tell_connected(self, connection: Connection, began: "_Moment") -> None:
        connection.tell = True
        seen = self._seen(connection, CONNECT, began)
        self._tell(seen, began, connection.instance_id.hex())

    def _tell_own(self, function: str, began: "_Moment", error: NCryptError) -> None:
        status, note = _verdict(error)
        pid = self._links.identity[0]
        self._tell(Span("application", pid, function, self._since(began), status), began, note)

    def _seen(
        self, connection: Connection, function: str, began: "_Moment", status: int = 0
    ) -> Span:
        return Span(connection.service, connection.pid, function, self._since(began), status)

    def _tell(
        self, seen: Span, began: "_Moment", note: str = "", told: tuple[Span, ...] = ()
    ) -> None:
        step = Step(
            self._trace,
            self._links.identity[0],
            os.getppid(),
            process_name(),
            self._function,
            self._subject,
            self._attempt,
            began.time,
            (seen, *told),
            note.encode("utf-8", "backslashreplace").decode()[: limits.ERROR_CHARACTERS],
            self._listener.lost,
        )
        self._listener.tell(step)

    def _now(self) -> "_Moment":
        clock = self._settings.clock
        return _Moment(clock.time(), clock.monotonic())

    def _since(self, began: "_Moment") -> float:
        return self._settings.clock.monotonic() - began.monotonic


class _Moment(NamedTuple):
    time: float
    monotonic: float


_BROKEN: Final = Status.KEYISO_E_STALE
"""The status of what another try can mend, wherever that was found."""


def _verdict(error: Broken | NCryptError) -> tuple[int, str]:
    """The status of what failed, and what there is to note."""
    if isinstance(error, Broken):
        return _BROKEN, error.cause
    return error.status, " -> ".join(map(str, error.chain))


def _subject_of(operation: Operation[Any]) -> str:
    """The name of the key that is meant, or else of the provider."""
    terms = getattr(operation, "terms", operation)
    name: bytes = getattr(terms, "name", b"")
    return _printable(name) if name else printable_name(getattr(terms, "provider", ""))


def _printable(name: bytes) -> str:
    return printable_name(decode_name(name))
