"""AES in CNG's chaining modes: GCM and CBC.

The caller gives nonce or initialization vector, as in CNG; `keyiso.keys` makes fresh ones. A GCM
nonce that is used twice under one key gives the key's protection away.
"""

import hmac
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keyiso import limits
from keyiso.crypto.key_types import SymmetricKey
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

Mode = Literal["ChainingModeGCM", "ChainingModeCBC"]

BLOCK_BYTES: Final = 16
TAG_BYTES: Final = 16
NONCE_BYTES: Final = 12
"""GCM's own length; others are hashed to it and are refused."""


class CipherParameters(msgspec.Struct, frozen=True, array_like=True):
    """How a message is enciphered."""

    mode: Mode
    nonce: bytes
    """GCM: 12 bytes. CBC: the initialization vector, 16 bytes."""
    associated: bytes = b""
    """GCM: authenticated with the message, not enciphered."""
    pad: bool = False
    """CBC: PKCS #7 padding; without it the message is whole blocks."""


def encipher(key: SymmetricKey, message: bytes, parameters: CipherParameters) -> bytes:
    """The ciphertext; with GCM its tag (16 bytes) follows.

    Raises ``NTE_INVALID_PARAMETER`` for a nonce or a message of the wrong length.
    """
    _check(message, parameters)
    if parameters.mode == "ChainingModeGCM":
        return AESGCM(key.value).encrypt(parameters.nonce, message, parameters.associated)
    if parameters.pad:
        padder = padding.PKCS7(8 * BLOCK_BYTES).padder()
        message = padder.update(message) + padder.finalize()
    encryptor = _cbc(key, parameters).encryptor()
    return encryptor.update(message) + encryptor.finalize()


def decipher(key: SymmetricKey, ciphertext: bytes, parameters: CipherParameters) -> bytes:
    """The message.

    Raises ``NTE_DECRYPTION_FAILURE`` when it was changed (GCM) or its padding is wrong (CBC,
    which does not notice changes otherwise).
    """
    if parameters.mode == "ChainingModeGCM":
        _check(ciphertext[:-TAG_BYTES], parameters)
        try:
            return AESGCM(key.value).decrypt(parameters.nonce, ciphertext, parameters.associated)
        except (InvalidTag, ValueError):
            raise _failed("the ciphertext, its tag or what goes with it was changed") from None
    _check(ciphertext[:-BLOCK_BYTES], parameters)
    if len(ciphertext) % BLOCK_BYTES:
        raise _unfit(f"the ciphertext is not whole blocks of {BLOCK_BYTES} bytes")
    decryptor = _cbc(key, parameters).decryptor()
    message = decryptor.update(ciphertext) + decryptor.finalize()
    return _unpadded(message) if parameters.pad else message


def _unpadded(message: bytes) -> bytes:
    """Without its PKCS #7 padding, compared in one go: no byte of it is told from another."""
    count = message[-1] if message else 0
    if 1 <= count <= BLOCK_BYTES and hmac.compare_digest(message[-count:], bytes([count] * count)):
        return message[:-count]
    raise _failed("the padding of the last block is wrong")


def _cbc(key: SymmetricKey, parameters: CipherParameters) -> Cipher[modes.CBC]:
    return Cipher(algorithms.AES(key.value), modes.CBC(parameters.nonce))


def _check(message: bytes, parameters: CipherParameters) -> None:
    wanted = NONCE_BYTES if parameters.mode == "ChainingModeGCM" else BLOCK_BYTES
    if len(parameters.nonce) != wanted:
        raise _unfit(f"{parameters.mode} needs {wanted} bytes of nonce or initialization vector")
    if len(message) + len(parameters.associated) > limits.MESSAGE_BYTES:
        raise _unfit(f"a message has at most MESSAGE_BYTES ({limits.MESSAGE_BYTES}) bytes here")
    if parameters.mode == "ChainingModeCBC":
        if parameters.associated:
            raise _unfit("CBC authenticates nothing: it takes no associated data")
        if not parameters.pad and len(message) % BLOCK_BYTES:
            raise _unfit(f"the message is not whole blocks of {BLOCK_BYTES} bytes")


def _failed(cause: str) -> NCryptError:
    return ncrypt_error(Status.NTE_DECRYPTION_FAILURE, cause)


def _unfit(cause: str) -> NCryptError:
    return ncrypt_error(Status.NTE_INVALID_PARAMETER, cause)
