"""KDFa and KDFe with SHA-256 (Part 1, 11.4). One block of the hash is all that is needed."""

import hashlib
import hmac
from typing import Final

_FIRST_BLOCK: Final = (1).to_bytes(4)
_BITS: Final = (256).to_bytes(4)


def kdf_a(key: bytes, label: bytes, context_u: bytes, context_v: bytes) -> bytes:
    """32 bytes from a secret. The label comes without its final zero."""
    message = _FIRST_BLOCK + label + b"\0" + context_u + context_v + _BITS
    return hmac.digest(key, message, "sha256")


def kdf_e(z: bytes, label: bytes, party_u: bytes, party_v: bytes) -> bytes:
    """32 bytes from an ECDH secret and the x coordinates of both sides."""
    return hashlib.sha256(_FIRST_BLOCK + z + label + b"\0" + party_u + party_v).digest()
