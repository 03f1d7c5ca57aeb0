"""Services that are killed between the steps of a request."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from keyiso.client.binding import Binding
from keyiso.client.request import Links, Request, Settings
from keyiso.client.trouble import Broken, Trouble
from keyiso.errors import Hop
from tests.instance import RunningInstance


class Killer:
    """Kills services at one step of a request: before it is asked for, or when it has answered and
    the answer is lost."""

    def __init__(
        self, instance: RunningInstance, victims: Sequence[str], at: int, *, answered: bool
    ) -> None:
        self._instance = instance
        self._victims = victims
        self._at = at
        self._answered = answered
        self._steps = 0
        self.has_killed = False

    def request(self, settings: Settings, links: Links, function: str) -> Request:
        killer = self

        class Killed(Request):
            def control(self, operation: Any) -> Any:
                return killer.around(lambda: super(Killed, self).control(operation))

            def on_channel(self, channel: Any, operation: Any) -> Any:
                return killer.around(lambda: super(Killed, self).on_channel(channel, operation))

        return Killed(settings, links, function)

    def around(self, step: Callable[[], Any]) -> Any:
        due, self._steps = self._steps == self._at, self._steps + 1
        if due and not self._answered:
            self._kill()
        try:
            return step()
        finally:
            if due and self._answered:
                self._kill()
                lost = Hop(self._victims[0], 0, "killed")
                raise Broken(Trouble.CONTROL_ENDED, lost, "no answer came")

    def _kill(self) -> None:
        self._instance.kill(*self._victims)
        self.has_killed = True


def kills(
    instance: RunningInstance, binding: Binding, victim: str
) -> Iterator[tuple[Binding, Killer]]:
    """A binding for each step that a function takes, under which the victim is killed there."""
    for answered in (False, True):
        at = 0
        while True:
            killer = Killer(instance, (victim,), at, answered=answered)
            yield Binding(binding._settings, killer.request), killer
            if not killer.has_killed:
                break
            at += 1
        assert at >= 2
