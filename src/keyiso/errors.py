"""One exception tree: what happened, why, what to do, and which processes were on the way."""

import msgspec

from keyiso.status import Status, describe


class Hop(msgspec.Struct, frozen=True, array_like=True):
    """One process on the way of a request."""

    service: str
    """What the process is: ``application``, ``keyiso``, ``software-0``."""
    pid: int
    function: str
    """What it was asked to do, or what it found."""

    def __str__(self) -> str:
        return f"{self.service}[{self.pid}] {self.function}"


class NCryptError(Exception):
    """A status other than success.

    Catch this class and look at ``status``, or catch one of the subclasses below, each of which
    stands for one status that programs often handle.
    """

    def __init__(
        self, status: int, cause: str = "", action: str = "", chain: tuple[Hop, ...] = ()
    ) -> None:
        super().__init__(status, cause, action, chain)
        self.status = int(status)
        self.cause = cause
        self.action = action
        self.chain = chain

    def __str__(self) -> str:
        parts = [describe(self.status)]
        if self.cause:
            parts.append(f"Cause: {self.cause}.")
        if self.action:
            parts.append(self.action)
        if self.chain:
            parts.append("Way: " + " -> ".join(map(str, self.chain)) + ".")
        return " ".join(parts)


class KeyNotFoundError(NCryptError):
    """``NTE_BAD_KEYSET``: there is no such key, or not for this user."""


class KeyExistsError(NCryptError):
    """``NTE_EXISTS``: another key has the name. Overwriting must be asked for."""


class InvalidSignatureError(NCryptError):
    """``NTE_BAD_SIGNATURE``: the signature is not one of this key over this hash."""


class EphemeralKeyGoneError(NCryptError):
    """``KEYISO_E_EPHEMERAL_GONE``: the ephemeral key ended with what held it. Make a new one."""


class VbsUnavailableError(NCryptError):
    """``NTE_VBS_UNAVAILABLE``: this machine cannot give the protection that was required."""


class ServiceUnavailableError(NCryptError):
    """``KEYISO_E_SERVICE_UNAVAILABLE``: no service answered before the deadline."""


_CLASS_OF_STATUS: dict[int, type[NCryptError]] = {
    Status.NTE_BAD_KEYSET: KeyNotFoundError,
    Status.NTE_EXISTS: KeyExistsError,
    Status.NTE_BAD_SIGNATURE: InvalidSignatureError,
    Status.KEYISO_E_EPHEMERAL_GONE: EphemeralKeyGoneError,
    Status.NTE_VBS_UNAVAILABLE: VbsUnavailableError,
    Status.KEYISO_E_SERVICE_UNAVAILABLE: ServiceUnavailableError,
}


def ncrypt_error(
    status: int, cause: str = "", action: str = "", chain: tuple[Hop, ...] = ()
) -> NCryptError:
    """The exception for a status, of the subclass that stands for it where there is one."""
    return _CLASS_OF_STATUS.get(status, NCryptError)(status, cause, action, chain)
