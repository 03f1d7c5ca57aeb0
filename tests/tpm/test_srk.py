"""The storage root key is the one that others compute, and known again."""

from pathlib import Path

import pytest

from keyiso.status import Status
from keyiso.tpm.constants import TPM_ALG
from keyiso.tpm.srk import PinnedSrk, enrol_srk, held_srk
from tests.conformance.statuses import fails
from tests.tpm.swtpm import Swtpm, make_srk_for_tools


@pytest.mark.parametrize("algorithm", [TPM_ALG.ECC, TPM_ALG.RSA], ids=lambda one: one.name)
def test_the_srk_has_the_name_that_tpm2_tools_compute(swtpm: Swtpm, algorithm: TPM_ALG) -> None:
    make_srk_for_tools(swtpm, algorithm.name.lower())
    swtpm.tool("tpm2_readpublic", "-c", "srk.ctx", "-n", "srk.name")
    swtpm.flush_all()
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm, algorithm)

    assert srk == PinnedSrk(algorithm, (swtpm.directory / "srk.name").read_bytes())


@pytest.mark.parametrize("orderly", [True, False], ids=["orderly", "power loss"])
def test_the_srk_is_the_same_after_a_restart(swtpm: Swtpm, orderly: bool) -> None:
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
    swtpm.reboot(orderly=orderly)
    with swtpm.opened() as tpm, held_srk(tpm, srk) as key:
        assert key.entity.name == srk.name


def test_another_tpm_is_noticed(swtpm: Swtpm, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Swtpm(tmp_path / "other")
    other.boot()
    try:
        with other.opened() as tpm:
            srk = enrol_srk(tpm)
    finally:
        other.power_off()
    with swtpm.opened() as tpm, fails(Status.KEYISO_E_TPM_CHANGED), held_srk(tpm, srk):
        pass


def test_a_cleared_tpm_is_noticed(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
    swtpm.tool("tpm2_clear", "-c", "p")
    with swtpm.opened() as tpm, fails(Status.KEYISO_E_TPM_CHANGED), held_srk(tpm, srk):
        pass


def test_an_owner_hierarchy_with_a_password_is_explained(swtpm: Swtpm) -> None:
    swtpm.tool("tpm2_changeauth", "-c", "owner", "password")
    with swtpm.opened() as tpm, fails(Status.TPM_20_E_BAD_AUTH) as caught:
        enrol_srk(tpm)

    assert "owner hierarchy has a password" in caught.value.cause


def test_an_srk_of_an_unknown_algorithm_cannot_be_pinned() -> None:
    with fails(Status.NTE_INVALID_PARAMETER):
        PinnedSrk(TPM_ALG.KEYEDHASH, b"name")
