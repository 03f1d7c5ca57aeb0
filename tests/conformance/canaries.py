"""Looking for a secret in what should not have it, in every form in which it could get there."""

import base64
import functools
import json
from collections.abc import Callable, Iterator, Mapping

PIECE_BYTES = 12
"""So much of a secret, in one piece, is found; no other bytes of a log look like it by chance."""


def _base64(piece: bytes, before: int, alphabet: bytes) -> bytes:
    """What base64 makes of the piece when so many bytes stand before it."""
    encoded = base64.b64encode(bytes(before) + piece, alphabet)
    whole = len(bytes(before) + piece) // 3 * 4
    return encoded[(before * 8 + 5) // 6 : whole]


FORMS: Mapping[str, Callable[[bytes], bytes]] = {
    "bytes": lambda piece: piece,
    "backwards": lambda piece: piece[::-1],
    "hexadecimal": lambda piece: piece.hex().encode(),
    "HEXADECIMAL": lambda piece: piece.hex().upper().encode(),
    "hexadecimal backwards": lambda piece: piece[::-1].hex().encode(),
    "colons": lambda piece: piece.hex(":").encode(),
    "repr": lambda piece: repr(piece)[2:-1].encode(),
    "repr in JSON": lambda piece: json.dumps(repr(piece)[2:-1])[1:-1].encode(),
    "JSON": lambda piece: json.dumps(piece.decode("latin-1"))[1:-1].encode(),
    "UTF-16": lambda piece: piece.decode("latin-1").encode("utf-16-le"),
    "UTF-8": lambda piece: piece.decode("latin-1").encode(),
    "numbers": lambda piece: repr(list(piece))[1:-1].encode(),
    **{
        f"base64 after {before} {alphabet.decode()}": functools.partial(
            _base64, before=before, alphabet=alphabet
        )
        for before in range(3)
        for alphabet in (b"+/", b"-_")
    },
}


def forms(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """Every form of every piece of a secret, and the number that it is."""
    for start in range(max(1, len(secret) - PIECE_BYTES + 1)):
        piece = secret[start : start + PIECE_BYTES]
        for name, form in FORMS.items():
            yield name, form(piece)
    for order in ("big", "little"):
        yield f"number, {order}-endian", str(int.from_bytes(secret, order)).encode()


def found(secrets: Mapping[str, bytes], places: Mapping[str, bytes]) -> set[tuple[str, str, str]]:
    """Which secret is in which place, and in which form."""
    return {
        (secret, place, form)
        for secret, value in secrets.items()
        for form, needle in set(forms(value))
        for place, text in places.items()
        if needle in text
    }
