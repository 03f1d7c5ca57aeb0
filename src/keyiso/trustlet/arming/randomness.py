"""Random numbers that nobody has foreseen.

OpenSSL seeds its generators once, at the first use, which was the warm-up: who read the memory of
that moment could compute every key that is generated later. So they are seeded again, from the
kernel straight into secret memory.
"""

import os
from typing import Final

from cryptography.hazmat.bindings.openssl.binding import Binding

_SEED_BYTES: Final = 48
"""What OpenSSL itself takes: key and counter of AES-256 in CTR_DRBG."""


def reseed() -> None:
    """Have OpenSSL seed its generators anew, those of all threads.

    What is added goes in beside 48 bytes that OpenSSL fetches itself from the kernel (RAND_add(3),
    SP 800-90A: a reseed with additional input); the generators of the threads notice that the one
    they hang on was seeded, and follow before they give another number.
    """
    fresh = os.urandom(_SEED_BYTES)
    Binding.lib.RAND_add(fresh, len(fresh), float(len(fresh)))
