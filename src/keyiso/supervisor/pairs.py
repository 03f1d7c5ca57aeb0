"""Which pair may start, and where its roots come from.

A boot root is made once, by the first pair of a boot, and handed from pair to pair. So that no two
make one, pairs start one by one until one of them has it; later ones are told whom to ask.

Where the TPM gives the machine roots out *once* in a boot, the pairs of the beginning are the pool
that gets them. When the latch has fallen, a pair that ends is followed by a stand-in without roots,
as long as another one of the pool lives; then by pairs that have no machine roots.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class Pairs:
    """What is known of the pairs of an instance. It decides nothing about secrets: a pair that is
    told something wrong has other roots, or none.
    """

    def __init__(
        self, sockets: Mapping[str, Path], next_one: Callable[[], None], *, once: bool = False
    ) -> None:
        """``sockets``: where each pair gives its roots to others. ``next_one`` is called when those
        that wait may try again.
        """
        self.once = once
        self._sockets = sockets
        self._next = next_one
        self._armed: list[str] = []
        self._founder = ""
        """The one that makes roots, if it finds none."""
        self._giver = ""
        """With ``once``, who has unsealed the machine roots and hands them out."""
        self._pool: frozenset[str] | None = None
        """Those that had the machine roots when the latch fell, and live; None before."""
        self._early: set[str] = set()
        """Those that started before the latch fell: once armed, they have the machine roots."""
        self._stand_ins: set[str] = set()

    def admit(self, service: str) -> Sequence[str] | None:
        """The arguments of a pair that starts; None while another one is making the roots."""
        if service not in self._sockets:
            return ()
        if self._pool is None:
            self._early.add(service)
        elif self._pool:
            self._stand_ins.add(service)
            return ("--stand-in",)
        asked = tuple(f"--ask={self._sockets[name]}" for name in self._armed)
        if asked and not self._lacks_giver:
            return asked
        if self._founder not in ("", service):
            return None
        self._founder = service
        return (*asked, "--found-roots", *((f"--pool={len(self._sockets)}",) if self.once else ()))

    @property
    def _lacks_giver(self) -> bool:
        return self.once and self._pool is None and not self._giver

    def ready(self, service: str, *, armed: bool) -> None:
        """A pair serves, with roots, or says why it is not armed."""
        if armed and service not in self._armed:
            self._armed.append(service)
            if self._founder == service:
                self._giver = service
            if self._pool is not None and service in self._early:
                self._pool |= {service}
        self._over(service)

    def latched(self) -> None:
        """The latch has fallen: who started before has the machine roots, or nobody will."""
        if self._pool is None:
            self._pool = frozenset(self._armed)

    def can_spare(self, service: str) -> bool:
        """Another one has the roots, too, or there is no other one."""
        return bool(set(self._armed) - {service}) or len(self._sockets) == 1

    def ended(self, service: str) -> None:
        if service in self._armed:
            self._armed.remove(service)
        if self._giver == service:
            self._giver = ""
        self._early.discard(service)
        self._stand_ins.discard(service)
        if self._pool is not None:
            self._pool -= {service}
        self._over(service)

    def useless(self) -> frozenset[str]:
        """Stand-ins for nobody: they are to be replaced by pairs that are armed, at least."""
        return frozenset() if self._pool else frozenset(self._stand_ins)

    def _over(self, service: str) -> None:
        if self._founder == service:
            self._founder = ""
            self._next()
