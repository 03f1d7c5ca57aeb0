"""Keys, headers and messages that tests start from, and hypothesis strategies for any struct."""

import functools
import typing
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import strategies as st

from keyiso.crypto.key_blob import Root
from keyiso.crypto.key_header import AccessEntry, KeyHeader
from keyiso.crypto.key_types import AsymmetricPrivateKey as PrivateKey
from keyiso.crypto.private_keys import private_key_bytes
from keyiso.crypto.public_keys import public_key_der
from keyiso.errors import Hop
from keyiso.wire import (
    channel,
    control,
    link,
    messages,
    pair,
    passport_services,
    supervision,
)

ROOT = Root(bytes(range(16)), "machine", b"secret of the machine root      ")
BOOT_ROOT = Root(bytes(range(16, 32)), "boot", b"secret of the boot root         ")

CURVES: dict[str, ec.EllipticCurve] = {
    "ECDSA_P256": ec.SECP256R1(),
    "ECDSA_P384": ec.SECP384R1(),
    "ECDSA_P521": ec.SECP521R1(),
}


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """One RSA key of this length for all tests."""
    return _rsa_key(bits)


def ec_key(algorithm: str = "ECDSA_P256") -> ec.EllipticCurvePrivateKey:
    """One key of this CNG algorithm for all tests."""
    return _ec_key(algorithm)


@functools.cache
def _rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@functools.cache
def _ec_key(algorithm: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(CURVES[algorithm])


def pkcs8(key: PrivateKey | None = None) -> bytes:
    """A private key as blobs keep it."""
    return private_key_bytes(ec_key() if key is None else key)


def header(**changes: Any) -> KeyHeader:
    """The header of a stored P-256 key of uid 1000, sealed by ``ROOT``."""
    sample = KeyHeader(
        root_id=ROOT.root_id,
        root_kind=ROOT.kind,
        provider="Microsoft Software Key Storage Provider",
        scope="user",
        owner=1000,
        name="Schlüssel".encode("utf-16-le"),
        key_id=b"k" * 16,
        origin="generated",
        level="software",
        lifetime="persisted",
        algorithm="ECDSA_P256",
        bits=256,
        public_key=public_key_der(ec_key().public_key()),
        usage=2,
        export_policy=0,
        access=(AccessEntry("uid", "1000", 3), AccessEntry("gid", "100", 1)),
        generation=1,
    )
    return msgspec.structs.replace(sample, **changes)


def boot_header(**changes: Any) -> KeyHeader:
    """The header of an ephemeral key, sealed by ``BOOT_ROOT``."""
    ephemeral: dict[str, Any] = {
        "root_id": BOOT_ROOT.root_id,
        "root_kind": BOOT_ROOT.kind,
        "name": b"",
        "lifetime": "ephemeral",
        "access": (),
        "client_group": b"g" * 32,
    }
    return header(**ephemeral | changes)


UNIONS: dict[str, Any] = {
    "control": control.ControlOperation,
    "passport service": passport_services.PassportServiceOperation,
    "container service": passport_services.ContainerServiceOperation,
    "served": passport_services.ServedOperation,
    "channel": channel.ChannelOperation,
    "link": link.LinkOperation,
    "pair": pair.PairOperation,
    "supervision": supervision.SupervisionOperation,
}
"""The operations of every kind of connection."""

OPERATIONS: list[tuple[str, type[messages.Operation[Any]]]] = [
    (name, operation)
    for name, union in UNIONS.items()
    for operation in typing.get_args(union) or (union,)
]


def result_type(operation: type[messages.Operation[Any]]) -> type[messages.Result]:
    """What answers an operation, as its class says."""
    (base,) = operation.__orig_bases__  # type: ignore[attr-defined] # typeshed lacks it
    (result,) = typing.get_args(base)
    assert isinstance(result, type) and issubclass(result, messages.Result)
    return result


INTEGERS = st.integers(-(2**63), 2**64 - 1)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that structs on the wire are made of."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if kind is int:
        return INTEGERS
    if kind is str:
        return st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    if kind is bytes:
        return st.binary(max_size=40)
    if kind is float:
        return st.floats(allow_nan=False)
    if kind is bool:
        return st.booleans()
    return structs(kind)


@functools.cache
def structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Any value of a struct."""
    fields = typing.get_type_hints(kind)
    return st.builds(kind, **{name: values(fields[name]) for name in kind.__struct_fields__})


def hops(count: int, text: int = 5) -> tuple[Hop, ...]:
    """So many processes, with names of so many characters."""
    return tuple(Hop("s" * text, number, "f" * text) for number in range(count))
