"""The kinds of keys that keyiso holds."""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa


@dataclass(frozen=True, slots=True)
class SymmetricKey:
    """An AES key: 16, 24 or 32 bytes."""

    value: bytes = field(repr=False)

    @property
    def key_size(self) -> int:
        """Bits."""
        return 8 * len(self.value)


AsymmetricPrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PrivateKey = AsymmetricPrivateKey | SymmetricKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def bits_of(key: PrivateKey | PublicKey) -> int:
    """A key's length in bits."""
    if isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
        return 256
    return key.key_size
