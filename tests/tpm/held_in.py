"""What a TPM holds, and that it is nothing."""

from collections.abc import Callable

from keyiso.status import Status
from keyiso.tpm.capabilities import handles
from keyiso.tpm.constants import TPM_CC, TPM_HT
from keyiso.tpm.tpm import Tpm
from tests.conformance.statuses import fails
from tests.tpm.relays import Refusing, Relay
from tests.tpm.swtpm import Swtpm, tpm_on

NOTHING = {"TRANSIENT": 0, "LOADED_SESSION": 0, "SAVED_SESSION": 0}
TPM_RC_FAILURE = 0x101


def held_in(swtpm: Swtpm) -> dict[str, int]:
    """How many objects and sessions there are, by TPM2_GetCapability."""
    with swtpm.opened() as tpm:
        return {name: len(handles(tpm, TPM_HT[name])) for name in NOTHING}


def holds_nothing_after_any_failure(swtpm: Swtpm, operation: Callable[[Tpm], object]) -> None:
    """Have each command of an operation fail in turn, and look what the TPM still holds.

    Of the flushes none fails: what they would flush can only stay.
    """
    with swtpm.transport() as transport:
        relay = Relay(transport)
        operation(tpm_on(relay))
    codes = relay.codes()
    assert TPM_CC.FlushContext in codes
    for which, code in enumerate(codes):
        if code is TPM_CC.FlushContext:
            continue
        with swtpm.transport() as transport, fails(Status.TPM_20_E_FAILURE):
            operation(tpm_on(Refusing(transport, which, TPM_RC_FAILURE)))
        assert held_in(swtpm) == NOTHING, code
