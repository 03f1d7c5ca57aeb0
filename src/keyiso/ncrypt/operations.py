"""What is done with a key."""

from collections.abc import Sequence
from typing import Any, overload

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.function_table import EncryptionPaddingInfo, NCryptBuffer, PaddingInfo
from keyiso.ncrypt._arguments import WHOLE, key_target, output, reference
from keyiso.router import NCryptKeyHandle, NCryptSecretHandle, Target, new_handle, target_of
from keyiso.status import Status


@overload
def NCryptSignHash(
    hKey: NCryptKeyHandle,
    pPaddingInfo: PaddingInfo,
    pbHashValue: bytes,
    dwFlags: int = 0,
    *,
    cbSignature: int = WHOLE,
) -> bytes: ...
@overload
def NCryptSignHash(
    hKey: NCryptKeyHandle,
    pPaddingInfo: PaddingInfo,
    pbHashValue: bytes,
    dwFlags: int = 0,
    *,
    cbSignature: None,
) -> int: ...
def NCryptSignHash(
    hKey: NCryptKeyHandle,
    pPaddingInfo: PaddingInfo,
    pbHashValue: bytes,
    dwFlags: int = 0,
    *,
    cbSignature: int | None = WHOLE,
) -> Any:
    """Sign a hash. RSA needs a padding; ECDSA signatures are r and s of the curve's size.

    Raises ``NTE_PERM`` where the key's usage does not include signing.
    """
    target = target_of(hKey, NCryptKeyHandle)
    return output(
        cbSignature,
        target.table.sign_hash,
        target.provider,
        target.object,
        pPaddingInfo,
        bytes(reference(pbHashValue)),
        dwFlags,
    )


def KeyisoSignHashes(
    hKey: NCryptKeyHandle,
    pPaddingInfo: PaddingInfo,
    pbHashValues: Sequence[bytes],
    dwFlags: int = 0,
) -> list[bytes]:
    """Sign many hashes, faster than `NCryptSignHash` for each. keyiso's own: CNG has none.

    Raises what `NCryptSignHash` raises, for the first hash that cannot be signed.
    """
    target = target_of(hKey, NCryptKeyHandle)
    hashes = [bytes(reference(value)) for value in reference(pbHashValues)]
    arguments = target.provider, target.object, pPaddingInfo
    try:
        return list(target.table.sign_hashes(*arguments, hashes, dwFlags))
    except NCryptError as error:
        if error.status != Status.NTE_NOT_SUPPORTED:
            raise
    return [target.table.sign_hash(*arguments, value, dwFlags) for value in hashes]


def NCryptVerifySignature(
    hKey: NCryptKeyHandle,
    pPaddingInfo: PaddingInfo,
    pbHashValue: bytes,
    pbSignature: bytes,
    dwFlags: int = 0,
) -> None:
    """Return when the signature is one of this key over this hash.

    Raises ``NTE_BAD_SIGNATURE`` when it is not.
    """
    target = key_target(hKey)
    target.table.verify_signature(
        target.provider,
        target.object,
        pPaddingInfo,
        bytes(reference(pbHashValue)),
        bytes(reference(pbSignature)),
        dwFlags,
    )


@overload
def NCryptEncrypt(
    hKey: NCryptKeyHandle,
    pbInput: bytes,
    pPaddingInfo: EncryptionPaddingInfo = None,
    dwFlags: int = 0,
    *,
    cbOutput: int = WHOLE,
) -> bytes: ...
@overload
def NCryptEncrypt(
    hKey: NCryptKeyHandle,
    pbInput: bytes,
    pPaddingInfo: EncryptionPaddingInfo = None,
    dwFlags: int = 0,
    *,
    cbOutput: None,
) -> int: ...
def NCryptEncrypt(
    hKey: NCryptKeyHandle,
    pbInput: bytes,
    pPaddingInfo: EncryptionPaddingInfo = None,
    dwFlags: int = 0,
    *,
    cbOutput: int | None = WHOLE,
) -> Any:
    """Encrypt: RSA with no padding, PKCS #1 or OAEP, in this process; AES in the worker."""
    return _crypt(key_target(hKey), "encrypt", pbInput, pPaddingInfo, dwFlags, cbOutput)


@overload
def NCryptDecrypt(
    hKey: NCryptKeyHandle,
    pbInput: bytes,
    pPaddingInfo: EncryptionPaddingInfo = None,
    dwFlags: int = 0,
    *,
    cbOutput: int = WHOLE,
) -> bytes: ...
@overload
def NCryptDecrypt(
    hKey: NCryptKeyHandle,
    pbInput: bytes,
    pPaddingInfo: EncryptionPaddingInfo = None,
    dwFlags: int = 0,
    *,
    cbOutput: None,
) -> int: ...
def NCryptDecrypt(
    hKey: NCryptKeyHandle,
    pbInput: bytes,
    pPaddingInfo: EncryptionPaddingInfo = None,
    dwFlags: int = 0,
    *,
    cbOutput: int | None = WHOLE,
) -> Any:
    """Decrypt. The size probe gives an upper bound.

    Raises ``NTE_PERM`` where the key's usage does not include decrypting.
    """
    return _crypt(key_target(hKey), "decrypt", pbInput, pPaddingInfo, dwFlags, cbOutput)


def NCryptSecretAgreement(
    hPrivKey: NCryptKeyHandle, hPubKey: NCryptKeyHandle, dwFlags: int = 0
) -> NCryptSecretHandle:
    """Agree on a secret (ECDH). Both keys come from one provider; the secret stays in a worker."""
    private, public = key_target(hPrivKey), key_target(hPubKey)
    if private.table is not public.table:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER, "the two keys come from different providers"
        )
    secret = private.table.secret_agreement(
        private.provider, private.object, public.object, dwFlags
    )
    return new_handle(
        NCryptSecretHandle,
        Target(private.provider_name, private.table, private.provider, secret),
    )


@overload
def NCryptDeriveKey(
    hSharedSecret: NCryptSecretHandle,
    pwszKDF: str,
    pParameterList: Sequence[NCryptBuffer] | None = None,
    dwFlags: int = 0,
    *,
    cbDerivedKey: int = 0,
) -> bytes: ...
@overload
def NCryptDeriveKey(
    hSharedSecret: NCryptSecretHandle,
    pwszKDF: str,
    pParameterList: Sequence[NCryptBuffer] | None = None,
    dwFlags: int = 0,
    *,
    cbDerivedKey: None,
) -> int: ...
def NCryptDeriveKey(
    hSharedSecret: NCryptSecretHandle,
    pwszKDF: str,
    pParameterList: Sequence[NCryptBuffer] | None = None,
    dwFlags: int = 0,
    *,
    cbDerivedKey: int | None = 0,
) -> Any:
    """A key from an agreed secret: HASH, HMAC, HKDF or TRUNCATE.

    ``cbDerivedKey`` bytes are wanted, 0 for as many as the function naturally gives; HASH, HMAC
    and TRUNCATE give fewer where they have no more, as in CNG.
    """
    target = target_of(hSharedSecret, NCryptSecretHandle)
    return target.table.derive_key(
        target.provider,
        target.object,
        reference(pwszKDF),
        tuple(pParameterList or ()),
        cbDerivedKey or 0,
        dwFlags,
        probe=cbDerivedKey is None,
    )


def _crypt(
    target: Target,
    function: str,
    data: bytes,
    info: EncryptionPaddingInfo,
    flags: int,
    size: int | None,
) -> Any:
    return output(
        size,
        getattr(target.table, function),
        target.provider,
        target.object,
        bytes(reference(data)),
        info,
        flags,
    )
