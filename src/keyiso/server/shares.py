"""What one user may take of a service, so that there is something left for the others."""

from collections import Counter
from collections.abc import Callable, Hashable

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.quotas import Limit, Quotas
from keyiso.status import Status


def _user(uid: Hashable) -> str:
    return f"uid {uid}"


class Share:
    """How much of one thing each holder has, which mostly is a user by uid."""

    def __init__(
        self,
        each: Limit,
        *,
        together: Limit | None = None,
        called: Callable[[Hashable], str] = _user,
    ) -> None:
        self._each = each
        self._together = together
        self._called = called
        self._held: Counter[Hashable] = Counter()

    def take(self, holder: Hashable, amount: int = 1) -> None:
        """Have more. Raises ``KEYISO_E_LIMIT``, and gives nothing, when the service or the
        holder is full.
        """
        together, each = self._together, self._each
        if together is not None and self._held.total() + amount > together.value:
            raise _full("the service", together)
        if self._held[holder] + amount > each.value:
            raise _full(self._called(holder), each)
        self._held[holder] += amount

    def give_back(self, holder: Hashable, amount: int = 1) -> None:
        """Have less, of what was taken."""
        self._held[holder] -= amount
        if not self._held[holder]:
            del self._held[holder]


class Shares:
    """What the connections of one kind share."""

    def __init__(self, connections: Share, quotas: Quotas) -> None:
        self.quotas = quotas
        self.connections = connections
        self.half_sent = Share(quotas.limit("half_sent_bytes_per_user"))
        """Bytes of frames that are not whole yet."""
        self.unsent = Share(quotas.limit("unsent_bytes_per_user"))
        """Bytes of answers that nobody has read."""
        self.calls = Share(quotas.limit("calls_per_user"))
        """Calls that were not answered at once."""
        self.call_bytes = Share(quotas.limit("call_bytes_per_user"))
        """Bytes of those of them that are long."""

    def begin(self, uid: int, size: int) -> None:
        """A call, of so many bytes if it is long, is being worked on. Raises ``KEYISO_E_LIMIT``
        when the user has too many, or too much."""
        self.calls.take(uid)
        try:
            self.call_bytes.take(uid, size)
        except NCryptError:
            self.calls.give_back(uid)
            raise

    def end(self, uid: int, size: int) -> None:
        """The call has its answer."""
        self.calls.give_back(uid)
        self.call_bytes.give_back(uid, size)


def _full(who: str, limit: Limit) -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_LIMIT, f"{who} has reached {limit.name} ({limit.value})", "Try again later."
    )


def no_memory() -> NCryptError:
    """A service whose memory cannot grow has none left."""
    return ncrypt_error(
        Status.NTE_NO_MEMORY,
        "the worker's memory, which cannot grow, is in use",
        "Try again later, with fewer requests at a time.",
    )


def no_descriptor(error: OSError) -> NCryptError:
    """A service has as many files open as it may have."""
    return ncrypt_error(
        Status.KEYISO_E_LIMIT,
        f"the service has no descriptor left: {error.strerror}",
        "Raise its RLIMIT_NOFILE, or end some clients.",
    )
