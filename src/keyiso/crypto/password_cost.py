"""What it costs to take the password off a PKCS #8 key, which its file says (RFC 5958, 8018, 7914).

A number in the file makes whoever tries a password work for years, or take all memory.
"""

from collections.abc import Iterator
from typing import Final

from keyiso import limits
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

_INTEGER: Final = 0x02
_LONG_LENGTH: Final = 0x80
_NUMBER_BYTES: Final = 8
_PBES2: Final = bytes.fromhex("2a864886f70d01050d")
_SCRYPT: Final = bytes.fromhex("2b06010401da47040b")
_SCRYPT_BLOCK_BYTES: Final = 128
"""scrypt works through 128 N r p bytes (RFC 7914, section 2)."""


def check_password_cost(pkcs8: bytes) -> None:
    """Raises ``KEYISO_E_LIMIT`` when the password of a DER PKCS #8 key is made to cost more than
    ``PASSWORD_ITERATIONS`` or ``PASSWORD_SCRYPT_BYTES``.

    What is no encrypted key passes: who loads it will say so. More than DER is understood here,
    so that there is nothing that a library understands and this does not.
    """
    try:
        kind, numbers = _derivation(pkcs8)
    except ValueError:
        return
    if kind == _SCRYPT:
        cost = _SCRYPT_BLOCK_BYTES
        for number in numbers[:3]:
            cost *= max(1, number)
        if cost > limits.PASSWORD_SCRYPT_BYTES:
            raise _too_costly("PASSWORD_SCRYPT_BYTES", limits.PASSWORD_SCRYPT_BYTES)
    elif max(numbers, default=0) > limits.PASSWORD_ITERATIONS:
        raise _too_costly("PASSWORD_ITERATIONS", limits.PASSWORD_ITERATIONS)


def _derivation(pkcs8: bytes) -> tuple[bytes, list[int]]:
    """How a key is derived from the password: the algorithm's identifier, and the numbers among
    its parameters. Raises ``ValueError`` for what is no encrypted key.
    """
    (_, key), *_ = _elements(pkcs8)
    (_, encryption), *_ = _elements(key)
    (_, kind), (_, parameters), *_ = _elements(encryption)
    if kind == _PBES2:
        (_, derivation), *_ = _elements(parameters)
        (_, kind), (_, parameters), *_ = _elements(derivation)
    return kind, [_number(value) for tag, value in _elements(parameters) if tag == _INTEGER]


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tags and contents, one after the other. Raises ``ValueError`` for what is cut short."""
    at = 0
    while at < len(der):
        tag, length = der[at : at + 2]
        at += 2
        if length & _LONG_LENGTH:
            size = length - _LONG_LENGTH
            length = int.from_bytes(der[at : at + size], "big")
            at += size
        value = der[at : at + length]
        if len(value) < length:
            raise ValueError("less than the length says")
        yield tag, value
        at += length


def _number(value: bytes) -> int:
    """The number, or one above every limit."""
    return int.from_bytes(value, "big") if len(value) <= _NUMBER_BYTES else 1 << 8 * _NUMBER_BYTES


def _too_costly(name: str, limit: int) -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_LIMIT,
        f"taking the password off this key would cost more than {name} ({limit})",
        "Give the key another password with usual parameters: `openssl pkcs8 -topk8`.",
    )
