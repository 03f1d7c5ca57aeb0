"""Keys, sealed objects and sessions that a TPM holds while a block lasts, and no longer.

A TPM has room for three objects and three sessions, and only the kernel's resource manager
clears up behind a process that ended.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.tpm.command import answer_error
from keyiso.tpm.constants import TPM_ALG, TPM_RH, TPM_SE
from keyiso.tpm.entity import Entity
from keyiso.tpm.general_commands import TPM2_StartAuthSession
from keyiso.tpm.object_commands import TPM2_CreatePrimary, TPM2_Load, TPM2_LoadExternal
from keyiso.tpm.public_area import AES_128_CFB, TPMS_SENSITIVE_CREATE, TPMT_PUBLIC
from keyiso.tpm.salt import encrypted_salt
from keyiso.tpm.session import NONCE_BYTES, Authorization, EmptyPassword, Session
from keyiso.tpm.structure import MalformedError
from keyiso.tpm.tpm import Tpm


@dataclass(frozen=True, slots=True)
class HeldObject:
    """An object that is loaded."""

    entity: Entity
    public: TPMT_PUBLIC


@contextlib.contextmanager
def held_primary(
    tpm: Tpm, hierarchy: TPM_RH, template: TPMT_PUBLIC, authorization: Authorization
) -> Iterator[HeldObject]:
    """The primary key that a hierarchy gives for a template."""
    command = TPM2_CreatePrimary(Entity.of(hierarchy), TPMS_SENSITIVE_CREATE(), template, b"", ())
    try:
        made = tpm.run(command, authorization)
    except NCryptError as error:
        if hierarchy != TPM_RH.OWNER or error.status != Status.TPM_20_E_BAD_AUTH:
            raise
        raise ncrypt_error(
            error.status,
            "the TPM's owner hierarchy has a password",
            "keyiso uses the hierarchy without one: its password would pass through the hands of"
            " whoever relays it. tpm2_changeauth removes it.",
        ) from None
    with tpm.flushing(made.object_handle):
        public = made.out_public
        if msgspec.structs.replace(public, unique=template.unique) != template:
            raise answer_error(command, "the key is not what its template says")
        yield HeldObject(Entity(made.object_handle, public.name()), public)


@contextlib.contextmanager
def held_object(
    tpm: Tpm, parent: HeldObject, private: bytes, public: TPMT_PUBLIC
) -> Iterator[HeldObject]:
    """An object under a parent that everybody may use, as ours are.

    Nothing proves the answer; who uses the object in a session proves its Name.
    """
    command = TPM2_Load(parent.entity, private, public)
    loaded = tpm.run(command, EmptyPassword())
    with tpm.flushing(loaded.object_handle):
        yield HeldObject(Entity(loaded.object_handle, public.name()), public)


@contextlib.contextmanager
def held_public_key(tpm: Tpm, public: TPMT_PUBLIC) -> Iterator[HeldObject]:
    """A public key, to check signatures with."""
    loaded = tpm.run(TPM2_LoadExternal(b"", public, TPM_RH.NULL))
    with tpm.flushing(loaded.object_handle):
        yield HeldObject(Entity(loaded.object_handle, public.name()), public)


@contextlib.contextmanager
def held_session(tpm: Tpm, key: HeldObject, kind: TPM_SE = TPM_SE.HMAC) -> Iterator[Session]:
    """A session that only the TPM that has this key can take part in."""
    try:
        salt, encrypted = encrypted_salt(key.public, tpm.random)
    except MalformedError as error:
        raise ncrypt_error(
            Status.KEYISO_E_TPM_ANSWER, f"no session can be salted to the TPM's key: {error}"
        ) from None
    nonce = tpm.random(NONCE_BYTES)
    command = TPM2_StartAuthSession(
        key.entity, Entity.of(TPM_RH.NULL), nonce, encrypted, kind, AES_128_CFB, TPM_ALG.SHA256
    )
    started = tpm.run(command)
    with tpm.flushing(started.session_handle):
        yield Session(started.session_handle, salt, nonce, started.nonce_tpm, tpm.random)
