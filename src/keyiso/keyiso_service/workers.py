"""The KeyIso service's links to its trustlet workers."""

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from keyiso import limits
from keyiso.crypto.algorithms import ALGORITHMS
from keyiso.crypto.key_blob import read_header
from keyiso.crypto.key_header import Level
from keyiso.errors import Hop, NCryptError, ncrypt_error
from keyiso.keyiso_service.client import Client
from keyiso.keyiso_service.terms import LEVELS
from keyiso.keyiso_service.turns import Turns, Wanted
from keyiso.quotas import Quotas
from keyiso.server.link import Link
from keyiso.server.loop import Loop
from keyiso.server.promise import Promise, run_coroutine
from keyiso.server.startup import print_unexpected
from keyiso.status import Status
from keyiso.wire.link import (
    CHANNELS_FEATURE,
    USES_FEATURE,
    ChannelHolders,
    GetChannels,
    GetWorkerIsolation,
    GetWorkerStatus,
    RenewLease,
    Revoke,
    SealProperty,
    TakeUses,
    Uses,
)
from keyiso.wire.messages import Operation, R_co
from keyiso.wire.passport import PASSPORT_FEATURE
from keyiso.wire.results import Isolation, WorkerStatus

_GENERATOR: Final = "-generator"
"""How the name of the worker ends that does the work that takes longer than 20 ms, so that nobody
waits behind it."""

_REVOCATIONS_AT_ONCE: Final = 64
_STATUSES_AT_ONCE: Final = 16
"""Requests that ask every worker, and so take a call of each link."""


class WorkerSockets(NamedTuple):
    """Where the workers of an instance listen, by their level."""

    software: Sequence[Path]
    vbs: Sequence[Path] = ()


class Workers:
    """All workers: of each level those that hold loaded keys, and a generator.

    The workers of level ``vbs`` are connected to, and so started, when one is first wanted.
    """

    def __init__(
        self,
        loop: Loop,
        service: str,
        sockets: WorkerSockets,
        revoked: Callable[[], tuple[bytes, ...]],
        used: Callable[[Uses, Level], None],
        quotas: Quotas,
        *,
        wanted: Callable[[], None] = lambda: None,
        heard: Callable[[str, Isolation], None] = lambda service, isolation: None,
    ) -> None:
        """``wanted`` is called before ``vbs`` workers are connected to for the first time, and
        ``heard`` with what each of them says of itself whenever it was connected to.
        """
        self._heard = heard
        self._loop = loop
        self._service = service
        self._revoked = revoked
        self._used = used
        self._wanted = wanted
        self._quotas = quotas
        self._isolations: dict[Link, Isolation] = {}
        """What each ``vbs`` worker said of itself since it was connected to."""
        self._turn = itertools.count()
        self._turns: dict[Link, Turns] = {}
        self._short_work: dict[Level, Turns] = {}
        self._long_work: dict[Level, Turns] = {}
        self._revocations, self._statuses = Turns(_REVOCATIONS_AT_ONCE), Turns(_STATUSES_AT_ONCE)
        self._properties = Turns(limits.PROPERTIES_AT_ONCE)
        self._pins = Turns(1, quotas.limit("generations_per_user"))
        self._vbs_sockets = sockets.vbs
        self._links: dict[Level, tuple[Link, ...]] = {}
        self._connect("software", sockets.software)
        self._renew_leases()

    @property
    def channels(self) -> int:
        """Workers of one level that hold loaded keys."""
        return len(self._holders("software"))

    def want_vbs(self) -> None:
        """Connect to the ``vbs`` workers, which starts them."""
        if "vbs" not in self._links:
            self._wanted()
            self._connect("vbs", self._vbs_sockets)

    def isolation(self) -> Isolation:
        """Whether there are armed workers, and what they can do."""
        if not self._vbs_sockets:
            return Isolation(
                "unavailable",
                "this instance serves no vbs keys",
                "Start keyiso without `--vbs off`.",
            )
        self.want_vbs()
        said = [self._isolations.get(link) for link in self._links["vbs"] if link.ready]
        answers = sorted((one for one in said if one is not None), key=_usefulness)
        return answers[-1] if answers else Isolation("starting", "the armed workers are starting")

    def next_holder(self, avoid: Collection[bytes], level: Level) -> Link:
        """A worker for a new key channel, in turn, preferably none of those to avoid.

        Raises ``KEYISO_E_STALE`` while none is running, ``NTE_VBS_UNAVAILABLE`` where none can.
        """
        ready = self._most_useful([link for link in self._holders(level) if self._serves(link)])
        fresh = [link for link in ready if link.peer_instance not in avoid]
        return self._in_turn(fresh or ready, level)

    def with_instance(self, instance_id: bytes) -> Link:
        """The worker that is still the one the caller means. Raises ``KEYISO_E_STALE``."""
        for link in self._all():
            if self._serves(link) and link.peer_instance == instance_id:
                return link
        raise _not_running()

    def is_outdone(self, worker: Link) -> bool:
        """Another worker of its level has roots that this one lacks."""
        level = level_of_worker(worker)
        others = [link for link in self._links[level] if self._serves(link)]
        return worker not in self._most_useful([worker, *others])

    def check_sealing_root(self, root_id: bytes) -> None:
        """Every armed worker that has machine roots seals stored keys by this one: another would
        take for damaged what it seals.

        Raises ``KEYISO_E_STALE`` while one does not yet, and why when it cannot; where none is
        armed as `next_holder` does.
        """
        useful = self._isolations[self.any("vbs")]
        for link in self._of("vbs"):
            isolation = self._isolations.get(link)
            if not link.ready or isolation is None:
                raise ncrypt_error(
                    Status.KEYISO_E_STALE,
                    f"{link.peer_service} is being started",
                    "Try again; `keyiso status` shows the processes.",
                )
            if isolation.state != "armed" or isolation.sealing_root == root_id:
                continue
            if isolation.machine_root != useful.machine_root:
                continue  # it has none, and is not asked while another one has
            if isolation.root_cause:
                raise ncrypt_error(
                    isolation.root_status, isolation.root_cause, isolation.root_action
                )
            raise ncrypt_error(
                Status.KEYISO_E_STALE,
                f"{link.peer_service} has not got the root that is to seal the keys",
                "Try again when all armed processes have been replaced; where the TPM gives the"
                " roots out once in a boot, restart keyiso, or after that the machine.",
            )

    def any(self, level: Level) -> Link:
        """A running worker. Raises as `next_holder` does."""
        return self._in_turn([link for link in self._of(level) if self._serves(link)], level)

    def for_generation(self, algorithm: str, level: Level) -> Link:
        """Who generates keys of this algorithm. Raises as `next_holder` does."""
        known = ALGORITHMS.get(algorithm)
        if known is None or known.slow_to_generate:
            return self.generator(level)
        return self._in_turn([link for link in self._holders(level) if self._serves(link)], level)

    def generator(self, level: Level) -> Link:
        """The generator, which also validates imports. Raises as `next_holder` does."""
        generators = (link for link in self._of(level) if _is_generator(link))
        return self._in_turn([link for link in generators if self._serves(link)], level)

    def passport(self) -> Link:
        """The worker that has the Passport containers. Raises as `next_holder` does, and
        ``NTE_NOT_SUPPORTED`` for one of an older version.
        """
        worker = self.generator("software")
        if PASSPORT_FEATURE not in worker.peer_features:
            raise ncrypt_error(
                Status.NTE_NOT_SUPPORTED,
                f"{worker.peer_service} is of an older version and has no Passport containers",
                "Restart keyiso.",
            )
        return worker

    def pin_turn(self, client: Client) -> "_Turn":
        """A client's turn at the containers, of which that worker looks at one at a time. Entering
        raises as that of `working_turn` does.
        """
        return _Turn(self._pins, client.peer.uid, client.here)

    def turn(self, link: Link, client: Client) -> "_Turn":
        """A client's turn at a worker: ``async with`` it, and call."""
        return _Turn(self._turns[link], client.peer.uid, client.here)

    def turn_at(self, instance_id: bytes, client: Client) -> "_Turn":
        """The same by the worker's instance; for one that is not there nobody has to wait."""
        found = (link for link in self._all() if link.peer_instance == instance_id)
        turns = next((self._turns[link] for link in found), None)
        return _Turn(turns, client.peer.uid, client.here)

    def working_turn(self, link: Link, client: Client, *, long: bool) -> "_Turn":
        """A client's turn to have a key made by a worker. The generator makes one at a time, and
        beside it one that takes long. Entering raises ``KEYISO_E_LIMIT`` when too many of the
        user wait already.
        """
        if not _is_generator(link):
            return self.turn(link, client)
        turns = self._long_work if long else self._short_work
        return _Turn(turns[level_of_worker(link)], client.peer.uid, client.here)

    def property_turn(self, client: Client) -> "_Turn":
        """A client's turn to have a property sealed or opened: a few are, at a time, so that
        neither this service nor a link is full of them.
        """
        return _Turn(self._properties, client.peer.uid, client.here)

    async def revoke(
        self,
        uid: int,
        key_ids: tuple[bytes, ...],
        level: Level | None,
        *,
        trace: str,
        hops: tuple[Hop, ...],
    ) -> None:
        """Take keys of a level, or of one that is not known, out of every worker. Returns when no
        worker holds them.

        A worker that ends meanwhile has lost its keys with its memory. One that is not reached
        is waited for: it may be alive and hold them.
        """
        async with _Turn(self._revocations, uid, _always):
            links = self._all() if level is None else self._links.get(level, ())
            asked = [
                promise
                for part in _frames_of(key_ids)
                for promise in self._ask_all(links, Revoke(part), trace, hops)
            ]
            for link in links:
                await link.when_ready()  # whose connecting told it everything that is revoked
            for promise in asked:
                await _unless_ended(promise)

    async def seal_property(
        self,
        client: Client,
        operation: SealProperty,
        *,
        trace: str,
        hops: tuple[Hop, ...],
    ) -> bytes:
        """A property's value, sealed for the key of a blob."""
        async with self.property_turn(client):
            answer = await self.ask_any(
                client, operation, level_of_blob(operation.blob), trace=trace, hops=hops
            )
            return answer.value

    async def ask_any(
        self,
        client: Client,
        operation: Operation[R_co],
        level: Level,
        *,
        trace: str,
        hops: tuple[Hop, ...],
    ) -> R_co:
        """Have a running worker do something, when it is this client's turn."""
        worker = self.any(level)
        async with self.turn(worker, client):
            return await worker.call(operation, trace=trace, hops=hops)

    async def status(self, client: Client) -> tuple[WorkerStatus, ...]:
        """What every running worker says of itself."""
        async with _Turn(self._statuses, client.peer.uid, client.here):
            asked = self._ask_all(self._all(), GetWorkerStatus(), "", ())
            answers = [await _unless_ended(promise) for promise in asked]
        return tuple(answer for answer in answers if answer is not None)

    async def channel_holders(
        self, client: Client, uid: int
    ) -> list[tuple[str, bytes, ChannelHolders]]:
        """Each worker and its instance with those who have key channels to it: one user's
        processes, or `EVERYBODY`'s.
        """
        links = [link for link in self._all() if CHANNELS_FEATURE in link.peer_features]
        async with _Turn(self._statuses, client.peer.uid, client.here):
            asked = [
                (link.peer_service, link.peer_instance or b"", link.call(GetChannels(uid)))
                for link in links
                if self._serves(link)
            ]
            answers = [(*worker, await _unless_ended(promise)) for *worker, promise in asked]
        return [(name, instance, answer) for name, instance, answer in answers if answer]

    def _ask_all(
        self,
        links: Iterable[Link],
        operation: Operation[Any],
        trace: str,
        hops: tuple[Hop, ...],
    ) -> list[Promise[Any]]:
        return [
            link.call(operation, trace=trace, hops=hops) for link in links if self._serves(link)
        ]

    def _connect(self, level: Level, sockets: Iterable[Path]) -> None:
        generations = self._quotas.limit("generations_per_user")
        self._short_work[level] = Turns(1, generations)
        self._long_work[level] = Turns(1, generations)
        self._links[level] = tuple(
            Link(
                self._loop,
                self._service,
                path,
                peer_service=path.stem,
                frame_bytes=limits.CONTROL_FRAME_BYTES,
                connected=self._connected if level == "software" else self._connected_to_pair,
            )
            for path in sockets
        )
        for link in self._links[level]:
            self._turns[link] = Turns(limits.CALLS_PER_LINK)

    def _of(self, level: Level) -> tuple[Link, ...]:
        if level == "vbs":
            self.want_vbs()
        return self._links.get(level, ())

    def _all(self) -> tuple[Link, ...]:
        """Every worker that was connected to."""
        return tuple(itertools.chain.from_iterable(self._links.values()))

    def _holders(self, level: Level) -> list[Link]:
        return [link for link in self._of(level) if not _is_generator(link)]

    def _serves(self, link: Link) -> bool:
        """It can be asked for what needs keys: a pair, when it has said that it is armed."""
        if not link.ready or level_of_worker(link) == "software":
            return link.ready
        isolation = self._isolations.get(link)
        return isolation is not None and isolation.state == "armed"

    def _most_useful(self, links: Sequence[Link]) -> Sequence[Link]:
        """Those with the most roots: while pairs are replaced, some have what others lack yet."""

        def usefulness(link: Link) -> tuple[bool, ...]:
            isolation = self._isolations.get(link)
            return () if isolation is None else _usefulness(isolation)

        most = max(map(usefulness, links), default=())
        return [link for link in links if usefulness(link) == most]

    def _in_turn(self, links: Sequence[Link], level: Level) -> Link:
        if links:
            useful = self._most_useful(links)
            return useful[next(self._turn) % len(useful)]
        if level not in LEVELS:
            raise ncrypt_error(Status.NTE_BAD_DATA, f"no worker opens keys of level {level}")
        if level == "vbs":
            isolation = self.isolation()
            if isolation.state == "unavailable":
                raise ncrypt_error(Status.NTE_VBS_UNAVAILABLE, isolation.cause, isolation.action)
        raise _not_running()

    def _connected_to_pair(self, link: Link) -> None:
        self._isolations.pop(link, None)  # of the process before
        run_coroutine(self._hear_of_pair(link), _print_defect)

    async def _hear_of_pair(self, link: Link) -> None:
        with contextlib.suppress(NCryptError):  # it ended; the next one will be asked
            isolation = await link.call(GetWorkerIsolation())
            self._isolations[link] = isolation
            self._heard(link.peer_service, isolation)
            if self._serves(link):
                self._connected(link)

    def _connected(self, link: Link) -> None:
        """A worker that outlived a KeyIso service may hold what that one no longer revoked."""
        for part in _frames_of(self._revoked()):
            link.call(Revoke(part))
        link.call(RenewLease())
        if USES_FEATURE in link.peer_features:
            run_coroutine(self._take_uses(link), _print_defect)

    async def _take_uses(self, link: Link) -> None:
        """Ask what was done with keys, again and again, until the worker ends."""
        with contextlib.suppress(NCryptError):
            while True:
                self._used(await link.call(TakeUses()), level_of_worker(link))

    def _renew_leases(self) -> None:
        for link in self._all():
            if self._serves(link):
                link.call(RenewLease())
        self._loop.call_later(limits.LEASE_SECONDS / _RENEWALS_PER_LEASE, self._renew_leases)


class _Turn:
    """Has a place for the time of an ``async with``."""

    def __init__(self, turns: Turns | None, uid: int, wanted: Wanted) -> None:
        self._turns = turns
        self._uid = uid
        self._wanted = wanted

    async def __aenter__(self) -> None:
        if self._turns is not None:
            await self._turns.take(self._uid, self._wanted)

    async def __aexit__(self, *exception: object) -> None:
        if self._turns is not None:
            self._turns.give_back()


def _always() -> bool:
    return True


_RENEWALS_PER_LEASE = 4

_REVOKED_AT_ONCE = 10_000
"""Key ids in one frame: 180 KiB."""


def _frames_of(key_ids: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
    for start in range(0, len(key_ids), _REVOKED_AT_ONCE):
        yield key_ids[start : start + _REVOKED_AT_ONCE]


async def _unless_ended(promise: Promise[Any]) -> Any:
    try:
        return await promise
    except NCryptError as error:
        if error.status != Status.KEYISO_E_STALE:
            raise
        return None


def _print_defect(outcome: Callable[[], None]) -> None:
    try:
        outcome()
    except Exception as error:  # counting is not worth ending the service
        print_unexpected(error)


def level_of_blob(blob: bytes) -> Level:
    """Whose key it is, as it says itself; the worker that opens it makes sure."""
    return read_header(blob).level


def level_of_worker(link: Link) -> Level:
    """The level of the keys that it opens."""
    return "vbs" if link.peer_service.startswith("vbs-") else "software"


def _is_generator(link: Link) -> bool:
    return link.peer_service.endswith(_GENERATOR)


def _usefulness(isolation: Isolation) -> tuple[bool, ...]:
    roots = isolation.machine_root, isolation.boot_root
    return (isolation.state == "armed", *(root == "present" for root in roots))


def _not_running() -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_STALE,
        "the trustlet worker is being restarted",
        "Try again; `keyiso status` shows the processes.",
    )
