"""An instance whose processes are killed while operations are under way, and what must survive."""

import contextlib
import os
import random
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyiso.router import process_router
from tests.instance import RunningInstance
from tests.restart.asking import Asked, Asker, Child, Thread, note_requests
from tests.restart.executioner import Blow, Executioner
from tests.restart.keyring import Keyring
from tests.restart.matrix import Matrix
from tests.restart.operations import OPERATIONS, Attempt, Work, prepared
from tests.restart.scene import FORKED, OTHER, SOFTWARE, Scene
from tests.restart.seed import SEED
from tests.restart.victims import Victim, Victims, close_all, wait_for_end

SOAK_SECONDS = float(os.environ.get("KEYISO_SOAK_SECONDS", "3600"))
SHARE_IN_FLIGHT = 0.3

_MEASUREMENTS = 3
_ROUNDS = 2 * len(OPERATIONS)
"""More than are needed to fill a column with one operation at a time."""
_HASTENED = 0.1
"""What is learned from one kill that came too late, or too early."""
_NOTICE_SECONDS = 0.00005
"""What a signal needs to arrive on an idle machine."""


@dataclass
class Usual:
    """When, of late, the requests of an operation were under way: seconds after its begin."""

    first_sent: float = 0.0
    last_over: float = 0.0

    def learn(self, asked: Asked) -> None:
        """From one that nothing has disturbed."""
        requests = asked.requests or [(asked.begun, asked.ended)]
        self.first_sent = (self.first_sent + requests[0][0] - asked.begun) / 2
        self.last_over = (self.last_over + requests[-1][1] - asked.begun) / 2

    def at(self, tenths: int) -> float:
        """An instant in that time; after ten tenths it is over."""
        return self.first_sent + (self.last_over - self.first_sent) * tenths / 10


class Stand:
    """An instance with keys that must survive, and a record of what was done to it."""

    def __init__(
        self, instance: RunningInstance, scene: Scene = SOFTWARE, ring: Keyring | None = None
    ) -> None:
        self.scene = scene
        hangs = {victim.value for victim in scene.hung}
        self.matrix = Matrix(scene.operations, scene.columns, hangs)
        self._ring = ring or Keyring(scene.level)
        self._journal: deque[str] = deque(maxlen=40)
        """The last that was done, for whoever has to understand a failure."""
        self._failure: BaseException | None = None
        self._victims = Victims(instance, scene.level)
        self._victims.settle()
        self._anchor = self._ring.make("ECDSA_P256")
        self._anchor.busy = True
        self._usual = {operation: Usual() for operation in scene.operations}
        for operation in _MEASUREMENTS * list(scene.operations):
            self.do(Attempt(operation, 0))
        self._executioner = Executioner()
        self._haste = 0.0
        """What part of the time to a kill is left out, as signals come late on a busy machine."""

    def close(self) -> None:
        self._executioner.close()

    def do(self, attempt: Attempt) -> None:
        """An operation that nobody disturbs."""
        with self._noted(str(attempt)), prepared(self._ring, [attempt]) as (work,):
            asker = Thread(work.ask, _nothing)
            asker.go()
            asked = asker.outcome()
            self._usual[attempt.operation].learn(asked)
            self._check(work, asked)
            self._ring.thin_out()

    def disturb(
        self,
        victim: Victim,
        attempts: Sequence[Attempt],
        tenths: int,
        *,
        settled: bool = True,
        asker: Asker = Thread,
    ) -> None:
        """Do operations all at once, and kill so many tenths into the first of them."""
        column = FORKED if asker is Child else victim.value
        # The first that asks anybody gives the sign.
        attempts = sorted(attempts, key=lambda one: OPERATIONS[one.operation].local)
        what = f"{column}, {tenths}/10: {', '.join(map(str, attempts))}"
        with self._noted(what), prepared(self._ring, attempts) as works:
            pidfds = self._find(victim, settled=settled)
            delay = self._usual[attempts[0].operation].at(tenths) * (1 - self._haste)
            delay -= _NOTICE_SECONDS
            self._executioner.order(delay, victim.signal, pidfds)
            beginnings = [self._executioner.give_sign, *[_nothing] * (len(works) - 1)]
            askers = [
                asker(work.ask, beginning)
                for work, beginning in zip(works, beginnings, strict=True)
            ]
            for one in askers:
                one.go()
            outcomes = [one.outcome() for one in askers]
            blow = self._executioner.report()
            if victim.ends:
                wait_for_end(pidfds)
            else:
                close_all(pidfds)
            for attempt, work, asked in zip(attempts, works, outcomes, strict=True):
                self._note(attempt, column, blow, asked)
                self._check(work, asked)
            self._ring.thin_out()

    def look(self) -> None:
        """Check everything that must be true."""
        with self._noted("look at everything"):
            self._ring.check()

    def fill(self, columns: Sequence[str], chance: random.Random) -> None:
        """Have every operation meet those of these victims that it has not met yet.

        The victims take turns, so that no process is killed so soon again that its supervisor
        becomes careful with it.
        """
        for _ in range(_ROUNDS):
            for column in columns:
                self._kill_during(self.matrix.empty(column), column, chance)

    def insist(self, share: float, chance: random.Random) -> None:
        """Go on until so many of the kills have fallen while a request was in flight.

        On a busy machine signals and threads come late.
        """
        columns = [one for one in self.scene.columns if one not in self.matrix.hangs]
        for _ in range(_ROUNDS):
            for column in columns:
                if self.matrix.share_in_flight >= share:
                    return
                self._kill_during(self.matrix.never_in_flight(column), column, chance)

    def empty_columns(self) -> list[str]:
        """Victims that an operation has not met."""
        return [column for column in self.scene.columns if self.matrix.empty(column)]

    def _kill_during(self, operations: list[str], column: str, chance: random.Random) -> None:
        """Disturb some of the operations, if there are any."""
        attempts = [
            Attempt(operation, chance.randrange(8))
            for operation in _together(
                operations, chance, many=column in self.matrix.hangs, forked=column == FORKED
            )
        ]
        if attempts and column == FORKED:
            victim = chance.choice(self.scene.forked)
            self.disturb(victim, attempts, 5, asker=Child)
        elif attempts:
            self.disturb(Victim(column), attempts, 5)

    def _note(self, attempt: Attempt, column: str, blow: Blow, asked: Asked) -> None:
        in_flight = False
        if blow.hit:
            in_flight = asked.in_flight(blow.since, blow.until)
            self.matrix.count(attempt.operation, column, in_flight=in_flight)
        if asked.ended < blow.since:
            self._usual[attempt.operation].learn(asked)
            self._haste = min(1.0, self._haste + _HASTENED)
        elif blow.hit and not in_flight:
            self._haste = max(0.0, self._haste - _HASTENED)

    def _check(self, work: Work, asked: Asked) -> None:
        """The one right result, and a handle that goes on working."""
        if asked.error is not None:
            raise asked.error
        work.check(asked.answer)
        if work.held in self._ring.held:
            work.held.check()

    def _find(self, victim: Victim, *, settled: bool) -> list[int]:
        if victim.holds_a_channel:
            self._single_out()
        elif settled or self.scene.level == "vbs":  # the one that is left alive has the roots
            self._victims.settle()
        pidfds = self._victims.pidfds(victim)
        if not pidfds:
            self._victims.settle()
            pidfds = self._victims.pidfds(victim)
        return pidfds

    def _single_out(self) -> None:
        """Have one worker hold the only channel of this process; threads may have made more."""
        while True:
            self._victims.settle()
            self._anchor.check()
            if len(self._victims.holders()) == 1:
                return
            first, *others = self._victims.pidfds(Victim.HOLDER)
            for pidfd in others:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            wait_for_end(others)
            os.close(first)

    @contextlib.contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        """Keep a journal. After the first failure nothing is done any more."""
        if self._failure is not None:
            raise self._failure
        self._journal.append(what)
        try:
            yield
        except BaseException as failure:
            failure.add_note("What was done, the last at the end:\n" + "\n".join(self._journal))
            self._failure = failure
            raise


def _together(
    operations: list[str], chance: random.Random, *, many: bool, forked: bool
) -> list[str]:
    """Some that do not wait for each other: requests of one process to KeyIso take turns, and a
    second one to a worker would take a channel to another one.
    """
    operations = chance.sample(operations, len(operations))
    if forked:
        return operations[:4]
    if many:
        return operations
    on_channel = [one for one in operations if OPERATIONS[one].on_channel]
    local = [one for one in operations if OPERATIONS[one].local]
    others = [one for one in operations if one not in on_channel + local]
    found = on_channel[:1] + others[:1]
    return chance.sample(found, len(found)) + local[:1]


def _nothing() -> None:
    """Nobody waits for a sign."""


@contextlib.contextmanager
def stand_at(home: Path, scene: Scene, summaries: list[str]) -> Iterator[Stand]:
    """A stand with an instance of its own, whose matrix is printed at the end of the run."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("KEYISO_HOME", str(home))
        process_router.cache_clear()
        instance = RunningInstance(home)
        instance.start()
        note_requests(monkeypatch)
        try:
            made = Stand(instance, scene)
            yield made
            made.close()
            summaries.append(
                f"{scene.level}, KEYISO_SEED={SEED} repeats these choices\n{made.matrix}"
                + ("" if OTHER else "\none processor: there is no other worker")
            )
        finally:
            process_router.cache_clear()
            instance.end()
