"""Which pair may start, and where its roots come from.

A boot root is made once, by the first pair of a boot, and handed from pair to pair. So that no two
make one, pairs start one by one until one of them has it; later ones are told whom to ask.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class Pairs:
    """What is known of the pairs of an instance. It decides nothing about secrets: a pair that is
    told something wrong has other roots, or none.
    """

    def __init__(self, sockets: Mapping[str, Path], next_one: Callable[[], None]) -> None:
        """``sockets``: where each pair gives its roots to others. ``next_one`` is called when those
        that wait may try again.
        """
        self._sockets = sockets
        self._next = next_one
        self._armed: list[str] = []
        self._founder = ""
        """The one that makes roots, if it finds none."""

    def admit(self, service: str) -> Sequence[str] | None:
        """The arguments of a pair that starts; None while another one is making the roots."""
        if service not in self._sockets:
            return ()
        if self._armed:
            return tuple(f"--ask={self._sockets[name]}" for name in self._armed)
        if self._founder not in ("", service):
            return None
        self._founder = service
        return ("--found-roots",)

    def ready(self, service: str, *, armed: bool) -> None:
        """A pair serves, with roots, or says why it is not armed."""
        if armed and service not in self._armed:
            self._armed.append(service)
        self._over(service)

    def can_spare(self, service: str) -> bool:
        """Another one has the roots, too, or there is no other one."""
        return bool(set(self._armed) - {service}) or len(self._sockets) == 1

    def ended(self, service: str) -> None:
        if service in self._armed:
            self._armed.remove(service)
        self._over(service)

    def _over(self, service: str) -> None:
        if self._founder == service:
            self._founder = ""
            self._next()
