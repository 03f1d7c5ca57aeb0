"""What a provider says of itself: opening it, its algorithms."""

import pytest

from keyiso import ncrypt
from keyiso.flags import (
    NCRYPT_ASYMMETRIC_ENCRYPTION_INTERFACE,
    NCRYPT_ASYMMETRIC_ENCRYPTION_OPERATION,
    NCRYPT_CIPHER_INTERFACE,
    NCRYPT_CIPHER_OPERATION,
    NCRYPT_HASH_OPERATION,
    NCRYPT_SECRET_AGREEMENT_INTERFACE,
    NCRYPT_SECRET_AGREEMENT_OPERATION,
    NCRYPT_SIGNATURE_INTERFACE,
    NCRYPT_SIGNATURE_OPERATION,
    NCRYPT_SILENT_FLAG,
)
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER, NCRYPT_NAME_PROPERTY
from keyiso.status import Status
from tests.conformance.cases import make
from tests.conformance.independent import utf16z
from tests.conformance.statuses import fails
from tests.instance import RunningInstance

Provider = ncrypt.NCryptProvHandle

SIGNATURE, ENCRYPTION = NCRYPT_SIGNATURE_OPERATION, NCRYPT_ASYMMETRIC_ENCRYPTION_OPERATION
AGREEMENT, CIPHER = NCRYPT_SECRET_AGREEMENT_OPERATION, NCRYPT_CIPHER_OPERATION

OFFERED = {
    "RSA": (NCRYPT_ASYMMETRIC_ENCRYPTION_INTERFACE, ENCRYPTION | SIGNATURE),
    **{f"ECDSA_P{n}": (NCRYPT_SIGNATURE_INTERFACE, SIGNATURE) for n in (256, 384, 521)},
    **{f"ECDH_P{n}": (NCRYPT_SECRET_AGREEMENT_INTERFACE, AGREEMENT) for n in (256, 384, 521)},
    "ED25519": (NCRYPT_SIGNATURE_INTERFACE, SIGNATURE),
    "AES": (NCRYPT_CIPHER_INTERFACE, CIPHER),
}
"""Every algorithm with its class and its operations."""


def test_no_name_is_the_software_provider(shared_instance: RunningInstance) -> None:
    handle = ncrypt.NCryptOpenStorageProvider(None)

    assert ncrypt.NCryptGetProperty(handle, NCRYPT_NAME_PROPERTY) == utf16z(
        "Microsoft Software Key Storage Provider"
    )


def test_each_open_gives_a_handle_of_its_own(
    shared_instance: RunningInstance, provider_name: str
) -> None:
    one = ncrypt.NCryptOpenStorageProvider(provider_name)
    other = ncrypt.NCryptOpenStorageProvider(provider_name)

    ncrypt.NCryptFreeObject(one)

    with fails(Status.NTE_INVALID_HANDLE):
        ncrypt.NCryptEnumAlgorithms(one)
    make(other)


@pytest.mark.parametrize("flags", [0, NCRYPT_SILENT_FLAG])
def test_the_software_provider_is_enumerated(shared_instance: RunningInstance, flags: int) -> None:
    found = ncrypt.NCryptEnumStorageProviders(flags)

    assert [entry.pszName for entry in found].count(MS_KEY_STORAGE_PROVIDER) == 1
    for entry in found:
        ncrypt.NCryptOpenStorageProvider(entry.pszName)


@pytest.mark.parametrize("algorithm", OFFERED)
@pytest.mark.parametrize("flags", [0, NCRYPT_SILENT_FLAG])
def test_an_algorithm_that_is_supported(provider: Provider, algorithm: str, flags: int) -> None:
    ncrypt.NCryptIsAlgSupported(provider, algorithm, flags)


@pytest.mark.parametrize(
    "algorithm",
    [
        *("RSA_SIGN", "RNG", "MD2", "MD4", "MD5", "SHA1", "SHA256", "SHA384", "SHA512"),
        *("rsa", "ecdsa_p256", "RSA ", "ECDSA_P192", "no such algorithm", "", "x" * 1000),
    ],
    ids=lambda text: text[:20],
)
def test_an_algorithm_that_is_not_supported(provider: Provider, algorithm: str) -> None:
    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptIsAlgSupported(provider, algorithm)


def test_the_algorithms(provider: Provider) -> None:
    found = ncrypt.NCryptEnumAlgorithms(provider)

    assert {one.pszName: (one.dwClass, one.dwAlgOperations) for one in found} == OFFERED
    assert len(found) == len(OFFERED)
    for one in found:
        assert one.dwFlags == 0
        ncrypt.NCryptIsAlgSupported(provider, one.pszName)


@pytest.mark.parametrize("operations", [SIGNATURE, AGREEMENT, CIPHER, ENCRYPTION | AGREEMENT])
def test_the_algorithms_of_some_operations(provider: Provider, operations: int) -> None:
    """The bits are alternatives: one that fits is enough."""
    found = ncrypt.NCryptEnumAlgorithms(provider, operations)

    assert {one.pszName for one in found} == {
        name for name, (_, its_own) in OFFERED.items() if its_own & operations
    }


@pytest.mark.parametrize("operations", [NCRYPT_HASH_OPERATION, 0x80000000])
def test_operations_that_no_algorithm_has(provider: Provider, operations: int) -> None:
    assert not ncrypt.NCryptEnumAlgorithms(provider, operations)
