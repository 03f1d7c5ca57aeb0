"""What a TPM says of itself."""

import pytest

from keyiso.status import Status
from keyiso.tpm.capabilities import LockoutState, handles, lockout_state, tpm_property
from keyiso.tpm.constants import TPM_HT, TPM_PT, TPM_RH
from keyiso.tpm.held import held_primary, held_session
from keyiso.tpm.latch import read_pcr_state
from keyiso.tpm.sealed_root import seal_machine_root, unseal_root
from keyiso.tpm.session import EmptyPassword
from keyiso.tpm.srk import enrol_srk, held_srk
from keyiso.tpm.templates import SRK_TEMPLATES
from tests.conformance.statuses import fails
from tests.tpm.held_in import NOTHING, held_in
from tests.tpm.swtpm import Swtpm, make_srk_for_tools


def test_what_is_held_is_counted(swtpm: Swtpm) -> None:
    """So that a count of nothing means something."""
    with (
        swtpm.opened() as tpm,
        held_srk(tpm, enrol_srk(tpm)) as key,
        held_session(tpm, key) as session,
    ):
        assert handles(tpm, TPM_HT.TRANSIENT) == (key.entity.handle,)
        assert handles(tpm, TPM_HT.LOADED_SESSION) == (session.entity.handle,)
    assert held_in(swtpm) == NOTHING


def test_a_block_that_ends_with_an_error_of_ours_leaves_nothing(swtpm: Swtpm) -> None:
    with (
        swtpm.opened() as tpm,
        pytest.raises(ZeroDivisionError),
        held_primary(tpm, TPM_RH.NULL, next(iter(SRK_TEMPLATES.values())), EmptyPassword()) as key,
        held_session(tpm, key),
    ):
        raise ZeroDivisionError
    assert held_in(swtpm) == NOTHING


def test_many_handles_are_read_in_several_answers(
    swtpm: Swtpm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyiso.limits.TPM_LIST_ITEMS", 2)
    for index in range(5):
        swtpm.tool("tpm2_nvdefine", hex(0x01800000 + index), "-C", "o", "-s", "1")
    with swtpm.opened() as tpm:
        assert handles(tpm, TPM_HT.NV_INDEX) == tuple(range(0x01800000, 0x01800005))


def test_a_property_that_the_tpm_does_not_have_is_an_error(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        assert tpm_property(tpm, TPM_PT.MANUFACTURER).to_bytes(4) == b"IBM\0"
        with fails(Status.NTE_NOT_SUPPORTED):
            tpm_property(tpm, 0x1FFFFFFF)


def test_a_locked_tpm_is_reported_and_gives_the_root_all_the_same(swtpm: Swtpm) -> None:
    """Somebody else's wrong guesses are no denial of our service."""
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
        root = seal_machine_root(tpm, b"root", srk, read_pcr_state(tpm, srk))
        before = lockout_state(tpm)
    make_srk_for_tools(swtpm)
    (swtpm.directory / "data").write_bytes(b"data")
    swtpm.tool(
        *("tpm2_create", "-C", "srk.ctx", "-i", "data", "-p", "right"),
        *("-u", "key.pub", "-r", "key.priv", "-a", "fixedtpm|fixedparent|userwithauth"),
    )
    swtpm.flush_all()
    swtpm.tool("tpm2_load", "-C", "srk.ctx", "-u", "key.pub", "-r", "key.priv", "-c", "key.ctx")
    swtpm.flush_all()
    for _ in range(before.most_failures):
        swtpm.tool("tpm2_unseal", "-c", "key.ctx", "-p", "wrong", fails=True)
        swtpm.flush_all()
    with swtpm.opened() as tpm:
        after = lockout_state(tpm)

        assert before == LockoutState(False, 0, 3, 1000)
        assert after == LockoutState(True, 3, 3, 1000)
        assert unseal_root(tpm, root) == b"root"
