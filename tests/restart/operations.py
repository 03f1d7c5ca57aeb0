"""The operations of the matrix: what each asks, and what must be true of its answer.

An operation is prepared without disturbance, then asked while something is killed, perhaps in a
forked child, and checked afterwards. Whatever it raises is a failure: nobody is to notice.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from keyiso import AccessRule, Key, NCryptError
from keyiso.crypto.public_keys import public_key_der
from keyiso.flags import NCRYPT_PERSIST_ONLY_FLAG
from keyiso.ncrypt import NCryptIsKeyHandle, NCryptSetProperty
from keyiso.status import Status
from tests.restart.keyring import (
    DIGEST,
    MESSAGE,
    NOTE,
    PEER,
    Facts,
    Held,
    Keyring,
    facts_of,
    names_of_all,
)

_GUESTS = 4_000_000_000
"""Uids from here on belong to nobody."""


@dataclass(frozen=True)
class Work:
    """One operation, ready to be done."""

    ask: Callable[[], Any]
    """Returns values only: it may be done in another process."""
    check: Callable[[Any], None]
    """Checks the answer, and notes what has changed."""
    held: Held | None = None
    """The key that nothing else is done with meanwhile."""
    changing: str = ""
    """The name of a key that comes or goes."""


@dataclass(frozen=True)
class Operation:
    """A row of the matrix."""

    name: str
    prepare: Callable[[Keyring, int], Work]
    """The number chooses among the keys that there are."""
    local: bool = False
    """It asks no other process, so that nothing can fall while a request is in flight."""
    on_channel: bool = False
    """It asks a worker, over the key channel."""


@dataclass(frozen=True)
class Attempt:
    """An operation to be disturbed."""

    operation: str
    number: int
    """Chooses among the keys."""

    def __str__(self) -> str:
        return f"{self.operation} ({self.number})"


@contextlib.contextmanager
def prepared(ring: Keyring, attempts: Iterable[Attempt]) -> Iterator[list[Work]]:
    """Operations that are to be done at the same time."""
    works: list[Work] = []
    try:
        for one in attempts:
            works.append(OPERATIONS[one.operation].prepare(ring, one.number))
        ring.in_flux |= {work.changing for work in works} - {""}
        yield works
    finally:
        ring.in_flux.clear()
        for work in works:
            if work.held is not None:
                work.held.busy = False


# --- keys that come ----------------------------------------------------------------------------


def _create(algorithm: str) -> Callable[[Keyring, int], Work]:
    def prepare(ring: Keyring, number: int) -> Work:
        name = ring.new_name()
        return _new_key(ring, name, lambda: ring.create(name, algorithm), changing=name)

    return prepare


def _overwrite(ring: Keyring, number: int) -> Work:
    held = ring.take("ECDSA_P256", number)
    name = str(held.name)
    new = _new_key(ring, name, lambda: ring.create(name, "ECDSA_P256", overwrite=True))

    def check(facts: Facts) -> None:
        ring.forget(held, held.key)
        ring.check_gone(held.key)
        new.check(facts)

    return Work(new.ask, check, held)


def _import(ring: Keyring, number: int) -> Work:
    name, private = ring.new_name(), ec.generate_private_key(ec.SECP256R1())
    pkcs8 = private.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    new = _new_key(
        ring, name, lambda: Key.import_key(name, pkcs8, **ring.terms(name)), changing=name
    )

    def check(facts: Facts) -> None:
        assert facts.public == public_key_der(private.public_key())
        new.check(facts)

    return Work(new.ask, check, changing=name)


def _create_ephemeral(ring: Keyring, number: int) -> Work:
    return _new_key(ring, None, lambda: ring.create(None, "ECDSA_P256"))


def _new_key(
    ring: Keyring, name: str | None, make: Callable[[], Key], *, changing: str = ""
) -> Work:
    here: list[Key] = []

    def ask() -> Facts:
        here.append(make())
        return facts_of(here[0])

    def check(facts: Facts) -> None:
        if not here and name is None:
            return  # an ephemeral key is its process's alone
        key = here[0] if here else Key.open(str(name))
        assert ring.keep(name, key).facts == facts

    return Work(ask, check, changing=changing)


# --- keys that go ------------------------------------------------------------------------------


def _delete(ring: Keyring, number: int) -> Work:
    held = ring.make("ECDSA_P256")
    held.busy = True
    name, other = str(held.name), Key.open(str(held.name))

    def check(answer: None) -> None:
        assert not Key.exists(name)
        ring.check_gone(other)
        ring.forget(held, other)

    return Work(held.key.delete, check, held, changing=name)


def _free_ephemeral(ring: Keyring, number: int) -> Work:
    held = ring.make("ephemeral")
    held.busy = True

    def check(answer: None) -> None:
        if NCryptIsKeyHandle(held.key.handle):
            ring.check_gone(held.key)  # a forked child freed the key, and not this handle
        ring.forget(held)

    return Work(held.key.close, check, held)


# --- keys that change --------------------------------------------------------------------------


def _set_property(ring: Keyring, number: int) -> Work:
    held, note = ring.take("ECDSA_P256", number), b"note %d" % ring.new_number()

    def check(answer: None) -> None:
        held.note = note
        held.check_stored()

    return Work(
        lambda: NCryptSetProperty(held.key.handle, NOTE, note, NCRYPT_PERSIST_ONLY_FLAG),
        check,
        held,
    )


def _change_access(ring: Keyring, number: int) -> Work:
    held, guest = ring.take("ECDSA_P256", number), f"user:{_GUESTS + ring.new_number()}"
    rules = (held.key.access[0], AccessRule(guest))

    def check(answer: None) -> None:
        held.guests = [guest]
        held.check_stored()
        if not ring.rebinds:
            held.key = Key.open(str(held.name))

    return Work(lambda: held.key.set_access(rules), check, held)


# --- keys that are used ------------------------------------------------------------------------


def _open(ring: Keyring, number: int) -> Work:
    held = ring.take("ECDSA_P256", number)

    def ask() -> Facts:
        with Key.open(str(held.name)) as opened:
            return facts_of(opened)

    return Work(ask, _equals(held.facts), held)


def _sign(kind: str) -> Callable[[Keyring, int], Work]:
    def prepare(ring: Keyring, number: int) -> Work:
        held = ring.take(kind, number)
        return Work(lambda: held.key.sign_digest(DIGEST), held.check_signature, held)

    return prepare


def _sign_many(ring: Keyring, number: int) -> Work:
    held = ring.take("ECDSA_P256", number)
    digests = [hashlib.sha256(MESSAGE + bytes([one])).digest() for one in range(200)]
    public, ecdsa = held.key.public_key(), ec.ECDSA(utils.Prehashed(hashes.SHA256()))
    assert isinstance(public, ec.EllipticCurvePublicKey)

    def check(signatures: list[bytes]) -> None:
        for digest, signature in zip(digests, signatures, strict=True):
            r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:]))
            public.verify(utils.encode_dss_signature(r, s), digest, ecdsa)

    return Work(lambda: held.key.sign_digests(digests), check, held)


def _verify(ring: Keyring, number: int) -> Work:
    held = ring.take("ECDSA_P256", number)
    signature = held.key.sign(MESSAGE)
    return Work(lambda: held.key.verify(signature, MESSAGE), _equals(None), held)


def _encrypt(kind: str) -> Callable[[Keyring, int], Work]:
    def prepare(ring: Keyring, number: int) -> Work:
        held = ring.take(kind, number)
        return Work(lambda: held.key.decrypt(held.key.encrypt(MESSAGE)), _equals(MESSAGE), held)

    return prepare


def _agree(ring: Keyring, number: int) -> Work:
    held = ring.take("ECDH_P256", number)
    return Work(lambda: held.key.agree(PEER.public_key()), _equals(held.agreed()), held)


def _export(ring: Keyring, number: int) -> Work:
    held = ring.take("ECDSA_P256", number)
    if ring.level == "vbs":
        return Work(lambda: _refusal_of(held.key.export), _equals(Status.NTE_NOT_SUPPORTED), held)

    def check(pkcs8: bytes) -> None:
        private = serialization.load_der_private_key(pkcs8, None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        assert public_key_der(private.public_key()) == held.facts.public

    return Work(held.key.export, check, held)


def _refusal_of(ask: Callable[[], Any]) -> Status:
    try:
        ask()
    except NCryptError as error:
        if error.status == Status.NTE_NOT_SUPPORTED:
            return Status.NTE_NOT_SUPPORTED
        raise
    return Status.ERROR_SUCCESS


def _enumerate(ring: Keyring, number: int) -> Work:
    return Work(names_of_all, ring.check_names)


def _find(ring: Keyring, number: int) -> Work:
    held, absent = ring.take("ECDSA_P256", number), ring.new_name()
    return Work(
        lambda: (Key.exists(str(held.name)), Key.exists(absent)), _equals((True, False)), held
    )


def _property(ring: Keyring, number: int) -> Work:
    held = ring.take("ECDSA_P256", number)
    return Work(
        lambda: (held.key.unique_name, held.key.length), _equals((held.facts.key_id, 256)), held
    )


def _sign_as_object(ring: Keyring, number: int) -> Work:
    held = ring.take("ECDSA_P256", number)
    private, public = held.key.private_key(), held.key.public_key()
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    ecdsa = ec.ECDSA(hashes.SHA256())
    return Work(
        lambda: private.sign(MESSAGE, ecdsa),
        lambda signature: public.verify(signature, MESSAGE, ecdsa),
        held,
    )


def _equals(expected: object) -> Callable[[Any], None]:
    def check(answer: Any) -> None:
        assert answer == expected

    return check


_ROWS = (
    Operation("create ECDSA", _create("ECDSA_P256")),
    Operation("create Ed25519", _create("ED25519")),
    Operation("create AES", _create("AES")),
    Operation("create RSA-2048", _create("RSA")),
    Operation("create, overwriting", _overwrite),
    Operation("import", _import),
    Operation("open", _open, on_channel=True),
    Operation("find", _find, on_channel=True),
    Operation("enumerate", _enumerate),
    Operation("delete", _delete),
    Operation("sign", _sign("ECDSA_P256"), on_channel=True),
    Operation("sign many", _sign_many, on_channel=True),
    Operation("sign as object", _sign_as_object, on_channel=True),
    Operation("verify", _verify, local=True),
    Operation("RSA encrypt, decrypt", _encrypt("RSA"), on_channel=True),
    Operation("AES encrypt, decrypt", _encrypt("AES"), on_channel=True),
    Operation("agree and derive", _agree, on_channel=True),
    Operation("export private", _export, on_channel=True),
    Operation("get property", _property, local=True),
    Operation("set property", _set_property),
    Operation("change access", _change_access),
    Operation("ephemeral create", _create_ephemeral),
    Operation("ephemeral use", _sign("ephemeral"), on_channel=True),
    Operation("ephemeral free", _free_ephemeral),
)

OPERATIONS = {row.name: row for row in _ROWS}
