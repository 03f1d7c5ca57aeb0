"""The keys that the suite plants in a worker, and every form in which they might be found."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Planted:
    """Secrets that are in the worker, and in this process."""

    rsa_key: rsa.RSAPrivateKey
    ec_key: ec.EllipticCurvePrivateKey
    aes_key: bytes
    root: bytes

    @property
    def forms(self) -> Mapping[str, bytes]:
        """Every representation that is searched for, by a name."""
        return dict(self._forms())

    @property
    def limbs(self) -> Mapping[str, bytes]:
        """Numbers as OpenSSL computes with them: words of 64 or of 52 bits, the least first."""
        return {
            name: form for name, form in self._forms() if name.endswith((" limbs", " in 52 bits"))
        }

    def _forms(self) -> Iterator[tuple[str, bytes]]:
        for name, secret in (("root", self.root), ("AES key", self.aes_key)):
            yield name, secret
            yield f"{name} hexadecimal", secret.hex().encode()
            yield f"{name} base64", base64.b64encode(secret)
        for name, (value, size) in self._numbers().items():
            yield f"{name} big-endian", value.to_bytes(size, "big")
            yield f"{name} limbs", value.to_bytes(size, "little")  # of 64 bits
            yield f"{name} in 52 bits", _digits(value, 52, 8, size)  # AVX-512 IFMA
            yield f"{name} in 29 bits", _digits(value, 29, 8, size)  # AVX2
            yield f"{name} in 30 bits", _digits(value, 30, 4, size)  # Python's int
            yield f"{name} hexadecimal", value.to_bytes(size, "big").hex().encode()
            yield f"{name} base64", base64.b64encode(value.to_bytes(size, "big"))
        for name, key in (("RSA", self.rsa_key), ("EC", self.ec_key)):
            encoded = pkcs8(key)
            start, end = _private_part(key, encoded)
            yield f"{name} DER", encoded[start:end]
            yield f"{name} base64", base64.b64encode(encoded)[-(-start * 4 // 3) : end * 4 // 3]
            yield f"{name} PEM", _lines(base64.b64encode(encoded), start * 4 // 3, end * 4 // 3)

    def _numbers(self) -> Mapping[str, tuple[int, int]]:
        """Every secret number and its size in bytes."""
        numbers = self.rsa_key.private_numbers()
        half = self.rsa_key.key_size // 16
        square = 1 << (2 * 8 * half)  # R^2, R the Montgomery radix of p and q
        scalar = self.ec_key.private_numbers().private_value
        return {
            "d": (numbers.d, 2 * half),
            "p": (numbers.p, half),
            "q": (numbers.q, half),
            "dP": (numbers.dmp1, half),
            "dQ": (numbers.dmq1, half),
            "qInv": (numbers.iqmp, half),
            "RR mod p": (square % numbers.p, half),
            "RR mod q": (square % numbers.q, half),
            "p in Montgomery form": (numbers.p * (1 << 8 * half) % numbers.q, half),
            "EC scalar": (scalar, (self.ec_key.key_size + 7) // 8),
        }


def pkcs8(key: PrivateKey) -> bytes:
    """A key as it is imported."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def plant(root: bytes, aes_key: bytes) -> Planted:
    """New keys."""
    return Planted(
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP256R1()),
        aes_key,
        root,
    )


def _digits(value: int, bits: int, width: int, size: int) -> bytes:
    count = -(-8 * size // bits)
    mask = (1 << bits) - 1
    return b"".join((value >> bits * i & mask).to_bytes(width, "little") for i in range(count))


def _private_part(key: PrivateKey, encoded: bytes) -> tuple[int, int]:
    """Where what is secret lies in an encoded key, between what anybody knows."""
    if isinstance(key, rsa.RSAPrivateKey):
        size = key.key_size // 8
        return encoded.index(key.private_numbers().d.to_bytes(size, "big").lstrip(b"\0")), len(
            encoded
        )
    size = (key.key_size + 7) // 8
    start = encoded.index(key.private_numbers().private_value.to_bytes(size, "big"))
    return start, start + size


def _lines(text: bytes, start: int, end: int) -> bytes:
    """A piece of a text, as it stands in lines of 64 characters."""
    whole = b"\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return whole[start + start // 64 + 1 : end + end // 64]
