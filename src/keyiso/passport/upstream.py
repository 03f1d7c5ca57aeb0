"""What a Passport service keeps for an application: a connection to the next service.

A context of a service that has restarted is what broke the logon that this is made after. Here it
is no number that was given once: it is the socket that the application has connected, which is
shown again to whatever process answers next. What was under way fails with ``KEYISO_E_STALE``, and
the application's client, the one place that repeats, repeats it.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from keyiso import limits
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.server.identity import Identity
from keyiso.server.link import Link
from keyiso.server.loop import Loop
from keyiso.server.promise import Promise
from keyiso.server.shares import no_descriptor
from keyiso.wire.control import Attached
from keyiso.wire.messages import Call, Operation, R_co
from keyiso.wire.passport_services import BindFor
from keyiso.wire.results import Done


class HasSocket(Protocol):
    """Something with a socket."""

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class Upstream:
    """Asks the next service, for one application."""

    def __init__(
        self,
        loop: Loop,
        identity: Identity,
        place: Path,
        service: str,
        application: HasSocket,
        process: str,
    ) -> None:
        """``application`` has the socket that the application has connected; it is closed with
        this. ``process`` is the application's own word for itself.
        """
        self._loop = loop
        self._identity = identity
        self._application = application
        self._process = process
        self._bound: Promise[Done] = Promise()
        self._begun: Promise[None] = Promise()
        """The service has answered once, or was waited for long enough."""
        self._patience = loop.call_later(
            limits.FIRST_ANSWER_SECONDS, lambda: self._begun.keep(None)
        )
        self._link = Link(
            loop,
            identity.service,
            place,
            peer_service=service,
            frame_bytes=limits.CONTROL_FRAME_BYTES,
            connected=self._bind,
            passes_descriptors=True,
            advice=f"See `keyiso status`; `keyiso service start {service}` starts it if somebody"
            " has stopped it.",
        )
        self._channels: set[Link] = set()

    async def call(self, operation: Operation[R_co], call: Call[Any]) -> R_co:
        """Ask, for the sake of what was asked here.

        Raises ``KEYISO_E_STALE`` where the service is not there or ended meanwhile, and otherwise
        what it answers.
        """
        await self._begun
        await self._check_served()
        hops = self._identity.onward(call.hops, type(call.operation).__name__)
        return await self._link.call(operation, trace=call.trace, hops=hops)

    @contextmanager
    def channel(self, attached: Attached) -> Iterator[Link]:
        """The key channel that came with the last answer, while the block lasts."""
        channel = Link(
            self._loop,
            self._identity.service,
            socket.socket(fileno=self._link.take_descriptor()),
            peer_service=attached.worker,
            frame_bytes=limits.KEY_FRAME_BYTES,
        )
        self._channels.add(channel)
        try:
            yield channel
        finally:
            self._channels.discard(channel)
            channel.close()

    def close(self) -> None:
        self._patience.cancel()
        self._link.close()
        for channel in tuple(self._channels):
            channel.close()
        self._begun.keep(None)  # who waits for it is told that nobody is there
        self._application.close()

    async def _check_served(self) -> None:
        """Raise why the next service does not serve this application."""
        if self._link.refusal is not None:
            raise _again(self._link.refusal)
        if not self._link.ready:
            return  # the call will say so
        bound = self._bound
        try:
            await bound
        except NCryptError as error:
            if bound is self._bound:
                self._link.connect_anew()  # it may be served the next time
            raise _again(error) from None

    def _bind(self, link: Link) -> None:
        try:
            application = os.dup(self._application.fileno())
        except OSError as error:
            self._bound = Promise()
            self._bound.break_with(no_descriptor(error))
        else:
            self._bound = link.call(BindFor(self._process), descriptor=application)
        self._begun.keep(None)


def _again(error: NCryptError) -> NCryptError:
    """The same for another call: an exception that is raised anew keeps who was told before."""
    return ncrypt_error(error.status, error.cause, error.action, error.chain)
