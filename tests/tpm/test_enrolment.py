"""Machine roots as an enrolment has them, with a TPM."""

from keyiso import limits
from keyiso.clock import SystemClock
from keyiso.crypto.key_blob import SECRET_BYTES
from keyiso.status import Status
from keyiso.tpm.enrolment import (
    EnrolledRoot,
    Enrolment,
    decode_enrolment,
    encode_enrolment,
    open_tpm,
    unseal_machine_roots,
)
from keyiso.tpm.latch import extend_latch, read_pcr_state
from keyiso.tpm.sealed_root import check_root, seal_machine_root
from keyiso.tpm.srk import enrol_srk
from tests.conformance.statuses import fails
from tests.tpm.swtpm import Swtpm


def enrolled(swtpm: Swtpm, *secrets: bytes) -> Enrolment:
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
        pcrs = read_pcr_state(tpm, srk)
        roots = tuple(
            EnrolledRoot(
                bytes([number]) * limits.ROOT_ID_BYTES,
                seal_machine_root(tpm, secret, srk, pcrs).encode(),
            )
            for number, secret in enumerate(secrets)
        )
    return decode_enrolment(encode_enrolment(Enrolment(f"unix:{swtpm.socket}", "any-start", roots)))


def test_roots_are_unsealed_in_their_order(swtpm: Swtpm) -> None:
    secrets = [bytes([one]) * SECRET_BYTES for one in b"abc"]
    enrolment = enrolled(swtpm, *secrets)
    with open_tpm(enrolment.tpm, SystemClock()) as tpm:
        roots = unseal_machine_roots(enrolment, tpm)

    assert [root.secret for root in roots] == secrets
    assert [root.root_id for root in roots] == [root.root_id for root in enrolment.roots]
    assert {root.kind for root in roots} == {"machine"}


def test_what_is_not_as_long_as_a_root_is_none(swtpm: Swtpm) -> None:
    enrolment = enrolled(swtpm, bytes(SECRET_BYTES), bytes(SECRET_BYTES - 1))
    with open_tpm(enrolment.tpm, SystemClock()) as tpm, fails(Status.NTE_BAD_DATA):
        unseal_machine_roots(enrolment, tpm)


def test_it_is_known_beforehand_whether_a_root_would_be_unsealed(swtpm: Swtpm) -> None:
    enrolment = enrolled(swtpm, bytes(SECRET_BYTES))
    root = enrolment.newest.sealed_root
    with open_tpm(enrolment.tpm, SystemClock()) as tpm:
        check_root(tpm, root)
        extend_latch(tpm, root.srk)
        with fails(Status.KEYISO_E_TPM_LATCHED):
            check_root(tpm, root)
        extend_latch(tpm, root.srk)
        with fails(Status.TPM_20_E_POLICY_FAIL):
            check_root(tpm, root)
    swtpm.tool("tpm2_clear", "-c", "p")
    with open_tpm(enrolment.tpm, SystemClock()) as tpm, fails(Status.KEYISO_E_TPM_CHANGED):
        check_root(tpm, root)
