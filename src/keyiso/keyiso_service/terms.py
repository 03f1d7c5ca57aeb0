"""What a client may ask a new key to be, checked before anybody works on it."""

import hashlib
from typing import Final

import msgspec

from keyiso import limits
from keyiso.crypto.algorithms import algorithm_named, check_length
from keyiso.crypto.levels import check_export_policy
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import NCRYPT_ALLOW_ALL_USAGES
from keyiso.identifiers import (
    MS_KEY_STORAGE_PROVIDER,
    MS_NGC_KEY_STORAGE_PROVIDER,
    NCRYPT_AES_ALGORITHM,
)
from keyiso.names import check_name, check_property_name
from keyiso.status import Status
from keyiso.wire.key_terms import KeyProperty, KeyTerms

PROVIDERS: Final = frozenset({MS_KEY_STORAGE_PROVIDER, MS_NGC_KEY_STORAGE_PROVIDER})
"""The providers whose keys this service keeps."""

LEVELS: Final = frozenset({"software", "vbs"})
"""Of the keys that are made here."""

EXPORT_POLICY_BITS: Final = 0x1F
"""Every NCRYPT_ALLOW_*_EXPORT and *_ARCHIVING flag."""


def check_terms(terms: KeyTerms, uid: int, *, imported: bool) -> None:
    """Raise for terms that no key can have, or not for this caller."""
    check_operation_id(terms.operation_id)
    check_provider(terms.provider)
    if terms.owner != uid:
        raise ncrypt_error(Status.NTE_PERM, f"uid {uid} cannot create keys for uid {terms.owner}")
    if terms.level not in LEVELS:
        raise _unfit(f"this service makes no keys of level {terms.level}")
    if terms.lifetime != "ephemeral":
        check_name(terms.name)
    elif terms.name or terms.overwrite or terms.scope != "user":
        raise _unfit("an ephemeral key has no name, replaces nothing and is its user's")
    if not 0 <= terms.usage <= NCRYPT_ALLOW_ALL_USAGES:
        raise _unfit("the key usage has bits that are not defined")
    if terms.export_policy & ~EXPORT_POLICY_BITS:
        raise _unfit("the export policy has bits that are not defined")
    check_export_policy(terms.level, terms.export_policy)
    if imported:
        if terms.algorithm not in ("", NCRYPT_AES_ALGORITHM) or terms.bits:
            raise _unfit("an imported key brings its own algorithm and length")
    else:
        check_length(algorithm_named(terms.algorithm), terms.bits)


def check_container(terms: KeyTerms, ticket: bytes, *, imported: bool) -> None:
    """Raise unless a key of the Passport provider, and no other one, is put into a container.

    ``NTE_UI_REQUIRED`` without a ticket, ``NTE_NOT_SUPPORTED`` for what no such key can be.
    """
    if terms.provider != MS_NGC_KEY_STORAGE_PROVIDER:
        if ticket:
            raise _unfit("only a key of the Passport provider is in a container")
        return
    kind = terms.scope, terms.lifetime, terms.level
    if imported or kind != ("user", "persisted", "software"):
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED,
            "a key in a Passport container is generated there, is one of a user, is stored, and"
            " has level software",
        )
    if not ticket:
        raise ncrypt_error(
            Status.NTE_UI_REQUIRED, "a key in a Passport container is made with its PIN"
        )


def check_properties(terms: KeyTerms, properties: tuple[KeyProperty, ...]) -> None:
    """Raise for properties that a new key cannot have."""
    if properties and terms.lifetime == "ephemeral":
        raise _unfit("an ephemeral key is not stored, and no property with it")
    if len(properties) > limits.PROPERTIES_PER_KEY:
        raise _unfit(f"a key has at most PROPERTIES_PER_KEY ({limits.PROPERTIES_PER_KEY})")
    if len({one.name for one in properties}) < len(properties):
        raise _unfit("a property is there twice")
    for one in properties:
        check_property(one.name, one.value)


def check_property(name: bytes, value: bytes) -> None:
    """Raise ``NTE_INVALID_PARAMETER`` for a name or a value that no property can have."""
    check_property_name(name)
    if len(value) > limits.PROPERTY_BYTES:
        raise _unfit(f"a property has at most PROPERTY_BYTES ({limits.PROPERTY_BYTES}) bytes")


def check_provider(provider: str) -> None:
    """Raise ``NTE_BAD_PROVIDER`` for a provider whose keys are not kept here."""
    if provider not in PROVIDERS:
        raise ncrypt_error(
            Status.NTE_BAD_PROVIDER, f"this service keeps no keys of the provider {provider!r:.80}"
        )


def check_operation_id(operation_id: bytes) -> None:
    """Raise ``NTE_INVALID_PARAMETER`` for an id of the wrong length."""
    if len(operation_id) != limits.OPERATION_ID_BYTES:
        raise _unfit(f"an operation id has {limits.OPERATION_ID_BYTES} bytes")


def request_hash(request: msgspec.Struct, *more: msgspec.Struct) -> bytes:
    """What tells a repeated request from another one under the same operation id."""
    kind = type(request).__name__.encode()
    return hashlib.sha256(kind + b"\0" + msgspec.msgpack.encode((request, *more))).digest()


def _unfit(cause: str) -> NCryptError:
    return ncrypt_error(Status.NTE_INVALID_PARAMETER, cause)
