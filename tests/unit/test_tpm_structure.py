"""How structures of the TPM are written and read."""

from typing import Annotated, Any

import pytest

from keyiso import limits
from keyiso.status import Status
from keyiso.tpm.constants import TPM_ALG
from keyiso.tpm.pcr import TPMS_PCR_SELECTION, select
from keyiso.tpm.public_area import (
    NO_SCHEME,
    TPM2B_PUBLIC,
    TPMS_SENSITIVE_CREATE,
    TPMT_PUBLIC,
    TPMT_SYM_DEF,
)
from keyiso.tpm.structure import (
    TPM2B_DIGEST,
    UINT8,
    UINT16,
    UINT64,
    Constant,
    Fixed,
    Items,
    MalformedError,
    Selected,
    Structure,
)
from keyiso.tpm.templates import SRK_TEMPLATES, sealed_template
from tests.conformance.statuses import fails


class Inner(Structure, frozen=True):
    small: UINT8
    large: UINT64


class Everything(Structure, frozen=True):
    version: Annotated[int, Constant(1, 7)]
    tag: UINT16
    inner: Inner
    digest: TPM2B_DIGEST
    fixed: Annotated[bytes, Fixed(3)]
    many: Annotated[tuple[Inner, ...], Items(Inner)]
    choice: Annotated[Any, Selected("tag", {1: Inner, 2: TPM2B_DIGEST})]
    sized: TPM2B_PUBLIC


PUBLIC = sealed_template(b"p" * 32)
VALUE = Everything(
    7, 1, Inner(1, 2), b"dig", b"abc", (Inner(3, 4), Inner(5, 6)), Inner(8, 9), PUBLIC
)
ENCODED = bytes.fromhex(
    "07 0001 01 0000000000000002 0003 646967 616263"
    "00000002 03 0000000000000004 05 0000000000000006"
    "08 0000000000000009"
    "002e 0008 000b 00000492 0020" + "70" * 32 + "0010 0000"
)


def test_fields_are_written_one_after_the_other_big_endian() -> None:
    assert VALUE.encode() == ENCODED
    assert Everything.decode(ENCODED) == VALUE


def test_a_selector_decides_what_follows() -> None:
    other = ENCODED.replace(
        bytes.fromhex("08 0000000000000009 002e"), bytes.fromhex("0002 7878 002e")
    ).replace(b"\x07\0\1", b"\x07\0\2", 1)

    assert Everything.decode(other).choice == b"xx"
    assert Everything.decode(other).encode() == other


@pytest.mark.parametrize("size", range(len(ENCODED)))
def test_what_is_cut_short_is_malformed(size: int) -> None:
    with pytest.raises(MalformedError):
        Everything.decode(ENCODED[:size])


@pytest.mark.parametrize(
    ("at", "what", "cause"),
    [
        (0, b"\x08", "0x8 stands where 0x7 should"),
        (1, b"\x00\x03", "its tag is 0x3, which is not known here"),
        (12, b"\x00\x41", "a part has 65 bytes; TPM_DIGEST_BYTES is 64"),
        (20, b"\x00\x00\x00\xff", "a list has 255 items; TPM_LIST_ITEMS is 254"),
        (20, b"\xff\xff\xff\xff", "a list has 4294967295 items; TPM_LIST_ITEMS is 254"),
        (51, b"\x04\x01", "a part has 1025 bytes; TPM_PUBLIC_BYTES is 1024"),
        (51, b"\x00\x2f", "it ends 1 bytes too early"),
        (51, b"\x00\x2d", "it ends 1 bytes too early"),
    ],
)
def test_what_is_malformed_says_where(at: int, what: bytes, cause: str) -> None:
    with pytest.raises(MalformedError, match=cause):
        Everything.decode(ENCODED[:at] + what + ENCODED[at + len(what) :])


def test_what_is_left_over_is_malformed() -> None:
    with pytest.raises(MalformedError, match="it has 1 bytes too many"):
        Everything.decode(ENCODED + b"\0")
    with pytest.raises(MalformedError, match="it has 1 bytes too many"):  # in the sized part
        Everything.decode(ENCODED.replace(b"\0\x2e", b"\0\x2f") + b"\0")


def test_what_we_would_send_is_bounded_too() -> None:
    with fails(Status.KEYISO_E_LIMIT) as caught:
        TPMS_SENSITIVE_CREATE(data=bytes(limits.TPM_SEALED_BYTES + 1)).encode()

    assert "TPM_SEALED_BYTES is 128" in caught.value.cause


def test_a_secret_is_not_shown() -> None:
    assert repr(TPMS_SENSITIVE_CREATE(b"auth", b"secret")) == "<TPMS_SENSITIVE_CREATE>"


@pytest.mark.parametrize(
    "template", [*SRK_TEMPLATES.values(), PUBLIC], ids=lambda one: hex(one.type)
)
def test_a_template_is_read_as_it_was_written(template: TPMT_PUBLIC) -> None:
    assert TPMT_PUBLIC.decode(template.encode()) == template


def test_an_algorithm_that_is_null_has_no_details() -> None:
    assert NO_SCHEME.encode() == b"\x00\x10"
    with pytest.raises(MalformedError):
        TPMT_SYM_DEF.decode(b"\x00\x25")  # Camellia


def test_pcrs_are_bits_of_three_bytes() -> None:
    assert select([12, 0, 23]) == (TPMS_PCR_SELECTION(TPM_ALG.SHA256, b"\x01\x10\x80"),)
    assert select([12, 0, 23])[0].pcrs() == (0, 12, 23)
