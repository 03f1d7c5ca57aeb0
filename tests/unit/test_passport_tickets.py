"""A ticket is good once, for a while, and for what the attempt was made for."""

from dataclasses import replace

import pytest

from keyiso import limits
from keyiso.crypto.container_secret import ContainerSecret
from keyiso.errors import NCryptError
from keyiso.status import Status
from keyiso.trustlet.passport.tickets import Tickets, TicketTerms
from tests.unit.fake_clock import FakeClock

SECRET = ContainerSecret(b"c" * 16, b"s" * 32)
TERMS = TicketTerms(1000, SECRET.container_id, "use")


def status_of(tickets: Tickets, ticket: bytes, terms: TicketTerms = TERMS) -> int:
    with pytest.raises(NCryptError) as caught:
        tickets.take(ticket, terms)
    return caught.value.status


def test_a_ticket_is_good_once() -> None:
    tickets = Tickets(FakeClock())
    ticket = tickets.make(1000, "use", SECRET)

    assert len(ticket) == limits.TICKET_BYTES
    assert tickets.take(ticket, TERMS) is SECRET
    assert status_of(tickets, ticket) == Status.KEYISO_E_STALE


@pytest.mark.parametrize(
    "other",
    [
        replace(TERMS, owner=1001),
        replace(TERMS, container_id=b"d" * 16),
        replace(TERMS, use="create"),
    ],
    ids=["of another user", "for another container", "for something else"],
)
def test_a_ticket_is_refused_and_used_up(other: TicketTerms) -> None:
    tickets = Tickets(FakeClock())
    ticket = tickets.make(1000, "use", SECRET)

    assert status_of(tickets, ticket, other) == Status.NTE_PERM
    assert status_of(tickets, ticket) == Status.KEYISO_E_STALE


def test_a_ticket_ends_with_its_time() -> None:
    clock = FakeClock()
    tickets = Tickets(clock)
    first = tickets.make(1000, "use", SECRET)
    clock.advance(limits.TICKET_SECONDS - 1)
    second = tickets.make(1000, "use", SECRET)
    clock.advance(1)

    assert status_of(tickets, first) == Status.KEYISO_E_STALE
    assert tickets.take(second, TERMS) is SECRET


def test_the_secret_goes_with_the_time() -> None:
    clock = FakeClock()
    tickets = Tickets(clock)
    tickets.make(1000, "use", SECRET)
    clock.advance(limits.TICKET_SECONDS)
    tickets.drop_old()

    assert len(tickets) == 0


def test_a_user_loses_the_oldest_one_and_no_other_user_does() -> None:
    tickets = Tickets(FakeClock())
    of_another = tickets.make(1001, "use", SECRET)
    mine = [tickets.make(1000, "use", SECRET) for _ in range(limits.TICKETS_PER_USER + 1)]

    assert status_of(tickets, mine[0]) == Status.KEYISO_E_STALE
    assert tickets.take(mine[1], TERMS) is SECRET
    assert tickets.take(of_another, replace(TERMS, owner=1001)) is SECRET


def test_there_are_so_many_and_no_more() -> None:
    tickets = Tickets(FakeClock())
    for number in range(limits.TICKETS):
        tickets.make(number, "use", SECRET)
    with pytest.raises(NCryptError, match="TICKETS is 256") as caught:
        tickets.make(limits.TICKETS, "use", SECRET)

    assert caught.value.status == Status.KEYISO_E_LIMIT


def test_a_users_tickets_end_together() -> None:
    tickets = Tickets(FakeClock())
    mine = [tickets.make(1000, "use", SECRET) for _ in range(2)]
    of_another = tickets.make(1001, "use", SECRET)
    tickets.end_all_of(1000)

    assert {status_of(tickets, ticket) for ticket in mine} == {Status.KEYISO_E_STALE}
    assert tickets.take(of_another, replace(TERMS, owner=1001)) is SECRET
