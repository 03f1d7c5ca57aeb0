"""The envelope: hello, welcome, call, return, failure.

Structs are msgpack arrays. Fields are only ever added at the end, a reader ignores those that it
does not know, and hello and welcome carry one that nobody knows, so that this stays true.
"""

import functools
from typing import Any, Final, Generic, Protocol, TypeVar, cast, get_args

import msgspec

from keyiso.errors import Hop

PROTOCOL_VERSION: Final = 1
OLDEST_VERSION: Final = 1

R_co = TypeVar("R_co", covariant=True)
O = TypeVar("O")  # noqa: E741 (the operation of a call)


class Message(msgspec.Struct, frozen=True, array_like=True):
    """What one frame carries."""


class Result(msgspec.Struct, frozen=True, array_like=True):
    """What a successful operation returns."""


class Operation(msgspec.Struct, Generic[R_co], frozen=True, array_like=True):
    """What can be asked for; the parameter is the result that answers it."""


class Hello(Message, frozen=True, array_like=True, tag=1):
    """The client's first message."""

    oldest_version: int
    newest_version: int
    service: str
    """What the client is, for the chain of an error: ``application``, ``keyiso``."""
    features: tuple[str, ...] = ()


class Welcome(Message, frozen=True, array_like=True, tag=2):
    """The server's first message, when it speaks one of the client's versions."""

    version: int
    service: str
    instance_id: bytes
    """Random, new at each start of the service."""
    boot_id: bytes
    """The kernel's boot id."""
    pid: int
    features: tuple[str, ...] = ()


class Call(Message, Generic[O], frozen=True, array_like=True, tag=3):
    """One request. Ids are the caller's, and unique among its unanswered calls."""

    call_id: int
    operation: O
    trace: str = ""
    """W3C traceparent, or empty."""
    hops: tuple[Hop, ...] = ()
    """The processes that the request has come through, the application first."""
    tell: bool = False
    """The answer is to say what was done for it."""


class Span(msgspec.Struct, frozen=True, array_like=True):
    """What one process did for a call whose caller wanted to know."""

    service: str
    pid: int
    function: str
    """The operation that it was asked for: ``OpenKey``."""
    seconds: float
    """From when the process began with the call until it answered."""
    status: int = 0
    depth: int = 0
    """0 for the process that answers, 1 for those that it asked, and so on."""


class Return(Message, frozen=True, array_like=True, tag=4):
    """The answer to a call that succeeded; its result is decoded by who asked."""

    call_id: int
    result: msgspec.Raw
    spans: tuple[Span, ...] = ()
    """What was done for the call, if it asked for that: this process first, and after each process
    those that it asked, in their order. At most ``SPANS``."""


class _Returned(Protocol):
    def __call__(self, call_id: int, result: Result, spans: tuple[Span, ...] = ()) -> Return: ...


returned = cast("_Returned", Return)
"""The answer that carries a result. It is encoded as it is, in one go with the frame; only a
reader sees it as `Raw`."""


def result_of(operation: Operation[R_co], answer: Return) -> R_co:
    """The result that answers an operation. Raises ``msgspec.DecodeError``."""
    try:
        result: R_co = _result_decoder(type(operation)).decode(answer.result)
    except (UnicodeDecodeError, RecursionError):
        raise msgspec.DecodeError("the result is not UTF-8, or nested too deep") from None
    return result


@functools.cache
def _result_decoder(operation: type[Operation[Any]]) -> msgspec.msgpack.Decoder[Any]:
    (base,) = operation.__orig_bases__  # type: ignore[attr-defined] # typeshed lacks it
    (result,) = get_args(base)
    return msgspec.msgpack.Decoder(result)


class Failure(Message, frozen=True, array_like=True, tag=5):
    """The answer to a call that did not succeed."""

    call_id: int
    status: int
    cause: str
    action: str
    chain: tuple[Hop, ...]
    """Every process on the way, the application first, the one that failed last."""
    spans: tuple[Span, ...] = ()
    """As in `Return`."""


class Refusal(Message, frozen=True, array_like=True, tag=6):
    """The server's last message: it does not serve this client, or not any more."""

    status: int
    cause: str
    action: str


class GreaseHello(Hello, frozen=True, array_like=True, tag=1):
    """Hello with a field that nobody knows."""

    grease: bytes = b""


class GreaseWelcome(Welcome, frozen=True, array_like=True, tag=2):
    """Welcome with a field that nobody knows."""

    grease: bytes = b""
