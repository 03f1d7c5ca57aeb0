"""Authorisations: what proves to the TPM that we may, and to us that it is the TPM that answers.

A session's HMAC key comes from a salt that only one TPM key can read. So whoever passes the bytes
on can neither read an encrypted parameter nor change anything that the HMAC covers (Part 1, 19).
"""

import hmac
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from keyiso.tpm.command import (
    TPMS_AUTH_COMMAND,
    Answer,
    Command,
    answer_error,
    first_parameter_is_sized,
    open_answer,
    result_type,
)
from keyiso.tpm.constants import TPM_RH, TPMA_SESSION
from keyiso.tpm.entity import Entity
from keyiso.tpm.key_derivation import kdf_a
from keyiso.tpm.structure import Structure

R = TypeVar("R", bound=Structure)

NONCE_BYTES: Final = 32
_KEY_BYTES: Final = 16
_LENGTH_BYTES: Final = 2
_EMPTY_PASSWORD: Final = TPMS_AUTH_COMMAND(TPM_RH.PW, b"", TPMA_SESSION.continueSession, b"")


class Authorization(Protocol):
    """What makes a command into bytes and an answer into a result."""

    def request(self, command: Command[Any]) -> bytes:
        """The command as it is sent."""

    def result(self, command: Command[R], frame: bytes) -> R:
        """The answer to the last request, checked.

        Raises ``TPM_20_E_*`` for a code other than success and ``KEYISO_E_TPM_ANSWER`` for what
        is malformed or not authentic.
        """


class Unauthorized:
    """For commands that need no authorisation, about things that are public.

    Nothing proves where the answer comes from.
    """

    def request(self, command: Command[Any]) -> bytes:
        return command.frame()

    def result(self, command: Command[R], frame: bytes) -> R:
        return _unproven(command, open_answer(command, frame))


class EmptyPassword:
    """For what everybody may do. Nothing proves where the answer comes from.

    A password that is not empty would be there for whoever passes it on.
    """

    def request(self, command: Command[Any]) -> bytes:
        return command.frame(authorization=_EMPTY_PASSWORD)

    def result(self, command: Command[R], frame: bytes) -> R:
        return _unproven(command, open_answer(command, frame))


def _unproven(command: Command[R], answer: Answer) -> R:
    return command.answered(answer, answer.parameters)


class Session:
    """A salted session with SHA-256 and AES-128-CFB, as both sides know it.

    What can be encrypted is encrypted: the first parameter of command and answer, if it begins
    with a length. A command that needs no authorisation is audited, so that its answer has an
    HMAC too; that is for HMAC sessions only.
    """

    def __init__(
        self,
        handle: int,
        salt: bytes,
        nonce_caller: bytes,
        nonce_tpm: bytes,
        random: Callable[[int], bytes],
    ) -> None:
        self.entity = Entity.of(handle)
        self.key = kdf_a(salt, b"ATH", nonce_tpm, nonce_caller)
        self.nonce_tpm = nonce_tpm
        """The TPM's newest nonce."""
        self.random = random

    def authorize(self, auth_value: bytes = b"", *, encrypt: bool = True) -> Authorization:
        """For one command, about something that has this authValue.

        A policy session takes an authValue only after TPM2_PolicyAuthValue. Without ``encrypt``
        the command's parameters are those that a policy with a cpHash was made for.
        """
        # The TPM drops final zeros of an authValue. They need not be dropped here: it is the end
        # of an HMAC's key, of 64 bytes at most, which zeros fill up to 64 bytes anyway.
        return _SessionUse(self, auth_value, encrypt)


class _SessionUse:
    """A session, for one command."""

    def __init__(self, session: Session, auth_value: bytes, encrypt: bool) -> None:
        self._session = session
        self._secret = session.key + auth_value
        self._encrypt = encrypt
        self._nonce_caller = session.random(NONCE_BYTES)

    def request(self, command: Command[Any]) -> bytes:
        parameters = command.parameters()
        attributes = self._attributes(command)
        if TPMA_SESSION.decrypt in attributes:
            cipher = self._cipher(self._nonce_caller, self._session.nonce_tpm)
            parameters = _first_changed(parameters, cipher.encryptor())
        digest = self._hmac(
            command.cp_hash(parameters), self._nonce_caller, self._session.nonce_tpm, attributes
        )
        return command.frame(
            parameters,
            TPMS_AUTH_COMMAND(self._session.entity.handle, self._nonce_caller, attributes, digest),
        )

    def result(self, command: Command[R], frame: bytes) -> R:
        answer = open_answer(command, frame)
        proof = answer.authorization
        if proof is None:
            raise answer_error(command, "it says nothing for the session")
        digest = self._hmac(
            answer.rp_hash(command.code), proof.nonce, self._nonce_caller, proof.session_attributes
        )
        if not hmac.compare_digest(proof.hmac, digest):
            raise answer_error(command, "its HMAC is wrong")
        self._session.nonce_tpm = proof.nonce
        parameters = answer.parameters
        if TPMA_SESSION.encrypt in self._attributes(command):
            cipher = self._cipher(proof.nonce, self._nonce_caller)
            parameters = _first_changed(parameters, cipher.decryptor())
        return command.answered(answer, parameters)

    def _attributes(self, command: Command[Any]) -> TPMA_SESSION:
        attributes = TPMA_SESSION.continueSession
        if not command.authorized:
            attributes |= TPMA_SESSION.audit  # a session must be there for something
        if self._encrypt and first_parameter_is_sized(type(command)):
            attributes |= TPMA_SESSION.decrypt
        if self._encrypt and first_parameter_is_sized(result_type(type(command))):
            attributes |= TPMA_SESSION.encrypt
        return attributes

    def _hmac(self, digest: bytes, newer: bytes, older: bytes, attributes: int) -> bytes:
        message = digest + newer + older + bytes([attributes])
        return hmac.digest(self._secret, message, "sha256")

    def _cipher(self, newer: bytes, older: bytes) -> Cipher[CFB]:
        secret = kdf_a(self._secret, b"CFB", newer, older)
        return Cipher(AES(secret[:_KEY_BYTES]), CFB(secret[_KEY_BYTES:]))


def _first_changed(parameters: bytes, context: CipherContext) -> bytes:
    """The parameters, with the first one's bytes encrypted or decrypted."""
    end = _LENGTH_BYTES + int.from_bytes(parameters[:_LENGTH_BYTES])
    first = context.update(parameters[_LENGTH_BYTES:end])
    return parameters[:_LENGTH_BYTES] + first + parameters[end:]
