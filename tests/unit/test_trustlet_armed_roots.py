"""Machine roots that a worker must not have. With a TPM they are tested in tests/vbs."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyiso.clock import SystemClock
from keyiso.crypto.key_blob import Root
from keyiso.crypto.root_seal import Roots
from keyiso.errors import ncrypt_error
from keyiso.required_shields import LATCHED, RequiredShields
from keyiso.status import Status
from keyiso.tpm.enrolment import encode_enrolment
from keyiso.trustlet.armed_roots import MachineRoots
from keyiso.wire.results import Isolation
from tests.unit.samples import BOOT_ROOT
from tests.unit.test_tpm_enrolment import ENROLMENT

FILE = Path("/etc/keyiso/keyiso.toml")
GIVEN = tuple(Root(one.root_id, "machine", b"s" * 32) for one in ENROLMENT.roots)


def machine_roots(directory: Path, unseal: str, *required: str) -> MachineRoots:
    """Of a worker of a pool that is not to ask the TPM itself."""
    enrolment: Any = msgspec.structs.replace(ENROLMENT, unseal=unseal, tpm=f"unix:{directory}/none")
    path = directory / "enrolment"
    path.write_bytes(encode_enrolment(enrolment))
    return MachineRoots(
        path,
        SystemClock(),
        pool=3,
        founds=False,
        kept=directory / "kept",
        required=RequiredShields(dict.fromkeys(required, FILE)),
    )


@pytest.mark.parametrize(
    "trouble", [None, ncrypt_error(Status.KEYISO_E_TPM_LATCHED, "the latch has fallen")]
)
def test_what_a_sibling_gives_is_not_taken_where_it_is_not_enough(
    tmp_path: Path, trouble: Any
) -> None:
    """As when the enrolment is changed while older workers have roots."""
    roots = machine_roots(tmp_path, "any-start", LATCHED)
    assert roots.completed(GIVEN, trouble) == ()
    assert roots.unseal() == ()
    missing = roots.missing("machine")
    assert missing.status == Status.NTE_VBS_UNAVAILABLE
    assert str(FILE) in missing.cause
    said = roots.described(Isolation("armed"), Roots(BOOT_ROOT, ()))
    assert (said.machine_root, said.root_cause) == ("absent", missing.cause)
    assert (said.root_status, said.sealing_root) == (missing.status, b"")


@pytest.mark.parametrize(
    ("unseal", "required"),
    [("any-start", ()), ("once-per-boot", ()), ("once-per-boot", (LATCHED,))],
)
def test_elsewhere_it_is_taken(tmp_path: Path, unseal: str, required: tuple[str, ...]) -> None:
    roots = machine_roots(tmp_path, unseal, *required)
    assert roots.completed(GIVEN, None) == GIVEN
    said = roots.described(Isolation("armed"), Roots(BOOT_ROOT, GIVEN))
    assert (said.machine_root, said.sealing_root) == ("present", GIVEN[0].root_id)
