"""What workers tell of the uses of their keys: sums, and records of what failed.

The first of equal failures is recorded when it is told; those that follow within
``FAILURE_SECONDS`` are counted, and are one record at the end of that time.
"""

from collections import OrderedDict
from dataclasses import dataclass

import msgspec

from keyiso import limits
from keyiso.keyiso_service.audit import Audit
from keyiso.server.loop import Loop
from keyiso.wire.link import FailedUse, Uses


@dataclass(slots=True)
class KeyTotals:
    """Uses of one key for one function, since this service counts them."""

    made: int = 0
    failed: int = 0

    @property
    def succeeded(self) -> int:
        return max(0, self.made - self.failed)


class KeyUses:
    """Sums up what all workers tell."""

    def __init__(self, loop: Loop, audit: Audit) -> None:
        self._loop = loop
        self._audit = audit
        self._totals: OrderedDict[tuple[bytes, str], KeyTotals] = OrderedDict()
        self._held: dict[FailedUse, FailedUse] = {}
        """By what makes failures equal: those that came since the last record, summed up."""
        self.lost = 0
        """What workers had no room to tell."""

    def take(self, uses: Uses) -> None:
        """Take a batch of a worker."""
        self.lost += uses.lost
        for use in uses.made:
            self._totals_of(use.key_id, use.function).made += use.count
        for failed in uses.failed:
            self._totals_of(failed.key_id, failed.function).failed += failed.count
            self._record_or_hold(failed)

    def tell_all(self) -> None:
        """Record what is held back, because the service ends."""
        for kind in tuple(self._held):
            self._tell(kind)

    def _totals_of(self, key_id: bytes, function: str) -> KeyTotals:
        totals = self._totals.setdefault((key_id, function), KeyTotals())
        self._totals.move_to_end((key_id, function))
        if len(self._totals) > limits.USE_TOTALS:
            self._totals.popitem(last=False)
        return totals

    def _record_or_hold(self, failed: FailedUse) -> None:
        kind = _kind(failed)
        held = self._held.get(kind)
        if held is not None:
            self._held[kind] = msgspec.structs.replace(failed, count=held.count + failed.count)
            return
        self._record(failed)
        if len(self._held) < limits.HELD_FAILURES:
            self._hold(kind)

    def _hold(self, kind: FailedUse) -> None:
        self._held[kind] = kind
        self._loop.call_later(limits.FAILURE_SECONDS, lambda: self._tell_and_hold(kind))

    def _tell_and_hold(self, kind: FailedUse) -> None:
        if self._tell(kind):
            self._hold(kind)

    def _tell(self, kind: FailedUse) -> bool:
        """Record what was held since the last time; False when there was nothing."""
        held = self._held.pop(kind)
        if held.count:
            self._record(held)
        return bool(held.count)

    def _record(self, failed: FailedUse) -> None:
        totals = self._totals_of(failed.key_id, failed.function)
        self._audit.use_failed(failed, totals.failed, totals.succeeded)


def _kind(failed: FailedUse) -> FailedUse:
    """What makes failures equal: everything but how many there were, and when."""
    return msgspec.structs.replace(failed, count=0, trace="")
