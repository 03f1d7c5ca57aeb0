"""Keys in a container, as the worker that has it makes and loads them."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from keyiso.crypto.signatures import NO_PADDING
from keyiso.identifiers import NCRYPT_PKCS8_PRIVATE_KEY_BLOB
from keyiso.status import Status
from keyiso.wire.channel import ExportPrivate, Sign, Signature
from keyiso.wire.link import Authenticate, Authenticated, Generate, Load, RenewLease, Sealed
from keyiso.wire.results import Opened
from tests.conformance.raw_client import RawClient
from tests.instance import RunningInstance
from tests.passport.conftest import NEW, RIGHT
from tests.passport.link import Prompt, at_the_worker, attached, status_in
from tests.unit.test_trustlet_engine import GRANT, terms

DIGEST = b"d" * 32
USERS = iter(range(7000, 8000))


@pytest.fixture
def prompt(shared_instance: RunningInstance) -> Iterator[Prompt]:
    """Of a user who has a container."""
    with at_the_worker(shared_instance.instance) as client:
        client.call(RenewLease())
        prompt = Prompt(client, next(USERS))
        prompt.enrol()
        yield prompt


def made(prompt: Prompt) -> Sealed:
    ticket = prompt.attempt(RIGHT, use="create").ticket
    sealed = prompt.client.call(Generate(terms(owner=prompt.owner), GRANT, ticket))
    assert isinstance(sealed, Sealed), sealed
    return sealed


class Channel:
    """A key channel of a user to the worker."""

    def __init__(self, client: RawClient, uid: int) -> None:
        self.uid = uid
        self._client = client
        self.keys, self.channel_id = attached(client, uid)

    def load(self, blob: bytes, ticket: bytes = b"") -> Any:
        return self._client.call(Load(self.channel_id, self.uid, blob, ticket))


@pytest.fixture
def channel(prompt: Prompt) -> Iterator[Channel]:
    channel = Channel(prompt.client, prompt.owner)
    yield channel
    channel.keys.close()


def test_a_key_is_made_and_used_with_a_ticket_each_time(prompt: Prompt, channel: Channel) -> None:
    sealed = made(prompt)
    opened = channel.load(sealed.blob, prompt.attempt(RIGHT, use="use").ticket)

    assert isinstance(opened, Opened)
    assert opened.header == sealed.header
    assert len(sealed.header.container_id) == 16
    assert isinstance(channel.keys.call(Sign(opened.slot, DIGEST, NO_PADDING)), Signature)


def test_without_a_ticket_it_is_only_known_to_be_there(prompt: Prompt, channel: Channel) -> None:
    sealed = made(prompt)

    assert status_in(channel.load(sealed.blob)) == Status.NTE_UI_REQUIRED
    assert prompt.client.call(Authenticate(sealed.blob)) == Authenticated(sealed.header)


def test_a_ticket_is_good_for_one_load(prompt: Prompt, channel: Channel) -> None:
    sealed, ticket = made(prompt), prompt.attempt(RIGHT, use="use").ticket

    assert isinstance(channel.load(sealed.blob, ticket), Opened)
    assert status_in(channel.load(sealed.blob, ticket)) == Status.KEYISO_E_STALE


def test_a_ticket_for_something_else_is_refused(prompt: Prompt, channel: Channel) -> None:
    sealed = made(prompt)
    to_create = prompt.attempt(RIGHT, use="create").ticket
    to_use = prompt.attempt(RIGHT, use="use").ticket
    generate = Generate(terms(owner=prompt.owner), GRANT, to_use)

    assert status_in(channel.load(sealed.blob, to_create)) == Status.NTE_PERM
    assert status_in(prompt.client.call(generate)) == Status.NTE_PERM


def test_a_ticket_of_another_user_is_refused(prompt: Prompt, channel: Channel) -> None:
    """He opens neither the key of the ticket's user nor his own with it, nor makes one."""
    other = Prompt(prompt.client, next(USERS))
    other.enrol()
    of_other, of_mine = made(other), made(prompt)
    tickets = [other.attempt(RIGHT, use="use").ticket for _ in range(2)]
    to_create = other.attempt(RIGHT, use="create").ticket

    assert status_in(channel.load(of_other.blob, tickets[0])) == Status.NTE_PERM
    assert status_in(channel.load(of_mine.blob, tickets[1])) == Status.NTE_PERM
    generate = Generate(terms(owner=prompt.owner), GRANT, to_create)
    assert status_in(prompt.client.call(generate)) == Status.NTE_PERM


def test_an_own_ticket_opens_no_key_of_somebody_else(prompt: Prompt, channel: Channel) -> None:
    """Whatever that key's access list says."""
    other = Prompt(prompt.client, next(USERS))
    other.enrol()

    ticket = prompt.attempt(RIGHT, use="use").ticket
    assert status_in(channel.load(made(other).blob, ticket)) == Status.NTE_PERM


def test_a_key_ends_with_the_secret_that_a_reset_replaces(prompt: Prompt, channel: Channel) -> None:
    sealed = made(prompt)
    prompt.reset(RIGHT)

    ticket = prompt.attempt(RIGHT, use="use").ticket
    assert status_in(channel.load(sealed.blob, ticket)) == Status.NTE_BAD_DATA


def test_a_ticket_ends_with_the_pin_that_it_was_given_for(prompt: Prompt, channel: Channel) -> None:
    other = Prompt(prompt.client, next(USERS))
    other.enrol()
    of_other = other.attempt(RIGHT, use="create").ticket
    sealed, ticket = made(prompt), prompt.attempt(RIGHT, use="use").ticket
    prompt.change(RIGHT, NEW)
    assert status_in(channel.load(sealed.blob, ticket)) == Status.KEYISO_E_STALE

    ticket = prompt.attempt(NEW, use="create").ticket
    prompt.reset(RIGHT)
    generate = Generate(terms(owner=prompt.owner), GRANT, ticket)
    assert status_in(prompt.client.call(generate)) == Status.KEYISO_E_STALE
    generate = Generate(terms(owner=other.owner), GRANT, of_other)
    assert isinstance(prompt.client.call(generate), Sealed)


def test_it_is_not_exported(prompt: Prompt, channel: Channel) -> None:
    sealed = made(prompt)
    opened = channel.load(sealed.blob, prompt.attempt(RIGHT, use="use").ticket)

    export = ExportPrivate(opened.slot, NCRYPT_PKCS8_PRIVATE_KEY_BLOB, b"")
    assert status_in(channel.keys.call(export)) == Status.NTE_NOT_SUPPORTED
    exportable = terms(owner=prompt.owner, export_policy=3)
    ticket = prompt.attempt(RIGHT, use="create").ticket
    answer = prompt.client.call(Generate(exportable, GRANT, ticket))
    assert status_in(answer) == Status.NTE_NOT_SUPPORTED


def test_other_workers_load_none(prompt: Prompt, shared_instance: RunningInstance) -> None:
    sealed = made(prompt)
    with RawClient.at(shared_instance.instance.workers / "software-0.sock") as client:
        client.hello()
        channel = Channel(client, prompt.owner)
        ticket = prompt.attempt(RIGHT, use="use").ticket

        assert status_in(channel.load(sealed.blob, ticket)) == Status.NTE_UI_REQUIRED
        generate = Generate(terms(owner=prompt.owner), GRANT, ticket)
        assert status_in(client.call(generate)) == Status.NTE_NOT_SUPPORTED
        channel.keys.close()


def test_an_older_keyiso_service_sends_no_ticket() -> None:
    old = msgspec.msgpack.encode([2, b"c" * 16, 1000, b"blob"])

    assert msgspec.msgpack.decode(old, type=Load).ticket == b""
