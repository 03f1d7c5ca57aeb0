"""Properties that are stored with a key or set on a handle, and the access list of a key."""

import os
import struct
import time

import pytest

from keyiso import limits, ncrypt
from keyiso.flags import (
    DACL_SECURITY_INFORMATION,
    GROUP_SECURITY_INFORMATION,
    NCRYPT_MACHINE_KEY_FLAG,
    NCRYPT_OVERWRITE_KEY_FLAG,
    NCRYPT_PERSIST_FLAG,
    NCRYPT_PERSIST_ONLY_FLAG,
    NCRYPT_SILENT_FLAG,
    NCRYPT_UI_PROTECT_KEY_FLAG,
    NCRYPTBUFFER_PKCS_KEY_NAME,
    OWNER_SECURITY_INFORMATION,
    SACL_SECURITY_INFORMATION,
)
from keyiso.function_table import NCRYPT_UI_POLICY
from keyiso.identifiers import (
    BCRYPT_PUBLIC_KEY_BLOB,
    NCRYPT_CERTIFICATE_PROPERTY,
    NCRYPT_LAST_MODIFIED_PROPERTY,
    NCRYPT_LENGTH_PROPERTY,
    NCRYPT_NAME_PROPERTY,
    NCRYPT_PKCS8_PRIVATE_KEY_BLOB,
    NCRYPT_SECURITY_DESCR_PROPERTY,
    NCRYPT_UI_POLICY_PROPERTY,
    NCRYPT_USE_CONTEXT_PROPERTY,
    NCRYPT_WINDOW_HANDLE_PROPERTY,
)
from keyiso.status import Status
from tests.conformance.cases import ECDSA_P256, PERSISTED, RSA_2048, Kind, begin, make
from tests.conformance.independent import dword, utf16z
from tests.conformance.statuses import fails

pytestmark = pytest.mark.both_levels

Provider = ncrypt.NCryptProvHandle
NOTE = "Example.Note"


def get(handle: ncrypt.NCryptHandle, name: str, flags: int = 0) -> bytes:
    return ncrypt.NCryptGetProperty(handle, name, flags)


def put(handle: ncrypt.NCryptHandle, name: str, value: bytes, flags: int = 0) -> None:
    ncrypt.NCryptSetProperty(handle, name, value, flags)


# --- stored with a key -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PERSISTED, ids=str)
@pytest.mark.parametrize("value", [b"", b"x", b"\x00" * 100_000], ids=len)
def test_a_stored_property_is_there_for_every_handle(
    provider: Provider, kind: Kind, value: bytes, name: str
) -> None:
    key = make(provider, ECDSA_P256, name, kind.flag)
    put(key, NOTE, b"before", NCRYPT_PERSIST_FLAG)

    put(key, NOTE, value, NCRYPT_PERSIST_FLAG | NCRYPT_SILENT_FLAG)

    for handle in (key, ncrypt.NCryptOpenKey(provider, name, 0, kind.flag)):
        for flags in (0, NCRYPT_PERSIST_ONLY_FLAG):
            assert get(handle, NOTE, flags) == value
        assert ncrypt.NCryptGetProperty(handle, NOTE, cbOutput=None) == len(value)
    ECDSA_P256.sign(key)


def test_a_property_set_before_finalize_is_stored_with_the_key(
    provider: Provider, name: str
) -> None:
    key = begin(provider, name=name)
    put(key, NOTE, b"from the beginning", NCRYPT_PERSIST_FLAG)
    put(key, NCRYPT_CERTIFICATE_PROPERTY, b"certificate")
    assert get(key, NOTE) == b"from the beginning"

    ncrypt.NCryptFinalizeKey(key)

    opened = ncrypt.NCryptOpenKey(provider, name)
    assert get(opened, NOTE) == b"from the beginning"
    assert get(opened, NCRYPT_CERTIFICATE_PROPERTY) == b"certificate"


@pytest.mark.exports_private_key
def test_an_import_brings_its_properties(provider: Provider, name: str) -> None:
    source = begin(provider)
    put(source, "Export Policy", dword(3))
    ncrypt.NCryptFinalizeKey(source)
    pkcs8 = ncrypt.NCryptExportKey(source, None, NCRYPT_PKCS8_PRIVATE_KEY_BLOB)
    named = [ncrypt.NCryptBuffer(NCRYPTBUFFER_PKCS_KEY_NAME, name)]
    key = ncrypt.NCryptImportKey(provider, None, NCRYPT_PKCS8_PRIVATE_KEY_BLOB, named, pkcs8, 0x400)
    put(key, NOTE, b"imported", NCRYPT_PERSIST_FLAG)

    ncrypt.NCryptFinalizeKey(key)

    assert get(ncrypt.NCryptOpenKey(provider, name), NOTE) == b"imported"


def test_a_users_value_does_not_hide_a_built_in_one(provider: Provider, name: str) -> None:
    """NCRYPT_PERSIST_ONLY_FLAG is a name space of its own."""
    key = make(provider, name=name)
    with fails(Status.NTE_NOT_FOUND):
        get(key, NCRYPT_LENGTH_PROPERTY, NCRYPT_PERSIST_ONLY_FLAG)

    put(key, NCRYPT_NAME_PROPERTY, b"mine", NCRYPT_PERSIST_ONLY_FLAG)

    assert get(key, NCRYPT_NAME_PROPERTY, NCRYPT_PERSIST_ONLY_FLAG) == b"mine"
    assert get(key, NCRYPT_NAME_PROPERTY) == utf16z(name)
    with fails(Status.NTE_NOT_SUPPORTED):
        put(key, NCRYPT_NAME_PROPERTY, b"mine", NCRYPT_PERSIST_FLAG)


def test_a_property_that_was_not_set(provider: Provider, name: str) -> None:
    key = make(provider, name=name)

    with fails(Status.NTE_NOT_SUPPORTED):
        get(key, NOTE)
    with fails(Status.NTE_NOT_FOUND):
        get(key, NOTE, NCRYPT_PERSIST_ONLY_FLAG)
    with fails(Status.NTE_NOT_FOUND):
        get(key, NCRYPT_CERTIFICATE_PROPERTY)


def test_a_custom_property_must_be_meant_to_be_stored(provider: Provider, name: str) -> None:
    """As observed on the Microsoft software provider."""
    for key in (begin(provider, name=name), make(provider, name=name)):
        with fails(Status.NTE_NOT_SUPPORTED):
            put(key, NOTE, b"value")


def test_nothing_is_stored_with_a_key_that_is_not(provider: Provider) -> None:
    ephemeral = make(provider)
    blob = ncrypt.NCryptExportKey(ephemeral, None, BCRYPT_PUBLIC_KEY_BLOB)
    public = ncrypt.NCryptImportKey(provider, None, BCRYPT_PUBLIC_KEY_BLOB, None, blob)

    for key in (begin(provider), ephemeral, public):
        for flags in (NCRYPT_PERSIST_FLAG, NCRYPT_PERSIST_ONLY_FLAG):
            with fails(Status.NTE_NOT_SUPPORTED):
                put(key, NOTE, b"value", flags)


@pytest.mark.parametrize(
    "property_name",
    ["", "x" * 65, "with\0nul", "\U0001f511" * 33],
    ids=["empty", "65 units", "NUL", "66 units"],
)
def test_a_name_that_no_property_can_have(
    provider: Provider, property_name: str, name: str
) -> None:
    key = make(provider, name=name)

    with fails(Status.NTE_INVALID_PARAMETER):
        put(key, property_name, b"value", NCRYPT_PERSIST_FLAG)
    with fails(Status.NTE_NOT_FOUND):
        get(key, property_name, NCRYPT_PERSIST_ONLY_FLAG)


@pytest.mark.parametrize(
    "property_name",
    ["x" * 64, "\ud800", "\U0001f511" * 32, "a/../b", "É"],
    ids=["64 units", "surrogate", "64 units in 32", "path", "accent"],
)
def test_a_propertys_name_is_opaque(provider: Provider, property_name: str, name: str) -> None:
    key = make(provider, name=name)

    put(key, property_name, b"value", NCRYPT_PERSIST_FLAG)

    assert get(key, property_name) == b"value"


def test_the_largest_property_and_one_byte_more(provider: Provider, name: str) -> None:
    key = make(provider, name=name)
    largest = os.urandom(limits.PROPERTY_BYTES)

    put(key, NOTE, largest, NCRYPT_PERSIST_FLAG)

    assert get(key, NOTE) == largest
    with fails(Status.NTE_INVALID_PARAMETER):
        put(key, NOTE, largest + b"x", NCRYPT_PERSIST_FLAG)
    assert get(key, NOTE) == largest


def test_a_key_has_so_many_properties_and_no_more(provider: Provider, name: str) -> None:
    key = make(provider, name=name)
    for number in range(limits.PROPERTIES_PER_KEY):
        put(key, f"{number}", b"", NCRYPT_PERSIST_FLAG)

    with fails(Status.KEYISO_E_LIMIT):
        put(key, "one more", b"", NCRYPT_PERSIST_FLAG)

    put(key, "0", b"another value", NCRYPT_PERSIST_FLAG)
    assert get(key, "0") == b"another value"


def test_a_keys_properties_together_have_a_limit(provider: Provider, name: str) -> None:
    key = make(provider, name=name)
    block = bytes(limits.PROPERTY_BYTES - 1000)
    for number in range(4):
        put(key, f"{number}", block, NCRYPT_PERSIST_FLAG)

    with fails(Status.KEYISO_E_LIMIT):
        put(key, "4", block, NCRYPT_PERSIST_FLAG)

    put(key, "4", b"small", NCRYPT_PERSIST_FLAG)


def test_a_new_keys_properties_travel_with_it(provider: Provider, name: str) -> None:
    key = begin(provider, name=name)
    put(key, "0", bytes(limits.NEW_KEY_PROPERTY_BYTES), NCRYPT_PERSIST_FLAG)

    with fails(Status.NTE_INVALID_PARAMETER):
        put(key, "1", b"x", NCRYPT_PERSIST_FLAG)

    ncrypt.NCryptFinalizeKey(key)
    assert len(get(key, "0")) == limits.NEW_KEY_PROPERTY_BYTES


def test_properties_go_with_their_key(provider: Provider, name: str) -> None:
    first = make(provider, name=name)
    put(first, NOTE, b"of the first", NCRYPT_PERSIST_FLAG)

    second = make(provider, ECDSA_P256, name, NCRYPT_OVERWRITE_KEY_FLAG)

    with fails(Status.NTE_NOT_FOUND):
        get(second, NOTE, NCRYPT_PERSIST_ONLY_FLAG)
    with fails(Status.NTE_BAD_KEYSET):
        get(first, NOTE)
    with fails(Status.NTE_BAD_KEYSET):
        put(first, NOTE, b"of nobody", NCRYPT_PERSIST_FLAG)


def test_the_policy_for_people_is_set_before_finalize(provider: Provider, name: str) -> None:
    policy = NCRYPT_UI_POLICY("Create a key", "Web server", "Signs for example.org")
    key = begin(provider, name=name)
    put(key, NCRYPT_UI_POLICY_PROPERTY, policy.pack())

    ncrypt.NCryptFinalizeKey(key)

    found = get(ncrypt.NCryptOpenKey(provider, name), NCRYPT_UI_POLICY_PROPERTY)
    assert NCRYPT_UI_POLICY.unpack(found) == policy
    with fails(Status.NTE_NOT_SUPPORTED):
        put(key, NCRYPT_UI_POLICY_PROPERTY, policy.pack())


def test_a_ui_policy_to_the_byte() -> None:
    assert NCRYPT_UI_POLICY("a", "", "bc").pack() == (
        b"\x01\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x06\0\0\0a\0\0\0b\0c\0\0\0"
    )


def test_no_key_pretends_to_ask_somebody(provider: Provider, name: str) -> None:
    policy = NCRYPT_UI_POLICY(dwFlags=NCRYPT_UI_PROTECT_KEY_FLAG)

    with fails(Status.NTE_NOT_SUPPORTED):
        put(begin(provider, name=name), NCRYPT_UI_POLICY_PROPERTY, policy.pack())


@pytest.mark.parametrize("cut", [0, 8, 19, 21])
def test_what_is_no_ui_policy(provider: Provider, cut: int, name: str) -> None:
    blob = NCRYPT_UI_POLICY("title").pack()[:cut]

    with fails(Status.NTE_INVALID_PARAMETER):
        put(begin(provider, name=name), NCRYPT_UI_POLICY_PROPERTY, blob)


# --- of a handle -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "property_name", [NCRYPT_USE_CONTEXT_PROPERTY, NCRYPT_WINDOW_HANDLE_PROPERTY]
)
def test_what_belongs_to_a_handle(provider: Provider, property_name: str, name: str) -> None:
    key, value = make(provider, name=name), utf16z("to sign the contract")
    for handle in (key, provider, begin(provider)):
        put(handle, property_name, value)
        assert get(handle, property_name) == value

    with fails(Status.NTE_NOT_FOUND):
        get(ncrypt.NCryptOpenKey(provider, name), property_name)
    with fails(Status.NTE_INVALID_PARAMETER):
        put(key, property_name, bytes(limits.HANDLE_PROPERTY_BYTES + 1))


# --- when it was changed -----------------------------------------------------------------------


def test_a_persisted_key_says_when_it_was_changed(provider: Provider, name: str) -> None:
    before = _filetime(time.time())
    key = make(provider, name=name)
    made = _number(get(key, NCRYPT_LAST_MODIFIED_PROPERTY))
    assert before <= made <= _filetime(time.time())

    put(key, NOTE, b"value", NCRYPT_PERSIST_FLAG)

    assert made < _number(get(key, NCRYPT_LAST_MODIFIED_PROPERTY)) <= _filetime(time.time())


def _number(value: bytes) -> int:
    return int(struct.unpack("<Q", value)[0])


def _filetime(seconds: float) -> int:
    """By what is known of both epochs: 369 years with 89 leap days lie between them."""
    return int((seconds + (369 * 365 + 89) * 86400) * 10**7)


# --- the access list ---------------------------------------------------------------------------


def sid(kind: int, number: int) -> bytes:
    """S-1-22-kind-number, to the byte."""
    return struct.pack("<BB6sII", 1, 2, b"\0\0\0\0\0\x16", kind, number)


def descriptor(*entries: tuple[int, int, int], control: int = 0x8004) -> bytes:
    """A self-relative descriptor with only an access list of (mask, kind, number)."""
    aces = b"".join(
        struct.pack("<BBHI", 0, 0, 24, mask) + sid(kind, number) for mask, kind, number in entries
    )
    acl = struct.pack("<BBHHH", 2, 0, 8 + len(aces), len(entries), 0) + aces
    return struct.pack("<BBHIIII", 1, 0, control, 0, 0, 0, 20) + acl


OWN = (0x10000000, 1, os.geteuid())


def test_a_users_key_is_the_users(provider: Provider, name: str) -> None:
    key = make(provider, name=name)

    assert get(key, NCRYPT_SECURITY_DESCR_PROPERTY, 4) == descriptor(OWN)
    whole = get(
        key,
        NCRYPT_SECURITY_DESCR_PROPERTY,
        OWNER_SECURITY_INFORMATION | GROUP_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
    )
    assert whole[4:8] == struct.pack("<I", 20)
    assert whole[20:52] == 2 * sid(1, os.geteuid())


def test_an_access_list_is_stored_and_found_again(provider: Provider, name: str) -> None:
    key = make(provider, ECDSA_P256, name, NCRYPT_MACHINE_KEY_FLAG)
    wanted = descriptor(OWN, (0x80000000, 1, 4711), (0x40000000, 2, 42))

    put(key, NCRYPT_SECURITY_DESCR_PROPERTY, wanted, DACL_SECURITY_INFORMATION)

    opened = ncrypt.NCryptOpenKey(provider, name, 0, NCRYPT_MACHINE_KEY_FLAG)
    for handle in (key, opened):
        found = get(handle, NCRYPT_SECURITY_DESCR_PROPERTY, DACL_SECURITY_INFORMATION)
        assert found == wanted
        ECDSA_P256.sign(handle)


def test_who_takes_the_right_from_himself_has_it_no_more(provider: Provider, name: str) -> None:
    """Also through a handle that is open, and as soon as the call has returned."""
    key = make(provider, RSA_2048, name, NCRYPT_MACHINE_KEY_FLAG)
    RSA_2048.sign(key)

    put(
        key,
        NCRYPT_SECURITY_DESCR_PROPERTY,
        descriptor((0x10000000, 1, 4711)),
        DACL_SECURITY_INFORMATION,
    )

    with fails(Status.NTE_BAD_KEYSET):
        RSA_2048.sign(key)
    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptOpenKey(provider, name, 0, NCRYPT_MACHINE_KEY_FLAG)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (b"", Status.NTE_INVALID_PARAMETER),
        (descriptor(OWN)[:-1], Status.NTE_INVALID_PARAMETER),
        (descriptor(OWN, control=0x8000), Status.NTE_INVALID_PARAMETER),
        (descriptor(OWN, control=0x0004), Status.NTE_INVALID_PARAMETER),
        (descriptor(), Status.NTE_INVALID_PARAMETER),
        (descriptor((0x80000000, 1, 0)), Status.NTE_INVALID_PARAMETER),
        (descriptor(*[OWN] * 65), Status.NTE_INVALID_PARAMETER),
        (descriptor(OWN, (0, 1, 1)), Status.NTE_INVALID_PARAMETER),
        (descriptor(OWN, (0x80000000, 3, 1)), Status.NTE_NOT_SUPPORTED),
        (descriptor(OWN, (0x00010000, 1, 1)), Status.NTE_NOT_SUPPORTED),
        (
            descriptor(OWN).replace(b"\x00\x00\x18\x00", b"\x01\x00\x18\x00"),
            Status.NTE_NOT_SUPPORTED,
        ),
    ],
    ids=[
        "empty",
        "cut short",
        "no list",
        "absolute",
        "nobody",
        "nobody manages",
        "too long",
        "no rights",
        "unknown principal",
        "other rights",
        "a denial",
    ],
)
def test_an_access_list_that_no_key_can_have(
    provider: Provider, value: bytes, status: Status, name: str
) -> None:
    key = make(provider, name=name)

    with fails(status):
        put(key, NCRYPT_SECURITY_DESCR_PROPERTY, value, DACL_SECURITY_INFORMATION)

    assert get(key, NCRYPT_SECURITY_DESCR_PROPERTY, 4) == descriptor(OWN)
    ECDSA_P256.sign(key)


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        (0, Status.NTE_BAD_FLAGS),
        (DACL_SECURITY_INFORMATION | NCRYPT_PERSIST_ONLY_FLAG, Status.NTE_BAD_FLAGS),
        (SACL_SECURITY_INFORMATION, Status.NTE_NOT_SUPPORTED),
    ],
)
def test_the_parts_of_a_descriptor_are_flags(
    provider: Provider, flags: int, status: Status, name: str
) -> None:
    key = make(provider, name=name)

    with fails(status):
        get(key, NCRYPT_SECURITY_DESCR_PROPERTY, flags)
    with fails(status):
        put(key, NCRYPT_SECURITY_DESCR_PROPERTY, descriptor(OWN), flags)
    with fails(Status.NTE_NOT_SUPPORTED):
        put(key, NCRYPT_SECURITY_DESCR_PROPERTY, descriptor(OWN), OWNER_SECURITY_INFORMATION)


def test_an_ephemeral_key_has_no_descriptor(provider: Provider) -> None:
    with fails(Status.NTE_NOT_SUPPORTED):
        get(make(provider), NCRYPT_SECURITY_DESCR_PROPERTY, DACL_SECURITY_INFORMATION)
