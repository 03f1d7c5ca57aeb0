"""A client of a service, and an endpoint: what a service offers on one kind of connection."""

import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from types import CoroutineType
from typing import Any

from keyiso import limits
from keyiso.errors import Hop, NCryptError, ncrypt_error
from keyiso.server.identity import Identity
from keyiso.server.loop import Loop, Timer
from keyiso.server.peer import Peer
from keyiso.server.promise import run_coroutine
from keyiso.server.shares import Share, Shares, no_descriptor, no_memory
from keyiso.server.spans import Telling
from keyiso.server.startup import print_unexpected
from keyiso.server.stream import Stream
from keyiso.status import Status
from keyiso.wire.messages import Call, Failure, Hello, Message, Refusal, Result, Span, returned
from keyiso.wire.results import Done
from keyiso.wire.session import Role, Session, State, server_decoder

Handler = Callable[["Connection", Call[Any]], Any]
"""Answers a call: returns a result, or a coroutine that will."""

DONE = Done()


@dataclass(frozen=True, slots=True)
class WithDescriptor:
    """A result that hands a descriptor to the client."""

    result: Result
    descriptor: int


def _nothing(_: Any) -> None:
    """Nobody needs to know."""


def _is_large_enough() -> None:
    """Memory grows as it is needed."""


def _counts_nothing(connection: "Connection", call: Call[Any], error: NCryptError) -> None:
    """Nobody counts failures."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a service offers on one kind of connection."""

    operations: Any
    """The union of operations that may be called."""
    handlers: Mapping[type, Handler]
    """One handler for each of them."""
    frame_bytes: int
    admit: Callable[[Peer], None]
    """Raises for a peer that is not served here."""
    opened: Callable[["Connection"], None] = _nothing
    """Called when the client has said hello."""
    closed: Callable[["Connection"], None] = _nothing
    costs: Mapping[type, int] = field(default_factory=dict)
    """For how many calls of a turn an operation counts, where that is more than one."""
    failed: Callable[["Connection", Call[Any], NCryptError], None] = _counts_nothing
    """Called with every call that is answered with an error."""
    make_room: Callable[[], None] = _is_large_enough
    """Called before a connection takes more memory than it has, where that cannot grow. Raises
    ``NTE_NO_MEMORY``."""
    passes_descriptors: bool = False
    features: tuple[str, ...] = ()
    """What the welcome says, so that a newer client knows what it may ask."""


class Connection:
    """One client of a service, from its hello to its end."""

    def __init__(
        self,
        loop: Loop,
        identity: Identity,
        endpoint: Endpoint,
        connection: socket.socket,
        peer: Peer,
        shares: Shares,
        ended: Callable[["Connection"], None] = _nothing,
    ) -> None:
        self.open = True
        self.peer = peer
        """Who pays for what the connection takes."""
        self.client_service = ""
        """What the client called itself in its hello."""
        self.state: Any = None
        """For the service: what it keeps about this client."""
        self._identity = identity
        self._endpoint = endpoint
        self._handlers = endpoint.handlers
        self._shares = shares
        self._ended = ended
        self._loop = loop
        self._waiting: deque[Message] = deque()
        self._under_way = 0
        self._turn_due = False
        self._half_sent = 0
        self._frame_begun = 0.0
        self._patience = Timer(None)
        self._session = Session(
            Role.SERVER, server_decoder(endpoint.operations), frame_bytes=endpoint.frame_bytes
        )
        self._answers: list[bytes] | None = None
        self._tellings: dict[int, Telling] = {}
        """Of calls that are worked on and want to be told of, by their ids."""
        self._stream = Stream(
            loop,
            connection,
            received=self._received,
            closed=self._closed,
            passes_descriptors=endpoint.passes_descriptors,
            unsent=self._unsent,
            starved=self._starved,
        )
        self._silence = loop.call_later(shares.quotas.hello_seconds, self._drop_silent)

    def close(self) -> None:
        self._stream.close()

    def take_descriptor(self) -> int:
        """The next descriptor that the client sent; the caller owns it.

        Raises ``KEYISO_E_PROTOCOL`` when none came.
        """
        if not self._stream.descriptors:
            raise ncrypt_error(Status.KEYISO_E_PROTOCOL, "the message came without its descriptor")
        return self._stream.descriptors.popleft()

    def stand_for(self, peer: Peer) -> None:
        """From now on it is the connection of somebody else, whom the process at its other end
        serves: what it takes is that one's. Raises ``KEYISO_E_LIMIT`` for a user who has too many.
        """
        shares, before = self._shares, self.peer.uid
        if self._stream.unsent:
            raise ncrypt_error(Status.KEYISO_E_PROTOCOL, "an answer of before was not read yet")
        _count(shares.half_sent, peer.uid, self._half_sent)
        shares.connections.give_back(before)
        try:
            shares.connections.take(peer.uid)
        except NCryptError:
            shares.connections.take(before)
            _count(shares.half_sent, peer.uid, -self._half_sent)
            raise
        self.peer = peer
        _count(shares.half_sent, before, -self._half_sent)

    def duplicate(self) -> int:
        """A descriptor of the connection; who gets it can ask the kernel who the peer is. The
        caller owns it. Raises ``KEYISO_E_LIMIT`` when there is none to be had.
        """
        try:
            return self._stream.duplicate()
        except OSError as error:
            raise no_descriptor(error) from None

    def fail(self, call: Call[Any], error: NCryptError) -> None:
        """Answer a call with an error, and with every process that it came through."""
        self._endpoint.failed(self, call, error)
        chain = error.chain or self._chain(call)
        cause, action = _sendable(error.cause), _sendable(error.action)
        spans = self._spans(call, error.status) if call.tell else ()
        self._write(
            self._session.send(Failure(call.call_id, error.status, cause, action, chain, spans))
        )

    def refuse(self, error: NCryptError) -> None:
        """Tell the client why it is not served, and end the connection."""
        if self._session.state is not State.REFUSED:
            cause, action = _sendable(error.cause), _sendable(error.action)
            self._write(self._session.send(Refusal(error.status, cause, action)))
            self._send_answers()
        self.close()

    def _chain(self, call: Call[Any]) -> tuple[Hop, ...]:
        return (*call.hops, self._identity.hop(type(call.operation).__name__))

    def _spans(self, call: Call[Any], status: int = 0) -> tuple[Span, ...]:
        telling = self._tellings.pop(call.call_id, None)
        own = self._identity.hop(type(call.operation).__name__)
        return () if telling is None else telling.spans(own, status)

    def _received(self, data: bytes) -> None:
        try:
            messages = self._session.receive(data)
            self._waiting.extend(messages)
            if self._half_sent or self._session.half_sent:
                self._note_half_sent(begun=bool(messages))
        except NCryptError as error:
            self.refuse(error)
        except MemoryError:
            self._starved()
        else:
            self._take_turn()

    def _take_turn(self) -> None:
        """Answer some of what has come; who asks much at once waits for the others in between."""
        try:
            self._answer_some()
        except MemoryError:
            self._starved()

    def _answer_some(self) -> None:
        self._turn_due = False
        self._answers = []
        clock = self._loop.clock
        until = clock.monotonic() + limits.TURN_SECONDS
        costs = self._endpoint.costs
        left = limits.CALLS_PER_TURN - self._under_way
        while self._waiting:
            if not self.open:
                return
            message = self._waiting[0]
            left -= costs.get(type(message.operation), 1) if isinstance(message, Call) else 1
            if left < 0:
                break
            self._waiting.popleft()
            if isinstance(message, Call):
                self._settle(message, self._handle, message)
            elif isinstance(message, Hello):
                self._greet(message)
            if self._waiting and clock.monotonic() > until:
                break
        self._send_answers()
        if self._waiting:
            self._stream.read(False)
            self._go_on()
        elif not self._stream.reading:
            self._stream.read(True)

    def _handle(self, call: Call[Any]) -> Any:
        if call.tell:
            self._tellings[call.call_id] = self._loop.tellings.begin(call.trace)
        if self._session.large(call):
            self._endpoint.make_room()
        return self._handlers[type(call.operation)](self, call)

    def _starved(self) -> None:
        """There is no memory even for what this connection wants: it ends."""
        with contextlib.suppress(MemoryError):
            self.refuse(no_memory())
        self.close()

    def _go_on(self) -> None:
        """Take another turn in the next round, unless enough is being worked on."""
        if self._waiting and not self._turn_due and self._under_way < limits.CALLS_PER_TURN:
            self._turn_due = True
            self._loop.call_soon(self._take_turn)

    def _note_half_sent(self, *, begun: bool) -> None:
        """A frame was begun, went on or was finished: each must be whole some day."""
        before, now = self._half_sent, self._session.half_sent
        if now > before:
            self._endpoint.make_room()
        if now and (begun or not before):
            self._frame_begun = self._loop.clock.monotonic()
            if not self._patience.pending:
                self._wait_for_frame(self._shares.quotas.frame_seconds)
        _count(self._shares.half_sent, self.peer.uid, now - before)
        self._half_sent = now

    def _wait_for_frame(self, seconds: float) -> None:
        self._patience = self._loop.call_later(seconds, self._look_at_frame)

    def _look_at_frame(self) -> None:
        """Drop who has not finished a frame in its time; a younger one has some left."""
        if self._half_sent:
            due = self._frame_begun + self._shares.quotas.frame_seconds
            left = due - self._loop.clock.monotonic()
            if left > 0:
                self._wait_for_frame(left)
            else:
                self._drop("a frame was not whole", "frame_seconds")

    def _unsent(self, change: int) -> None:
        if change > 0:
            self._endpoint.make_room()
        _count(self._shares.unsent, self.peer.uid, change)

    def _send_answers(self) -> None:
        """All answers to what came in one read leave in one write."""
        answers, self._answers = self._answers, None
        if answers:
            self._stream.write(b"".join(answers))

    def _write(self, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
        if self._answers is not None and not descriptors:
            self._answers.append(data)
        else:
            self._send_answers()
            self._stream.write(data, descriptors)

    def _greet(self, hello: Hello) -> None:
        self._silence.cancel()
        self.client_service = hello.service[: limits.HOP_TEXT_BYTES]
        identity = self._identity
        self._write(
            self._session.welcome(
                hello,
                service=identity.service,
                instance_id=identity.instance_id,
                boot_id=identity.boot_id,
                pid=identity.pid,
                features=self._endpoint.features,
            )
        )
        if self._session.state is State.REFUSED:
            self._send_answers()
            self.close()
        else:
            self._endpoint.opened(self)

    def _begin(self, call: Call[Any], coroutine: Coroutine[Any, None, Any]) -> None:
        """Work on a call that is not answered at once."""
        shares, uid, size = self._shares, self.peer.uid, self._session.large(call)
        try:
            shares.begin(uid, size)
        except NCryptError:
            coroutine.close()
            raise
        self._under_way += 1

        def done(outcome: Callable[[], Any]) -> None:
            shares.end(uid, size)
            self._under_way -= 1
            self._settle(call, outcome)
            self._go_on()

        run_coroutine(coroutine, done)

    def _settle(self, call: Call[Any], outcome: Callable[..., Any], *arguments: Any) -> None:
        """Answer a call with what ``outcome`` returns or raises, now or when it is there."""
        try:
            result = outcome(*arguments)
            if isinstance(result, CoroutineType):
                self._begin(call, result)
            elif isinstance(result, WithDescriptor):
                self._answer_with(call, result)
            elif self.open:
                spans = self._spans(call) if call.tell else ()
                self._write(self._session.send(returned(call.call_id, result, spans)))
        except NCryptError as error:
            if self.open:
                self.fail(call, error)
        except MemoryError:
            if self.open:
                self.fail(call, no_memory())
        except Exception as error:
            print_unexpected(error)
            if self.open:
                self._fail_unexpectedly(call, error)

    def _answer_with(self, call: Call[Any], result: WithDescriptor) -> None:
        """The descriptor goes with the answer, and is closed here in any case."""
        if self.open:
            spans = self._spans(call) if call.tell else ()
            frame = self._session.send(returned(call.call_id, result.result, spans))
            self._write(frame, (result.descriptor,))
        else:
            os.close(result.descriptor)  # the client has gone while this was made for it

    def _fail_unexpectedly(self, call: Call[Any], error: Exception) -> None:
        """A defect in keyiso. Its text stays here: it may quote what must not leave."""
        self.fail(
            call,
            ncrypt_error(
                Status.NTE_INTERNAL_ERROR,
                f"{self._identity.service} met an unexpected {type(error).__name__}",
                "This is a defect in keyiso; its log has the place.",
            ),
        )

    def _drop_silent(self) -> None:
        self._drop("no hello", "hello_seconds")

    def _drop(self, what: str, field: str) -> None:
        name, seconds = self._shares.quotas.limit(field)
        self.refuse(ncrypt_error(Status.KEYISO_E_LIMIT, f"{what} within {name} ({seconds:g} s)"))

    def _closed(self) -> None:
        self.open = False
        self._silence.cancel()
        self._patience.cancel()
        _count(self._shares.half_sent, self.peer.uid, -self._half_sent)
        self._half_sent = 0
        self._endpoint.closed(self)
        self._ended(self)


def _count(share: Share, uid: int, change: int) -> None:
    """Take more of a share, or give some back."""
    if change > 0:
        share.take(uid, change)
    elif change < 0:
        share.give_back(uid, -change)


def _sendable(text: str) -> str:
    """The text without surrogates, which a path with undecodable bytes has and UTF-8 has not."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")[: limits.ERROR_CHARACTERS]
