"""RSA encryption in CNG's paddings, checked by code that knows nothing of keyiso's."""

import pytest
from cryptography.hazmat.primitives.asymmetric import padding

from keyiso import limits
from keyiso.crypto.digests import hash_named
from keyiso.crypto.encryption import EncryptionPadding, decrypt_rsa, encrypt_rsa
from keyiso.crypto.public_keys import import_public_blob
from keyiso.errors import NCryptError
from keyiso.flags import NCRYPT_NO_PADDING_FLAG, NCRYPT_PAD_OAEP_FLAG, NCRYPT_PAD_PKCS1_FLAG
from keyiso.status import Status
from tests.unit.samples import rsa_key

PUBLIC = rsa_key().public_key()

PKCS1 = EncryptionPadding(NCRYPT_PAD_PKCS1_FLAG)
OAEP = EncryptionPadding(NCRYPT_PAD_OAEP_FLAG, "SHA256")
LABELLED = EncryptionPadding(NCRYPT_PAD_OAEP_FLAG, "SHA256", b"label")
RAW = EncryptionPadding(NCRYPT_NO_PADDING_FLAG)


def status_of_encrypting(message: bytes, pad: EncryptionPadding) -> int:
    with pytest.raises(NCryptError) as caught:
        encrypt_rsa(PUBLIC, message, pad)
    return caught.value.status


def status_of_decrypting(ciphertext: bytes, pad: EncryptionPadding) -> int:
    with pytest.raises(NCryptError) as caught:
        decrypt_rsa(rsa_key(), ciphertext, pad)
    return caught.value.status


def oaep(name: str, label: bytes | None) -> padding.OAEP:
    return padding.OAEP(padding.MGF1(hash_named(name)), hash_named(name), label)


@pytest.mark.parametrize("label", [b"", b"label"])
@pytest.mark.parametrize("name", ["SHA1", "SHA256", "SHA384", "SHA512"])
def test_oaep_is_what_others_mean_by_it(name: str, label: bytes) -> None:
    pad = EncryptionPadding(NCRYPT_PAD_OAEP_FLAG, name, label)
    theirs = oaep(name, label or None)

    assert rsa_key().decrypt(encrypt_rsa(PUBLIC, b"message", pad), theirs) == b"message"
    assert decrypt_rsa(rsa_key(), PUBLIC.encrypt(b"message", theirs), pad) == b"message"


@pytest.mark.parametrize("name", ["SHA3-256", "SHA3-384", "SHA3-512"])
def test_oaep_with_a_hash_that_the_library_does_not_take_is_not_supported(name: str) -> None:
    pad = EncryptionPadding(NCRYPT_PAD_OAEP_FLAG, name)

    assert status_of_encrypting(b"message", pad) == Status.NTE_NOT_SUPPORTED
    assert status_of_decrypting(b"c" * 256, pad) == Status.NTE_NOT_SUPPORTED


def test_oaep_with_an_unknown_hash_is_not_supported() -> None:
    pad = EncryptionPadding(NCRYPT_PAD_OAEP_FLAG, "MD5")

    assert status_of_encrypting(b"message", pad) == Status.NTE_NOT_SUPPORTED
    assert status_of_decrypting(b"c" * 256, pad) == Status.NTE_NOT_SUPPORTED


def test_pkcs1_is_what_others_mean_by_it() -> None:
    theirs = padding.PKCS1v15()

    assert rsa_key().decrypt(encrypt_rsa(PUBLIC, b"message", PKCS1), theirs) == b"message"
    assert decrypt_rsa(rsa_key(), PUBLIC.encrypt(b"message", theirs), PKCS1) == b"message"


def test_without_padding_it_is_only_arithmetic() -> None:
    numbers = rsa_key().private_numbers()
    message = b"\0" + b"m" * 255
    ciphertext = encrypt_rsa(PUBLIC, message, RAW)
    n = numbers.public_numbers.n

    assert pow(int.from_bytes(ciphertext, "big"), numbers.d, n).to_bytes(256, "big") == message


@pytest.mark.parametrize(("pad", "room"), [(PKCS1, 256 - 11), (OAEP, 256 - 2 * 32 - 2)])
def test_the_longest_message(pad: EncryptionPadding, room: int) -> None:
    assert decrypt_rsa(rsa_key(), encrypt_rsa(PUBLIC, b"m" * room, pad), pad) == b"m" * room
    assert status_of_encrypting(b"m" * (room + 1), pad) == Status.NTE_INVALID_PARAMETER


@pytest.mark.parametrize("pad", [PKCS1, OAEP])
def test_an_empty_message_is_one(pad: EncryptionPadding) -> None:
    assert decrypt_rsa(rsa_key(), encrypt_rsa(PUBLIC, b"", pad), pad) == b""


@pytest.mark.parametrize("message", [b"", b"m" * 255, b"m" * 257, b"\xff" * 256])
def test_without_padding_a_message_is_a_number_below_the_modulus(message: bytes) -> None:
    assert status_of_encrypting(message, RAW) == Status.NTE_INVALID_PARAMETER


@pytest.mark.parametrize("scheme", [0, 3, 8, 16, -1, 2**31])
def test_another_padding_is_refused(scheme: int) -> None:
    pad = EncryptionPadding(scheme, "SHA256")

    assert status_of_encrypting(b"message", pad) == Status.NTE_INVALID_PARAMETER
    assert status_of_decrypting(b"c" * 256, pad) == Status.NTE_INVALID_PARAMETER


def test_a_label_above_the_limit_is_refused() -> None:
    longest = EncryptionPadding(NCRYPT_PAD_OAEP_FLAG, "SHA256", b"l" * limits.OAEP_LABEL_BYTES)
    longer = EncryptionPadding(NCRYPT_PAD_OAEP_FLAG, "SHA256", longest.label + b"l")

    assert decrypt_rsa(rsa_key(), encrypt_rsa(PUBLIC, b"m", longest), longest) == b"m"
    assert status_of_encrypting(b"m", longer) == Status.NTE_INVALID_PARAMETER


@pytest.mark.parametrize("pad", [PKCS1, OAEP])
@pytest.mark.parametrize("size", [0, 255, 257])
def test_a_ciphertext_is_as_long_as_the_modulus(pad: EncryptionPadding, size: int) -> None:
    assert status_of_decrypting(b"c" * size, pad) == Status.NTE_INVALID_PARAMETER


def test_decrypting_without_padding_is_not_supported() -> None:
    assert status_of_decrypting(b"c" * 256, RAW) == Status.NTE_NOT_SUPPORTED


@pytest.mark.parametrize(
    "other",
    [OAEP, EncryptionPadding(NCRYPT_PAD_OAEP_FLAG, "SHA512", b"label")],
    ids=["another label", "another hash"],
)
def test_oaep_under_other_parameters_is_a_failure(other: EncryptionPadding) -> None:
    assert status_of_decrypting(encrypt_rsa(PUBLIC, b"message", LABELLED), other) == (
        Status.NTE_DECRYPTION_FAILURE
    )


@pytest.mark.parametrize("at", range(0, 256, 15))
def test_pkcs1_never_says_that_its_padding_is_wrong(at: int) -> None:
    """Whoever could ask that could decrypt everything (Bleichenbacher)."""
    changed = bytearray(encrypt_rsa(PUBLIC, b"message", PKCS1))
    changed[at] ^= 1
    first = decrypt_rsa(rsa_key(), bytes(changed), PKCS1)

    assert first != b"message"
    assert decrypt_rsa(rsa_key(), bytes(changed), PKCS1) == first


def test_a_public_key_that_is_too_short_for_a_hash() -> None:
    blob = b"RSA1" + b"".join(number.to_bytes(4, "little") for number in (512, 3, 64, 0, 0))
    short, _ = import_public_blob(blob + b"\1\0\1" + b"\xff" * 64)

    with pytest.raises(NCryptError) as caught:
        encrypt_rsa(short, b"m", EncryptionPadding(NCRYPT_PAD_OAEP_FLAG, "SHA512"))  # type: ignore[arg-type]
    assert caught.value.status == Status.NTE_INVALID_PARAMETER
