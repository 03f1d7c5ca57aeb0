"""RSA encryption in CNG's paddings.

Encrypting needs only the public key; decrypting is done by the worker. PKCS #1 v1.5 decryption
never says that the padding was wrong: OpenSSL answers with random bytes instead (implicit
rejection), so that nobody can ask it as an oracle.
"""

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from keyiso import limits
from keyiso.crypto.digests import hash_named
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import NCRYPT_NO_PADDING_FLAG, NCRYPT_PAD_OAEP_FLAG, NCRYPT_PAD_PKCS1_FLAG
from keyiso.status import Status


class EncryptionPadding(msgspec.Struct, frozen=True, array_like=True):
    """How a message is padded before RSA encrypts it."""

    scheme: int
    """NCRYPT_NO_PADDING_FLAG, NCRYPT_PAD_PKCS1_FLAG or NCRYPT_PAD_OAEP_FLAG."""
    hash_name: str = ""
    """OAEP: CNG identifier of the hash, also of the mask generation."""
    label: bytes = b""
    """OAEP."""


def encrypt_rsa(key: rsa.RSAPublicKey, message: bytes, pad: EncryptionPadding) -> bytes:
    """Encrypt a short message.

    Raises ``NTE_INVALID_PARAMETER`` for a message that is too long for key and padding, or, with
    no padding, is not as long as the modulus.
    """
    if pad.scheme == NCRYPT_NO_PADDING_FLAG:
        return _encrypt_raw(key, message)
    try:
        return key.encrypt(message, _scheme(pad))
    except UnsupportedAlgorithm:
        raise _unsupported(pad) from None
    except ValueError:
        raise _unfit("the message is too long for this key and padding") from None


def decrypt_rsa(key: rsa.RSAPrivateKey, ciphertext: bytes, pad: EncryptionPadding) -> bytes:
    """Decrypt what `encrypt_rsa` made.

    Raises ``NTE_INVALID_PARAMETER`` for a ciphertext of the wrong length,
    ``NTE_DECRYPTION_FAILURE`` where OAEP does not fit, ``NTE_NOT_SUPPORTED`` for no padding,
    which the library under us does not offer (and Python could not do in constant time).
    """
    if pad.scheme == NCRYPT_NO_PADDING_FLAG:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED,
            "decrypting without padding is not supported",
            "Use PKCS #1 or OAEP.",
        )
    if len(ciphertext) != (key.key_size + 7) // 8:
        raise _unfit(f"a ciphertext of this key has {(key.key_size + 7) // 8} bytes")
    try:
        return key.decrypt(ciphertext, _scheme(pad))
    except UnsupportedAlgorithm:
        raise _unsupported(pad) from None
    except ValueError:
        raise ncrypt_error(
            Status.NTE_DECRYPTION_FAILURE, "the ciphertext is not one of this key and padding"
        ) from None


def _scheme(pad: EncryptionPadding) -> padding.AsymmetricPadding:
    if pad.scheme == NCRYPT_PAD_PKCS1_FLAG:
        return padding.PKCS1v15()
    if pad.scheme != NCRYPT_PAD_OAEP_FLAG:
        raise _unfit("RSA encryption needs a padding: none, PKCS #1 or OAEP")
    if len(pad.label) > limits.OAEP_LABEL_BYTES:
        raise _unfit(f"an OAEP label has at most {limits.OAEP_LABEL_BYTES} bytes")
    algorithm = hash_named(pad.hash_name)
    return padding.OAEP(padding.MGF1(algorithm), algorithm, pad.label or None)


def _encrypt_raw(key: rsa.RSAPublicKey, message: bytes) -> bytes:
    """m to the e modulo n: everything in it is public."""
    numbers, size = key.public_numbers(), (key.key_size + 7) // 8
    number = int.from_bytes(message, "big")
    if len(message) != size or number >= numbers.n:
        raise _unfit(f"without padding a message has {size} bytes and is below the modulus")
    return pow(number, numbers.e, numbers.n).to_bytes(size, "big")


def _unsupported(pad: EncryptionPadding) -> NCryptError:
    return ncrypt_error(
        Status.NTE_NOT_SUPPORTED, f"OAEP with {pad.hash_name} is not supported", "Use SHA256."
    )


def _unfit(cause: str) -> NCryptError:
    return ncrypt_error(Status.NTE_INVALID_PARAMETER, cause)
