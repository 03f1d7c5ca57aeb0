"""Nonces that were given out, each good once and for a while.

They are in memory: with the process they end, and what was signed over them is good nowhere. There
is no file that somebody could put back.
"""

import os
import threading
from collections.abc import Callable
from typing import Final

from keyiso import limits
from keyiso.clock import Clock
from keyiso.errors import ncrypt_error
from keyiso.status import Status


class Nonces:
    """For whom each nonce is, and until when. Threads may share it."""

    def __init__(self, clock: Clock, random: Callable[[int], bytes] = os.urandom) -> None:
        self._clock: Final = clock
        self._random: Final = random
        self._lock: Final = threading.Lock()
        self._good: dict[str, tuple[str, float]] = {}

    def give(self, issuer: str) -> str:
        """A nonce for one logon of this user.

        Raises ``KEYISO_E_LIMIT`` when there are ``LOGON_NONCES``.
        """
        nonce = self._random(limits.LOGON_NONCE_BYTES).hex()
        now = self._clock.monotonic()
        with self._lock:
            self._good = {one: what for one, what in self._good.items() if now < what[1]}
            if len(self._good) >= limits.LOGON_NONCES:
                raise ncrypt_error(
                    Status.KEYISO_E_LIMIT,
                    f"too many logons are waiting; LOGON_NONCES is {limits.LOGON_NONCES}",
                    "Try again in a minute.",
                )
            self._good[nonce] = (issuer, now + limits.LOGON_NONCE_SECONDS)
        return nonce

    def take(self, nonce: str, issuer: str) -> None:
        """Use a nonce up. Raises ``ERROR_LOGON_FAILURE`` for one that is not good for this user:
        used, too old, another one's, or never given out.
        """
        with self._lock:
            given = self._good.pop(nonce, None)
        if given is None:
            why = "was used before, or was not given out here"
        elif self._clock.monotonic() >= given[1]:
            why = f"is older than {limits.LOGON_NONCE_SECONDS:g} seconds"
        elif given[0] != issuer:
            why = "was given out for another user"
        else:
            return
        raise ncrypt_error(
            Status.ERROR_LOGON_FAILURE, f"the assertion's nonce {why}", "Log on anew."
        )
