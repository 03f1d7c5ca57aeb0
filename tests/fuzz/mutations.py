"""Making bad inputs out of good ones."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

INTERESTING_BYTES = (
    b"\x00\x01\x20\x7f\x80\x90\x91\xa0\xc0\xc1\xc4\xc6\xc7\xca\xcf\xd9\xdb\xdc\xdd\xdf\xff"
)
"""Ends of ranges, and what begins each kind of value in msgpack and in DER."""

INTERESTING_NUMBERS = (0, 1, 127, 128, 255, 256, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)

LONGEST_RANDOM = 300


def mutated(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Something between a good input and noise."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randrange(LONGEST_RANDOM))
    data = rng.choice(corpus)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        data = rng.choice(_MUTATIONS)(rng, data, corpus)
    return data


def with_other_values(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """A good message but for one value, or a few."""
    data = rng.choice(corpus)
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = _change_a_value(rng, data, corpus)
    return data


def _flip_a_bit(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _set_a_byte(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + bytes([rng.choice(INTERESTING_BYTES)]) + data[at + 1 :]


def _set_a_number(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    size = rng.choice((2, 4, 8))
    number = rng.choice(INTERESTING_NUMBERS) % (1 << 8 * size)
    order = rng.choice(("little", "big"))
    return data[:at] + number.to_bytes(size, order) + data[at + size :]  # type: ignore[arg-type]


def _cut(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _delete(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    start, end = _slice(rng, data)
    return data[:start] + data[end:]


def _repeat(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    start, end = _slice(rng, data)
    return data[:end] + data[start:end] * rng.choice((1, 2, 50)) + data[end:]


def _insert(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.randrange(1, 20)) + data[at:]


def _splice(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    other = rng.choice(corpus)
    start, end = _slice(rng, other)
    at = rng.randrange(len(data) + 1)
    return data[:at] + other[start:end] + data[at + rng.choice((0, end - start)) :]


def _nest(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    """Arrays in arrays in arrays, as msgpack has them."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + b"\x91" * rng.choice((10, 500, 5_000, 20_000)) + data[at:]


def _change_a_value(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    """One value of a msgpack message: in a frame, after a version byte, or as it is."""
    framed = int.from_bytes(data[:4], "little") == len(data) - 4
    start = 4 if framed else int(data[:1] == b"\1")
    try:
        message = msgspec.msgpack.decode(data[start:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _set_a_byte(rng, data, corpus)
    body = msgspec.msgpack.encode(_changed(rng, message))
    return (len(body).to_bytes(4, "little") if framed else data[:start]) + body


def _changed(rng: random.Random, value: Any) -> Any:
    """Mostly another value of the same type, which gets past the decoder."""
    if not isinstance(value, list) or not value or rng.random() < 0.05:
        same = [one for one in _INTERESTING_VALUES if type(one) is type(value)]
        return rng.choice(same if same and rng.random() < 0.7 else _INTERESTING_VALUES)
    at = rng.randrange(len(value))
    match rng.randrange(8):
        case 0:
            return value[:at] + value[at + 1 :]
        case 1:
            return [*value, rng.choice(_INTERESTING_VALUES)]
    return [*value[:at], _changed(rng, value[at]), *value[at + 1 :]]


_INTERESTING_VALUES: tuple[Any, ...] = (
    *INTERESTING_NUMBERS,
    2**63,
    2**64 - 1,
    -1,
    -(2**63),
    1.5,
    float("nan"),
    float("inf"),
    None,
    True,
    b"",
    b"\0",
    bytes(16),
    bytes(1 << 16),
    "",
    "\0",
    "\x1b[2J",
    "é" * 200,
    [],
    [[]],
    {},
    {"a": 1},
)
"""Of every type, at the ends of its range, and of the wrong length."""


def _slice(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 4, 16, 100)))


_MUTATIONS: tuple[Callable[[random.Random, bytes, Sequence[bytes]], bytes], ...] = (
    _flip_a_bit,
    _flip_a_bit,
    _set_a_byte,
    _set_a_byte,
    _set_a_number,
    _cut,
    _delete,
    _repeat,
    _insert,
    _splice,
    _nest,
    _change_a_value,
    _change_a_value,
)
