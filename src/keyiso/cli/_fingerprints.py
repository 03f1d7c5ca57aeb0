"""What people compare: of a key, and of a request."""

import hashlib


def fingerprint_text(fingerprint: bytes) -> str:
    """A recovery key's."""
    return f"SHA256:{fingerprint.hex()}"


def request_fingerprint(request: bytes) -> str:
    """That of a request which is carried by hand, every byte of it."""
    return fingerprint_text(hashlib.sha256(request).digest())
