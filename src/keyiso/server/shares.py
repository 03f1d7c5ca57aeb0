"""What one user may take of a service: connections, and bytes of frames that are not whole yet."""

from collections import Counter

from keyiso import limits
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status


class Shares:
    """Counts by uid, for all connections of one listener."""

    def __init__(self) -> None:
        self._connections: Counter[int] = Counter()
        self._half_sent: Counter[int] = Counter()

    def admit(self, uid: int) -> None:
        """One more connection. Raises ``KEYISO_E_LIMIT`` when the service or the user is full."""
        if self._connections.total() >= limits.CONNECTIONS:
            raise _full("the service", "CONNECTIONS", limits.CONNECTIONS)
        if self._connections[uid] >= limits.CONNECTIONS_PER_USER:
            raise _full(f"uid {uid}", "CONNECTIONS_PER_USER", limits.CONNECTIONS_PER_USER)
        self._connections[uid] += 1

    def leave(self, uid: int) -> None:
        """A connection that was admitted has ended."""
        self._connections[uid] -= 1
        if not self._connections[uid]:
            del self._connections[uid]

    def hold(self, uid: int, change: int) -> None:
        """So many more, or fewer, bytes wait for the rest of their frames.

        Raises ``KEYISO_E_LIMIT`` when the user has too many; they are counted all the same, until
        the connection that holds them ends.
        """
        self._half_sent[uid] += change
        if self._half_sent[uid] > limits.HALF_SENT_BYTES_PER_USER:
            raise _full(f"uid {uid}", "HALF_SENT_BYTES_PER_USER", limits.HALF_SENT_BYTES_PER_USER)
        if not self._half_sent[uid]:
            del self._half_sent[uid]


def _full(who: str, name: str, limit: int) -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_LIMIT, f"{who} has reached {name} ({limit})", "Try again later."
    )
