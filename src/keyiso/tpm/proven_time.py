"""The TPM's time, which nobody can set: not its owner, and not who relays the bytes.

The TPM has a clock, which its owner may set on, and a time, which begins anew when the TPM is reset
and is nobody's to set. Neither is read with a proof. So the TPM is made to prove what it said: it
opens a secret that was sealed so that it opens only at this time. (Its owner can make its clocks
faster or slower, by an eighth or so.)
"""

import hmac
from typing import Final

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.tpm.constants import TPM_EO, TPM_SE
from keyiso.tpm.general_commands import TPM2_ReadClock
from keyiso.tpm.held import held_session
from keyiso.tpm.policy import Policy
from keyiso.tpm.policy_commands import TPM2_PolicyCounterTimer
from keyiso.tpm.sealed_object import seal, unseal
from keyiso.tpm.srk import PinnedSrk, held_srk
from keyiso.tpm.tpm import Tpm

SLACK_MILLISECONDS: Final = 10_000
"""By so much less than the true time may be said: as long as a slow TPM takes to prove it."""

_TIME_OFFSET: Final = 0
"""Of the time in TPMS_TIME_INFO."""
_SECRET_BYTES: Final = 32


def proven_time(tpm: Tpm, srk: PinnedSrk) -> int:
    """Milliseconds since the TPM was reset or woke up: never more than it is, and less by
    ``SLACK_MILLISECONDS`` at most.

    Raises ``KEYISO_E_TPM_ANSWER`` when somebody changed what the TPM said, and
    ``KEYISO_E_TPM_CHANGED`` when it does not have the pinned SRK.
    """
    said = tpm.run(TPM2_ReadClock()).time
    bounds = (
        (said.to_bytes(8), TPM_EO.UNSIGNED_GE),
        ((said + SLACK_MILLISECONDS).to_bytes(8), TPM_EO.UNSIGNED_LE),
    )
    policy = Policy()
    for operand, operation in bounds:
        policy = policy.counter_timer(operand, _TIME_OFFSET, operation)
    secret = tpm.random(_SECRET_BYTES)
    with (
        held_srk(tpm, srk) as key,
        held_session(tpm, key) as session,
        held_session(tpm, key, TPM_SE.POLICY) as fulfilled,
    ):
        sealed = seal(tpm, key, session, secret, policy)
        try:
            for operand, operation in bounds:
                tpm.run(TPM2_PolicyCounterTimer(fulfilled.entity, operand, _TIME_OFFSET, operation))
            opened = unseal(tpm, key, fulfilled, sealed)
        except NCryptError as error:
            if error.status in (Status.TPM_20_E_POLICY, Status.TPM_20_E_POLICY_FAIL):
                raise _not_the_time() from None
            raise
    if not hmac.compare_digest(opened, secret):
        raise _not_the_time()
    return said


def _not_the_time() -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_TPM_ANSWER, "what came as the TPM's time is not the time that it proves"
    )
