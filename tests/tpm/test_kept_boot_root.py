"""A boot root that the TPM keeps for later workers of the same boot."""

import pytest

from keyiso.crypto.key_blob import Root
from keyiso.status import Status
from keyiso.tpm.latch import extend_latch, read_pcr_state
from keyiso.tpm.sealed_root import SealedRoot, seal_machine_root
from keyiso.tpm.srk import enrol_srk
from keyiso.tpm.tpm import Tpm
from keyiso.trustlet.kept_boot_root import keep_boot_root, open_boot_root
from tests.conformance.statuses import fails
from tests.tpm.swtpm import Swtpm

BOOT = Root(b"b" * 16, "boot", b"s" * 32)
MACHINE = Root(b"m" * 16, "machine", b"t" * 32)
OTHER = Root(b"m" * 16, "machine", b"u" * 32)


def sealed(tpm: Tpm) -> SealedRoot:
    srk = enrol_srk(tpm)
    return seal_machine_root(tpm, MACHINE.secret, srk, read_pcr_state(tpm, srk))


def test_it_comes_back_in_the_same_boot_alone(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        kept = keep_boot_root(tpm, BOOT, MACHINE, sealed(tpm))
        assert open_boot_root(tpm, kept, MACHINE) == BOOT
    assert BOOT.secret not in kept
    swtpm.reboot()
    with swtpm.opened() as tpm, fails(Status.KEYISO_E_ROOT_MISSING):
        open_boot_root(tpm, kept, MACHINE)


def test_the_latch_closes_it(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        like = sealed(tpm)
        kept = keep_boot_root(tpm, BOOT, MACHINE, like)
        extend_latch(tpm, like.srk)
        with fails(Status.KEYISO_E_TPM_LATCHED):
            open_boot_root(tpm, kept, MACHINE)


def test_one_that_somebody_else_sealed_is_refused(swtpm: Swtpm) -> None:
    """Who knows a secret could have the TPM seal it, but has no machine root."""
    with swtpm.opened() as tpm:
        kept = keep_boot_root(tpm, BOOT, OTHER, sealed(tpm))
        with fails(Status.NTE_BAD_DATA):
            open_boot_root(tpm, kept, MACHINE)


@pytest.mark.parametrize("data", [b"", b"\2", b"\1", b"\1\xc1", b"\1\x93\xa0\xa0\xa0"])
def test_what_is_none_is_refused(swtpm: Swtpm, data: bytes) -> None:
    status = Status.NTE_BAD_DATA if data[:1] == b"\1" else Status.NTE_BAD_VER
    with swtpm.opened() as tpm, fails(status):
        open_boot_root(tpm, data, MACHINE)
