"""The model: every key that must exist, and the handles that must go on working."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyiso import (
    EphemeralKeyGoneError,
    ExportPolicy,
    Key,
    KeyNotFoundError,
    NCryptError,
    Protection,
    Provider,
    ServiceUnavailableError,
    ncrypt,
)
from keyiso.crypto.key_header import Level
from keyiso.crypto.key_types import PublicKey
from keyiso.crypto.public_keys import public_key_der
from keyiso.flags import NCRYPT_PERSIST_ONLY_FLAG
from keyiso.status import Status

MESSAGE = b"what the key was first used for"
DIGEST = hashlib.sha256(MESSAGE).digest()
PEER = ec.generate_private_key(ec.SECP256R1())
"""Who ECDH keys agree on secrets with."""

POLICY = ExportPolicy.ENCRYPTED | ExportPolicy.PLAINTEXT

NOTE = "Note"
"""A property that is stored with some of the keys."""

_REFUSALS = (KeyNotFoundError, EphemeralKeyGoneError)

_MOST_OF_A_KIND = 5
_MOST_GONE = 8


@dataclass(frozen=True)
class Facts:
    """What tells a key from every other one."""

    key_id: str
    """Empty for an ephemeral key."""
    public: bytes
    """DER SubjectPublicKeyInfo; empty for AES."""


def facts_of(key: Key) -> Facts:
    """As the handle has them, which the worker authenticated when it loaded the key."""
    public = b"" if key.algorithm == "AES" else public_key_der(key.public_key())
    return Facts("" if key.ephemeral else key.unique_name, public)


@dataclass(eq=False)
class Held:
    """A key, and the handle that was opened when it was made and is never opened again."""

    name: str | None
    """None for an ephemeral key."""
    key: Key
    facts: Facts
    ciphertext: bytes = b""
    """Of `MESSAGE`, made with the key when it was new; only the same AES key opens it."""
    note: bytes | None = None
    """The value of its property `NOTE`."""
    guests: list[str] = field(default_factory=list)
    """Who may use it besides its owner."""
    busy: bool = False
    """An operation with it is being prepared or done."""

    @property
    def kind(self) -> str:
        return "ephemeral" if self.name is None else self.key.algorithm

    def check(self) -> None:
        """The handle works and names the same key, as `cryptography` alone confirms."""
        assert facts_of(self.key) == self.facts
        match self.key.algorithm:
            case "AES":
                assert self.key.decrypt(self.ciphertext) == MESSAGE
            case "ECDH_P256":
                assert self.key.agree(PEER.public_key()) == self.agreed()
            case _:
                self.check_signature(self.key.sign(MESSAGE))

    def check_lost(self) -> None:
        """The key is there, and nobody can open it any more, who has the handle or the name."""
        lost = Status.NTE_VBS_CANNOT_DECRYPT_KEY
        assert _status_of(self.check) == (Status.KEYISO_E_EPHEMERAL_GONE if not self.name else lost)
        if self.name is not None:
            name = self.name
            assert _status_of(lambda: Key.open(name)) == lost

    def check_stored(self) -> None:
        """What was stored with the key last is there."""
        assert note_of(self.key) == self.note
        assert [rule.principal for rule in self.key.access[1:]] == self.guests

    def check_signature(self, signature: bytes) -> None:
        """One over `MESSAGE`. Raises ``InvalidSignature``."""
        check_signature(self.key.public_key(), signature)

    def agreed(self) -> bytes:
        """What the key and `PEER` agree on, by the other side's reckoning."""
        public = self.key.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        secret = PEER.exchange(ec.ECDH(), public)
        return HKDF(hashes.SHA256(), 32, salt=b"", info=b"").derive(secret)


def check_signature(public: PublicKey, signature: bytes) -> None:
    """Verify a signature over `MESSAGE`. Raises ``InvalidSignature``."""
    if isinstance(public, ec.EllipticCurvePublicKey):
        half = len(signature) // 2
        r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        public.verify(utils.encode_dss_signature(r, s), MESSAGE, ec.ECDSA(hashes.SHA256()))
    elif isinstance(public, rsa.RSAPublicKey):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        public.verify(signature, MESSAGE, pss, hashes.SHA256())
    elif isinstance(public, ed25519.Ed25519PublicKey):
        public.verify(signature, MESSAGE)


@dataclass
class Keyring:
    """What must be true of the keys of an instance that nobody else uses."""

    level: Level = "software"
    """Of the keys. Those of ``vbs`` are per-boot ones, which need no TPM."""
    title: str = "key"
    """How the names begin of all keys that the ring has, and of no other one."""
    held: list[Held] = field(default_factory=list)
    gone: list[Key] = field(default_factory=list)
    """Handles of persisted keys that were deleted or replaced."""
    rebinds: bool = True
    """The client does, which is also how it learns that a loaded key was taken away."""
    in_flux: set[str] = field(default_factory=set)
    """Names that are being made or deleted just now."""
    _made: int = 0

    def new_name(self) -> str:
        return f"{self.title}-{self.new_number()}"

    def new_number(self) -> int:
        """One that nothing here had yet."""
        self._made += 1
        return self._made

    @property
    def names(self) -> set[str]:
        return {held.name for held in self.held if held.name is not None}

    def make(self, kind: str) -> Held:
        """A new key of an algorithm, or an ephemeral one, made without disturbance."""
        if kind == "ephemeral":
            return self.keep(None, self.create(None, "ECDSA_P256"))
        name = self.new_name()
        return self.keep(name, self.create(name, kind))

    def create(self, name: str | None, algorithm: str, *, overwrite: bool = False) -> Key:
        """A key as it is made for this ring."""
        return Key.create(name, algorithm, overwrite=overwrite, **self.terms(name))

    def terms(self, name: str | None) -> dict[str, Any]:
        """What is asked for, for a new key of this ring."""
        if self.level == "vbs":
            return {"protection": Protection.REQUIRE_VBS, "per_boot": name is not None}
        return {} if name is None else {"export_policy": POLICY}

    def keep(self, name: str | None, key: Key) -> Held:
        """From now on this handle must work, and name the key that it names now."""
        held = Held(name, key, facts_of(key))
        if key.algorithm == "AES":
            held.ciphertext = key.encrypt(MESSAGE)
        held.check()
        self.held.append(held)
        return held

    def take(self, kind: str, number: int) -> Held:
        """A key of a kind for one operation, the same for the same number."""
        free = [held for held in self.held if held.kind == kind and not held.busy]
        found = free[number % len(free)] if free else self.make(kind)
        found.busy = True
        return found

    def forget(self, held: Held, *handles: Key) -> None:
        """The key must be gone, and every other handle of it must say so."""
        self.held.remove(held)
        self.gone += handles
        del self.gone[:-_MOST_GONE]

    def check(self) -> None:
        """Everything at once: nothing lost, nothing doubled, no handle stale, nothing revived."""
        self.check_names(names_of_all())
        for held in tuple(self.held):
            held.check()
            if held.name is not None:
                held.check_stored()
                with Key.open(held.name) as opened:
                    assert facts_of(opened) == held.facts
        for key in self.gone:
            self.check_gone(key)

    def check_gone(self, key: Key) -> None:
        """A handle of a key that was deleted, replaced or freed refuses to work."""
        refusals = _REFUSALS if self.rebinds else (*_REFUSALS, ServiceUnavailableError)
        try:
            key.sign(MESSAGE)
        except refusals as error:
            assert isinstance(error, EphemeralKeyGoneError) <= key.ephemeral
        else:
            raise AssertionError("a key that is gone was used")

    def check_names(self, found: list[str]) -> None:
        """An enumeration has each key once; what is in flux it may have or not."""
        assert len(found) == len(set(found)), "a key is listed twice"
        mine = {name for name in found if name.startswith(f"{self.title}-")}
        assert mine - self.in_flux == self.names - self.in_flux

    def thin_out(self) -> None:
        """Delete the oldest keys where there are many of a kind."""
        for kind in {held.kind for held in self.held}:
            same = [held for held in self.held if held.kind == kind and not held.busy]
            for held in same[:-_MOST_OF_A_KIND]:
                if held.name is None:
                    held.key.close()
                    self.forget(held)
                else:
                    self.forget(held, Key.open(held.name))
                    held.key.delete()


def _status_of(call: Callable[[], object]) -> int:
    try:
        call()
    except NCryptError as error:
        return error.status
    return Status.ERROR_SUCCESS


def note_of(key: Key) -> bytes | None:
    """The property `NOTE` of a persisted key."""
    try:
        return ncrypt.NCryptGetProperty(key.handle, NOTE, NCRYPT_PERSIST_ONLY_FLAG)
    except NCryptError as error:
        if error.status != Status.NTE_NOT_FOUND:
            raise
        return None


def names_of_all() -> list[str]:
    with Provider() as provider:
        return [key.pszName for key in provider.keys()]
