"""The kernel's own types (BTF, Documentation/bpf/btf.rst): ids of functions, places of fields."""

import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyiso.trustlet.arming.kernel import cannot_arm

KERNEL: Final = Path("/sys/kernel/btf/vmlinux")

_MAGIC: Final = 0xEB9F
_HEADER: Final = struct.Struct("=HBBIIIII")
_TYPE: Final = struct.Struct("=III")
_MEMBER: Final = struct.Struct("=III")

_STRUCT: Final = 4
_FUNC: Final = 12

_EXTRA_BYTES: Final[Mapping[int, tuple[int, int]]] = {
    1: (4, 0),  # int
    3: (12, 0),  # array
    _STRUCT: (0, 12),
    5: (0, 12),  # union
    6: (0, 8),  # enum
    13: (0, 8),  # prototype of a function
    14: (4, 0),  # variable
    15: (0, 12),  # section
    17: (4, 0),  # tag of a declaration
    19: (0, 12),  # enum of 64 bits
}
"""What follows a type, by its kind: bytes once, and bytes for each of its members."""


@dataclass(frozen=True, slots=True)
class _Type:
    number: int
    kind: int
    name: str
    members: bytes
    bit_fields: bool


class KernelTypes:
    """The types of a BTF file. Reading all of them takes half a second."""

    def __init__(self, data: bytes) -> None:
        magic, _, _, header, types, type_bytes, strings, string_bytes = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise cannot_arm("the kernel's types are in a form that is not known here")
        self._types = data[header + types : header + types + type_bytes]
        self._strings = data[header + strings : header + strings + string_bytes]

    def functions(self, names: Collection[str]) -> Mapping[str, int]:
        """Ids of functions. Raises `VbsUnavailableError` when the kernel lacks one of them."""
        found = {one.name: one.number for one in self._all() if one.kind == _FUNC}
        if lacking := sorted(set(names) - found.keys()):
            raise cannot_arm(f"the kernel has no {', '.join(lacking)}")
        return {name: found[name] for name in names}

    def offset(self, structure: str, field: str) -> int:
        """Where a field lies in a structure, in bytes."""
        for one in self._all():
            if one.kind == _STRUCT and one.name == structure:
                for name, _, bits in _MEMBER.iter_unpack(one.members):
                    if self._text(name) == field:
                        place: int = bits & 0xFFFFFF if one.bit_fields else bits
                        return place // 8
        raise cannot_arm(f"the kernel's {structure} has no {field}")

    def _all(self) -> Iterator[_Type]:
        at, number = 0, 0
        while at < len(self._types):
            name, info, _ = _TYPE.unpack_from(self._types, at)
            kind, count = info >> 24 & 0x1F, info & 0xFFFF
            once, each = _EXTRA_BYTES.get(kind, (0, 0))
            start = at + _TYPE.size + once
            at = start + each * count
            number += 1
            yield _Type(number, kind, self._text(name), self._types[start:at], bool(info >> 31))

    def _text(self, at: int) -> str:
        return self._strings[at : self._strings.index(b"\0", at)].decode("utf-8", "replace")
