"""NCryptEncrypt, NCryptDecrypt, NCryptSecretAgreement, NCryptDeriveKey and private export."""

import hashlib
import hmac
import struct
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyiso import ncrypt
from keyiso.crypto.public_keys import export_public_blob, import_public_blob
from keyiso.flags import (
    KDF_HASH_ALGORITHM,
    KDF_HKDF_INFO,
    KDF_HKDF_SALT,
    KDF_HMAC_KEY,
    KDF_SECRET_APPEND,
    KDF_SECRET_PREPEND,
    KDF_USE_SECRET_AS_HMAC_KEY_FLAG,
    NCRYPT_ALLOW_ALL_USAGES,
    NCRYPT_ALLOW_DECRYPT_FLAG,
    NCRYPT_ALLOW_EXPORT_FLAG,
    NCRYPT_ALLOW_KEY_AGREEMENT_FLAG,
    NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG,
    NCRYPT_CIPHER_BLOCK_PADDING_FLAG,
    NCRYPT_NO_PADDING_FLAG,
    NCRYPT_PAD_CIPHER_FLAG,
    NCRYPT_PAD_OAEP_FLAG,
    NCRYPT_PAD_PKCS1_FLAG,
    NCRYPT_PAD_PSS_FLAG,
    NCRYPTBUFFER_PKCS_SECRET,
)
from keyiso.ncrypt import (
    BCRYPT_AUTHENTICATED_CIPHER_MODE_INFO,
    BCRYPT_OAEP_PADDING_INFO,
    NCRYPT_CIPHER_PADDING_INFO,
    NCryptBuffer,
    NCryptError,
)
from keyiso.status import Status

pytestmark = pytest.mark.both_levels

MESSAGE = b"a short message"


def make(
    provider: ncrypt.NCryptProvHandle, algorithm: str, **properties: int
) -> ncrypt.NCryptKeyHandle:
    """An ephemeral key with properties such as ``Length=256``."""
    key = ncrypt.NCryptCreatePersistedKey(provider, algorithm)
    for name, value in properties.items():
        ncrypt.NCryptSetProperty(key, name.replace("_", " "), struct.pack("<I", value))
    ncrypt.NCryptFinalizeKey(key)
    return key


def public_of(key: ncrypt.NCryptKeyHandle) -> Any:
    return import_public_blob(ncrypt.NCryptExportKey(key, None, "PUBLICBLOB"))[0]


def refused(status: Status, call: Any, *arguments: Any, **options: Any) -> None:
    with pytest.raises(NCryptError) as caught:
        call(*arguments, **options)
    assert caught.value.status == status


# --- RSA ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rsa_key(provider: ncrypt.NCryptProvHandle) -> ncrypt.NCryptKeyHandle:
    return make(provider, "RSA")


OAEP = BCRYPT_OAEP_PADDING_INFO("SHA256", b"label")
RSA_PADDINGS = [(None, NCRYPT_PAD_PKCS1_FLAG), (OAEP, NCRYPT_PAD_OAEP_FLAG)]


@pytest.mark.parametrize(("info", "flag"), RSA_PADDINGS, ids=["PKCS1", "OAEP"])
def test_rsa_decrypts_what_it_encrypted(
    rsa_key: ncrypt.NCryptKeyHandle, info: Any, flag: int
) -> None:
    ciphertext = ncrypt.NCryptEncrypt(rsa_key, MESSAGE, info, flag)

    assert len(ciphertext) == 256
    assert ncrypt.NCryptDecrypt(rsa_key, ciphertext, info, flag) == MESSAGE


def test_rsa_decrypts_what_cryptography_encrypted(rsa_key: ncrypt.NCryptKeyHandle) -> None:
    scheme = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"label")
    ciphertext = public_of(rsa_key).encrypt(MESSAGE, scheme)

    assert ncrypt.NCryptDecrypt(rsa_key, ciphertext, OAEP, NCRYPT_PAD_OAEP_FLAG) == MESSAGE


def test_rsa_sizes(rsa_key: ncrypt.NCryptKeyHandle) -> None:
    flag = NCRYPT_PAD_PKCS1_FLAG
    assert ncrypt.NCryptEncrypt(rsa_key, MESSAGE, None, flag, cbOutput=None) == 256
    ciphertext = ncrypt.NCryptEncrypt(rsa_key, MESSAGE, None, flag, cbOutput=256)
    assert ncrypt.NCryptDecrypt(rsa_key, ciphertext, None, flag, cbOutput=None) == 256
    refused(
        Status.NTE_BUFFER_TOO_SMALL,
        ncrypt.NCryptEncrypt,
        rsa_key,
        MESSAGE,
        None,
        flag,
        cbOutput=255,
    )


def test_rsa_without_padding_encrypts_and_does_not_decrypt(
    rsa_key: ncrypt.NCryptKeyHandle,
) -> None:
    message = bytes(200) + b"\1" * 56
    ciphertext = ncrypt.NCryptEncrypt(rsa_key, message, None, NCRYPT_NO_PADDING_FLAG)

    numbers = public_of(rsa_key).public_numbers()
    expected = pow(int.from_bytes(message, "big"), numbers.e, numbers.n)
    assert int.from_bytes(ciphertext, "big") == expected
    call = ncrypt.NCryptDecrypt
    refused(Status.NTE_NOT_SUPPORTED, call, rsa_key, ciphertext, None, NCRYPT_NO_PADDING_FLAG)
    short = ncrypt.NCryptEncrypt
    refused(Status.NTE_INVALID_PARAMETER, short, rsa_key, b"x", None, NCRYPT_NO_PADDING_FLAG)


def test_rsa_refuses_what_does_not_fit(
    rsa_key: ncrypt.NCryptKeyHandle, provider: ncrypt.NCryptProvHandle
) -> None:
    bad = Status.NTE_INVALID_PARAMETER
    encrypt, decrypt = ncrypt.NCryptEncrypt, ncrypt.NCryptDecrypt
    refused(bad, encrypt, rsa_key, MESSAGE, None, 0)
    refused(bad, encrypt, rsa_key, MESSAGE, None, NCRYPT_PAD_OAEP_FLAG)
    refused(bad, encrypt, rsa_key, bytes(250), None, NCRYPT_PAD_PKCS1_FLAG)
    refused(bad, decrypt, rsa_key, bytes(255), None, NCRYPT_PAD_PKCS1_FLAG)
    refused(Status.NTE_BAD_FLAGS, encrypt, rsa_key, MESSAGE, None, NCRYPT_PAD_PSS_FLAG)
    changed = bytearray(ncrypt.NCryptEncrypt(rsa_key, MESSAGE, OAEP, NCRYPT_PAD_OAEP_FLAG))
    changed[-1] ^= 1
    refused(
        Status.NTE_DECRYPTION_FAILURE,
        decrypt,
        rsa_key,
        bytes(changed),
        OAEP,
        NCRYPT_PAD_OAEP_FLAG,
    )
    refused(Status.NTE_INVALID_HANDLE, encrypt, provider, MESSAGE, None, NCRYPT_PAD_PKCS1_FLAG)
    draft = ncrypt.NCryptCreatePersistedKey(provider, "RSA")
    refused(Status.NTE_BAD_KEY_STATE, encrypt, draft, MESSAGE, None, NCRYPT_PAD_PKCS1_FLAG)


def test_the_worker_enforces_the_usage(provider: ncrypt.NCryptProvHandle) -> None:
    only_decrypts = make(provider, "RSA", Key_Usage=NCRYPT_ALLOW_DECRYPT_FLAG)
    only_agrees = make(provider, "RSA", Key_Usage=NCRYPT_ALLOW_KEY_AGREEMENT_FLAG)
    flag = NCRYPT_PAD_PKCS1_FLAG
    ciphertext = ncrypt.NCryptEncrypt(only_decrypts, MESSAGE, None, flag)
    assert ncrypt.NCryptDecrypt(only_decrypts, ciphertext, None, flag) == MESSAGE
    info = ncrypt.BCRYPT_PKCS1_PADDING_INFO("SHA256")
    refused(Status.NTE_PERM, ncrypt.NCryptSignHash, only_decrypts, info, bytes(32), flag)
    other = ncrypt.NCryptEncrypt(only_agrees, MESSAGE, None, flag)
    refused(Status.NTE_PERM, ncrypt.NCryptDecrypt, only_agrees, other, None, flag)


# --- AES ---------------------------------------------------------------------------------------


@pytest.mark.exports_private_key
@pytest.mark.parametrize("bits", [128, 192, 256])
def test_aes_gcm_is_what_cryptography_calls_so(
    provider: ncrypt.NCryptProvHandle, bits: int
) -> None:
    key = make(provider, "AES", Length=bits, Export_Policy=NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG)
    mode = BCRYPT_AUTHENTICATED_CIPHER_MODE_INFO(b"n" * 12, bytearray(16), b"with it")
    info = NCRYPT_CIPHER_PADDING_INFO(pbOtherInfo=mode)
    ciphertext = ncrypt.NCryptEncrypt(key, MESSAGE, info, NCRYPT_PAD_CIPHER_FLAG)
    blob = ncrypt.NCryptExportKey(key, None, "KeyDataBlob")

    magic, version, size = struct.unpack_from("<3I", blob)
    assert (magic, version, size) == (0x4D42444B, 1, bits // 8)
    independent = AESGCM(blob[12:])
    whole = ciphertext + bytes(mode.pbTag)
    assert independent.decrypt(b"n" * 12, whole, b"with it") == MESSAGE
    assert ncrypt.NCryptDecrypt(key, ciphertext, info, NCRYPT_PAD_CIPHER_FLAG) == MESSAGE
    mode.pbTag[0] ^= 1
    refused(
        Status.NTE_DECRYPTION_FAILURE,
        ncrypt.NCryptDecrypt,
        key,
        ciphertext,
        info,
        NCRYPT_PAD_CIPHER_FLAG,
    )


def test_aes_cbc_with_and_without_padding(provider: ncrypt.NCryptProvHandle) -> None:
    key = make(provider, "AES")
    ncrypt.NCryptSetProperty(key, "Chaining Mode", "ChainingModeCBC\0".encode("utf-16-le"))
    flag = NCRYPT_PAD_CIPHER_FLAG
    padded = NCRYPT_CIPHER_PADDING_INFO(NCRYPT_CIPHER_BLOCK_PADDING_FLAG, b"i" * 16)
    ciphertext = ncrypt.NCryptEncrypt(key, MESSAGE, padded, flag)
    assert ncrypt.NCryptDecrypt(key, ciphertext, padded, flag) == MESSAGE

    bare = NCRYPT_CIPHER_PADDING_INFO(pbIV=b"i" * 16)
    whole = ncrypt.NCryptEncrypt(key, bytes(32), bare, flag)
    assert ncrypt.NCryptDecrypt(key, whole, bare, flag) == bytes(32)
    refused(Status.NTE_INVALID_PARAMETER, ncrypt.NCryptEncrypt, key, MESSAGE, bare, flag)
    refused(Status.NTE_DECRYPTION_FAILURE, ncrypt.NCryptDecrypt, key, whole[:16], padded, flag)


def test_aes_keys_are_imported_and_have_no_public_part(
    provider: ncrypt.NCryptProvHandle,
) -> None:
    blob = struct.pack("<3I", 0x4D42444B, 1, 32) + b"k" * 32
    key = ncrypt.NCryptImportKey(provider, None, "KeyDataBlob", None, blob)
    mode = BCRYPT_AUTHENTICATED_CIPHER_MODE_INFO(b"n" * 12, bytearray(16))
    info = NCRYPT_CIPHER_PADDING_INFO(pbOtherInfo=mode)
    ciphertext = ncrypt.NCryptEncrypt(key, MESSAGE, info, NCRYPT_PAD_CIPHER_FLAG)

    assert ciphertext + bytes(mode.pbTag) == AESGCM(b"k" * 32).encrypt(b"n" * 12, MESSAGE, b"")
    export = ncrypt.NCryptExportKey
    refused(Status.NTE_NOT_SUPPORTED, export, key, None, "PUBLICBLOB")
    refused(Status.NTE_NOT_SUPPORTED, export, key, None, "KeyDataBlob")
    refused(Status.NTE_BAD_ALGID, ncrypt.NCryptSignHash, key, None, bytes(32), 0)


# --- agreement ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def agreed(provider: ncrypt.NCryptProvHandle) -> tuple[ncrypt.NCryptSecretHandle, bytes]:
    """A secret handle, and the secret by another implementation."""
    ours, theirs = make(provider, "ECDH_P256"), ec.generate_private_key(ec.SECP256R1())
    blob = export_public_blob(theirs.public_key(), "ECDH", "ECCPUBLICBLOB")
    peer = ncrypt.NCryptImportKey(provider, None, "ECCPUBLICBLOB", None, blob)
    return ncrypt.NCryptSecretAgreement(ours, peer), theirs.exchange(ec.ECDH(), public_of(ours))


def name_buffer(name: str) -> NCryptBuffer:
    return NCryptBuffer(KDF_HASH_ALGORITHM, name)


def test_truncate_gives_the_secret_little_endian(agreed: Any) -> None:
    secret, z = agreed
    assert ncrypt.NCryptDeriveKey(secret, "TRUNCATE") == z[::-1]
    assert ncrypt.NCryptDeriveKey(secret, "TRUNCATE", cbDerivedKey=10) == z[::-1][:10]
    assert ncrypt.NCryptDeriveKey(secret, "TRUNCATE", cbDerivedKey=None) == 32


def test_hash_with_prepends_and_appends_in_order(agreed: Any) -> None:
    secret, z = agreed
    parameters = [
        NCryptBuffer(KDF_SECRET_PREPEND, b"one"),
        NCryptBuffer(KDF_SECRET_APPEND, b"three"),
        NCryptBuffer(KDF_SECRET_PREPEND, b"two"),
        name_buffer("SHA384"),
    ]

    assert ncrypt.NCryptDeriveKey(secret, "HASH") == hashlib.sha1(z).digest()
    expected = hashlib.sha384(b"onetwo" + z + b"three").digest()
    assert ncrypt.NCryptDeriveKey(secret, "HASH", parameters) == expected
    assert ncrypt.NCryptDeriveKey(secret, "HASH", parameters, cbDerivedKey=999) == expected


def test_hmac_with_a_key_and_with_the_secret_as_key(agreed: Any) -> None:
    secret, z = agreed
    named = [name_buffer("SHA256")]
    keyed = [*named, NCryptBuffer(KDF_HMAC_KEY, b"key")]

    expected = hmac.digest(b"key", z, "sha256")
    assert ncrypt.NCryptDeriveKey(secret, "HMAC", keyed) == expected
    flag = KDF_USE_SECRET_AS_HMAC_KEY_FLAG
    assert ncrypt.NCryptDeriveKey(secret, "HMAC", named, flag) == hmac.digest(z, z, "sha256")
    refused(Status.NTE_INVALID_PARAMETER, ncrypt.NCryptDeriveKey, secret, "HMAC", keyed, flag)


def test_hkdf_is_rfc_5869(agreed: Any) -> None:
    secret, z = agreed
    parameters = [
        name_buffer("SHA512"),
        NCryptBuffer(KDF_HKDF_SALT, b"salt"),
        NCryptBuffer(KDF_HKDF_INFO, b"info"),
    ]

    expected = HKDF(hashes.SHA512(), 100, salt=b"salt", info=b"info").derive(z)
    assert ncrypt.NCryptDeriveKey(secret, "HKDF", parameters, cbDerivedKey=100) == expected


def test_agreement_refuses_what_does_not_fit(
    provider: ncrypt.NCryptProvHandle, agreed: Any
) -> None:
    secret, _ = agreed
    p256, p384 = make(provider, "ECDH_P256"), make(provider, "ECDH_P384")
    signer = make(provider, "ECDSA_P256")
    agree, derive = ncrypt.NCryptSecretAgreement, ncrypt.NCryptDeriveKey
    refused(Status.NTE_INVALID_PARAMETER, agree, p256, p384)
    refused(Status.NTE_BAD_ALGID, agree, signer, p256)
    refused(Status.NTE_NOT_SUPPORTED, derive, secret, "NO_SUCH_KDF")
    refused(Status.NTE_INVALID_PARAMETER, derive, secret, "HASH", [NCryptBuffer(99, b"")])
    refused(Status.NTE_INVALID_HANDLE, derive, p256, "HASH")
    refused(Status.NTE_BAD_ALGID, ncrypt.NCryptSignHash, p256, None, bytes(32), 0)


# --- private export ----------------------------------------------------------------------------


@pytest.mark.exports_private_key
def test_private_blobs_have_cngs_layouts(provider: ncrypt.NCryptProvHandle) -> None:
    policy = NCRYPT_ALLOW_EXPORT_FLAG | NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG
    key = make(provider, "RSA", Length=1024, Export_Policy=policy)
    short = ncrypt.NCryptExportKey(key, None, "RSAPRIVATEBLOB")
    full = ncrypt.NCryptExportKey(key, None, "RSAFULLPRIVATEBLOB")

    assert (len(short), len(full)) == (283, 603)  # as observed on Windows
    assert (short[:4], full[:4]) == (b"RSA2", b"RSA3")
    pkcs8 = ncrypt.NCryptExportKey(key, None, "PKCS8_PRIVATEKEY")
    numbers = serialization.load_der_private_key(pkcs8, None)
    assert isinstance(numbers, rsa.RSAPrivateKey)
    private = numbers.private_numbers()
    assert full[-128:] == private.d.to_bytes(128, "big")
    assert short[-128:-64] == private.p.to_bytes(64, "big")

    curve = make(provider, "ECDH_P521", Export_Policy=policy)
    blob = ncrypt.NCryptExportKey(curve, None, "ECCPRIVATEBLOB")
    assert (blob[:4], len(blob)) == (b"ECK6", 8 + 3 * 66)
    refused(Status.NTE_BAD_TYPE, ncrypt.NCryptExportKey, curve, None, "RSAPRIVATEBLOB")


@pytest.mark.exports_private_key
def test_an_encrypted_export_needs_only_allow_export(
    provider: ncrypt.NCryptProvHandle,
) -> None:
    key = make(provider, "ECDSA_P256", Export_Policy=NCRYPT_ALLOW_EXPORT_FLAG)
    secret = [NCryptBuffer(NCRYPTBUFFER_PKCS_SECRET, "password")]
    export = ncrypt.NCryptExportKey
    encrypted = export(key, None, "PKCS8_PRIVATEKEY", secret)

    loaded = serialization.load_der_private_key(encrypted, b"password")
    assert loaded.public_key() == public_of(key)
    refused(Status.NTE_NOT_SUPPORTED, export, key, None, "PKCS8_PRIVATEKEY")
    refused(Status.NTE_NOT_SUPPORTED, export, key, None, "ECCPRIVATEBLOB")


def test_usages_default_to_all(provider: ncrypt.NCryptProvHandle) -> None:
    key = make(provider, "AES")
    usage = ncrypt.NCryptGetProperty(key, "Key Usage")
    assert struct.unpack("<I", usage) == (NCRYPT_ALLOW_ALL_USAGES,)
