"""A logon as PAM's module ``pam_exec`` runs it: who, the PIN, and the exit code.

``pam_exec`` takes every exit code but 0 for one failure (PAM_SYSTEM_ERR). The codes tell logs, and
programs that run the command by themselves.
"""

import enum
import os
from collections.abc import Mapping
from typing import Final

from keyiso import limits
from keyiso.crypto.pin import Pin, wipe
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status


class PamExit(enum.IntEnum):
    """How the command ends, by the numbers of PAM's results (_pam_types.h)."""

    SUCCESS = 0
    AUTH_ERR = 7
    """The PIN is wrong."""
    AUTHINFO_UNAVAIL = 9
    """Nobody can tell by a PIN now: another way of logging on may be asked for."""


_WRONG: Final = frozenset(
    [
        Status.NTE_INCORRECT_PASSWORD,
        Status.NTE_INVALID_PARAMETER,  # no PIN at all
        Status.NTE_BAD_SIGNATURE,
        Status.ERROR_LOGON_FAILURE,
    ]
)


def exit_of(status: int) -> PamExit:
    """The exit code for a logon that ended with this status.

    Only ``ERROR_SUCCESS`` is a success. What says nothing about the PIN (locked, not enrolled, no
    service, a deadline) leaves the question open.
    """
    if status == Status.ERROR_SUCCESS:
        return PamExit.SUCCESS
    return PamExit.AUTH_ERR if status in _WRONG else PamExit.AUTHINFO_UNAVAIL


def pam_user(environ: Mapping[str, str]) -> str:
    """Who logs on. Raises ``NTE_INVALID_PARAMETER`` where ``pam_exec`` does not ask who it is."""
    user = environ.get("PAM_USER", "")
    if environ.get("PAM_TYPE") != "auth":
        raise _no_question("it is not run to authenticate somebody (PAM_TYPE)")
    if not 0 < len(os.fsencode(user)) <= limits.LOGON_USER_BYTES:
        raise _no_question("it is not told who logs on (PAM_USER)")
    return user


def read_pin(descriptor: int) -> Pin:
    """The PIN that ``pam_exec expose_authtok`` writes, with or without a zero byte at the end. The
    caller wipes it.

    Raises ``NTE_INVALID_PARAMETER`` for what is no PIN.
    """
    typed = bytearray(limits.PIN_CHARACTERS + 2)  # one too many, which is refused, and the zero
    length = 0
    try:
        with memoryview(typed) as whole:
            while length < len(typed) and (count := os.readv(descriptor, [whole[length:]])):
                length += count
        if length and not typed[length - 1]:
            length -= 1
        return Pin(typed[:length])
    finally:
        wipe(typed)


def _no_question(why: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_INVALID_PARAMETER,
        why,
        "Have pam_exec run it in an auth line, as docs/pam.md has.",
    )
