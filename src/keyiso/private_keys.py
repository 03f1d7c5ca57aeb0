"""`cryptography` private keys over keys that are elsewhere.

Certificate builders, PyJWT and everything else that takes an `RSAPrivateKey`, an
`EllipticCurvePrivateKey` or an `Ed25519PrivateKey` takes these. What can be done without the
private bytes is done by whoever holds the key; `private_bytes` and `private_numbers` go through
the key's export policy.
"""

from typing import Any, Final, NoReturn, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.utils import Buffer

from keyiso.crypto.key_types import AsymmetricPrivateKey
from keyiso.flags import (
    NCRYPT_NO_PADDING_FLAG,
    NCRYPT_PAD_OAEP_FLAG,
    NCRYPT_PAD_PKCS1_FLAG,
    NCRYPT_PAD_PSS_FLAG,
)
from keyiso.function_table import (
    BCRYPT_OAEP_PADDING_INFO,
    BCRYPT_PKCS1_PADDING_INFO,
    BCRYPT_PSS_PADDING_INFO,
    EncryptionPaddingInfo,
    PaddingInfo,
)

_CNG_NAMES: Final = {
    "sha1": "SHA1",
    "sha256": "SHA256",
    "sha384": "SHA384",
    "sha512": "SHA512",
    "sha3-256": "SHA3-256",
    "sha3-384": "SHA3-384",
    "sha3-512": "SHA3-512",
}


class Holder(Protocol):
    """Who holds a private key: NCrypt's operations with it."""

    def sign_hash(self, info: PaddingInfo, digest: bytes, flags: int) -> bytes:
        """NCryptSignHash."""

    def decrypt(self, ciphertext: bytes, info: EncryptionPaddingInfo, flags: int) -> bytes:
        """NCryptDecrypt."""

    def exchange(self, peer: ec.EllipticCurvePublicKey) -> bytes:
        """The agreed secret, big-endian."""

    def export_pkcs8(self, password: bytes | None) -> bytes:
        """DER, as far as the export policy allows."""


class _Held:
    """What all kinds have in common."""

    def __init__(self, holder: Holder, public: Any) -> None:
        self._holder = holder
        self._public = public

    def private_bytes(
        self,
        encoding: serialization.Encoding,
        format: serialization.PrivateFormat,
        encryption_algorithm: serialization.KeySerializationEncryption,
    ) -> bytes:
        """Raises `NCryptError` (``NTE_NOT_SUPPORTED``) where the export policy says no."""
        if isinstance(encryption_algorithm, serialization.BestAvailableEncryption):
            # Encrypted by the holder: a policy may allow that and nothing in the clear.
            password: bytes = encryption_algorithm.password
            if format is serialization.PrivateFormat.PKCS8:
                encrypted = self._holder.export_pkcs8(password)
                if encoding is serialization.Encoding.DER:
                    return encrypted
                key = serialization.load_der_private_key(encrypted, password)
                return key.private_bytes(encoding, format, encryption_algorithm)
        return self._in_the_clear().private_bytes(encoding, format, encryption_algorithm)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key that is held by another process cannot be pickled; open it by name")

    def _in_the_clear(self) -> AsymmetricPrivateKey:
        key = serialization.load_der_private_key(self._holder.export_pkcs8(None), None)
        assert isinstance(key, AsymmetricPrivateKey)  # noqa: S101 (it was one when it was made)
        return key


class HeldRSAPrivateKey(_Held, rsa.RSAPrivateKey):
    """An RSA key."""

    @property
    def key_size(self) -> int:
        return int(self._public.key_size)

    def public_key(self) -> rsa.RSAPublicKey:
        public: rsa.RSAPublicKey = self._public
        return public

    def sign(
        self,
        data: bytes,
        padding: padding.AsymmetricPadding,
        algorithm: utils.Prehashed | hashes.HashAlgorithm | utils.NoDigestInfo,
    ) -> bytes:
        if isinstance(algorithm, utils.NoDigestInfo):
            return self._holder.sign_hash(
                BCRYPT_PKCS1_PADDING_INFO(), bytes(data), NCRYPT_PAD_PKCS1_FLAG
            )
        digest, hash_algorithm = _digest(data, algorithm)
        info, flags = self._signature_padding(padding, hash_algorithm)
        return self._holder.sign_hash(info, digest, flags)

    def decrypt(self, ciphertext: bytes, padding: padding.AsymmetricPadding) -> bytes:
        info, flags = _encryption_padding(padding)
        return self._holder.decrypt(bytes(ciphertext), info, flags)

    def private_numbers(self) -> rsa.RSAPrivateNumbers:
        key = self._in_the_clear()
        assert isinstance(key, rsa.RSAPrivateKey)  # noqa: S101 (it has this public key)
        return key.private_numbers()

    def _signature_padding(
        self, scheme: padding.AsymmetricPadding, algorithm: hashes.HashAlgorithm
    ) -> tuple[PaddingInfo, int]:
        name = _cng_name(algorithm)
        if isinstance(scheme, padding.PKCS1v15):
            return BCRYPT_PKCS1_PADDING_INFO(name), NCRYPT_PAD_PKCS1_FLAG
        if not isinstance(scheme, padding.PSS):
            raise TypeError("Padding must be PKCS1v15 or PSS")
        if scheme.mgf._algorithm.name != algorithm.name:
            raise UnsupportedAlgorithm("the mask generation must use the hash that is signed")
        return (
            BCRYPT_PSS_PADDING_INFO(name, self._salt_length(scheme, algorithm)),
            NCRYPT_PAD_PSS_FLAG,
        )

    def _salt_length(self, scheme: padding.PSS, algorithm: hashes.HashAlgorithm) -> int:
        length = scheme._salt_length
        if length is padding.PSS.MAX_LENGTH:
            return padding.calculate_max_pss_salt_length(self._public, algorithm)
        if length is padding.PSS.DIGEST_LENGTH:
            return algorithm.digest_size
        if isinstance(length, int):
            return length
        raise ValueError("PSS.AUTO is for verifying; choose a salt length to sign with")


class HeldEllipticCurvePrivateKey(_Held, ec.EllipticCurvePrivateKey):
    """An ECDSA or ECDH key."""

    @property
    def curve(self) -> ec.EllipticCurve:
        curve: ec.EllipticCurve = self._public.curve
        return curve

    @property
    def key_size(self) -> int:
        return self.curve.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        public: ec.EllipticCurvePublicKey = self._public
        return public

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        if not isinstance(signature_algorithm, ec.ECDSA):
            raise UnsupportedAlgorithm("only ECDSA signatures are supported")
        if signature_algorithm.deterministic_signing:
            raise UnsupportedAlgorithm("deterministic signatures are not supported")
        digest, _ = _digest(data, signature_algorithm.algorithm)
        signature = self._holder.sign_hash(None, digest, 0)
        half = len(signature) // 2
        r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        return utils.encode_dss_signature(r, s)

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        return self._holder.exchange(peer_public_key)

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        key = self._in_the_clear()
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 (as its public key is)
        return key.private_numbers()


class HeldEd25519PrivateKey(_Held, ed25519.Ed25519PrivateKey):
    """An Ed25519 key."""

    def public_key(self) -> ed25519.Ed25519PublicKey:
        public: ed25519.Ed25519PublicKey = self._public
        return public

    def sign(self, data: Buffer) -> bytes:
        return self._holder.sign_hash(None, bytes(data), 0)

    def private_bytes_raw(self) -> bytes:
        key = self._in_the_clear()
        assert isinstance(key, ed25519.Ed25519PrivateKey)  # noqa: S101 (as its public key is)
        return key.private_bytes_raw()


HeldPrivateKey = HeldRSAPrivateKey | HeldEllipticCurvePrivateKey | HeldEd25519PrivateKey


def held_private_key(
    holder: Holder,
    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey,
) -> HeldPrivateKey:
    """The private key that belongs to a public one."""
    if isinstance(public, rsa.RSAPublicKey):
        return HeldRSAPrivateKey(holder, public)
    if isinstance(public, ec.EllipticCurvePublicKey):
        return HeldEllipticCurvePrivateKey(holder, public)
    return HeldEd25519PrivateKey(holder, public)


def _digest(
    data: Buffer, algorithm: utils.Prehashed | hashes.HashAlgorithm
) -> tuple[bytes, hashes.HashAlgorithm]:
    if isinstance(algorithm, utils.Prehashed):
        return bytes(data), algorithm._algorithm
    computation = hashes.Hash(algorithm)
    computation.update(data)
    return computation.finalize(), algorithm


def _encryption_padding(scheme: padding.AsymmetricPadding) -> tuple[EncryptionPaddingInfo, int]:
    if isinstance(scheme, padding.PKCS1v15):
        return None, NCRYPT_PAD_PKCS1_FLAG
    if not isinstance(scheme, padding.OAEP):
        return None, NCRYPT_NO_PADDING_FLAG
    if scheme.mgf._algorithm.name != scheme.algorithm.name:
        raise UnsupportedAlgorithm("the mask generation must use the hash of OAEP")
    info = BCRYPT_OAEP_PADDING_INFO(_cng_name(scheme.algorithm), scheme._label or b"")
    return info, NCRYPT_PAD_OAEP_FLAG


def _cng_name(algorithm: hashes.HashAlgorithm) -> str:
    try:
        return _CNG_NAMES[algorithm.name]
    except KeyError:
        raise UnsupportedAlgorithm(f"the hash {algorithm.name} is not supported") from None
