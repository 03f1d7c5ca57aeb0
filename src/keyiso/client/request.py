"""One operation of the application, over as many tries as it takes."""

import copy
import itertools
import os
import socket
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from keyiso import limits
from keyiso.client.autostart import autostart_possible, start_instance
from keyiso.client.channel import KeyChannel
from keyiso.client.connection import (
    NO_ANSWER,
    Connection,
    ConnectionLost,
    ControlConnection,
    connect,
)
from keyiso.client.reference import KeyLocation, KeyReference
from keyiso.client.retry import Attempts, RetryPolicy
from keyiso.client.trouble import Broken, Trouble
from keyiso.clock import Clock
from keyiso.crypto.key_header import Level
from keyiso.errors import Hop, NCryptError, ncrypt_error
from keyiso.names import decode_name, printable_name
from keyiso.paths import Instance
from keyiso.status import Status
from keyiso.wire.control import Attach, Bind, Bound, FindKey, GetIsolation, OpenEphemeral, OpenKey
from keyiso.wire.messages import Operation, R_co
from keyiso.wire.results import Isolation, Opened

Service = Literal["keyiso", "passport"]
"""The services that applications ask."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a binding was made with."""

    resolve: Callable[[], Instance]
    """Which instance to use; asked at each connect, as its sockets may have moved."""
    environ: Mapping[str, str]
    policy: RetryPolicy
    trusted_uids: frozenset[int]
    """Whose control socket is accepted."""
    clock: Clock
    random: Callable[[int], bytes]
    autostart: bool
    """Start the user's own instance when nobody listens."""
    client_group: bytes
    """The secret that opens this client's ephemeral keys; children inherit it."""
    service: Service = "keyiso"
    """Whom the binding is to."""


class Links:
    """What one process has open, as one user."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self.identity = (os.getpid(), os.geteuid())
        """A forked child, or who dropped its rights, begins with new links."""
        self.lock = threading.Lock()
        """Guards the control connection, and so makes re-binding single-flight."""
        self.control: ControlConnection | None = None
        self.bound = Bound(-1, 1)
        self.channels: defaultdict[Level, list[KeyChannel]] = defaultdict(list)
        """By the level of the keys that they are for."""
        self.attaching = threading.Lock()
        """Held while a channel is made, so that threads that come together make one."""
        self.trace_ids = itertools.count((int.from_bytes(random(16), "big") >> 1) + 1)
        """They count on from a random number: as unique as if each were drawn."""
        self.span_id = random(8).hex()
        self.first_hops = _FirstHops(self.identity[0])
        self._random = random
        self._of_keyiso: Links | None = None

    def of_keyiso(self) -> "Links":
        """The same process's to the KeyIso service itself, beside those to another one."""
        if self._of_keyiso is None:
            self._of_keyiso = Links(self._random)
        return self._of_keyiso

    def abandon(self) -> None:
        """Close this process's copies of what another process, or user, opened.

        No lock is taken: after a fork, a thread that does not exist here may hold it.
        """
        if self._of_keyiso is not None:
            self._of_keyiso.abandon()
        if self.control is not None:
            self.control.close()
        for channels in self.channels.values():
            for channel in channels:
                channel.close()


class _FirstHops(dict[str, tuple[Hop, ...]]):
    """This process as the first on a request's way, by what it was asked to do."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __missing__(self, function: str) -> tuple[Hop, ...]:
        self[function] = (Hop("application", self._pid, function),)
        return self[function]


class Request:
    """Asks, mends what it can while asking, and says what it cannot mend as `Broken`."""

    __slots__ = ("_attempts", "_began", "_hops", "_links", "_settings", "_trace")

    def __init__(self, settings: Settings, links: Links, function: str) -> None:
        self._began = settings.clock.monotonic()
        self._attempts: Attempts | None = None
        self._settings = settings
        self._links = links
        self._trace = f"00-{next(links.trace_ids):032x}-{links.span_id}-01"
        self._hops = links.first_hops[function]

    def again(self, broken: Broken) -> None:
        """Note what broke and pause. Raises when the deadline does not allow another try."""
        if self._attempts is None:
            settings = self._settings
            self._attempts = Attempts(settings.policy, settings.clock, self._began)
        self._attempts.again(broken.hop, broken.cause, action=broken.action, way=broken.way)

    # --- the KeyIso service --------------------------------------------------------------------

    def at_keyiso(self) -> "Request":
        """The same request to the KeyIso service itself, of a binding to another one."""
        other = copy.copy(self)
        other._settings = replace(self._settings, service="keyiso")
        other._links = self._links.of_keyiso()
        return other

    def control(self, operation: Operation[R_co]) -> R_co:
        """Ask the KeyIso service, connected and bound first where that is needed."""
        with self._links.lock:
            return self._ask(self._bound_control(), operation)

    def bound(self) -> Bound:
        """What the KeyIso service told this process when it bound."""
        with self._links.lock:
            self._bound_control()
            return self._links.bound

    def offers(self, feature: str) -> bool:
        """The KeyIso service, which may be of an older version, can be asked for it."""
        with self._links.lock:
            return feature in self._bound_control().features

    def isolation(self) -> Isolation:
        """Whether ``vbs`` keys can be had; armed workers that are just starting are waited for."""
        isolation = self.control(GetIsolation())
        if isolation.state == "starting":
            hop = Hop("keyiso", 0, isolation.cause)
            raise Broken(Trouble.NOT_READY, hop, isolation.cause)
        return isolation

    def level_of(self, location: KeyLocation) -> Level:
        """The level that a stored key says it has: where to open it."""
        found = self.control(FindKey(location.provider, location.scope, location.name))
        # No worker opens a key of another level, and any of them can say so.
        return "vbs" if found.header.level == "vbs" else "software"

    def attach(self, level: Level) -> KeyChannel:
        """A new key channel, to a worker that this process has none to yet if there is one."""
        known = tuple(channel.worker_instance for channel in self._links.channels[level])
        with self._links.lock:
            control = self._bound_control()
            attached = self._ask(control, Attach(known, level))
            connected = socket.socket(fileno=control.take_descriptor())
        connection = Connection(connected, attached.worker, frame_bytes=limits.KEY_FRAME_BYTES)
        self._greet(connection)
        return KeyChannel(connection, attached)

    def open(self, channel: KeyChannel, location: KeyLocation) -> Opened:
        """Have the KeyIso service load a key by its name into a channel."""
        return self._load(
            OpenKey(
                location.provider,
                location.scope,
                location.name,
                channel.channel_id,
                channel.worker_instance,
            )
        )

    def load(self, channel: KeyChannel, reference: KeyReference) -> int:
        """Load a known key again, and make sure that it is the same one.

        Raises ``NTE_BAD_KEYSET`` when the name now means another key.
        """
        if reference.location is None:
            opened = self._load(
                OpenEphemeral(reference.blob, channel.channel_id, channel.worker_instance)
            )
        else:
            opened = self.open(channel, reference.location)
        if not reference.names_the_same_key(opened.header):
            raise self._replaced(reference)
        channel.keep(reference, opened.slot)
        return opened.slot

    # --- the worker ----------------------------------------------------------------------------

    def on_channel(self, channel: KeyChannel, operation: Operation[R_co]) -> R_co:
        """Ask the worker."""
        connection = channel.connection
        try:
            return connection.take(operation, self._post(channel, operation))
        except (ConnectionLost, NCryptError) as error:
            raise _found_on(connection, error) from None

    def post(self, channel: KeyChannel, operation: Operation[Any]) -> int:
        """Ask the worker, and `take` the answer later by the id that is returned."""
        try:
            return self._post(channel, operation)
        except (ConnectionLost, NCryptError) as error:
            raise _found_on(channel.connection, error) from None

    def take(self, channel: KeyChannel, operation: Operation[R_co], call_id: int) -> R_co:
        """Wait for an answer; those of one channel come in the order in which they were asked for.

        From here on the deadline counts anew.
        """
        try:
            result = channel.connection.take(operation, call_id)
        except (ConnectionLost, NCryptError) as error:
            raise _found_on(channel.connection, error) from None
        self._began, self._attempts = self._settings.clock.monotonic(), None
        return result

    def silent(self, channel: KeyChannel) -> Broken | NCryptError:
        """The worker has not answered before the deadline."""
        connection = channel.connection
        return _found_on(connection, ConnectionLost(connection.service, NO_ANSWER))

    def slot(self, channel: KeyChannel, reference: KeyReference) -> int:
        """Where a channel has a key, loaded now if it is not there yet."""
        slot = channel.slot_of(reference)
        return self.load(channel, reference) if slot is None else slot

    def left(self) -> float:
        """Seconds that the next wait for an answer may take."""
        settings = self._settings
        return settings.policy.left(settings.clock.monotonic() - self._began)

    # --- how -----------------------------------------------------------------------------------

    def _load(self, operation: OpenKey | OpenEphemeral) -> Opened:
        with self._links.lock:
            return self._ask(self._bound_control(), operation, Trouble.CHANNEL_UNKNOWN)

    def _ask(
        self,
        control: ControlConnection,
        operation: Operation[R_co],
        stale: Trouble = Trouble.NOT_READY,
    ) -> R_co:
        try:
            return control.call(operation, trace=self._trace, hops=self._hops, timeout=self.left())
        except (ConnectionLost, NCryptError) as error:
            raise _found(control, error, Trouble.CONTROL_ENDED, stale) from None

    def _post(self, channel: KeyChannel, operation: Operation[Any]) -> int:
        return channel.connection.post(
            operation,
            self._trace,
            self._hops,
            self.left(),
            channel.releases() if channel.unused else (),
        )

    def _bound_control(self) -> ControlConnection:
        """The control connection, made and bound when there is none. Needs the links' lock."""
        links = self._links
        if links.control is not None and not links.control.broken:
            return links.control
        control = links.control = self._connect()
        try:
            bind = Bind(self._settings.client_group, process_name())
            links.bound = self._ask(control, bind)
        except BaseException:
            control.close()
            raise
        return control

    def _connect(self) -> ControlConnection:
        timeout, service = self.left(), self._settings.service
        try:
            instance = self._settings.resolve()
        except OSError as error:
            cause = f"the instance cannot be found: {error}"
            raise Broken(Trouble.CONTROL_ENDED, Hop(service, 0, "not found"), cause) from None
        place = instance.passport_socket if service == "passport" else instance.control_socket
        try:
            connected = connect(place, self._settings.trusted_uids, timeout, service)
            control = ControlConnection(connected, service, frame_bytes=limits.CONTROL_FRAME_BYTES)
            control.greet(timeout)
        except ConnectionLost as lost:
            cause = f"{lost.service} {lost.reason} at {place}"
            wanted = self._settings.autostart and not lost.listening
            if wanted and autostart_possible(instance):
                cause = start_instance(instance, self._settings.environ, timeout) or cause
            hop = Hop(lost.service, 0, lost.reason)
            raise Broken(Trouble.CONTROL_ENDED, hop, cause) from None
        return control

    def _greet(self, channel: Connection) -> None:
        try:
            channel.greet(self.left())
        except ConnectionLost as lost:
            raise Broken(
                Trouble.CHANNEL_ENDED, Hop(lost.service, 0, lost.reason), str(lost)
            ) from None

    def _replaced(self, reference: KeyReference) -> NCryptError:
        name = printable_name(decode_name(reference.header.name))
        return ncrypt_error(
            Status.NTE_BAD_KEYSET,
            f"the key that was opened as '{name}' was replaced by another one of that name",
            "Open it again to use the new key.",
            self._hops,
        )


RequestMaker = Callable[[Settings, Links, str], Request]
"""Begins a request: `Request`, or one that is told of."""


def _found(
    connection: Connection, error: ConnectionLost | NCryptError, ended: Trouble, stale: Trouble
) -> Broken | NCryptError:
    """What an error means: trouble that another try can mend, or the answer of the operation."""
    if isinstance(error, ConnectionLost):
        hop = Hop(error.service, connection.pid, error.reason)
        return Broken(ended, hop, f"{error.service} {error.reason}")
    if error.status != Status.KEYISO_E_STALE:
        return error
    way = error.chain or (Hop(connection.service, connection.pid, ""),)
    return Broken(stale, way[-1], error.cause, action=error.action, way=way)


def _found_on(channel: Connection, error: ConnectionLost | NCryptError) -> Broken | NCryptError:
    return _found(channel, error, Trouble.CHANNEL_ENDED, Trouble.SLOT_STALE)


def process_name() -> str:
    """This process, for people who read the log."""
    name = os.path.basename(sys.argv[0] if sys.argv else "") or "python"
    return name.encode("utf-8", "backslashreplace").decode()  # a file's name need not be text
