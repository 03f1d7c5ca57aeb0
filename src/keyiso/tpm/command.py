"""Commands and answers as bytes (Part 1, 18): header, handles, sessions, parameters."""

import functools
import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeVar, cast, get_args

from keyiso import limits
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.tpm.constants import TPM_CC, TPM_ST
from keyiso.tpm.response_code import response_error
from keyiso.tpm.structure import (
    TPM2B_DIGEST,
    UINT8,
    UINT16,
    UINT32,
    MalformedError,
    Reader,
    Structure,
    codecs_of,
)

R_co = TypeVar("R_co", bound=Structure, covariant=True)

_HANDLE_BYTES: Final = 4
_SUCCESS: Final = bytes(4)


class Header(Structure, frozen=True):
    """What a command and an answer begin with."""

    tag: UINT16
    size: UINT32
    """Of all of it, in bytes."""
    code: UINT32
    """TPM_CC of a command, TPM_RC of an answer."""


HEADER_BYTES: Final = 10


class TPMS_AUTH_COMMAND(Structure, frozen=True):
    """What a session, or a password, says for a command."""

    session_handle: UINT32
    nonce: TPM2B_DIGEST
    session_attributes: UINT8
    hmac: TPM2B_DIGEST

    def __repr__(self) -> str:
        return "<TPMS_AUTH_COMMAND>"  # a password stands in the place of the HMAC


class TPMS_AUTH_RESPONSE(Structure, frozen=True):
    """What a session says for an answer."""

    nonce: TPM2B_DIGEST
    session_attributes: UINT8
    hmac: TPM2B_DIGEST


class Nothing(Structure, frozen=True):
    """An answer without handles and parameters."""


class Command(Structure, Generic[R_co], frozen=True):
    """What can be asked of a TPM; the type's parameter is what answers it.

    None of the commands that keyiso uses has more than one authorisation.
    """

    code: ClassVar[TPM_CC]
    authorized: ClassVar[bool] = False
    """The command's first handle needs an authorisation."""

    @property
    def title(self) -> str:
        """``TPM2_Create``."""
        return type(self).__name__

    def __repr__(self) -> str:
        return f"<{self.title}>"  # a parameter may be an authValue, or what is to be sealed

    def parameters(self) -> bytes:
        """What stands behind handles and authorisation."""
        return b"".join(_split(self)[1])

    def cp_hash(self, parameters: bytes) -> bytes:
        """cpHash: what a session's HMAC, or a policy, holds a command to."""
        names = [
            getattr(self, name).name
            for name, codec in codecs_of(type(self)).items()
            if codec.is_handle
        ]
        return hashlib.sha256(self.code.to_bytes(4) + b"".join(names) + parameters).digest()

    def frame(
        self, parameters: bytes | None = None, authorization: TPMS_AUTH_COMMAND | None = None
    ) -> bytes:
        """The bytes that are sent. ``parameters`` may be encrypted ones.

        Raises ``KEYISO_E_LIMIT`` above ``TPM_MESSAGE_BYTES``.
        """
        body = b"".join(_split(self)[0])
        tag = TPM_ST.NO_SESSIONS
        if authorization is not None:
            area = authorization.encode()
            body += len(area).to_bytes(4) + area
            tag = TPM_ST.SESSIONS
        body += self.parameters() if parameters is None else parameters
        size = HEADER_BYTES + len(body)
        if size > limits.TPM_MESSAGE_BYTES:
            raise ncrypt_error(
                Status.KEYISO_E_LIMIT,
                f"{self.title} has {size} bytes; TPM_MESSAGE_BYTES is {limits.TPM_MESSAGE_BYTES}",
            )
        return Header(tag, size, self.code).encode() + body

    @classmethod
    def take_apart(cls, frame: bytes) -> tuple[bytes, TPMS_AUTH_COMMAND | None, bytes]:
        """Handles, authorisation and parameters of a command that was sent.

        Handles and unencrypted parameters together can be decoded. Raises `MalformedError`.
        """
        header, reader = _open_frame(frame)
        if header.code != cls.code:
            raise MalformedError(f"it has the command code {header.code:#x}")
        handles = reader.take(_HANDLE_BYTES * _handle_count(cls))
        authorization = None
        if header.tag == TPM_ST.SESSIONS:
            authorization = TPMS_AUTH_COMMAND.decode(reader.take(reader.number(4)))
        return handles, authorization, reader.rest()

    def answered(self, answer: "Answer", parameters: bytes) -> R_co:
        """The result, of an answer and its decrypted parameters.

        Raises ``KEYISO_E_TPM_ANSWER`` when it is malformed.
        """
        try:
            return cast("R_co", result_type(type(self)).decode(answer.handles + parameters))
        except MalformedError as error:
            raise answer_error(self, str(error)) from None


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer, taken apart and not yet believed."""

    handles: bytes
    parameters: bytes
    authorization: TPMS_AUTH_RESPONSE | None

    def rp_hash(self, code: TPM_CC) -> bytes:
        """rpHash: what a session's HMAC says of an answer."""
        return hashlib.sha256(_SUCCESS + code.to_bytes(4) + self.parameters).digest()


def open_answer(command: Command[Any], frame: bytes) -> Answer:
    """Take an answer apart.

    Raises ``TPM_20_E_*`` for a code other than success, ``KEYISO_E_TPM_ANSWER`` for what is no
    answer.
    """
    try:
        header, reader = _open_frame(frame)
        if header.code:
            reader.end()
            raise response_error(command.title, header.code)
        handles = reader.take(_HANDLE_BYTES * _handle_count(result_type(type(command))))
        if header.tag == TPM_ST.NO_SESSIONS:
            return Answer(handles, reader.rest(), None)
        parameters = reader.take(reader.number(4))
        return Answer(handles, parameters, TPMS_AUTH_RESPONSE.decode(reader.rest()))
    except MalformedError as error:
        raise answer_error(command, str(error)) from None


def answer_error(command: Command[Any], cause: str) -> NCryptError:
    """The error for an answer that cannot be believed."""
    return ncrypt_error(
        Status.KEYISO_E_TPM_ANSWER,
        f"the answer to {command.title}: {cause}",
        "Something between keyiso and the TPM changes what passes, or the TPM is broken.",
    )


def _open_frame(frame: bytes) -> tuple[Header, Reader]:
    reader = Reader(frame)
    header = Header.read(reader)
    if header.size != len(frame):
        raise MalformedError(f"it has {len(frame)} bytes and says {header.size}")
    if header.tag not in (TPM_ST.NO_SESSIONS, TPM_ST.SESSIONS):
        raise MalformedError(f"it has the tag {header.tag:#x}")
    return header, reader


def _split(command: Command[Any]) -> tuple[list[bytes], list[bytes]]:
    """The encoded handles and parameters."""
    fields = list(command.encode_fields().values())
    count = _handle_count(type(command))
    return fields[:count], fields[count:]


@functools.cache
def _handle_count(structure: type[Structure]) -> int:
    return sum(codec.is_handle for codec in codecs_of(structure).values())


@functools.cache
def result_type(command: type[Command[Any]]) -> type[Structure]:
    """What answers a command."""
    (base,) = command.__orig_bases__  # type: ignore[attr-defined] # typeshed lacks it
    (result,) = get_args(base)
    return cast("type[Structure]", result)


@functools.cache
def first_parameter_is_sized(structure: type[Structure]) -> bool:
    """Whether sessions can encrypt the first parameter of a command or an answer."""
    parameters = [codec for codec in codecs_of(structure).values() if not codec.is_handle]
    return bool(parameters) and parameters[0].is_sized
