"""How long services may be silent at their start."""

from typing import Final

STARTING_SECONDS: Final = 20.0
"""Until the first sign of life, which takes a fraction of a second on a machine with time."""

LONGEST_STARTING_SECONDS: Final = 320.0
"""A very slow machine would end a service forever that is never given more time."""


_SLOWEST: Final = 8
"""A pair, which is armed, takes several times what another service takes."""


class Patience:
    """Learns how slow the machine is, from all services of an instance: each pair would be ended
    once otherwise before it is given the time that they all need.
    """

    def __init__(self) -> None:
        self.seconds = STARTING_SECONDS
        """When a service that starts must have given its first sign of life."""

    def lost(self) -> None:
        """A service was ended for its silence: the next start may take twice as long."""
        self.seconds = min(2 * self.seconds, LONGEST_STARTING_SECONDS)

    def kept(self, took: float) -> None:
        """A service was ready after so many seconds: others may take several times that."""
        self.seconds = min(max(STARTING_SECONDS, _SLOWEST * took), LONGEST_STARTING_SECONDS)
