"""The one place that notices that something restarted, and mends it.

There is no other reconnecting on the client's side: a key that is used is attached, opened and
compared again here, or the error says why not (architecture, section 6).
"""

import contextlib
import os
import pwd
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from keyiso import limits
from keyiso.client.batches import ManySignatures
from keyiso.client.change_event import KeyChangeEvent
from keyiso.client.channel import KeyChannel
from keyiso.client.reference import KeyLocation, KeyReference
from keyiso.client.request import Links, Request, RequestMaker, Service, Settings
from keyiso.client.retry import RetryPolicy, deadline_of
from keyiso.client.tracing import request_maker
from keyiso.client.trouble import FORGET, Broken, Forget
from keyiso.clock import Clock, SystemClock
from keyiso.crypto.key_header import Level, Scope
from keyiso.crypto.signatures import Padding
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.paths import Instance, client_instance
from keyiso.status import Status
from keyiso.wire.channel import BATCH_FEATURE, Ping
from keyiso.wire.control import AwaitChange
from keyiso.wire.messages import Operation, R_co
from keyiso.wire.results import Isolation

T = TypeVar("T")

_ROOT_UID = 0


class Binding:
    """This process and one keyiso instance. Thread-safe, and safe after fork."""

    def __init__(self, settings: Settings, request: RequestMaker = Request) -> None:
        self._settings = settings
        self._request = request
        self._links = Links(settings.random)

    def control(self, operation: Operation[R_co]) -> R_co:
        """Ask the KeyIso service something idempotent, or something with an operation id."""
        return self.try_until_done(
            type(operation).__name__, lambda request: request.control(operation)
        )

    def try_until_done(self, function: str, work: Callable[[Request], T]) -> T:
        """Do something that asks the KeyIso service, again and again until it is not broken."""
        return _try(self._request(self._settings, self._here(), function), work)

    def try_patiently(self, function: str, seconds: float, work: Callable[[Request], T]) -> T:
        """`try_until_done` for what takes so long, over a connection of its own: the others of
        this process do not wait behind it.
        """
        policy = self._settings.policy
        longer = replace(policy, deadline=policy.deadline and policy.deadline + seconds)
        links = Links(self._settings.random)
        try:
            return _try(
                self._request(replace(self._settings, policy=longer), links, function), work
            )
        finally:
            links.abandon()

    def uid(self) -> int:
        """Who this process is for the KeyIso service."""
        return self.try_until_done("Bind", lambda request: request.bound()).uid

    def open(self, location: KeyLocation) -> KeyReference:
        """Find a key by name and load it. Raises ``NTE_BAD_KEYSET`` when there is none."""

        level = self._level_of(location)
        while True:
            try:
                return self._on_channel("OpenKey", level, None, _open, location)
            except NCryptError as error:
                if error.status != Status.NTE_BAD_KEYSET:
                    raise
                before, level = level, self._level_of(location)
                if level == before:
                    raise
                # It was replaced, meanwhile, by a key that another kind of worker opens.

    def _level_of(self, location: KeyLocation) -> Level:
        """Of a key that is not found it does not matter: opening it fails, and is recorded."""
        try:
            return self.try_until_done("FindKey", lambda request: request.level_of(location))
        except NCryptError as error:
            if error.status == Status.KEYISO_E_SERVICE_UNAVAILABLE:
                raise
            return "software"

    def isolation(self) -> Isolation:
        """Whether ``vbs`` keys can be had here."""
        return self.try_until_done("GetIsolation", Request.isolation)

    def perform(
        self,
        function: str,
        reference: KeyReference,
        operation: Callable[[int], Operation[R_co]],
    ) -> R_co:
        """Have the worker do something with a key; ``operation`` is given the key's slot.

        It must be something that may be done twice: it is, when a worker ends in the middle.
        """

        level = reference.header.level
        result: R_co = self._on_channel(function, level, reference, _use, reference, operation)
        return result

    def sign_many(
        self,
        function: str,
        reference: KeyReference,
        digests: Sequence[bytes],
        padding: Padding,
        at_once: int,
    ) -> list[bytes]:
        """Sign many hashes with a key, ``at_once`` in a call and several calls at a time.

        Raises ``NTE_NOT_SUPPORTED`` where a worker of an older version cannot. Other threads of
        this process wait for the channels as for any other operation.
        """
        links, level = self._here(), reference.header.level
        request = self._request(self._settings, links, function)
        signatures = ManySignatures(digests, padding, at_once)
        while signatures.missing:
            channels: list[KeyChannel] = []
            try:
                _take_channels(links, level, request, channels, signatures.channels)
                signatures.make(request, _slots(request, channels, reference))
            except Broken as broken:
                request.again(broken)
            finally:
                for channel in channels:
                    channel.lock.release()
        return signatures.made

    def ping(self) -> None:
        """An empty call to a worker: what a call costs."""
        self._on_channel("Ping", "software", None, Request.on_channel, Ping())

    def watch(self, scope: Scope) -> KeyChangeEvent:
        """An event for changes of the keys of a scope, from now on."""
        count = self.control(AwaitChange(scope, -1)).count
        return KeyChangeEvent(self._settings, scope, count)

    def operation_id(self) -> bytes:
        """A new operation id."""
        return self._settings.random(limits.OPERATION_ID_BYTES)

    def _on_channel(
        self,
        function: str,
        level: Level,
        reference: KeyReference | None,
        work: Callable[..., T],
        *arguments: object,
    ) -> T:
        """Do something with a channel, again and again until it is not broken."""
        links = self._here()
        request = self._request(self._settings, links, function)
        while True:
            try:
                channel = _free_channel(links.channels[level])
                if channel is None:
                    channel = _take_channel(links, level, request)
                try:
                    return work(request, channel, *arguments)
                except Broken as broken:
                    _forget(FORGET[broken.trouble], channel, reference)
                    raise
                finally:
                    channel.lock.release()
            except Broken as broken:
                request.again(broken)

    def _here(self) -> Links:
        """The links of this process as this user: a forked child makes its own."""
        links = self._links
        if links.identity != (os.getpid(), os.geteuid()):
            links.abandon()
            links = self._links = Links(self._settings.random)
        return links


def bind_process(
    environ: Mapping[str, str],
    *,
    resolve: Callable[[], Instance] | None = None,
    policy: RetryPolicy | None = None,
    clock: Clock | None = None,
    random: Callable[[int], bytes] = os.urandom,
    autostart: bool = True,
    service: Service = "keyiso",
) -> Binding:
    """The binding of this process to a service of the instance that the environment names.

    A user's own instance is started when nobody listens, unless ``autostart`` is off.

    ``KEYISO_DEADLINE`` is how many seconds an operation may take while services restart; 0
    switches re-binding off. With ``KEYISO_TRACE`` what the binding does is told to `keyiso trace`.
    """
    return Binding(
        Settings(
            resolve=resolve or (lambda: client_instance(environ)),
            environ=environ,
            policy=policy or RetryPolicy(deadline=deadline_of(environ)),
            trusted_uids=trusted_uids(),
            clock=clock or SystemClock(),
            random=random,
            autostart=autostart,
            client_group=random(limits.CLIENT_GROUP_BYTES),
            service=service,
        ),
        request_maker(environ),
    )


def _try(request: Request, work: Callable[[Request], T]) -> T:
    while True:
        try:
            return work(request)
        except Broken as broken:
            request.again(broken)


def _open(request: Request, channel: KeyChannel, location: KeyLocation) -> KeyReference:
    opened = request.open(channel, location)
    reference = KeyReference(opened.header, location)
    channel.keep(reference, opened.slot)
    return reference


def _use(
    request: Request,
    channel: KeyChannel,
    reference: KeyReference,
    operation: Callable[[int], Operation[R_co]],
) -> R_co:
    return request.on_channel(channel, operation(request.slot(channel, reference)))


def _take_channel(links: Links, level: Level, request: Request) -> KeyChannel:
    """A channel, locked, when there is no free one yet: threads spread over all workers."""
    return _made_channel(links, level, request) or _next_free_channel(links, level, request)


def _made_channel(links: Links, level: Level, request: Request) -> KeyChannel | None:
    """A new channel, locked, unless there are as many as make sense."""
    channels = links.channels[level]
    with links.attaching:
        channel = _free_channel(channels)  # another thread may just have attached
        if channel is None and len(channels) < links.bound.channels:
            channel = request.attach(level)
            channel.lock.acquire()
            channels.append(channel)
    return channel


def _take_channels(
    links: Links, level: Level, request: Request, channels: list[KeyChannel], wanted: int
) -> None:
    """A channel, and further ones that are free or can be made, all locked."""
    ours = links.channels[level]
    channels.append(_free_channel(ours) or _take_channel(links, level, request))
    while len(channels) < min(wanted, links.bound.channels):
        channel = _free_channel(ours) or _made_channel(links, level, request)
        if channel is None:
            return
        channels.append(channel)


def _slots(
    request: Request, channels: list[KeyChannel], reference: KeyReference
) -> list[tuple[KeyChannel, int]]:
    """The channels with the slots where they have a key. All of them sign batches."""
    slots = []
    for channel in channels:
        if BATCH_FEATURE not in channel.connection.features:
            raise ncrypt_error(
                Status.NTE_NOT_SUPPORTED,
                f"{channel.connection.service} is of an older version and signs no batches",
                "Restart keyiso.",
            )
        try:
            slots.append((channel, request.slot(channel, reference)))
        except Broken as broken:
            _forget(FORGET[broken.trouble], channel, reference)
            raise
    return slots


def _free_channel(channels: list[KeyChannel]) -> KeyChannel | None:
    """A channel that nobody uses just now, locked. Those that ended are dropped on the way."""
    for channel in tuple(channels):
        if channel.lock.acquire(False):
            if not channel.connection.broken:
                return channel
            with contextlib.suppress(ValueError):  # another thread has dropped it
                channels.remove(channel)
            channel.lock.release()
    return None


def _next_free_channel(links: Links, level: Level, request: Request) -> KeyChannel:
    """Wait for a channel that is in use, the same for one thread each time."""
    channels = tuple(links.channels[level])
    if channels:
        channel = channels[threading.get_ident() % len(channels)]
        channel.lock.acquire()
        if not channel.connection.broken:
            return channel
        channel.lock.release()
    return _free_channel(links.channels[level]) or _take_channel(links, level, request)


def _forget(what: Forget, channel: KeyChannel, reference: KeyReference | None) -> None:
    if what is Forget.CHANNEL:
        channel.close()
    elif what is Forget.SLOT and reference is not None:
        channel.forget(reference)


def trusted_uids() -> frozenset[int]:
    """Whose control socket is accepted: root's, the keyiso user's, our own."""
    try:
        keyiso = {pwd.getpwnam("keyiso").pw_uid}
    except KeyError:
        keyiso = set()
    return frozenset({_ROOT_UID, os.geteuid()} | keyiso)
