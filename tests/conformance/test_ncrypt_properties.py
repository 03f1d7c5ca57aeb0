"""Properties, to the byte: DWORDs little-endian, strings in UTF-16-LE with their NUL."""

import struct

import pytest

from keyiso import ncrypt
from keyiso.flags import (
    NCRYPT_ALLOW_ALL_USAGES,
    NCRYPT_ALLOW_DECRYPT_FLAG,
    NCRYPT_ALLOW_SIGNING_FLAG,
    NCRYPT_MACHINE_KEY_FLAG,
    NCRYPT_OVERWRITE_KEY_FLAG,
    NCRYPT_SILENT_FLAG,
)
from keyiso.identifiers import (
    BCRYPT_PUBLIC_KEY_BLOB,
    NCRYPT_ALGORITHM_GROUP_PROPERTY,
    NCRYPT_ALGORITHM_PROPERTY,
    NCRYPT_AUTH_TAG_LENGTH,
    NCRYPT_BLOCK_LENGTH_PROPERTY,
    NCRYPT_CERTIFICATE_PROPERTY,
    NCRYPT_CHAINING_MODE_PROPERTY,
    NCRYPT_ECC_CURVE_NAME_PROPERTY,
    NCRYPT_EXPORT_POLICY_PROPERTY,
    NCRYPT_IMPL_TYPE_PROPERTY,
    NCRYPT_KEY_TYPE_PROPERTY,
    NCRYPT_KEY_USAGE_PROPERTY,
    NCRYPT_LAST_MODIFIED_PROPERTY,
    NCRYPT_LENGTH_PROPERTY,
    NCRYPT_LENGTHS_PROPERTY,
    NCRYPT_MAX_NAME_LENGTH_PROPERTY,
    NCRYPT_NAME_PROPERTY,
    NCRYPT_PIN_PROPERTY,
    NCRYPT_PROVIDER_HANDLE_PROPERTY,
    NCRYPT_PUBLIC_LENGTH_PROPERTY,
    NCRYPT_SECURITY_DESCR_PROPERTY,
    NCRYPT_SECURITY_DESCR_SUPPORT_PROPERTY,
    NCRYPT_SIGNATURE_LENGTH_PROPERTY,
    NCRYPT_UI_POLICY_PROPERTY,
    NCRYPT_UNIQUE_NAME_PROPERTY,
    NCRYPT_USE_CONTEXT_PROPERTY,
    NCRYPT_USE_COUNT_ENABLED_PROPERTY,
    NCRYPT_USE_COUNT_PROPERTY,
    NCRYPT_USE_PER_BOOT_KEY_PROPERTY,
    NCRYPT_USE_VIRTUAL_ISOLATION_PROPERTY,
    NCRYPT_VERSION_PROPERTY,
    NCRYPT_WINDOW_HANDLE_PROPERTY,
)
from keyiso.status import Status
from tests.conformance.cases import (
    ALGORITHMS,
    ECDSA,
    ECDSA_P256,
    ECDSA_P521,
    ED25519,
    PERSISTED,
    RSA_2048,
    RSA_3072,
    Algorithm,
    Kind,
    begin,
    make,
)
from tests.conformance.independent import dword, utf16z
from tests.conformance.statuses import fails

Provider = ncrypt.NCryptProvHandle


def get(handle: ncrypt.NCryptHandle, name: str) -> bytes:
    return ncrypt.NCryptGetProperty(handle, name)


def known_values(algorithm: Algorithm, kind: Kind) -> dict[str, bytes]:
    """What every key of an algorithm and scope answers when nothing was set."""
    return {
        NCRYPT_ALGORITHM_PROPERTY: utf16z(algorithm.identifier),
        NCRYPT_ALGORITHM_GROUP_PROPERTY: utf16z(algorithm.group),
        NCRYPT_LENGTH_PROPERTY: dword(algorithm.bits),
        NCRYPT_LENGTHS_PROPERTY: struct.pack("<4I", *algorithm.lengths),
        NCRYPT_PUBLIC_LENGTH_PROPERTY: dword(algorithm.bits),
        NCRYPT_SIGNATURE_LENGTH_PROPERTY: dword(algorithm.signature_bytes),
        NCRYPT_EXPORT_POLICY_PROPERTY: dword(0),
        NCRYPT_KEY_USAGE_PROPERTY: dword(NCRYPT_ALLOW_ALL_USAGES),
        NCRYPT_KEY_TYPE_PROPERTY: dword(NCRYPT_MACHINE_KEY_FLAG if kind is Kind.MACHINE else 0),
    }


# --- of keys -----------------------------------------------------------------------------------


@pytest.mark.both_levels
@pytest.mark.parametrize("kind", Kind, ids=str)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_a_finalized_key_answers(
    provider: Provider, algorithm: Algorithm, kind: Kind, name: str
) -> None:
    key = make(provider, algorithm, kind.key_name(name), kind.flag)

    expected = known_values(algorithm, kind)

    assert {one: get(key, one) for one in expected} == expected


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_a_key_answers_before_it_is_finalized(
    provider: Provider, algorithm: Algorithm, name: str
) -> None:
    """As Windows does, and programs that ask for a signature's length early rely on it."""
    key = begin(provider, algorithm, name)

    expected = known_values(algorithm, Kind.USER)

    assert {one: get(key, one) for one in expected} == expected


OTHERS = {
    "ECDH_P256": ("ECDH", 256, (256, 256, 0, 256)),
    "ECDH_P384": ("ECDH", 384, (384, 384, 0, 384)),
    "ECDH_P521": ("ECDH", 521, (521, 521, 0, 521)),
    "AES": ("AES", 256, (128, 256, 64, 256)),
}


@pytest.mark.both_levels
@pytest.mark.parametrize("algorithm", OTHERS)
def test_a_key_that_does_not_sign_answers(provider: Provider, algorithm: str, name: str) -> None:
    group, bits, lengths = OTHERS[algorithm]
    key = ncrypt.NCryptCreatePersistedKey(provider, algorithm, name)

    expected = {
        NCRYPT_ALGORITHM_PROPERTY: utf16z(algorithm),
        NCRYPT_ALGORITHM_GROUP_PROPERTY: utf16z(group),
        NCRYPT_LENGTH_PROPERTY: dword(bits),
        NCRYPT_LENGTHS_PROPERTY: struct.pack("<4I", *lengths),
    }
    assert {one: get(key, one) for one in expected} == expected

    ncrypt.NCryptFinalizeKey(key)

    assert {one: get(key, one) for one in expected} == expected
    with fails(Status.NTE_NOT_SUPPORTED):
        get(key, NCRYPT_SIGNATURE_LENGTH_PROPERTY)


@pytest.mark.parametrize(("algorithm", "size"), [(RSA_2048, 256), (RSA_3072, 384)], ids=str)
def test_the_block_of_rsa_is_its_modulus(
    provider: Provider, algorithm: Algorithm, size: int
) -> None:
    """As observed on the Microsoft software provider, before and after finalize."""
    key = begin(provider, algorithm)
    assert get(key, NCRYPT_BLOCK_LENGTH_PROPERTY) == dword(size)

    ncrypt.NCryptFinalizeKey(key)

    assert get(key, NCRYPT_BLOCK_LENGTH_PROPERTY) == dword(size)


@pytest.mark.both_levels
def test_the_chaining_mode_is_the_handles(provider: Provider, name: str) -> None:
    """It can be set at any time, is not kept, and is one of those that AES has."""
    key = ncrypt.NCryptCreatePersistedKey(provider, "AES", name)
    ncrypt.NCryptFinalizeKey(key)
    default = get(key, NCRYPT_CHAINING_MODE_PROPERTY)
    assert default == utf16z("ChainingModeGCM")

    ncrypt.NCryptSetProperty(key, NCRYPT_CHAINING_MODE_PROPERTY, utf16z("ChainingModeCBC"))

    assert get(key, NCRYPT_CHAINING_MODE_PROPERTY) == utf16z("ChainingModeCBC")
    assert get(ncrypt.NCryptOpenKey(provider, name), NCRYPT_CHAINING_MODE_PROPERTY) == default
    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptSetProperty(key, NCRYPT_CHAINING_MODE_PROPERTY, utf16z("ChainingModeECB"))
    with fails(Status.NTE_NOT_SUPPORTED):
        get(make(provider), NCRYPT_CHAINING_MODE_PROPERTY)


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_the_length_of_aes(provider: Provider, bits: int) -> None:
    key = ncrypt.NCryptCreatePersistedKey(provider, "AES")
    ncrypt.NCryptSetProperty(key, NCRYPT_LENGTH_PROPERTY, dword(bits))

    ncrypt.NCryptFinalizeKey(key)

    assert get(key, NCRYPT_LENGTH_PROPERTY) == dword(bits)
    assert get(key, NCRYPT_BLOCK_LENGTH_PROPERTY) == dword(16)
    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptSetProperty(
            ncrypt.NCryptCreatePersistedKey(provider, "AES"), NCRYPT_LENGTH_PROPERTY, dword(160)
        )


@pytest.mark.parametrize(
    ("algorithm", "curve"),
    [("ECDSA_P256", "nistP256"), ("ECDH_P384", "nistP384"), ("ECDSA_P521", "nistP521")],
)
def test_a_curve_has_its_name(provider: Provider, algorithm: str, curve: str) -> None:
    key = ncrypt.NCryptCreatePersistedKey(provider, algorithm)

    assert get(key, NCRYPT_ECC_CURVE_NAME_PROPERTY) == utf16z(curve)
    with fails(Status.NTE_NOT_SUPPORTED):
        get(begin(provider, RSA_2048), NCRYPT_ECC_CURVE_NAME_PROPERTY)


def test_the_tag_of_aes_has_sixteen_bytes(provider: Provider) -> None:
    key = ncrypt.NCryptCreatePersistedKey(provider, "AES")

    assert get(key, NCRYPT_AUTH_TAG_LENGTH) == struct.pack("<3I", 16, 16, 0)
    with fails(Status.NTE_NOT_SUPPORTED):
        get(begin(provider), NCRYPT_AUTH_TAG_LENGTH)


def test_strings_and_numbers_to_the_byte(provider: Provider, name: str) -> None:
    """Written out, not computed."""
    key = make(provider, RSA_2048, name, NCRYPT_MACHINE_KEY_FLAG)

    assert get(key, NCRYPT_ALGORITHM_PROPERTY) == b"R\0S\0A\0\0\0"
    assert get(key, NCRYPT_LENGTH_PROPERTY) == b"\x00\x08\x00\x00"
    assert get(key, NCRYPT_KEY_USAGE_PROPERTY) == b"\xff\xff\xff\x00"
    assert get(key, NCRYPT_KEY_TYPE_PROPERTY) == b"\x20\x00\x00\x00"
    assert get(key, NCRYPT_LENGTHS_PROPERTY) == (
        b"\x00\x04\x00\x00\x00\x40\x00\x00\x08\x00\x00\x00\x00\x08\x00\x00"
    )


@pytest.mark.both_levels
@pytest.mark.parametrize("kind", PERSISTED, ids=str)
def test_a_persisted_key_has_its_names(provider: Provider, kind: Kind, name: str) -> None:
    key = make(provider, ECDSA_P256, name, kind.flag)
    opened = ncrypt.NCryptOpenKey(provider, name, 0, kind.flag)

    assert get(key, NCRYPT_NAME_PROPERTY) == utf16z(name)
    assert get(opened, NCRYPT_NAME_PROPERTY) == utf16z(name)
    assert get(opened, NCRYPT_UNIQUE_NAME_PROPERTY) == get(key, NCRYPT_UNIQUE_NAME_PROPERTY)


def test_an_opened_key_answers_as_it_was_made(provider: Provider, name: str) -> None:
    key = begin(provider, ECDSA_P521, name, NCRYPT_MACHINE_KEY_FLAG)
    ncrypt.NCryptSetProperty(key, NCRYPT_KEY_USAGE_PROPERTY, dword(NCRYPT_ALLOW_SIGNING_FLAG))
    ncrypt.NCryptSetProperty(key, NCRYPT_EXPORT_POLICY_PROPERTY, dword(3))
    ncrypt.NCryptFinalizeKey(key)

    opened = ncrypt.NCryptOpenKey(provider, name, 0, NCRYPT_MACHINE_KEY_FLAG)

    expected = {
        **known_values(ECDSA_P521, Kind.MACHINE),
        NCRYPT_KEY_USAGE_PROPERTY: dword(NCRYPT_ALLOW_SIGNING_FLAG),
        NCRYPT_EXPORT_POLICY_PROPERTY: dword(3),
    }
    assert {one: get(opened, one) for one in expected} == expected


NOT_SUPPORTED = (
    NCRYPT_NAME_PROPERTY,
    NCRYPT_UNIQUE_NAME_PROPERTY,
    NCRYPT_IMPL_TYPE_PROPERTY,
    NCRYPT_VERSION_PROPERTY,
    NCRYPT_SECURITY_DESCR_SUPPORT_PROPERTY,
    NCRYPT_USE_COUNT_ENABLED_PROPERTY,
    NCRYPT_USE_COUNT_PROPERTY,
    NCRYPT_MAX_NAME_LENGTH_PROPERTY,
    NCRYPT_PIN_PROPERTY,
    "AlgorithmName",  # the spellings of BCryptGetProperty
    "KeyLength",
    "algorithm name",
    "",
    "My Custom Property",
)
NOT_FOUND = (
    NCRYPT_UI_POLICY_PROPERTY,
    NCRYPT_WINDOW_HANDLE_PROPERTY,
    NCRYPT_USE_CONTEXT_PROPERTY,
    NCRYPT_LAST_MODIFIED_PROPERTY,
    NCRYPT_CERTIFICATE_PROPERTY,
)


@pytest.mark.parametrize(
    ("property_name", "status"),
    [
        *((one, Status.NTE_NOT_SUPPORTED) for one in NOT_SUPPORTED),
        *((one, Status.NTE_NOT_FOUND) for one in NOT_FOUND),
        (NCRYPT_SECURITY_DESCR_PROPERTY, Status.NTE_BAD_FLAGS),
    ],
    ids=lambda value: value.name if isinstance(value, Status) else value,
)
def test_what_an_ephemeral_key_does_not_have(
    provider: Provider, property_name: str, status: Status
) -> None:
    """As observed on the Microsoft software provider."""
    key = make(provider)

    with fails(status):
        get(key, property_name)


@pytest.mark.parametrize(
    "property_name", [NCRYPT_USE_VIRTUAL_ISOLATION_PROPERTY, NCRYPT_USE_PER_BOOT_KEY_PROPERTY]
)
def test_a_software_key_does_not_claim_isolation(provider: Provider, property_name: str) -> None:
    """How a program tells that PREFER fell back: nothing says that the key is isolated."""
    key = make(provider, ECDSA_P256)

    with fails(Status.NTE_NOT_SUPPORTED):
        get(key, property_name)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_the_size_probe_and_the_buffer(provider: Provider, algorithm: Algorithm, name: str) -> None:
    key = make(provider, algorithm, name)

    for property_name, value in known_values(algorithm, Kind.USER).items():
        size = ncrypt.NCryptGetProperty(key, property_name, cbOutput=None)
        assert size == len(value)
        assert ncrypt.NCryptGetProperty(key, property_name, cbOutput=size) == value
        assert ncrypt.NCryptGetProperty(key, property_name, cbOutput=size + 1) == value
        for too_small in (size - 1, 0):
            with fails(Status.NTE_BUFFER_TOO_SMALL):
                ncrypt.NCryptGetProperty(key, property_name, cbOutput=too_small)


def test_reading_takes_the_silent_flag(provider: Provider) -> None:
    key = make(provider)

    assert ncrypt.NCryptGetProperty(key, NCRYPT_LENGTH_PROPERTY, NCRYPT_SILENT_FLAG) == dword(256)


def test_the_provider_handle_is_the_callers_to_free(provider: Provider, provider_name: str) -> None:
    key = make(provider)

    handle: object = ncrypt.NCryptGetProperty(key, NCRYPT_PROVIDER_HANDLE_PROPERTY)

    assert isinstance(handle, ncrypt.NCryptProvHandle)
    assert get(handle, NCRYPT_NAME_PROPERTY) == utf16z(provider_name)
    ncrypt.NCryptFreeObject(handle)
    with fails(Status.NTE_INVALID_HANDLE):
        get(handle, NCRYPT_NAME_PROPERTY)
    assert get(provider, NCRYPT_NAME_PROPERTY) == utf16z(provider_name)
    ECDSA_P256.sign(key)


def test_the_provider_handle_has_the_size_of_a_pointer(provider: Provider) -> None:
    """A probe gives a size whatever the property is, and a small buffer is too small for it."""
    key = make(provider)

    size = ncrypt.NCryptGetProperty(key, NCRYPT_PROVIDER_HANDLE_PROPERTY, cbOutput=None)

    assert size == 8
    with fails(Status.NTE_BUFFER_TOO_SMALL):
        ncrypt.NCryptGetProperty(key, NCRYPT_PROVIDER_HANDLE_PROPERTY, cbOutput=4)


# --- setting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1024, 2048, 2056, 3072])
def test_the_length_of_rsa(provider: Provider, bits: int) -> None:
    key = begin(provider, RSA_2048)
    ncrypt.NCryptSetProperty(key, NCRYPT_LENGTH_PROPERTY, dword(bits))
    assert get(key, NCRYPT_LENGTH_PROPERTY) == dword(bits)

    ncrypt.NCryptFinalizeKey(key)

    assert get(key, NCRYPT_LENGTH_PROPERTY) == dword(bits)
    assert get(key, NCRYPT_PUBLIC_LENGTH_PROPERTY) == dword(bits)
    assert get(key, NCRYPT_SIGNATURE_LENGTH_PROPERTY) == dword(bits // 8)
    assert len(RSA_2048.sign(key)) == bits // 8


@pytest.mark.parametrize("bits", [0, 512, 1016, 1023, 2047, 2049, 16392, 0xFFFFFFFF])
def test_a_length_that_rsa_does_not_have(provider: Provider, bits: int) -> None:
    key = begin(provider, RSA_2048)

    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptSetProperty(key, NCRYPT_LENGTH_PROPERTY, dword(bits))

    assert get(key, NCRYPT_LENGTH_PROPERTY) == dword(2048)


@pytest.mark.parametrize("algorithm", [*ECDSA, ED25519], ids=str)
def test_the_length_of_a_curve_is_fixed(provider: Provider, algorithm: Algorithm) -> None:
    key = begin(provider, algorithm)
    ncrypt.NCryptSetProperty(key, NCRYPT_LENGTH_PROPERTY, dword(algorithm.bits))

    for bits in (algorithm.bits - 1, algorithm.bits + 8, 2048):
        with fails(Status.NTE_NOT_SUPPORTED):
            ncrypt.NCryptSetProperty(key, NCRYPT_LENGTH_PROPERTY, dword(bits))


@pytest.mark.parametrize(
    ("property_name", "value"),
    [
        (NCRYPT_KEY_USAGE_PROPERTY, NCRYPT_ALLOW_SIGNING_FLAG),
        (NCRYPT_KEY_USAGE_PROPERTY, NCRYPT_ALLOW_DECRYPT_FLAG),
        (NCRYPT_KEY_USAGE_PROPERTY, NCRYPT_ALLOW_ALL_USAGES),
        (NCRYPT_KEY_USAGE_PROPERTY, 0),
        (NCRYPT_EXPORT_POLICY_PROPERTY, 0),
        (NCRYPT_EXPORT_POLICY_PROPERTY, 0x1F),
    ],
)
@pytest.mark.parametrize("kind", Kind, ids=str)
def test_a_policy_is_set_before_and_kept_after_finalize(
    provider: Provider, kind: Kind, property_name: str, value: int, name: str
) -> None:
    key = begin(provider, ECDSA_P256, kind.key_name(name), kind.flag)
    ncrypt.NCryptSetProperty(key, property_name, dword(value))
    assert get(key, property_name) == dword(value)

    ncrypt.NCryptFinalizeKey(key)

    assert get(key, property_name) == dword(value)


@pytest.mark.parametrize(
    ("property_name", "value"),
    [
        (NCRYPT_KEY_USAGE_PROPERTY, 0x01000000),
        (NCRYPT_EXPORT_POLICY_PROPERTY, 0x20),
        (NCRYPT_EXPORT_POLICY_PROPERTY, 0x80000001),
    ],
)
def test_bits_that_a_policy_does_not_define(
    provider: Provider, property_name: str, value: int
) -> None:
    key = begin(provider)
    before = get(key, property_name)

    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptSetProperty(key, property_name, dword(value))

    assert get(key, property_name) == before


@pytest.mark.parametrize("value", [b"", b"\x00\x08", b"\x00\x08\x00", b"\x00\x08\x00\x00\x00"])
@pytest.mark.parametrize(
    "property_name",
    [NCRYPT_LENGTH_PROPERTY, NCRYPT_KEY_USAGE_PROPERTY, NCRYPT_EXPORT_POLICY_PROPERTY],
)
def test_a_dword_has_four_bytes(provider: Provider, property_name: str, value: bytes) -> None:
    key = begin(provider, RSA_2048)

    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptSetProperty(key, property_name, value)


SETTABLE = {
    NCRYPT_LENGTH_PROPERTY: dword(256),
    NCRYPT_KEY_USAGE_PROPERTY: dword(NCRYPT_ALLOW_SIGNING_FLAG),
    NCRYPT_EXPORT_POLICY_PROPERTY: dword(1),
}


@pytest.mark.both_levels
@pytest.mark.parametrize("kind", Kind, ids=str)
@pytest.mark.parametrize(("property_name", "value"), SETTABLE.items(), ids=SETTABLE.keys())
def test_nothing_is_set_after_finalize(
    provider: Provider, kind: Kind, property_name: str, value: bytes, name: str
) -> None:
    key = make(provider, ECDSA_P256, kind.key_name(name), kind.flag)
    before = get(key, property_name)

    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptSetProperty(key, property_name, value)

    assert get(key, property_name) == before


@pytest.mark.parametrize(("property_name", "value"), SETTABLE.items(), ids=SETTABLE.keys())
def test_nothing_is_set_on_a_public_key(
    provider: Provider, property_name: str, value: bytes
) -> None:
    blob = ncrypt.NCryptExportKey(make(provider), None, BCRYPT_PUBLIC_KEY_BLOB)
    public = ncrypt.NCryptImportKey(provider, None, BCRYPT_PUBLIC_KEY_BLOB, None, blob)

    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptSetProperty(public, property_name, value)


@pytest.mark.parametrize(
    "property_name",
    [
        NCRYPT_NAME_PROPERTY,
        NCRYPT_UNIQUE_NAME_PROPERTY,
        NCRYPT_ALGORITHM_PROPERTY,
        NCRYPT_KEY_TYPE_PROPERTY,
        NCRYPT_CERTIFICATE_PROPERTY,
        "My Custom Property",
        "",
    ],
)
def test_a_property_that_cannot_be_set(provider: Provider, property_name: str) -> None:
    for key in (begin(provider), make(provider)):
        with fails(Status.NTE_NOT_SUPPORTED):
            ncrypt.NCryptSetProperty(key, property_name, utf16z("value"))


@pytest.mark.both_levels
def test_overwrite_does_not_inherit_policies(provider: Provider, name: str) -> None:
    first = begin(provider, name=name)
    ncrypt.NCryptSetProperty(first, NCRYPT_KEY_USAGE_PROPERTY, dword(NCRYPT_ALLOW_SIGNING_FLAG))
    ncrypt.NCryptFinalizeKey(first)

    second = make(provider, ECDSA_P256, name, NCRYPT_OVERWRITE_KEY_FLAG)

    assert get(second, NCRYPT_KEY_USAGE_PROPERTY) == dword(NCRYPT_ALLOW_ALL_USAGES)


# --- of providers ------------------------------------------------------------------------------


def test_a_provider_answers(provider: Provider, provider_name: str) -> None:
    assert get(provider, NCRYPT_NAME_PROPERTY) == utf16z(provider_name)
    assert get(provider, NCRYPT_IMPL_TYPE_PROPERTY) == dword(2)
    assert get(provider, NCRYPT_MAX_NAME_LENGTH_PROPERTY) == dword(260)
    assert get(provider, NCRYPT_SECURITY_DESCR_SUPPORT_PROPERTY) == dword(1)
    (version,) = struct.unpack("<I", get(provider, NCRYPT_VERSION_PROPERTY))
    assert version >> 16 >= 1


@pytest.mark.parametrize(
    "property_name",
    [NCRYPT_LENGTH_PROPERTY, NCRYPT_ALGORITHM_PROPERTY, NCRYPT_PROVIDER_HANDLE_PROPERTY, ""],
)
def test_a_property_that_no_provider_has(provider: Provider, property_name: str) -> None:
    with fails(Status.NTE_NOT_SUPPORTED):
        get(provider, property_name)


def test_the_size_probe_of_a_provider(provider: Provider, provider_name: str) -> None:
    size = ncrypt.NCryptGetProperty(provider, NCRYPT_NAME_PROPERTY, cbOutput=None)

    assert size == 2 * len(provider_name) + 2
    with fails(Status.NTE_BUFFER_TOO_SMALL):
        ncrypt.NCryptGetProperty(provider, NCRYPT_NAME_PROPERTY, cbOutput=size - 1)


@pytest.mark.parametrize("property_name", [NCRYPT_NAME_PROPERTY, NCRYPT_VERSION_PROPERTY, "Note"])
def test_a_provider_keeps_what_it_is(provider: Provider, property_name: str) -> None:
    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptSetProperty(provider, property_name, utf16z("value"))
