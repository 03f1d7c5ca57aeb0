"""What a command is about: a handle, and the Name that the handle must have."""

from typing import Annotated, Self

import msgspec

from keyiso.tpm.structure import Codec, Fields, Reader

_BYTES = 4


class Entity(msgspec.Struct, frozen=True):
    """An object, index, hierarchy, PCR or session.

    A session's HMAC covers Names, so that nobody between us and the TPM can put another object
    under the handle.
    """

    handle: int
    name: bytes

    @classmethod
    def of(cls, handle: int) -> Self:
        """What has no other Name than its handle: a hierarchy, a PCR, a session."""
        return cls(handle, handle.to_bytes(_BYTES))


class _EntityHandle(Codec[Entity]):
    is_handle = True

    def write(self, value: Entity, before: Fields) -> bytes:
        return value.handle.to_bytes(_BYTES)

    def read(self, reader: Reader, before: Fields) -> Entity:
        """Names are not sent: an object that is read has its handle for a Name."""
        return Entity.of(reader.number(_BYTES))


ENTITY = Annotated[Entity, _EntityHandle()]
