"""Structures of the TPM: frozen values that are written field by field, big-endian.

A structure is declared as the specification's tables have it. A field's type says how it is
written, as an ``Annotated`` codec or as another structure.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Generic, Self, TypeVar, get_origin, get_type_hints

import msgspec

from keyiso import limits
from keyiso.errors import ncrypt_error
from keyiso.status import Status

T = TypeVar("T")
Fields = Mapping[str, Any]


class MalformedError(Exception):
    """Bytes that are not the structure that they should be. Whoever reads them turns this into
    an error with a status."""


class Reader:
    """Takes values off the front of bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """So many bytes. Raises `MalformedError` when there are fewer."""
        if size > len(self._data) - self._at:
            raise MalformedError(f"it ends {size - len(self._data) + self._at} bytes too early")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        """An unsigned number of so many bytes."""
        return int.from_bytes(self.take(size))

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self._at)

    def end(self) -> None:
        """Raises `MalformedError` when something is left."""
        if left := len(self._data) - self._at:
            raise MalformedError(f"it has {left} bytes too many")


class Codec(ABC, Generic[T]):
    """How the value of one field is written."""

    is_handle: bool = False
    """A handle stands in front of a command's or an answer's parameters, not among them."""

    is_sized: bool = False
    """Begins with a length of two bytes. Sessions encrypt the first parameter if it does."""

    @abstractmethod
    def write(self, value: T, before: Fields) -> bytes:
        """The value's bytes; ``before`` has at least the fields in front of it."""

    @abstractmethod
    def read(self, reader: Reader, before: Fields) -> T:
        """Take a value; ``before`` has the fields in front of it. Raises `MalformedError`."""


class Number(Codec[int]):
    """An unsigned number."""

    def __init__(self, size: int) -> None:
        self._size = size

    def write(self, value: int, before: Fields) -> bytes:
        return value.to_bytes(self._size)

    def read(self, reader: Reader, before: Fields) -> int:
        return reader.number(self._size)


class Handle(Number):
    """The handle that an answer begins with."""

    is_handle = True

    def __init__(self) -> None:
        super().__init__(4)


class Constant(Number):
    """A number of which only one value is known."""

    def __init__(self, size: int, value: int) -> None:
        super().__init__(size)
        self._value = value

    def read(self, reader: Reader, before: Fields) -> int:
        if (found := super().read(reader, before)) != self._value:
            raise MalformedError(f"{found:#x} stands where {self._value:#x} should")
        return found


class Sized(Codec[bytes]):
    """Bytes behind their length, at most as many as the limit of this name."""

    def __init__(self, limit_name: str, prefix: int = 2) -> None:
        self._limit_name = limit_name
        self._limit: int = getattr(limits, limit_name)
        self._prefix = prefix
        self.is_sized = prefix == 2

    def write(self, value: bytes, before: Fields) -> bytes:
        if len(value) > self._limit:
            raise ncrypt_error(Status.KEYISO_E_LIMIT, self._above(len(value)))
        return len(value).to_bytes(self._prefix) + value

    def read(self, reader: Reader, before: Fields) -> bytes:
        size = reader.number(self._prefix)
        if size > self._limit:
            raise MalformedError(self._above(size))
        return reader.take(size)

    def _above(self, size: int) -> str:
        return f"a part has {size} bytes; {self._limit_name} is {self._limit}"


class SizedOf(Codec[T]):
    """A structure behind its length."""

    is_sized = True

    def __init__(self, hint: Any, limit_name: str) -> None:
        self._outer = Sized(limit_name)
        self._inner: Codec[T] = codec_of(hint)

    def write(self, value: T, before: Fields) -> bytes:
        return self._outer.write(self._inner.write(value, {}), before)

    def read(self, reader: Reader, before: Fields) -> T:
        inner = Reader(self._outer.read(reader, before))
        value = self._inner.read(inner, {})
        inner.end()
        return value


class Fixed(Codec[bytes]):
    """Bytes without a length."""

    def __init__(self, size: int) -> None:
        self._size = size

    def write(self, value: bytes, before: Fields) -> bytes:
        if len(value) != self._size:
            raise ncrypt_error(
                Status.NTE_INVALID_PARAMETER, f"{len(value)} bytes, where {self._size} belong"
            )
        return value

    def read(self, reader: Reader, before: Fields) -> bytes:
        return reader.take(self._size)


class Items(Codec[tuple[T, ...]]):
    """A list behind the number of its items."""

    def __init__(self, hint: Any) -> None:
        self._item: Codec[T] = codec_of(hint)

    def write(self, value: tuple[T, ...], before: Fields) -> bytes:
        return len(value).to_bytes(4) + b"".join(self._item.write(one, {}) for one in value)

    def read(self, reader: Reader, before: Fields) -> tuple[T, ...]:
        count = reader.number(4)
        if count > limits.TPM_LIST_ITEMS:
            raise MalformedError(
                f"a list has {count} items; TPM_LIST_ITEMS is {limits.TPM_LIST_ITEMS}"
            )
        return tuple(self._item.read(reader, {}) for _ in range(count))


class Selected(Codec[Any]):
    """A union: what it is stands in a field before it."""

    def __init__(self, selector: str, variants: Mapping[int, Any]) -> None:
        self._selector = selector
        self._variants = {key: codec_of(hint) for key, hint in variants.items()}

    def write(self, value: Any, before: Fields) -> bytes:
        return self._variants[before[self._selector]].write(value, {})

    def read(self, reader: Reader, before: Fields) -> Any:
        selected = before[self._selector]
        if selected not in self._variants:
            raise MalformedError(f"its {self._selector} is {selected:#x}, which is not known here")
        return self._variants[selected].read(reader, {})


class Nested(Codec[Any]):
    """A structure in a structure."""

    def __init__(self, structure: type["Structure"]) -> None:
        self._structure = structure

    def write(self, value: "Structure", before: Fields) -> bytes:
        return value.encode()

    def read(self, reader: Reader, before: Fields) -> "Structure":
        return self._structure.read(reader)


class Structure(msgspec.Struct, frozen=True):
    """A value of several fields."""

    def encode(self) -> bytes:
        """Its bytes. Raises ``KEYISO_E_LIMIT`` for a part that is too long."""
        return b"".join(self.encode_fields().values())

    def encode_fields(self) -> dict[str, bytes]:
        """The bytes of each field."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        return {
            name: codec.write(fields[name], fields) for name, codec in codecs_of(type(self)).items()
        }

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Take one off the front. Raises `MalformedError`."""
        fields: dict[str, Any] = {}
        for name, codec in codecs_of(cls).items():
            fields[name] = codec.read(reader, fields)
        return cls(**fields)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The structure that these bytes are, no more and no less. Raises `MalformedError`."""
        reader = Reader(data)
        value = cls.read(reader)
        reader.end()
        return value


class SecretStructure(Structure, frozen=True):
    """One with a secret in it, which no message and no traceback may show."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


@functools.cache
def codecs_of(structure: type[Structure]) -> Mapping[str, Codec[Any]]:
    """The fields of a structure and how each is written."""
    hints = get_type_hints(structure, include_extras=True)
    return {name: codec_of(hints[name]) for name in structure.__struct_fields__}


def codec_of(hint: Any) -> Codec[Any]:
    """How a value of a field's declared type is written."""
    if get_origin(hint) is Annotated:
        codec: Codec[Any] = hint.__metadata__[0]
        return codec
    return Nested(hint)


UINT8 = Annotated[int, Number(1)]
UINT16 = Annotated[int, Number(2)]
UINT32 = Annotated[int, Number(4)]
UINT64 = Annotated[int, Number(8)]
TPM_HANDLE = Annotated[int, Handle()]
TPM2B_DIGEST = Annotated[bytes, Sized("TPM_DIGEST_BYTES")]
TPM2B_NAME = Annotated[bytes, Sized("TPM_NAME_BYTES")]
TPM2B_DATA = Annotated[bytes, Sized("TPM_BUFFER_BYTES")]
TPM2B_PRIVATE = Annotated[bytes, Sized("TPM_PRIVATE_BYTES")]
TPM2B_KEY_NUMBER = Annotated[bytes, Sized("TPM_KEY_BYTES")]
"""TPM2B_PUBLIC_KEY_RSA and TPM2B_ECC_PARAMETER."""
TPM2B_SENSITIVE_DATA = Annotated[bytes, Sized("TPM_SEALED_BYTES")]
