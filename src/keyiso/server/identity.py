"""What a running service is: name, instance, boot, process."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keyiso import limits
from keyiso.errors import Hop


@dataclass(frozen=True, slots=True)
class Identity:
    """One start of one service."""

    service: str
    instance_id: bytes
    """Random, new at each start: 16 bytes."""
    boot_id: bytes
    """The kernel's boot id: 16 bytes."""
    pid: int

    def hop(self, function: str) -> Hop:
        """This process in the chain of a request."""
        return Hop(self.service, self.pid, function)

    def onward(self, hops: tuple[Hop, ...], function: str) -> tuple[Hop, ...]:
        """The hops of a request that goes on from here. Of too long a way the first hop and the
        last ones are kept.
        """
        if len(hops) >= limits.HOPS:
            hops = hops[:1] + hops[len(hops) - limits.HOPS + 2 :]
        return (*hops, self.hop(function))


def new_identity(service: str, random: Callable[[int], bytes] = os.urandom) -> Identity:
    """The identity of this process as a service."""
    return Identity(service, random(limits.INSTANCE_ID_BYTES), boot_id(), os.getpid())


def boot_id() -> bytes:
    """The running kernel's boot id (random(4)): another one after every boot, 16 bytes."""
    return bytes.fromhex(
        Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").replace("-", "")
    )
