"""A key's life: create, finalize, open, enumerate, overwrite, delete, free."""

import copy
import pickle
from collections.abc import Callable

import pytest

from keyiso import ncrypt
from keyiso.flags import (
    AT_KEYEXCHANGE,
    AT_SIGNATURE,
    NCRYPT_MACHINE_KEY_FLAG,
    NCRYPT_NO_KEY_VALIDATION,
    NCRYPT_OVERWRITE_KEY_FLAG,
    NCRYPT_SILENT_FLAG,
)
from keyiso.identifiers import (
    NCRYPT_KEY_TYPE_PROPERTY,
    NCRYPT_NAME_PROPERTY,
    NCRYPT_UNIQUE_NAME_PROPERTY,
)
from keyiso.status import Status
from tests.conformance.cases import (
    ALGORITHMS,
    ECDSA_P256,
    PERSISTED,
    RSA_4096,
    Algorithm,
    Kind,
    begin,
    make,
)
from tests.conformance.independent import dword, utf16z
from tests.conformance.statuses import fails

pytestmark = pytest.mark.both_levels

Provider = ncrypt.NCryptProvHandle


def unique_name(key: ncrypt.NCryptKeyHandle) -> bytes:
    return ncrypt.NCryptGetProperty(key, NCRYPT_UNIQUE_NAME_PROPERTY)


def names(provider: Provider, flags: int = 0) -> list[str]:
    """Every name of a scope, one call a name, as CNG enumerates."""
    return [key.pszName for key in enumerated(provider, flags)]


def enumerated(provider: Provider, flags: int = 0) -> list[ncrypt.NCryptKeyName]:
    found: list[ncrypt.NCryptKeyName] = []
    state = None
    while True:
        try:
            key, state = ncrypt.NCryptEnumKeys(provider, None, state, flags)
        except ncrypt.NCryptError as error:
            assert error.status == Status.NTE_NO_MORE_ITEMS
            return found
        found.append(key)


# --- create and finalize -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", Kind, ids=str)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_a_key_signs_from_when_it_is_finalized(
    provider: Provider, algorithm: Algorithm, kind: Kind, name: str
) -> None:
    key = begin(provider, algorithm, kind.key_name(name), kind.flag)
    with fails(Status.NTE_BAD_KEY_STATE):
        algorithm.sign(key)
    assert ncrypt.NCryptIsKeyHandle(key)

    ncrypt.NCryptFinalizeKey(key)

    algorithm.verify(key, algorithm.sign(key))


def test_the_longest_rsa_key(provider: Provider) -> None:
    key = make(provider, RSA_4096)

    signature = RSA_4096.sign(key)

    assert len(signature) == 512
    RSA_4096.verify(key, signature)


@pytest.mark.parametrize(
    "flags", [NCRYPT_SILENT_FLAG, NCRYPT_NO_KEY_VALIDATION], ids=["silent", "no validation"]
)
def test_finalize_takes_its_flags(provider: Provider, flags: int) -> None:
    key = begin(provider)

    ncrypt.NCryptFinalizeKey(key, flags)

    ECDSA_P256.sign(key)


@pytest.mark.parametrize("kind", Kind, ids=str)
def test_the_second_finalize_is_an_invalid_handle(
    provider: Provider, kind: Kind, name: str
) -> None:
    """As on Windows, where it is not NTE_BAD_KEY_STATE; and the key stays good."""
    key = make(provider, ECDSA_P256, kind.key_name(name), kind.flag)

    with fails(Status.NTE_INVALID_HANDLE):
        ncrypt.NCryptFinalizeKey(key)

    ECDSA_P256.sign(key)


def test_an_opened_key_cannot_be_finalized(provider: Provider, name: str) -> None:
    make(provider, name=name)
    key = ncrypt.NCryptOpenKey(provider, name)

    with fails(Status.NTE_INVALID_HANDLE):
        ncrypt.NCryptFinalizeKey(key)


@pytest.mark.parametrize("kind", PERSISTED, ids=str)
def test_a_key_that_was_not_finalized_does_not_exist(
    provider: Provider, kind: Kind, name: str
) -> None:
    draft = begin(provider, ECDSA_P256, name, kind.flag)

    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptOpenKey(provider, name, 0, kind.flag)
    assert name not in names(provider, kind.flag)

    ncrypt.NCryptFreeObject(draft)
    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptOpenKey(provider, name, 0, kind.flag)


@pytest.mark.parametrize("algorithm", ["RSA_SIGN", "DSA", "ECDSA", "3DES", "rsa", "", "no such"])
def test_an_algorithm_that_is_not_offered(provider: Provider, algorithm: str) -> None:
    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptCreatePersistedKey(provider, algorithm)


@pytest.mark.parametrize("key_spec", [0, AT_KEYEXCHANGE, AT_SIGNATURE])
def test_legacy_key_specifications_are_accepted(
    provider: Provider, key_spec: int, name: str
) -> None:
    ncrypt.NCryptFinalizeKey(
        ncrypt.NCryptCreatePersistedKey(provider, "ECDSA_P256", name, key_spec)
    )

    ncrypt.NCryptOpenKey(provider, name, key_spec)


def test_another_legacy_key_specification_is_refused(provider: Provider, name: str) -> None:
    make(provider, name=name)
    for wrong in (3, -1):
        with fails(Status.NTE_INVALID_PARAMETER):
            ncrypt.NCryptCreatePersistedKey(provider, "ECDSA_P256", name + "2", wrong)
        with fails(Status.NTE_INVALID_PARAMETER):
            ncrypt.NCryptOpenKey(provider, name, wrong)


def test_an_ephemeral_key_takes_the_flags_of_a_persisted_one(provider: Provider) -> None:
    """They say where and over what it would be stored, and it is not."""
    key = make(provider, ECDSA_P256, None, NCRYPT_MACHINE_KEY_FLAG | NCRYPT_OVERWRITE_KEY_FLAG)

    ECDSA_P256.sign(key)
    assert ncrypt.NCryptGetProperty(key, NCRYPT_KEY_TYPE_PROPERTY) == dword(0)


# --- names -------------------------------------------------------------------------------------

EMOJI = "\U0001f511"

GOOD_NAMES = {
    "one unit": "k",
    "260 units": "x" * 260,
    "130 emoji": EMOJI * 130,
    "lone high surrogate": "\ud83d",
    "lone low surrogate": "\udd11 tail",
    "surrogates the wrong way round": "\udd11\ud83d",
    "path": "../../etc/passwd",
    "blank": " ",
    "control characters": "\x01\x1b[31m\n\x7f",
    "right to left": "\u202eyek",
    "last unit": "\uffff",
}


@pytest.mark.parametrize("kind", PERSISTED, ids=str)
@pytest.mark.parametrize("key_name", GOOD_NAMES.values(), ids=GOOD_NAMES.keys())
def test_a_name_is_opaque(provider: Provider, kind: Kind, key_name: str) -> None:
    """Created, opened, listed and deleted under it, unit by unit as it was given."""
    key = make(provider, ECDSA_P256, key_name, kind.flag)
    try:
        opened = ncrypt.NCryptOpenKey(provider, key_name, 0, kind.flag)
        assert unique_name(opened) == unique_name(key)
        units = key_name.encode("utf-16-le", "surrogatepass")
        assert ncrypt.NCryptGetProperty(opened, NCRYPT_NAME_PROPERTY) == units + b"\0\0"
        assert key_name in names(provider, kind.flag)
    finally:
        ncrypt.NCryptDeleteKey(key)
    assert key_name not in names(provider, kind.flag)


BAD_NAMES = {
    "empty": "",
    "NUL": "\0",
    "NUL inside": "a\0b",
    "NUL at the end": "a\0",
    "261 units": "x" * 261,
    "131 emoji": EMOJI * 131,
}


@pytest.mark.parametrize("kind", PERSISTED, ids=str)
@pytest.mark.parametrize("key_name", BAD_NAMES.values(), ids=BAD_NAMES.keys())
def test_a_name_that_no_key_can_have(provider: Provider, kind: Kind, key_name: str) -> None:
    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptCreatePersistedKey(provider, "ECDSA_P256", key_name, 0, kind.flag)
    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptOpenKey(provider, key_name, 0, kind.flag)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Web", "web"), ("stra\u00dfe", "STRASSE"), ("caf\u00e9", "cafe\u0301"), ("a", "a ")],
    ids=["case", "case folding", "normal form", "blank at the end"],
)
def test_names_are_compared_exactly(provider: Provider, one: str, other: str) -> None:
    first, second = make(provider, name=one), make(provider, name=other)
    try:
        assert unique_name(first) != unique_name(second)
        assert unique_name(ncrypt.NCryptOpenKey(provider, one)) == unique_name(first)
        assert unique_name(ncrypt.NCryptOpenKey(provider, other)) == unique_name(second)
        assert {one, other} <= set(names(provider))
    finally:
        ncrypt.NCryptDeleteKey(first)
    ECDSA_P256.sign(second)
    ncrypt.NCryptDeleteKey(second)


def test_one_name_in_two_scopes_is_two_keys(provider: Provider, name: str) -> None:
    user = make(provider, ECDSA_P256, name)
    machine = make(provider, ECDSA_P256, name, NCRYPT_MACHINE_KEY_FLAG)
    assert unique_name(user) != unique_name(machine)

    ncrypt.NCryptDeleteKey(user)

    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptOpenKey(provider, name)
    opened = ncrypt.NCryptOpenKey(provider, name, 0, NCRYPT_MACHINE_KEY_FLAG)
    assert unique_name(opened) == unique_name(machine)


# --- open and enumerate ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PERSISTED, ids=str)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_an_opened_key_is_the_one_that_was_made(
    provider: Provider, algorithm: Algorithm, kind: Kind, name: str
) -> None:
    made = make(provider, algorithm, name, kind.flag)

    opened = ncrypt.NCryptOpenKey(provider, name, 0, kind.flag | NCRYPT_SILENT_FLAG)

    assert unique_name(opened) == unique_name(made)
    algorithm.verify(made, algorithm.sign(opened))


@pytest.mark.parametrize("kind", PERSISTED, ids=str)
def test_open_of_a_name_that_is_not_there(provider: Provider, kind: Kind, name: str) -> None:
    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptOpenKey(provider, name, 0, kind.flag)


@pytest.mark.parametrize("kind", PERSISTED, ids=str)
def test_enumeration_gives_each_key_of_a_scope_once(
    provider: Provider, kind: Kind, name: str
) -> None:
    """More keys than one page of the service's answer holds."""
    mine = {f"{name} {number}" for number in range(300)}
    handles = [make(provider, ECDSA_P256, one, kind.flag) for one in mine]
    other = NCRYPT_MACHINE_KEY_FLAG ^ kind.flag

    found = names(provider, kind.flag)

    assert found == sorted(set(found), key=lambda one: one.encode("utf-16-le", "surrogatepass"))
    assert mine <= set(found)
    assert not mine & set(names(provider, other))
    for handle in handles:
        ncrypt.NCryptDeleteKey(handle)
    assert not mine & set(names(provider, kind.flag))


def test_an_enumerated_key_says_its_algorithm_and_scope(provider: Provider, name: str) -> None:
    for algorithm in ALGORITHMS:
        make(provider, algorithm, f"{name} {algorithm}", NCRYPT_MACHINE_KEY_FLAG)

    found = {key.pszName: key for key in enumerated(provider, NCRYPT_MACHINE_KEY_FLAG)}

    for algorithm in ALGORITHMS:
        key = found[f"{name} {algorithm}"]
        assert (key.pszAlgid, key.dwLegacyKeySpec, key.dwFlags) == (
            algorithm.identifier,
            0,
            NCRYPT_MACHINE_KEY_FLAG,
        )


def test_enumeration_refuses_a_scope_and_a_foreign_state(provider: Provider, name: str) -> None:
    make(provider, name=name)
    _, state = ncrypt.NCryptEnumKeys(provider)

    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptEnumKeys(provider, "user")  # type: ignore[arg-type]
    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptEnumKeys(provider, None, object())
    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptEnumKeys(provider, None, state, NCRYPT_MACHINE_KEY_FLAG)


def test_an_ephemeral_key_is_not_enumerated(provider: Provider) -> None:
    before = names(provider), names(provider, NCRYPT_MACHINE_KEY_FLAG)

    make(provider)

    assert (names(provider), names(provider, NCRYPT_MACHINE_KEY_FLAG)) == before


# --- a name that is taken ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", PERSISTED, ids=str)
def test_a_taken_name_is_told_at_create(provider: Provider, kind: Kind, name: str) -> None:
    first = make(provider, ECDSA_P256, name, kind.flag)

    with fails(Status.NTE_EXISTS):
        begin(provider, ECDSA_P256, name, kind.flag)

    ECDSA_P256.sign(first)


def test_finalize_decides_who_gets_a_name(provider: Provider, name: str) -> None:
    """Create only looks; two that looked at the same time cannot both have it."""
    first, second = begin(provider, name=name), begin(provider, name=name)
    ncrypt.NCryptFinalizeKey(first)

    with fails(Status.NTE_EXISTS):
        ncrypt.NCryptFinalizeKey(second)

    assert unique_name(ncrypt.NCryptOpenKey(provider, name)) == unique_name(first)
    with fails(Status.NTE_BAD_KEY_STATE):
        ECDSA_P256.sign(second)
    ncrypt.NCryptDeleteKey(first)
    ncrypt.NCryptFinalizeKey(second)
    ECDSA_P256.sign(second)


@pytest.mark.parametrize("kind", PERSISTED, ids=str)
@pytest.mark.parametrize("successor", ALGORITHMS, ids=str)
def test_overwrite_replaces_the_key_when_it_is_finalized(
    provider: Provider, successor: Algorithm, kind: Kind, name: str
) -> None:
    first = make(provider, ECDSA_P256, name, kind.flag)
    opened = ncrypt.NCryptOpenKey(provider, name, 0, kind.flag)
    ECDSA_P256.sign(opened)
    second = begin(provider, successor, name, kind.flag | NCRYPT_OVERWRITE_KEY_FLAG)
    ECDSA_P256.sign(first)

    ncrypt.NCryptFinalizeKey(second)

    for old in (first, opened):
        with fails(Status.NTE_BAD_KEYSET):
            ECDSA_P256.sign(old)
    successor.verify(second, successor.sign(second))
    assert unique_name(second) != unique_name(first)
    assert unique_name(ncrypt.NCryptOpenKey(provider, name, 0, kind.flag)) == unique_name(second)
    assert names(provider, kind.flag).count(name) == 1


def test_overwrite_of_a_name_that_is_free(provider: Provider, name: str) -> None:
    key = make(provider, ECDSA_P256, name, NCRYPT_OVERWRITE_KEY_FLAG)

    ECDSA_P256.sign(key)


def test_overwrite_in_one_scope_leaves_the_other(provider: Provider, name: str) -> None:
    machine = make(provider, ECDSA_P256, name, NCRYPT_MACHINE_KEY_FLAG)
    make(provider, ECDSA_P256, name)

    make(provider, ECDSA_P256, name, NCRYPT_OVERWRITE_KEY_FLAG)

    ECDSA_P256.sign(machine)


# --- delete and free ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PERSISTED, ids=str)
def test_delete_is_for_everybody_and_frees_the_handle(
    provider: Provider, kind: Kind, name: str
) -> None:
    key = make(provider, ECDSA_P256, name, kind.flag)
    other = ncrypt.NCryptOpenKey(provider, name, 0, kind.flag)
    ECDSA_P256.sign(other)

    ncrypt.NCryptDeleteKey(key, NCRYPT_SILENT_FLAG)

    assert not ncrypt.NCryptIsKeyHandle(key)
    with fails(Status.NTE_INVALID_HANDLE):
        ncrypt.NCryptFreeObject(key)
    with fails(Status.NTE_BAD_KEYSET):
        ECDSA_P256.sign(other)
    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptOpenKey(provider, name, 0, kind.flag)


def test_a_deleted_key_is_never_mistaken_for_its_successor(provider: Provider, name: str) -> None:
    old = make(provider, name=name)
    old_unique_name = unique_name(old)
    watching = ncrypt.NCryptOpenKey(provider, name)
    ncrypt.NCryptDeleteKey(old)

    new = make(provider, name=name)

    assert unique_name(new) != old_unique_name
    with fails(Status.NTE_BAD_KEYSET):
        ECDSA_P256.sign(watching)
    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptDeleteKey(watching)
    ECDSA_P256.sign(new)


def test_after_a_failed_delete_the_handle_is_still_the_callers(
    provider: Provider, name: str
) -> None:
    first = make(provider, name=name)
    second = ncrypt.NCryptOpenKey(provider, name)
    ncrypt.NCryptDeleteKey(first)

    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptDeleteKey(second)

    assert ncrypt.NCryptIsKeyHandle(second)
    ncrypt.NCryptFreeObject(second)


@pytest.mark.parametrize("kind", Kind, ids=str)
def test_delete_of_a_key_that_was_not_finalized(provider: Provider, kind: Kind, name: str) -> None:
    key = begin(provider, ECDSA_P256, kind.key_name(name), kind.flag)

    ncrypt.NCryptDeleteKey(key)

    assert not ncrypt.NCryptIsKeyHandle(key)


def test_delete_of_an_ephemeral_key(provider: Provider) -> None:
    key = make(provider)

    ncrypt.NCryptDeleteKey(key)

    with fails(Status.NTE_INVALID_HANDLE):
        ECDSA_P256.sign(key)


@pytest.mark.parametrize("kind", Kind, ids=str)
def test_a_freed_handle_is_invalid(provider: Provider, kind: Kind, name: str) -> None:
    key = make(provider, ECDSA_P256, kind.key_name(name), kind.flag)

    ncrypt.NCryptFreeObject(key)

    assert not ncrypt.NCryptIsKeyHandle(key)
    with fails(Status.NTE_INVALID_HANDLE):
        ECDSA_P256.sign(key)
    with fails(Status.NTE_INVALID_HANDLE):
        ncrypt.NCryptFreeObject(key)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_handle_cannot_be_doubled(
    provider: Provider, duplicate: Callable[[object], object]
) -> None:
    """Two handles of one ephemeral key would end it twice, and one of them too early."""
    key = make(provider)

    with pytest.raises(TypeError, match="neither copied nor pickled"):
        duplicate(key)

    ECDSA_P256.sign(key)


def test_a_handle_that_ncrypt_did_not_give_out_is_invalid() -> None:
    forged = object.__new__(ncrypt.NCryptKeyHandle)

    assert not ncrypt.NCryptIsKeyHandle(forged)
    with fails(Status.NTE_INVALID_HANDLE):
        ECDSA_P256.sign(forged)


@pytest.mark.parametrize("kind", PERSISTED, ids=str)
def test_a_persisted_key_outlives_its_handle(provider: Provider, kind: Kind, name: str) -> None:
    key = make(provider, ECDSA_P256, name, kind.flag)
    signature = ECDSA_P256.sign(key)
    ncrypt.NCryptFreeObject(key)

    opened = ncrypt.NCryptOpenKey(provider, name, 0, kind.flag)

    ECDSA_P256.verify(opened, signature)


def test_a_key_outlives_its_provider_handle(provider_name: str, provider: Provider) -> None:
    own = ncrypt.NCryptOpenStorageProvider(provider_name)
    key = make(own)

    ncrypt.NCryptFreeObject(own)

    ECDSA_P256.verify(key, ECDSA_P256.sign(key))


def test_free_buffer_is_there_for_ported_code(provider: Provider) -> None:
    ncrypt.NCryptFreeBuffer(ncrypt.NCryptEnumAlgorithms(provider))


def test_the_unique_name_is_the_keys_own(provider: Provider, name: str) -> None:
    key = make(provider, name=name)

    value = unique_name(key)

    text = value.decode("utf-16-le").removesuffix("\0")
    assert value == utf16z(text)
    assert len(bytes.fromhex(text)) == 16
