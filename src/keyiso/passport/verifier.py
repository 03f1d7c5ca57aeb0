"""Who believes a logon: an assertion is checked against the key that a user enrolled."""

import os
from collections.abc import Callable
from typing import Final

from keyiso import limits
from keyiso.clock import Clock
from keyiso.crypto.digests import digest
from keyiso.crypto.key_types import PublicKey
from keyiso.crypto.signatures import signature_bytes, verify_digest
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.passport.assertion import (
    HASH,
    Assertion,
    LogonClaims,
    kid_of,
    read_assertion,
    scheme_of,
)
from keyiso.passport.nonces import Nonces
from keyiso.status import Status


class AssertionVerifier:
    """Gives out nonces, and believes each once."""

    def __init__(
        self, audience: str, clock: Clock, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        """``audience`` is what assertions name that are for this verifier."""
        self._audience: Final = audience
        self._clock: Final = clock
        self._nonces: Final = Nonces(clock, random)

    def begin(self, issuer: str) -> LogonClaims:
        """The claims that an assertion of this user must make now, with a fresh nonce.

        Raises ``KEYISO_E_LIMIT`` when too many logons have begun.
        """
        now = int(self._clock.time())
        return LogonClaims(
            iss=issuer,
            aud=self._audience,
            iat=now,
            exp=now + limits.ASSERTION_SECONDS,
            request_nonce=self._nonces.give(issuer),
        )

    def verify(self, token: bytes, issuer: str, enrolled: PublicKey) -> LogonClaims:
        """Return when this user's enrolled key signed the token for this verifier, over a nonce
        that is good, which it no longer is then.

        Raises ``NTE_BAD_DATA`` and ``KEYISO_E_LIMIT`` for what is no assertion, ``NTE_BAD_ALGID``,
        ``NTE_BAD_SIGNATURE``, ``NTE_NOT_SUPPORTED`` for an enrolled key that signs none, and
        ``ERROR_LOGON_FAILURE`` for all that a right signature says and that is not right.
        """
        assertion = read_assertion(token)
        _check_signature(assertion, enrolled)
        claims = assertion.claims
        self._nonces.take(claims.request_nonce, issuer)
        if claims.iss != issuer:
            raise _not_believed("of another user")
        if claims.aud != self._audience:
            raise _not_believed("for somebody else")
        self._check_times(claims)
        return claims

    def _check_times(self, claims: LogonClaims) -> None:
        now, leeway = self._clock.time(), limits.ASSERTION_LEEWAY_SECONDS
        if not 0 < claims.exp - claims.iat <= limits.ASSERTION_SECONDS:
            raise _not_believed(f"good for other times than {limits.ASSERTION_SECONDS} seconds")
        if claims.iat > now + leeway:
            raise _not_believed("from the future")
        if claims.exp <= now - leeway:
            raise _not_believed("too old")


def _check_signature(assertion: Assertion, enrolled: PublicKey) -> None:
    """The key says which algorithm it is; the token must say the same."""
    scheme = scheme_of(enrolled)
    if assertion.algorithm != scheme.name:
        raise ncrypt_error(
            Status.NTE_BAD_ALGID,
            f"the assertion names another algorithm than {scheme.name}, the enrolled key's",
        )
    if assertion.kid != kid_of(enrolled):
        raise ncrypt_error(
            Status.NTE_BAD_SIGNATURE, "the assertion was signed with another key than the enrolled"
        )
    if len(assertion.signature) != signature_bytes(enrolled):
        raise ncrypt_error(
            Status.NTE_BAD_SIGNATURE, "the assertion's signature has another length than the key's"
        )
    verify_digest(enrolled, digest(HASH, assertion.signed), assertion.signature, scheme.pad)


def _not_believed(what: str) -> NCryptError:
    return ncrypt_error(Status.ERROR_LOGON_FAILURE, f"the assertion is {what}", "Log on anew.")
