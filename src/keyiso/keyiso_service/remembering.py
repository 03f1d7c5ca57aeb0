"""Operation ids: a change that is asked for twice is made once, and answered twice."""

import hmac

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.quotas import Limit, Quotas
from keyiso.status import Status
from keyiso.store.keys import KeyReader, Remembered
from keyiso.store.writer import KeyTransaction


def first_result(
    reader: KeyReader, uid: int, operation_id: bytes, request_hash: bytes
) -> bytes | None:
    """What the operation id did before; None for one that was not used.

    Raises ``NTE_INVALID_PARAMETER`` when it was used for another request.
    """
    remembered = reader.remembered(uid, operation_id)
    if remembered is None:
        return None
    if not hmac.compare_digest(remembered.request_hash, request_hash):
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER, "the operation id was used for another request"
        )
    return remembered.result


def remember(
    change: KeyTransaction, uid: int, operation_id: bytes, first: Remembered, quotas: Quotas
) -> None:
    """Note what the operation id did, in the transaction that does it."""
    if change.operation_count(uid) >= quotas.operation_ids_per_user:
        raise too_many("changes in a short time", quotas.limit("operation_ids_per_user"))
    change.remember(uid, operation_id, first.request_hash, first.result)


def too_many(what: str, limit: Limit) -> NCryptError:
    """``KEYISO_E_LIMIT``."""
    return ncrypt_error(
        Status.KEYISO_E_LIMIT,
        f"the user has {limit.name} ({limit.value}) {what}",
        "Delete some, or wait.",
    )
