"""Bytes as text that can be carried by hand: lines of base64 between two that say what it is."""

import binascii
import textwrap
from base64 import b64decode, b64encode
from typing import IO

from keyiso import limits
from keyiso.errors import ncrypt_error
from keyiso.status import Status

REQUEST = "KEYISO RECOVERY REQUEST"
ANSWER = "KEYISO RECOVERY ANSWER"
PASSPORT_REQUEST = "KEYISO PASSPORT REQUEST"
PASSPORT_ANSWER = "KEYISO PASSPORT ANSWER"


def armoured(data: bytes, label: str) -> str:
    """The text."""
    lines = "\n".join(textwrap.wrap(b64encode(data).decode("ascii"), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"


def read_armoured(file: IO[bytes], label: str) -> bytes:
    """The bytes of the next such text in a file, of which no more is read.

    Raises ``NTE_BAD_DATA`` when there is none, or it is damaged.
    """
    begin, end = f"-----BEGIN {label}-----".encode(), f"-----END {label}-----".encode()
    lines: list[bytes] = []
    begun = False
    left = 2 * limits.RECOVERY_TEXT_BYTES
    while left > 0 and (line := file.readline(left)):
        left -= len(line)
        line = line.strip()
        if begun and line == end:
            return _decoded(b"".join(lines), label)
        if begun:
            lines.append(line)
        begun = begun or line == begin
    raise ncrypt_error(Status.NTE_BAD_DATA, f"there is no whole {label.lower()}")


def _decoded(text: bytes, label: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        raise ncrypt_error(Status.NTE_BAD_DATA, f"the {label.lower()} is damaged") from None
