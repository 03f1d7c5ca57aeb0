"""The state machine that drives a stand: it chooses what is done, who is killed, and when."""

from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.restart.asking import Asker, Child, Thread
from tests.restart.operations import Attempt
from tests.restart.scene import Scene
from tests.restart.stand import Stand
from tests.restart.victims import Victim

_T = TypeVar("_T")


def _one_of(choices: Callable[[Scene], Sequence[_T]]) -> st.SearchStrategy[_T]:
    """Of what the scene has that the machine plays."""
    return st.runner().flatmap(lambda machine: st.sampled_from(choices(machine.stand.scene)))


_KILLED = _one_of(lambda scene: scene.killed)
_ATTEMPT = st.builds(Attempt, _one_of(lambda scene: scene.operations), st.integers(0, 7))
_ATTEMPTS = st.lists(
    _ATTEMPT,
    min_size=1,
    max_size=2,
    unique_by=lambda attempt: attempt.operation,
)
_TENTHS = st.integers(0, 10)


class Machine(RuleBasedStateMachine):
    """Everything is drawn before it is done, and no choice depends on what came before: the same
    seed gives the same sequence, whatever the kills hit.

    Hypothesis runs what has failed once more. Processes cannot be made to do the same again, so
    that this run does nothing, until it ends with the same failure at the same step.
    """

    stand: ClassVar[Stand]
    failed_at: ClassVar[int | None] = None

    def __init__(self) -> None:
        super().__init__()
        self._step = 0

    @rule(
        victim=_KILLED,
        attempts=_ATTEMPTS,
        tenths=_TENTHS,
        asker=st.sampled_from([Thread, Thread, Child]),
        settled=st.booleans(),
    )
    def kill_meanwhile(
        self, victim: Victim, attempts: list[Attempt], tenths: int, asker: Asker, settled: bool
    ) -> None:
        self._do(lambda: self.stand.disturb(victim, attempts, tenths, asker=asker, settled=settled))

    @rule(attempt=_ATTEMPT)
    def leave_alone(self, attempt: Attempt) -> None:
        self._do(lambda: self.stand.do(attempt))

    def teardown(self) -> None:
        self._do(self.stand.look)

    def _do(self, what: Callable[[], None]) -> None:
        machine = type(self)
        self._step += 1
        if machine.failed_at is None:
            try:
                what()
            except BaseException:
                machine.failed_at = self._step
                raise
        elif machine.failed_at == self._step:
            what()


class HangingMachine(Machine):
    """Sometimes processes hang. Each time takes the watchdog's ten seconds."""

    @rule(
        victim=_one_of(lambda scene: [*scene.killed, *scene.killed, *scene.killed, *scene.hung]),
        attempts=_ATTEMPTS,
        tenths=_TENTHS,
    )
    def hang_meanwhile(self, victim: Victim, attempts: list[Attempt], tenths: int) -> None:
        self._do(lambda: self.stand.disturb(victim, attempts, tenths))


def walk(stand: Stand, machine: type[Machine], *, start: int, walks: int, steps: int) -> None:
    """Walk at random, as the number ``start`` has it. The sequence is the same each time."""
    chosen = seed(start)(type("Chosen", (machine,), {"stand": stand}))
    run_state_machine_as_test(
        chosen,
        settings=settings(
            max_examples=walks,
            stateful_step_count=steps,
            phases=[Phase.generate],  # what real processes did cannot be shrunk
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
