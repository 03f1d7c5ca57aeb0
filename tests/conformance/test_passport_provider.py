"""``Microsoft Passport Key Storage Provider``: keys that sign for a PIN that is set on a handle."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from keyiso import ncrypt
from keyiso.client.binding import Binding, bind_process
from keyiso.client.passport import change_pin, get_container, reset_pin
from keyiso.crypto.pin import Pin
from keyiso.flags import (
    NCRYPT_ALLOW_DECRYPT_FLAG,
    NCRYPT_ALLOW_EXPORT_FLAG,
    NCRYPT_ALLOW_SIGNING_FLAG,
    NCRYPT_ASYMMETRIC_ENCRYPTION_OPERATION,
    NCRYPT_MACHINE_KEY_FLAG,
    NCRYPT_OVERWRITE_KEY_FLAG,
    NCRYPT_PAD_PKCS1_FLAG,
    NCRYPT_PERSIST_FLAG,
    NCRYPT_PERSIST_ONLY_FLAG,
    NCRYPT_PREFER_VBS_FLAG,
    NCRYPT_REQUIRE_VBS_FLAG,
    NCRYPT_SIGNATURE_OPERATION,
    NCRYPT_SILENT_FLAG,
    NCRYPT_USE_PER_BOOT_KEY_FLAG,
)
from keyiso.function_table import BCRYPT_PKCS1_PADDING_INFO, NCRYPT_UI_POLICY
from keyiso.identifiers import (
    BCRYPT_ECCPUBLIC_BLOB,
    BCRYPT_RSAPUBLIC_BLOB,
    MS_NGC_KEY_STORAGE_PROVIDER,
    NCRYPT_ALGORITHM_PROPERTY,
    NCRYPT_EXPORT_POLICY_PROPERTY,
    NCRYPT_KEY_USAGE_PROPERTY,
    NCRYPT_LENGTH_PROPERTY,
    NCRYPT_NAME_PROPERTY,
    NCRYPT_PIN_CACHE_PIN_PROPERTY,
    NCRYPT_PIN_PROPERTY,
    NCRYPT_PKCS8_PRIVATE_KEY_BLOB,
    NCRYPT_PROVIDER_HANDLE_PROPERTY,
    NCRYPT_UI_POLICY_PROPERTY,
    NCRYPT_UNIQUE_NAME_PROPERTY,
)
from keyiso.providers.passport import PassportProvider
from keyiso.router import NCryptHandle, NCryptKeyHandle, NCryptProvHandle, target_of
from keyiso.status import Status, status_name
from tests.conformance.statuses import fails
from tests.instance import RunningInstance
from tests.passport.conftest import NEW, RIGHT, WRONG, binding, pin
from tests.passport.killer import Killer
from tests.passport.link import GENERATOR

__all__ = ["binding"]

DIGEST = b"d" * 32


@pytest.fixture
def provider(binding: Binding) -> NCryptProvHandle:
    return opened()


def opened() -> NCryptProvHandle:
    return ncrypt.NCryptOpenStorageProvider(MS_NGC_KEY_STORAGE_PROVIDER)


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le") + b"\0\0"


def dword(value: int) -> bytes:
    return value.to_bytes(4, "little")


def set_pin(handle: NCryptHandle, text: str) -> None:
    ncrypt.NCryptSetProperty(handle, NCRYPT_PIN_PROPERTY, utf16(text))


def held(handle: NCryptHandle) -> Pin | None:
    """The PIN that a handle has, by looking behind it."""
    target = target_of(handle, NCryptProvHandle, NCryptKeyHandle)
    attempt = (target.object or target.provider).pin._attempt
    return attempt[0] if attempt else None


def made(provider: NCryptProvHandle, name: str = "logon", flags: int = 0) -> NCryptKeyHandle:
    key = ncrypt.NCryptCreatePersistedKey(provider, "ECDSA_P256", name, 0, flags)
    set_pin(key, RIGHT)
    ncrypt.NCryptFinalizeKey(key)
    return key


def sign(key: NCryptKeyHandle, flags: int = 0) -> bytes:
    return ncrypt.NCryptSignHash(key, None, DIGEST, flags)


def signs(key: NCryptKeyHandle) -> None:
    """It does for the right PIN, and the signature is the key's."""
    set_pin(key, RIGHT)
    ncrypt.NCryptVerifySignature(key, None, DIGEST, sign(key))


def names(provider: NCryptProvHandle) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    state = None
    while True:
        try:
            one, state = ncrypt.NCryptEnumKeys(provider, None, state)
        except ncrypt.NCryptError as error:
            assert error.status == Status.NTE_NO_MORE_ITEMS
            return found
        found.append((one.pszName, one.pszAlgid))


# --- provider and keys ---------------------------------------------------------------------------


def test_the_algorithms_are_those_that_sign(shared_instance: RunningInstance) -> None:
    provider = opened()
    found = {one.pszName for one in ncrypt.NCryptEnumAlgorithms(provider)}

    assert found == {"RSA", "ECDSA_P256", "ECDSA_P384", "ECDSA_P521", "ED25519"}
    signing = ncrypt.NCryptEnumAlgorithms(provider, NCRYPT_SIGNATURE_OPERATION)
    assert {one.pszName for one in signing} == found
    assert {one.dwAlgOperations for one in signing} == {NCRYPT_SIGNATURE_OPERATION}
    assert not ncrypt.NCryptEnumAlgorithms(provider, NCRYPT_ASYMMETRIC_ENCRYPTION_OPERATION)
    for name in found:
        ncrypt.NCryptIsAlgSupported(provider, name)
    for name in ("ECDH_P256", "AES", "DSA"):
        with fails(Status.NTE_NOT_SUPPORTED):
            ncrypt.NCryptIsAlgSupported(provider, name)
        with fails(Status.NTE_NOT_SUPPORTED):
            ncrypt.NCryptCreatePersistedKey(provider, name, "a")


def test_a_provider_says_what_it_is(shared_instance: RunningInstance) -> None:
    provider = opened()
    name = ncrypt.NCryptGetProperty(provider, NCRYPT_NAME_PROPERTY)

    assert name == utf16(MS_NGC_KEY_STORAGE_PROVIDER)
    listed = [one.pszName for one in ncrypt.NCryptEnumStorageProviders()]
    assert listed.count(MS_NGC_KEY_STORAGE_PROVIDER) == 1
    ncrypt.NCryptFreeObject(provider)


def test_each_provider_sees_its_own_keys(provider: NCryptProvHandle) -> None:
    software = ncrypt.NCryptOpenStorageProvider()
    ncrypt.NCryptFinalizeKey(ncrypt.NCryptCreatePersistedKey(software, "ECDSA_P384", "logon"))
    ncrypt.NCryptFinalizeKey(ncrypt.NCryptCreatePersistedKey(software, "ECDSA_P384", "other"))
    key = made(provider)
    made(provider, "second")

    assert names(provider) == [("logon", "ECDSA_P256"), ("second", "ECDSA_P256")]
    assert names(software) == [("logon", "ECDSA_P384"), ("other", "ECDSA_P384")]
    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptOpenKey(provider, "other")
    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptOpenKey(software, "second")
    ncrypt.NCryptDeleteKey(key)
    assert names(provider) == [("second", "ECDSA_P256")]
    ncrypt.NCryptOpenKey(software, "logon")


def test_a_key_that_is_opened_tells_of_itself_and_needs_no_pin_for_it(
    provider: NCryptProvHandle,
) -> None:
    draft = ncrypt.NCryptCreatePersistedKey(provider, "ECDSA_P256", "logon")
    policy = NCRYPT_UI_POLICY("title", "name", "description").pack()
    ncrypt.NCryptSetProperty(draft, NCRYPT_UI_POLICY_PROPERTY, policy)
    set_pin(draft, RIGHT)
    ncrypt.NCryptFinalizeKey(draft)
    key = ncrypt.NCryptOpenKey(provider, "logon")

    def value(name: str, flags: int = 0) -> bytes:
        return ncrypt.NCryptGetProperty(key, name, flags)

    assert value(NCRYPT_NAME_PROPERTY) == utf16("logon")
    assert value(NCRYPT_ALGORITHM_PROPERTY) == utf16("ECDSA_P256")
    assert value(NCRYPT_LENGTH_PROPERTY) == dword(256)
    assert value(NCRYPT_KEY_USAGE_PROPERTY) == dword(NCRYPT_ALLOW_SIGNING_FLAG)
    assert value(NCRYPT_EXPORT_POLICY_PROPERTY) == dword(0)
    assert value(NCRYPT_UI_POLICY_PROPERTY) == policy
    unique = ncrypt.NCryptGetProperty(draft, NCRYPT_UNIQUE_NAME_PROPERTY)
    assert value(NCRYPT_UNIQUE_NAME_PROPERTY) == unique
    ncrypt.NCryptSetProperty(key, "friendly", b"value", NCRYPT_PERSIST_FLAG)
    assert value("friendly") == b"value"
    of_key = ncrypt.NCryptGetProperty(key, NCRYPT_PROVIDER_HANDLE_PROPERTY)
    assert ncrypt.NCryptGetProperty(of_key, NCRYPT_NAME_PROPERTY) == utf16(  # type: ignore[call-overload]
        MS_NGC_KEY_STORAGE_PROVIDER
    )
    blob = ncrypt.NCryptExportKey(key, None, BCRYPT_ECCPUBLIC_BLOB)
    assert blob == ncrypt.NCryptExportKey(draft, None, BCRYPT_ECCPUBLIC_BLOB)
    signs(key)


def test_a_name_that_is_taken_and_one_that_is_overwritten(provider: NCryptProvHandle) -> None:
    first = made(provider)
    with fails(Status.NTE_EXISTS):
        made(provider)
    second = made(provider, flags=NCRYPT_OVERWRITE_KEY_FLAG)

    set_pin(first, RIGHT)
    with fails(Status.NTE_BAD_KEYSET):
        sign(first)
    signs(second)


@pytest.mark.parametrize("algorithm", ["ECDSA_P384", "ECDSA_P521", "ED25519"])
def test_a_key_of_another_algorithm_signs(provider: NCryptProvHandle, algorithm: str) -> None:
    key = ncrypt.NCryptCreatePersistedKey(provider, algorithm, "logon")
    set_pin(key, RIGHT)
    ncrypt.NCryptFinalizeKey(key)
    signs(key)


def test_an_rsa_key_of_a_length_that_was_set(provider: NCryptProvHandle) -> None:
    key = ncrypt.NCryptCreatePersistedKey(provider, "RSA", "logon")
    ncrypt.NCryptSetProperty(key, NCRYPT_LENGTH_PROPERTY, dword(1024))
    set_pin(key, RIGHT)
    ncrypt.NCryptFinalizeKey(key)
    set_pin(key, RIGHT)
    padding = BCRYPT_PKCS1_PADDING_INFO("SHA256")
    signature = ncrypt.NCryptSignHash(key, padding, DIGEST, NCRYPT_PAD_PKCS1_FLAG)

    assert len(signature) == 128
    ncrypt.NCryptVerifySignature(key, padding, DIGEST, signature, NCRYPT_PAD_PKCS1_FLAG)
    assert ncrypt.NCryptExportKey(key, None, BCRYPT_RSAPUBLIC_BLOB)


# --- the PIN -------------------------------------------------------------------------------------


def test_a_pin_is_good_for_one_use_and_wiped(provider: NCryptProvHandle) -> None:
    key = made(provider)
    assert held(key) is None
    set_pin(key, RIGHT)
    pin_set = held(key)
    assert pin_set is not None
    characters = pin_set.characters
    assert characters == RIGHT.encode()
    sign(key)

    assert held(key) is None
    assert not characters
    with fails(Status.NTE_UI_REQUIRED):
        sign(key)
    with fails(Status.NTE_SILENT_CONTEXT):
        sign(key, NCRYPT_SILENT_FLAG)


def test_without_a_pin_no_key_is_made(provider: NCryptProvHandle) -> None:
    key = ncrypt.NCryptCreatePersistedKey(provider, "ECDSA_P256", "logon")
    with fails(Status.NTE_UI_REQUIRED):
        ncrypt.NCryptFinalizeKey(key)
    with fails(Status.NTE_SILENT_CONTEXT):
        ncrypt.NCryptFinalizeKey(key, NCRYPT_SILENT_FLAG)
    assert names(provider) == []
    set_pin(key, RIGHT)
    ncrypt.NCryptFinalizeKey(key, NCRYPT_SILENT_FLAG)

    assert names(provider) == [("logon", "ECDSA_P256")]


def test_a_pin_of_the_provider_is_for_one_key_that_has_none(provider: NCryptProvHandle) -> None:
    first, second = made(provider, "first"), made(provider, "second")
    set_pin(provider, RIGHT)
    signs(first)
    assert held(provider) is not None
    sign(second)

    assert held(provider) is None
    with fails(Status.NTE_UI_REQUIRED):
        sign(first)


def test_the_size_of_a_signature_needs_no_pin_and_uses_none(provider: NCryptProvHandle) -> None:
    key = made(provider)
    assert ncrypt.NCryptSignHash(key, None, DIGEST, cbSignature=None) == 64
    set_pin(key, RIGHT)
    with fails(Status.NTE_BUFFER_TOO_SMALL):
        ncrypt.NCryptSignHash(key, None, DIGEST, cbSignature=63)
    assert held(key) is not None
    assert len(ncrypt.NCryptSignHash(key, None, DIGEST, cbSignature=64)) == 64


def test_a_wrong_pin_is_counted_once_and_not_tried_again(
    binding: Binding, provider: NCryptProvHandle
) -> None:
    key = made(provider)
    set_pin(key, WRONG)
    with fails(Status.NTE_INCORRECT_PASSWORD):
        sign(key)
    with fails(Status.NTE_UI_REQUIRED):
        sign(key)
    assert get_container(binding).attempts_left == 4
    draft = ncrypt.NCryptCreatePersistedKey(provider, "ECDSA_P256", "other")
    set_pin(draft, WRONG)
    with fails(Status.NTE_INCORRECT_PASSWORD):
        ncrypt.NCryptFinalizeKey(draft)

    assert get_container(binding).attempts_left == 3
    signs(key)
    assert get_container(binding).attempts_left == 5


def test_a_locked_container_is_told(binding: Binding, provider: NCryptProvHandle) -> None:
    key = made(provider)
    for _ in range(5):
        set_pin(key, WRONG)
        with fails(Status.NTE_INCORRECT_PASSWORD):
            sign(key)
    for text in (WRONG, RIGHT):
        set_pin(key, text)
        with fails(Status.NTE_AUTHENTICATION_IGNORED):
            sign(key)


def test_a_user_without_a_container_is_told(instance: RunningInstance) -> None:
    provider = opened()
    assert names(provider) == []
    key = ncrypt.NCryptCreatePersistedKey(provider, "ECDSA_P256", "logon")
    set_pin(key, RIGHT)
    with fails(Status.NTE_NOT_FOUND):
        ncrypt.NCryptFinalizeKey(key)


def test_a_handle_goes_on_after_the_pin_was_changed_and_not_after_a_reset(
    binding: Binding, provider: NCryptProvHandle
) -> None:
    key = made(provider)
    change_pin(binding, pin(RIGHT), pin(NEW))
    set_pin(key, NEW)
    sign(key)
    reset_pin(binding, pin(RIGHT))
    set_pin(key, RIGHT)
    with fails(Status.NTE_BAD_DATA):
        sign(key)


def test_what_fails_for_another_reason_costs_no_pin(
    binding: Binding, provider: NCryptProvHandle
) -> None:
    key = made(provider)
    set_pin(key, RIGHT)
    for padding in (None, BCRYPT_PKCS1_PADDING_INFO("SHA256")):
        with fails(Status.NTE_INVALID_PARAMETER):
            ncrypt.NCryptSignHash(key, padding, DIGEST, NCRYPT_PAD_PKCS1_FLAG)
    ncrypt.NCryptVerifySignature(key, None, DIGEST, sign(key))
    assert held(key) is None


def test_of_two_threads_one_has_the_pin(provider: NCryptProvHandle) -> None:
    key = made(provider)
    set_pin(key, RIGHT)

    def outcome(_: int) -> str:
        try:
            ncrypt.NCryptVerifySignature(key, None, DIGEST, sign(key))
        except ncrypt.NCryptError as error:
            return status_name(error.status)
        return "signed"

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(outcome, range(2))) == ["NTE_UI_REQUIRED", "signed"]


@pytest.mark.parametrize(
    "end",
    [ncrypt.NCryptFreeObject, ncrypt.NCryptDeleteKey, lambda key: set_pin(key, NEW)],
    ids=["freed", "deleted", "set again"],
)
def test_a_pin_that_was_not_used_is_wiped(
    provider: NCryptProvHandle, end: Callable[[NCryptKeyHandle], None]
) -> None:
    key = made(provider)
    set_pin(key, RIGHT)
    pin_set = held(key)
    assert pin_set is not None
    characters = pin_set.characters
    end(key)
    assert not characters


def test_a_providers_pin_is_wiped_with_its_handle(provider: NCryptProvHandle) -> None:
    key = made(provider)
    set_pin(provider, RIGHT)
    pin_set = held(provider)
    assert pin_set is not None
    characters = pin_set.characters
    ncrypt.NCryptFreeObject(provider)
    assert not characters
    with fails(Status.NTE_UI_REQUIRED):
        sign(key)
    signs(key)


def test_a_pin_is_never_read_back_and_never_stored(
    instance: RunningInstance, provider: NCryptProvHandle
) -> None:
    key = made(provider)
    handles: list[NCryptHandle] = [provider, key]
    for handle in handles:
        set_pin(handle, RIGHT)
        for flags in (0, NCRYPT_PERSIST_ONLY_FLAG):
            with fails(Status.NTE_NOT_SUPPORTED):
                ncrypt.NCryptGetProperty(handle, NCRYPT_PIN_PROPERTY, flags)
        for flags in (NCRYPT_PERSIST_FLAG, NCRYPT_PERSIST_ONLY_FLAG):
            with fails(Status.NTE_BAD_FLAGS):
                ncrypt.NCryptSetProperty(handle, NCRYPT_PIN_PROPERTY, utf16(RIGHT), flags)
    sign(key)


@pytest.mark.parametrize(
    "value",
    [b"", b"\0\0", utf16("123"), utf16("1" * 128), utf16("12 34"), utf16("12é4"), b"482915", b"1"],
    ids=["nothing", "empty", "short", "long", "a space", "no ASCII", "no UTF-16", "odd"],
)
def test_what_can_be_no_pin_is_refused_and_not_counted(
    binding: Binding, provider: NCryptProvHandle, value: bytes
) -> None:
    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptSetProperty(provider, NCRYPT_PIN_PROPERTY, value)
    assert held(provider) is None
    assert get_container(binding).attempts_left == 5


def test_a_pin_may_come_without_its_nul(binding: Binding, provider: NCryptProvHandle) -> None:
    key = made(provider)
    ncrypt.NCryptSetProperty(key, NCRYPT_PIN_PROPERTY, utf16(RIGHT)[:-2])
    sign(key)


# --- restarts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["keyiso", GENERATOR])
def test_handles_survive_kills(
    instance: RunningInstance, provider: NCryptProvHandle, victim: str
) -> None:
    key = made(provider)
    draft = ncrypt.NCryptCreatePersistedKey(provider, "ECDSA_P256", "other")
    set_pin(draft, RIGHT)
    set_pin(key, RIGHT)
    instance.kill(victim)
    ncrypt.NCryptVerifySignature(key, None, DIGEST, sign(key))
    instance.kill(victim)
    ncrypt.NCryptFinalizeKey(draft)
    instance.kill(victim)

    signs(draft)
    assert names(provider) == [("logon", "ECDSA_P256"), ("other", "ECDSA_P256")]


def test_what_nobody_answered_is_charged_once_when_it_is_asked_again(
    instance: RunningInstance, binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a wrong PIN is lost with the service: it is kept, with its attempt."""
    monkeypatch.setenv("KEYISO_DEADLINE", "0")
    killer = Killer(instance, "keyiso", 1, answered=True)
    lossy = Binding(bind_process(os.environ, service="passport")._settings, killer.request)
    table = PassportProvider(lossy).function_table()
    context = table.open_provider(MS_NGC_KEY_STORAGE_PROVIDER, 0)
    key = table.create_persisted_key(context, "ECDSA_P256", "logon", 0, NCRYPT_OVERWRITE_KEY_FLAG)
    table.set_key_property(context, key, NCRYPT_PIN_PROPERTY, utf16(WRONG), 0)
    with fails(Status.KEYISO_E_SERVICE_UNAVAILABLE):
        table.finalize_key(context, key, 0)

    assert killer.has_killed
    assert get_container(binding).attempts_left == 4
    with fails(Status.NTE_INCORRECT_PASSWORD):
        table.finalize_key(context, key, 0)
    assert get_container(binding).attempts_left == 4


# --- what there is not ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags",
    [
        NCRYPT_MACHINE_KEY_FLAG,
        NCRYPT_REQUIRE_VBS_FLAG,
        NCRYPT_PREFER_VBS_FLAG,
        NCRYPT_USE_PER_BOOT_KEY_FLAG,
    ],
)
def test_a_key_is_a_users_and_of_level_software(
    shared_instance: RunningInstance, flags: int
) -> None:
    provider = opened()
    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptCreatePersistedKey(provider, "ECDSA_P256", "a", 0, flags)
    if flags == NCRYPT_MACHINE_KEY_FLAG:
        with fails(Status.NTE_NOT_SUPPORTED):
            ncrypt.NCryptOpenKey(provider, "a", 0, flags)
        with fails(Status.NTE_NOT_SUPPORTED):
            ncrypt.NCryptEnumKeys(provider, None, None, flags)


def test_what_a_passport_key_cannot_do(provider: NCryptProvHandle) -> None:
    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptCreatePersistedKey(provider, "ECDSA_P256")
    draft = ncrypt.NCryptCreatePersistedKey(provider, "ECDSA_P256", "other")
    for name, value in (
        (NCRYPT_EXPORT_POLICY_PROPERTY, NCRYPT_ALLOW_EXPORT_FLAG),
        (NCRYPT_KEY_USAGE_PROPERTY, NCRYPT_ALLOW_DECRYPT_FLAG),
    ):
        with fails(Status.NTE_NOT_SUPPORTED):
            ncrypt.NCryptSetProperty(draft, name, dword(value))
    ncrypt.NCryptSetProperty(draft, NCRYPT_EXPORT_POLICY_PROPERTY, dword(0))
    key = made(provider)
    set_pin(key, RIGHT)
    for refused in (
        lambda: ncrypt.NCryptSetProperty(key, NCRYPT_PIN_CACHE_PIN_PROPERTY, utf16(RIGHT)),
        lambda: ncrypt.NCryptGetProperty(key, NCRYPT_PIN_CACHE_PIN_PROPERTY),
        lambda: ncrypt.NCryptExportKey(key, None, NCRYPT_PKCS8_PRIVATE_KEY_BLOB),
        lambda: ncrypt.NCryptImportKey(provider, None, NCRYPT_PKCS8_PRIVATE_KEY_BLOB, None, b""),
        lambda: ncrypt.NCryptEncrypt(key, b"message"),
        lambda: ncrypt.NCryptDecrypt(key, b"message"),
        lambda: ncrypt.NCryptSecretAgreement(key, key),
        lambda: ncrypt.NCryptNotifyChangeKey(provider),
    ):
        with fails(Status.NTE_NOT_SUPPORTED):
            refused()
    assert held(key) is not None
