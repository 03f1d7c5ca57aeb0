"""Roots that the TPM keeps: who gets them, when, and who does not."""

from collections.abc import Callable

import msgspec
import pytest

from keyiso import limits
from keyiso.status import Status
from keyiso.tpm.constants import TPM_ALG, TPM_RH, TPMA_OBJECT
from keyiso.tpm.entity import Entity
from keyiso.tpm.general_commands import TPM2_PCR_Extend
from keyiso.tpm.latch import (
    LATCH_EVENT,
    LATCH_PCR,
    PcrState,
    PcrValue,
    extend_latch,
    pcr_state,
    read_pcr_state,
    read_pcrs,
)
from keyiso.tpm.pcr import RESET_VALUE, TPMT_HA, extended
from keyiso.tpm.policy import Policy
from keyiso.tpm.sealed_object import SealedObject
from keyiso.tpm.sealed_root import (
    SealedRoot,
    decode_sealed_root,
    seal_boot_root,
    seal_machine_root,
    unseal_root,
)
from keyiso.tpm.session import EmptyPassword
from keyiso.tpm.srk import enrol_srk
from keyiso.tpm.tpm import Tpm
from tests.conformance.statuses import fails
from tests.tpm.held_in import holds_nothing_after_any_failure
from tests.tpm.swtpm import Swtpm, make_srk_for_tools

SECRET = bytes(range(100, 132))
TPM_RH_ENDORSEMENT = 0x4000000B
SEALERS = {"machine": seal_machine_root, "boot": seal_boot_root}
KINDS = pytest.mark.parametrize("kind", SEALERS)


def sealed(
    swtpm: Swtpm,
    kind: str = "machine",
    algorithm: TPM_ALG = TPM_ALG.ECC,
    pcrs: tuple[int, ...] = (LATCH_PCR,),
) -> SealedRoot:
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm, algorithm)
        return SEALERS[kind](tpm, SECRET, srk, read_pcr_state(tpm, srk, pcrs))


def extend(tpm: Tpm, pcr: int) -> None:
    tpm.run(TPM2_PCR_Extend(Entity.of(pcr), (TPMT_HA(TPM_ALG.SHA256, b"e" * 32),)), EmptyPassword())


@KINDS
@pytest.mark.parametrize("algorithm", [TPM_ALG.ECC, TPM_ALG.RSA], ids=lambda one: one.name)
def test_a_root_comes_out_as_it_went_in(swtpm: Swtpm, kind: str, algorithm: TPM_ALG) -> None:
    root = decode_sealed_root(sealed(swtpm, kind, algorithm, (0, 7, LATCH_PCR)).encode())
    with swtpm.opened() as tpm:
        assert [unseal_root(tpm, root), unseal_root(tpm, root)] == [SECRET, SECRET]


@pytest.mark.parametrize("orderly", [True, False], ids=["orderly", "power loss"])
def test_a_restart_ends_boot_roots_and_no_machine_root(swtpm: Swtpm, orderly: bool) -> None:
    machine, boot = sealed(swtpm, "machine"), sealed(swtpm, "boot")
    swtpm.reboot(orderly=orderly)
    with swtpm.opened() as tpm:
        assert unseal_root(tpm, machine) == SECRET
        with fails(Status.KEYISO_E_ROOT_MISSING):
            unseal_root(tpm, boot)


@KINDS
def test_nothing_comes_out_after_the_latch_fell(swtpm: Swtpm, kind: str) -> None:
    root = sealed(swtpm, kind)
    with swtpm.opened() as tpm:
        extend_latch(tpm, root.srk)
        with fails(Status.KEYISO_E_TPM_LATCHED):
            unseal_root(tpm, root)


def test_a_restart_lifts_the_latch(swtpm: Swtpm) -> None:
    root = sealed(swtpm)
    with swtpm.opened() as tpm:
        extend_latch(tpm, root.srk)
    swtpm.reboot()
    with swtpm.opened() as tpm:
        assert unseal_root(tpm, root) == SECRET


@KINDS
def test_sleep_keeps_the_latch_and_hibernation_lifts_it(swtpm: Swtpm, kind: str) -> None:
    """The second is no promise but a fact, which docs/tpm.md admits."""
    root = sealed(swtpm, kind)
    with swtpm.opened() as tpm:
        extend_latch(tpm, root.srk)
    swtpm.sleep(to_disk=False)
    with swtpm.opened() as tpm, fails(Status.KEYISO_E_TPM_LATCHED):
        unseal_root(tpm, root)
    swtpm.sleep(to_disk=True)
    with swtpm.opened() as tpm:
        assert unseal_root(tpm, root) == SECRET


def test_the_latch_is_not_lifted_without_a_restart(swtpm: Swtpm) -> None:
    root = sealed(swtpm)
    with swtpm.opened() as tpm:
        extend_latch(tpm, root.srk)
    swtpm.tool("tpm2_pcrreset", str(LATCH_PCR), fails=True)
    with swtpm.opened() as tpm:
        assert read_pcrs(tpm, [LATCH_PCR]) == {LATCH_PCR: extended(RESET_VALUE, LATCH_EVENT)}


def test_a_root_is_not_sealed_to_a_latch_that_fell(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
        extend_latch(tpm, srk)
        with fails(Status.KEYISO_E_TPM_LATCHED):
            read_pcr_state(tpm, srk)


def test_after_the_latch_a_root_can_be_sealed_to_what_was_read_before(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
        before = read_pcr_state(tpm, srk)
        extend_latch(tpm, srk)
        root = seal_machine_root(tpm, SECRET, srk, before)
        with fails(Status.KEYISO_E_TPM_LATCHED):
            unseal_root(tpm, root)
    swtpm.reboot()
    with swtpm.opened() as tpm:
        assert unseal_root(tpm, root) == SECRET


@pytest.mark.parametrize("pcr", [7, LATCH_PCR])
def test_another_value_of_a_pcr_is_named(swtpm: Swtpm, pcr: int) -> None:
    root = sealed(swtpm, pcrs=(7, LATCH_PCR))
    with swtpm.opened() as tpm:
        extend(tpm, pcr)
        with fails(Status.TPM_20_E_POLICY_FAIL) as caught:
            unseal_root(tpm, root)

    assert caught.value.cause.endswith(f"of PCR {pcr}")


def test_a_latch_that_fell_on_top_of_another_change_is_no_latch(swtpm: Swtpm) -> None:
    root = sealed(swtpm, pcrs=(7, LATCH_PCR))
    with swtpm.opened() as tpm:
        extend(tpm, 7)
        extend_latch(tpm, root.srk)
        with fails(Status.TPM_20_E_POLICY_FAIL) as caught:
            unseal_root(tpm, root)

    assert caught.value.cause.endswith("of PCR 7, 12")


def test_many_pcrs_are_read_in_several_answers(swtpm: Swtpm) -> None:
    root = sealed(swtpm, pcrs=tuple(range(16)))
    with swtpm.opened() as tpm:
        assert unseal_root(tpm, root) == SECRET


def test_a_bank_that_is_off_is_explained(swtpm: Swtpm) -> None:
    swtpm.tool("tpm2_pcrallocate", "sha1:all+sha256:none")
    swtpm.reboot()
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
        with fails(Status.NTE_NOT_SUPPORTED):
            read_pcr_state(tpm, srk)


@pytest.mark.parametrize(
    "pcrs", [(), (7,), (LATCH_PCR, 16), (LATCH_PCR, 23), (LATCH_PCR, LATCH_PCR), (LATCH_PCR, 7)]
)
def test_no_state_is_without_the_latch_or_with_a_pcr_that_can_be_reset(
    pcrs: tuple[int, ...],
) -> None:
    """So nothing is sealed without a policy that the latch closes."""
    with fails(Status.NTE_INVALID_PARAMETER):
        PcrState(tuple(PcrValue(pcr, RESET_VALUE) for pcr in pcrs))


@pytest.mark.parametrize("pcr", [-1, 24, 1000])
def test_a_pcr_that_does_not_exist_is_refused(swtpm: Swtpm, pcr: int) -> None:
    with swtpm.opened() as tpm, fails(Status.NTE_INVALID_PARAMETER):
        read_pcrs(tpm, [pcr])


@pytest.mark.parametrize(
    ("secret", "status"),
    [
        (b"", Status.NTE_INVALID_PARAMETER),
        (bytes(limits.TPM_SEALED_BYTES + 1), Status.KEYISO_E_LIMIT),
    ],
)
def test_a_secret_of_a_wrong_length_is_refused(swtpm: Swtpm, secret: bytes, status: Status) -> None:
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
        state = read_pcr_state(tpm, srk)
        with fails(status):
            seal_machine_root(tpm, secret, srk, state)


def test_the_longest_secret_comes_out_as_it_went_in(swtpm: Swtpm) -> None:
    secret = bytes(range(limits.TPM_SEALED_BYTES))
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
        root = seal_machine_root(tpm, secret, srk, read_pcr_state(tpm, srk))
        assert unseal_root(tpm, decode_sealed_root(root.encode())) == secret


def test_a_root_of_another_tpm_is_damaged_or_another_tpms(swtpm: Swtpm) -> None:
    root = sealed(swtpm)
    swtpm.tool("tpm2_clear", "-c", "p")
    with swtpm.opened() as tpm:
        with fails(Status.KEYISO_E_TPM_CHANGED):
            unseal_root(tpm, root)
        with fails(Status.NTE_BAD_DATA):
            unseal_root(tpm, msgspec.structs.replace(root, srk=enrol_srk(tpm)))


# --- what is stored ----------------------------------------------------------------------------


def without_policy(root: SealedRoot) -> bytes:
    return with_public(root, auth_policy=b"")


def with_password(root: SealedRoot) -> bytes:
    attributes = root.sealed.public.object_attributes | TPMA_OBJECT.userWithAuth
    return with_public(root, object_attributes=attributes)


def with_another_policy(root: SealedRoot) -> bytes:
    return with_public(root, auth_policy=Policy().auth_value().digest)


def with_other_pcrs(root: SealedRoot) -> bytes:
    return with_field(root, "pcrs", pcr_state({LATCH_PCR: b"x" * 32}).encode())


def in_another_hierarchy(root: SealedRoot) -> bytes:
    return with_field(root, "hierarchy", TPM_RH_ENDORSEMENT.to_bytes(4))


def with_public(root: SealedRoot, **changes: object) -> bytes:
    public = msgspec.structs.replace(root.sealed.public, **changes)
    return with_field(root, "sealed", msgspec.structs.replace(root.sealed, public=public).encode())


def with_field(root: SealedRoot, name: str, data: bytes) -> bytes:
    """The bytes of a root, one field of which is another."""
    return b"".join((root.encode_fields() | {name: data}).values())


@pytest.mark.parametrize(
    "change",
    [
        without_policy,
        with_password,
        with_another_policy,
        with_other_pcrs,
        in_another_hierarchy,
    ],
)
def test_a_stored_root_that_more_than_its_policy_opens_is_refused(
    swtpm: Swtpm, change: Callable[[SealedRoot], bytes]
) -> None:
    data = change(sealed(swtpm))
    with fails(Status.NTE_BAD_DATA):
        decode_sealed_root(data)


def test_a_stored_root_of_another_version_is_refused(swtpm: Swtpm) -> None:
    data = sealed(swtpm).encode()
    with fails(Status.NTE_BAD_VER):
        decode_sealed_root(b"\x02" + data[1:])


def test_a_stored_root_that_is_cut_or_too_long_is_refused(swtpm: Swtpm) -> None:
    data = sealed(swtpm).encode()
    for bad in (b"", data[:-1], data + b"\0", data + bytes(limits.TPM_STORED_BYTES)):
        with fails(Status.NTE_BAD_DATA) as caught:
            decode_sealed_root(bad)
    assert "TPM_STORED_BYTES is 4096" in caught.value.cause


# --- nothing is left behind --------------------------------------------------------------------


def sealing(tpm: Tpm, root: SealedRoot) -> None:
    seal_boot_root(tpm, SECRET, root.srk, root.pcrs)


def unsealing(tpm: Tpm, root: SealedRoot) -> None:
    unseal_root(tpm, root)


def latching(tpm: Tpm, root: SealedRoot) -> None:
    extend_latch(tpm, root.srk)


def reading(tpm: Tpm, root: SealedRoot) -> None:
    read_pcr_state(tpm, root.srk)


@pytest.mark.parametrize("operation", [sealing, unsealing, reading, latching])
def test_nothing_is_held_after_an_operation_that_failed_anywhere(
    swtpm: Swtpm, operation: Callable[[Tpm, SealedRoot], None]
) -> None:
    root = sealed(swtpm, "boot")
    holds_nothing_after_any_failure(swtpm, lambda tpm: operation(tpm, root))


# --- what others make of it --------------------------------------------------------------------


def stored_for_tools(swtpm: Swtpm, root: SealedRoot) -> None:
    """The sealed object and the SRK as files that tpm2-tools read."""
    private, public = root.sealed.encode_fields().values()
    (swtpm.directory / "root.priv").write_bytes(private)
    (swtpm.directory / "root.pub").write_bytes(public)
    make_srk_for_tools(swtpm)
    swtpm.tool("tpm2_load", "-C", "srk.ctx", "-u", "root.pub", "-r", "root.priv", "-c", "root.ctx")
    swtpm.tool("tpm2_flushcontext", "-t")


def unseal_by_tools(swtpm: Swtpm, *, fails: bool = False) -> str:
    """With a policy session over the latch PCR."""
    swtpm.tool("tpm2_startauthsession", "--policy-session", "-S", "policy.ctx")
    swtpm.tool("tpm2_policypcr", "-S", "policy.ctx", "-l", f"sha256:{LATCH_PCR}")
    try:
        return swtpm.tool("tpm2_unseal", "-c", "root.ctx", "-p", "session:policy.ctx", fails=fails)
    finally:
        swtpm.flush_all()


def test_tpm2_tools_unseal_what_was_sealed_until_the_latch_falls(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
        root = seal_machine_root(tpm, b"a root in ASCII", srk, read_pcr_state(tpm, srk))
    stored_for_tools(swtpm, root)
    before = unseal_by_tools(swtpm)
    with swtpm.opened() as tpm:
        extend_latch(tpm, srk)
    after = unseal_by_tools(swtpm, fails=True)

    assert before == "a root in ASCII"
    assert "0x99D" in after.upper().replace("0X", "0x")


def test_tpm2_tools_do_not_unseal_without_the_policy(swtpm: Swtpm) -> None:
    stored_for_tools(swtpm, sealed(swtpm))

    assert "0x12F" in swtpm.tool("tpm2_unseal", "-c", "root.ctx", fails=True).upper().replace(
        "0X", "0x"
    )
    swtpm.flush_all()


def test_what_tpm2_tools_sealed_is_unsealed(swtpm: Swtpm) -> None:
    make_srk_for_tools(swtpm)
    (swtpm.directory / "secret").write_bytes(SECRET)
    swtpm.tool(
        *("tpm2_startauthsession", "-S", "trial.ctx"),
    )
    swtpm.tool(
        *("tpm2_policypcr", "-S", "trial.ctx", "-l", f"sha256:{LATCH_PCR}", "-L", "policy"),
    )
    swtpm.tool("tpm2_flushcontext", "trial.ctx")
    swtpm.tool(
        *("tpm2_create", "-C", "srk.ctx", "-i", "secret", "-L", "policy"),
        *("-a", "fixedtpm|fixedparent|adminwithpolicy|noda"),
        *("-u", "theirs.pub", "-r", "theirs.priv"),
    )
    swtpm.flush_all()
    theirs = SealedObject.decode(
        (swtpm.directory / "theirs.priv").read_bytes()
        + (swtpm.directory / "theirs.pub").read_bytes()
    )
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
        root = SealedRoot(1, TPM_RH.OWNER, srk, read_pcr_state(tpm, srk), theirs)
        assert unseal_root(tpm, decode_sealed_root(root.encode())) == SECRET


def test_tpm2_tools_read_the_same_pcrs(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
        extend_latch(tpm, srk)
        extend(tpm, 3)
        ours = read_pcrs(tpm, range(24))
    swtpm.tool("tpm2_pcrread", "sha256:all", "-o", "pcrs")

    assert b"".join(ours[pcr] for pcr in range(24)) == (swtpm.directory / "pcrs").read_bytes()
