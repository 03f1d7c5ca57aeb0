"""Having stored ``vbs`` keys sealed by another machine root."""

from collections.abc import Callable, Iterator

from keyiso.client.binding import Binding
from keyiso.client.request import Request
from keyiso.errors import ncrypt_error
from keyiso.limits import PAIRS_REPLACED_SECONDS
from keyiso.status import Status
from keyiso.wire.control import RESEAL_FEATURE, ResealedKeys, ResealKeys


def reseal_keys(
    binding: Binding, root_id: bytes, *, patience: float = PAIRS_REPLACED_SECONDS
) -> Iterator[ResealedKeys]:
    """Have all stored ``vbs`` keys sealed by the root that seals new ones, and tell of each part.

    Workers that have not got that root are waited for, ``patience`` seconds beyond the deadline.
    Raises ``NTE_PERM`` for who does not manage the instance, ``NTE_NOT_SUPPORTED`` for a KeyIso
    service of an older version, and why the workers have no root.
    """
    after = b""
    while True:
        ask = _asking(ResealKeys(root_id, after))
        part = binding.try_patiently("ResealKeys", patience, ask)
        yield part
        if not part.last:
            return
        after = part.last


def _asking(operation: ResealKeys) -> Callable[[Request], ResealedKeys]:
    def ask(request: Request) -> ResealedKeys:
        if not request.offers(RESEAL_FEATURE):
            raise ncrypt_error(
                Status.NTE_NOT_SUPPORTED,
                "the KeyIso service is of an older version and seals no keys anew",
                "Restart keyiso.",
            )
        return request.control(operation)

    return ask
