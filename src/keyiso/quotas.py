"""The limits on resources as one service has them.

Their names and reasons are in `limits`. Whoever starts an instance may lower them, as
``--limit=NAME=NUMBER``; none can be raised.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, NamedTuple

from keyiso import limits
from keyiso.errors import ncrypt_error
from keyiso.status import Status

_OWN_DESCRIPTORS: Final = 64
"""What a service has open besides its clients: listening sockets, links, files."""


class Limit(NamedTuple):
    """A limit with the name under which errors tell of it."""

    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What one service gives at most. Each field is the limit of that name in capitals."""

    connections: int = limits.CONNECTIONS
    connections_per_user: int = limits.CONNECTIONS_PER_USER
    half_sent_bytes_per_user: int = limits.HALF_SENT_BYTES_PER_USER
    unsent_bytes_per_user: int = limits.UNSENT_BYTES_PER_USER
    calls_per_user: int = limits.CALLS_PER_USER
    call_bytes_per_user: int = limits.CALL_BYTES_PER_USER
    channels_per_worker: int = limits.CHANNELS_PER_WORKER
    channels_per_user: int = limits.CHANNELS_PER_USER
    channels_per_connection: int = limits.CHANNELS_PER_CONNECTION
    generations_per_user: int = limits.GENERATIONS_PER_USER
    keys_per_user: int = limits.KEYS_PER_USER
    ephemerals_per_user: int = limits.EPHEMERALS_PER_USER
    operation_ids_per_user: int = limits.OPERATION_IDS_PER_USER
    loaded_key_bytes: int = limits.LOADED_KEY_BYTES
    hello_seconds: float = limits.HELLO_SECONDS
    frame_seconds: float = limits.FRAME_SECONDS
    ephemeral_grace_seconds: float = limits.EPHEMERAL_GRACE_SECONDS

    def limit(self, field: str) -> Limit:
        """One of them with its name."""
        return Limit(field.upper(), getattr(self, field))

    def lowered(self, settings: Iterable[str]) -> "Quotas":
        """These with some set anew: ``NAME=NUMBER`` each.

        Raises ``NTE_INVALID_PARAMETER`` for what is no limit, no number, or more than it was.
        """
        changes: dict[str, Any] = dict(self._parsed(setting) for setting in settings)
        return replace(self, **changes)

    def within_descriptors(self, count: int) -> "Quotas":
        """These, and no more clients than a process with so many descriptors can serve."""
        room = max(2, count - _OWN_DESCRIPTORS)
        return replace(
            self,
            connections=min(self.connections, room),
            connections_per_user=min(self.connections_per_user, room // 2),
            channels_per_worker=min(self.channels_per_worker, room),
            channels_per_user=min(self.channels_per_user, room // 2),
        )

    def within_memory(self, size: int) -> "Quotas":
        """These, for a process that has so many bytes and never gets more: one user leaves half of
        it to the others, with what he has not finished and what he has not read. A link needs one
        frame of the one, and some of the largest answers of the other.
        """
        return replace(
            self,
            half_sent_bytes_per_user=min(self.half_sent_bytes_per_user, size // 8),
            unsent_bytes_per_user=min(self.unsent_bytes_per_user, size * 3 // 8),
        )

    def _parsed(self, setting: str) -> tuple[str, int | float]:
        name, _, number = setting.partition("=")
        present = {field.upper(): value for field, value in asdict(self).items()}.get(name)
        if present is None:
            raise _unfit(setting, "there is no limit of this name that can be set")
        try:
            value = type(present)(number)
        except ValueError:
            raise _unfit(setting, f"{number!r:.40} is not a number") from None
        if not 0 < value <= present:
            raise _unfit(setting, f"it must be above 0 and at most {present}")
        return name.lower(), value


def _unfit(setting: str, why: str) -> Exception:
    return ncrypt_error(
        Status.NTE_INVALID_PARAMETER, f"the limit {setting!r:.80} cannot be set: {why}"
    )
