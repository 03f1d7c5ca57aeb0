"""HPKE (RFC 9180) as keyiso uses it: X25519, HKDF-SHA256, AES-256-GCM."""

from typing import Final

from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)

KEY_BYTES: Final = 32
"""A public key; also an encapsulated one."""

TAG_BYTES: Final = 16
