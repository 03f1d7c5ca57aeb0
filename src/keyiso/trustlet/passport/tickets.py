"""Tickets: what a right PIN leaves in the trustlet, until the key comes that it was given for.

A ticket stands for a container's secret, which never leaves. It is good once, in the process that
made it, and for what the attempt was made for.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from keyiso import limits
from keyiso.clock import Clock
from keyiso.crypto.container_secret import ContainerSecret
from keyiso.errors import ncrypt_error
from keyiso.status import Status
from keyiso.wire.passport import TicketUse


@dataclass(frozen=True, slots=True)
class TicketTerms:
    """What a ticket is good for."""

    owner: int
    """The user's uid."""
    container_id: bytes
    use: TicketUse


@dataclass(frozen=True, slots=True)
class _Waiting:
    terms: TicketTerms
    secret: ContainerSecret
    until: float


class Tickets:
    """Tickets that were given out, until they are used or their time is over."""

    def __init__(self, clock: Clock, *, random: Callable[[int], bytes] = os.urandom) -> None:
        self._clock: Final = clock
        self._random = random
        self._waiting: dict[bytes, _Waiting] = {}

    def make(self, owner: int, use: TicketUse, secret: ContainerSecret) -> bytes:
        """A ticket, ``TICKET_BYTES`` long.

        Of a user who has ``TICKETS_PER_USER`` the oldest one ends. Raises ``KEYISO_E_LIMIT`` when
        there are ``TICKETS``.
        """
        self.drop_old()
        own = [ticket for ticket, one in self._waiting.items() if one.terms.owner == owner]
        if len(own) >= limits.TICKETS_PER_USER:
            del self._waiting[own[0]]
        if len(self._waiting) >= limits.TICKETS:
            raise ncrypt_error(
                Status.KEYISO_E_LIMIT,
                f"too many right PINs wait for their keys; TICKETS is {limits.TICKETS}",
                "Try again later.",
            )
        ticket = self._random(limits.TICKET_BYTES)
        until = self._clock.monotonic() + limits.TICKET_SECONDS
        terms = TicketTerms(owner, secret.container_id, use)
        self._waiting[ticket] = _Waiting(terms, secret, until)
        return ticket

    def take(self, ticket: bytes, terms: TicketTerms) -> ContainerSecret:
        """The secret that a ticket stands for. The ticket is used up however this ends.

        Raises ``KEYISO_E_STALE`` for one that is not there: used, too old, of another process; and
        ``NTE_PERM`` for one that is good for something else, or for somebody else.
        """
        self.drop_old()
        waiting = self._waiting.pop(ticket, None)
        if waiting is None:
            raise ncrypt_error(
                Status.KEYISO_E_STALE,
                "the ticket of the PIN was used, or is not there any more",
                "Repeat the attempt with the PIN, under the same id.",
            )
        if waiting.terms != terms:
            raise ncrypt_error(Status.NTE_PERM, "the ticket of the PIN is for something else")
        return waiting.secret

    def end_all_of(self, owner: int) -> None:
        """Forget the secrets of a user's tickets: they were given for another PIN."""
        for ticket in [ticket for ticket, one in self._waiting.items() if one.terms.owner == owner]:
            del self._waiting[ticket]

    def drop_old(self) -> None:
        """Forget the secrets of tickets whose time is over."""
        now = self._clock.monotonic()
        for ticket in [ticket for ticket, one in self._waiting.items() if one.until <= now]:
            del self._waiting[ticket]

    def __len__(self) -> int:
        return len(self._waiting)
