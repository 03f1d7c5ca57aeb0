"""What can break under a client, and what is then forgotten.

Everything that is forgotten is made again when it is next needed: connect, bind, attach, open.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from keyiso.errors import Hop


class Trouble(enum.Enum):
    """What a client can find broken."""

    CONTROL_ENDED = "the service that is bound restarted or is not running"
    CHANNEL_ENDED = "the worker restarted"
    CHANNEL_UNKNOWN = "the KeyIso service does not reach this channel's worker"
    SLOT_STALE = "the worker no longer holds the key"
    NOT_READY = "a service that is needed is being restarted"


class Forget(enum.Enum):
    """What the client keeps no longer."""

    NOTHING = "nothing more: a connection that ended has closed itself"
    CHANNEL = "the key channel, with the slots of its keys"
    SLOT = "the slot of this key"


FORGET: Final[Mapping[Trouble, Forget]] = MappingProxyType(
    {
        Trouble.CONTROL_ENDED: Forget.NOTHING,
        Trouble.CHANNEL_ENDED: Forget.CHANNEL,
        Trouble.CHANNEL_UNKNOWN: Forget.CHANNEL,
        Trouble.SLOT_STALE: Forget.SLOT,
        Trouble.NOT_READY: Forget.NOTHING,
    }
)


class Broken(Exception):
    """A try that failed in a way that another try can mend. Never leaves this package."""

    def __init__(
        self,
        trouble: Trouble,
        hop: Hop,
        cause: str,
        *,
        action: str = "",
        way: tuple[Hop, ...] = (),
    ) -> None:
        super().__init__(cause)
        self.trouble = trouble
        self.hop = hop
        """What is in trouble."""
        self.cause = cause
        self.action = action
        """What can be done about it, if who found it knows."""
        self.way = way or (hop,)
        """The processes that found it, this one first; the last one is in trouble."""
