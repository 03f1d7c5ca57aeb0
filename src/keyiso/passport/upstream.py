"""What a Passport service keeps for an application: a connection to the next service.

A context of a service that has restarted is what broke the logon that this is made after. Here it
is no number that was given once: it is the socket that the application has connected, which is
shown again to whatever process answers next. What was under way fails with ``KEYISO_E_STALE``, and
the application's client, the one place that repeats, repeats it.
"""

import os
from pathlib import Path
from typing import Any

from keyiso import limits
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.server.identity import Identity
from keyiso.server.link import Link
from keyiso.server.loop import Loop
from keyiso.server.promise import Promise
from keyiso.status import Status
from keyiso.wire.messages import Call, Operation, R_co
from keyiso.wire.passport_services import BindFor
from keyiso.wire.results import Done


class Upstream:
    """Asks the next service, for one application."""

    def __init__(
        self,
        loop: Loop,
        identity: Identity,
        place: Path,
        service: str,
        application: int,
        process: str,
    ) -> None:
        """``application`` is a descriptor of the socket that the application has connected; it is
        closed with this. ``process`` is the application's own word for itself.
        """
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
        )

    async def call(self, operation: Operation[R_co], call: Call[Any]) -> R_co:
        """Ask, for the sake of what was asked here.

        Raises ``KEYISO_E_STALE`` where the service is not there or ended meanwhile, and otherwise
        what it answers.
        """
        await self._begun
        if self._link.ready:
            await self._bound
        hops = self._identity.onward(call.hops, type(call.operation).__name__)
        return await self._link.call(operation, trace=call.trace, hops=hops)

    def take_descriptor(self) -> int:
        """The descriptor that came with the last answer; the caller owns it."""
        return self._link.take_descriptor()

    def close(self) -> None:
        self._patience.cancel()
        self._link.close()
        self._begun.keep(None)  # who waits for it is told that nobody is there
        os.close(self._application)

    def _bind(self, link: Link) -> None:
        try:
            application = os.dup(self._application)
        except OSError as error:
            self._bound = Promise()
            self._bound.break_with(_no_descriptor(error))
        else:
            self._bound = link.call(BindFor(self._process), descriptor=application)
        self._begun.keep(None)


def _no_descriptor(error: OSError) -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_LIMIT,
        f"the service has no descriptor left: {error.strerror}",
        "Raise its RLIMIT_NOFILE, or end some clients.",
    )
