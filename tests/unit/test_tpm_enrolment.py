"""The file of an enrolment, and where a TPM can be. With a TPM it is tested in tests/tpm."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyiso import limits
from keyiso.clock import SystemClock
from keyiso.status import Status
from keyiso.tpm.constants import TPM_ALG, TPM_RH
from keyiso.tpm.enrolment import (
    EnrolledRoot,
    Enrolment,
    check_tpm_address,
    decode_enrolment,
    encode_enrolment,
    open_tpm,
    read_enrolment,
    without_retired,
)
from keyiso.tpm.latch import LATCH_PCR, pcr_state
from keyiso.tpm.pcr import RESET_VALUE
from keyiso.tpm.policy import Policy
from keyiso.tpm.sealed_object import SealedObject
from keyiso.tpm.sealed_root import SealedRoot
from keyiso.tpm.srk import PinnedSrk
from keyiso.tpm.templates import sealed_template
from tests.conformance.statuses import fails


def sealed(hierarchy: int = TPM_RH.OWNER) -> bytes:
    """A sealed root, which no TPM made."""
    pcrs = pcr_state({LATCH_PCR: RESET_VALUE})
    public = sealed_template(Policy().pcr(pcrs.by_pcr).digest)
    srk = PinnedSrk(TPM_ALG.ECC, b"n" * 34)
    return SealedRoot(1, hierarchy, srk, pcrs, SealedObject(b"p" * 200, public)).encode()


def root(number: int, **changes: Any) -> EnrolledRoot:
    made = EnrolledRoot(bytes([number]) * limits.ROOT_ID_BYTES, sealed(), b"c" * 81)
    return msgspec.structs.replace(made, **changes)


ENROLMENT = Enrolment("/dev/tpmrm0", "once-per-boot", (root(2), root(1)), b"f" * 32)


def changed(**changes: Any) -> bytes:
    return encode_enrolment(msgspec.structs.replace(ENROLMENT, **changes))


def test_an_enrolment_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "enrolment"
    path.write_bytes(encode_enrolment(ENROLMENT))

    assert read_enrolment(path) == ENROLMENT
    assert ENROLMENT.newest.root_id == b"\2" * 16


def test_no_file_is_no_enrolment(tmp_path: Path) -> None:
    assert read_enrolment(tmp_path / "enrolment") is None


def test_the_longest_enrolment_has_room() -> None:
    """With roots as long as they can be; the limit of the file is not what stops one."""
    longest = root(0, sealed=bytes(limits.TPM_STORED_BYTES))
    roots = (msgspec.structs.replace(longest, recovery_copy=bytes(limits.RECOVERY_COPY_BYTES)),)
    data = changed(tpm="/" * limits.TPM_ADDRESS_BYTES, roots=roots * limits.MACHINE_ROOTS)

    assert len(data) <= limits.ENROLMENT_BYTES


def test_more_roots_than_there_may_be_are_not_written() -> None:
    with fails(Status.KEYISO_E_LIMIT) as caught:
        changed(roots=tuple(map(root, range(limits.MACHINE_ROOTS + 1))))
    assert "MACHINE_ROOTS is 16" in caught.value.cause
    assert "keyiso tpm retire" in caught.value.action


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1",
        b"\1\xc1",
        b"\1" + b"\x91" * 2000,
        changed()[:-1],
        changed() + b"\0",
        changed() + bytes(limits.ENROLMENT_BYTES),
        b"\1\x93\xa1\xff\xa1a\x90",
        changed(unseal="sometimes"),
        changed(roots=()),
        changed(roots=(root(1), root(1))),
        changed(roots=(root(1, root_id=b"short"),)),
        changed(roots=(root(1, sealed=b""),)),
        changed(roots=(root(1, sealed=sealed()[:-1]),)),
        changed(roots=(root(1, sealed=sealed(TPM_RH.NULL)),)),
        changed(roots=(root(1, recovery_copy=bytes(limits.RECOVERY_COPY_BYTES + 1)),)),
        changed(roots=(root(1), root(2, recovery_copy=b""))),
        changed(recovery_key=b""),
        changed(recovery_key=b"short"),
        changed(tpm="tpm"),
        changed(tpm="/" + "d" * limits.TPM_ADDRESS_BYTES),
    ],
)
def test_a_damaged_enrolment_is_refused(data: bytes) -> None:
    with fails(Status.NTE_BAD_DATA):
        decode_enrolment(data)


def test_an_enrolment_of_another_version_is_refused() -> None:
    with fails(Status.NTE_BAD_VER) as caught:
        decode_enrolment(b"\2" + changed()[1:])
    assert "has version 2" in caught.value.cause


def test_fields_that_a_later_version_adds_are_ignored() -> None:
    fields = msgspec.msgpack.decode(changed()[1:])
    data = b"\1" + msgspec.msgpack.encode([*fields, "new"])

    assert decode_enrolment(data) == ENROLMENT


def test_the_newest_root_is_never_retired() -> None:
    assert without_retired(ENROLMENT, ()).roots == (root(2),)
    assert without_retired(ENROLMENT, (b"\1" * 16,)) == ENROLMENT


@pytest.mark.parametrize(
    "address", ["/dev/tpmrm0", "unix:/run/tpm.sock", "tcp:127.0.0.1:2321", "tcp:10.0.0.1:1"]
)
def test_an_address_is_taken(address: str) -> None:
    check_tpm_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "tpmrm0",
        "unix:",
        "unix:tpm.sock",
        "tcp:",
        "tcp:2321",
        "tcp:localhost:2321",
        "tcp:::1:2321",
        "tcp:127.0.0.1",
        "tcp:127.0.0.1:",
        "tcp:127.0.0.1:0",
        "tcp:127.0.0.1:65536",
        "tcp:127.0.0.1:" + "1" * 5000,
        "tcp:127.0.0.1:-1",
        "device:/dev/tpmrm0",
        "/dev/tpm\0",
        "unix:/" + "a" * 200,
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with fails(Status.NTE_INVALID_PARAMETER):
        check_tpm_address(address)


@pytest.mark.parametrize("address", ["{}/none", "unix:{}/none"])
def test_a_tpm_that_is_not_there_is_not_found(tmp_path: Path, address: str) -> None:
    with (
        fails(Status.NTE_DEVICE_NOT_FOUND),
        open_tpm(address.format(tmp_path), SystemClock()),
    ):
        pass
