"""Passport for who has a PIN: it is sealed to the trustlet, and kept until an answer has come.

Whatever restarts meanwhile, an attempt keeps its id, so that it is counted once; the PIN is sealed
again, to a new key. A PIN belongs to the caller, who wipes it: ``with pin:``. Each call has a
connection of its own, so that nobody of this process waits for a PIN to be checked.

The binding is one to the Passport service (``service="passport"``). The functions that take a PIN
raise ``NTE_INCORRECT_PASSWORD`` for a wrong one, ``NTE_AUTHENTICATION_IGNORED`` while the container
is locked, ``NTE_PASSWORD_CHANGE_REQUIRED`` for one that has expired, and ``NTE_NOT_FOUND`` for a
user who has no container.

After ``KEYISO_E_SERVICE_UNAVAILABLE`` nobody knows whether an attempt was counted. Who wants to
repeat it later, and be charged once, chooses its id himself: ``attempt_id``, 16 random bytes, for
one PIN that was typed once. By default each call is an attempt of its own.
"""

from collections.abc import Callable
from typing import TypeVar

from keyiso.client.binding import Binding
from keyiso.client.reference import KeyLocation, KeyReference
from keyiso.client.request import Request
from keyiso.crypto.algorithms import algorithm_named, takes_long_to_generate
from keyiso.crypto.key_header import KeyHeader
from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_seal import PinTerms, Purpose, seal_pin
from keyiso.crypto.signatures import Padding
from keyiso.errors import ncrypt_error
from keyiso.flags import NCRYPT_ALLOW_SIGNING_FLAG
from keyiso.identifiers import MS_NGC_KEY_STORAGE_PROVIDER
from keyiso.limits import GENERATION_SECONDS
from keyiso.names import encode_name
from keyiso.status import Status
from keyiso.wire.control import CreateKey, FindKey
from keyiso.wire.key_terms import KeyProperty, KeyTerms
from keyiso.wire.passport import (
    PASSPORT_FEATURE,
    AttemptPin,
    ChangePin,
    ContainerState,
    EnrolPin,
    GetContainer,
    MakePinKey,
    ResetPin,
    SealedPin,
    TicketUse,
)
from keyiso.wire.passport_services import SignHash

T = TypeVar("T")


def get_container(binding: Binding, owner: int | None = None) -> ContainerState:
    """How a container stands; by default the caller's own.

    Raises ``NTE_PERM`` for that of somebody else, unless the caller manages this keyiso.
    """
    return until_done(
        binding, "GetContainer", lambda request, uid: request.control(GetContainer(_of(owner, uid)))
    )


def enrol_pin(binding: Binding, pin: Pin) -> ContainerState:
    """Make the caller's container, with its first PIN. The state says what keeps the PIN.

    Raises ``NTE_EXISTS`` for who has one, and ``NTE_VALIDATION_FAILED`` for a PIN that breaks the
    rules.
    """
    attempt_id = binding.operation_id()

    def enrol(request: Request, uid: int) -> ContainerState:
        sealed = sealed_pin(request, uid, pin, "enrol", attempt_id)
        return request.control(EnrolPin(uid, attempt_id, sealed))

    return until_done(binding, "EnrolPin", enrol)


def try_pin(binding: Binding, pin: Pin, *, attempt_id: bytes = b"") -> None:
    """One attempt with a PIN, which is right if this returns."""
    its_id = attempt_id or binding.operation_id()
    until_done(
        binding, "AttemptPin", lambda request, uid: _ticket(request, uid, pin, "none", its_id)
    )


def change_pin(binding: Binding, old: Pin, new: Pin, *, attempt_id: bytes = b"") -> ContainerState:
    """Set another PIN. Keys are kept. It is an attempt with the old one.

    Raises ``NTE_VALIDATION_FAILED`` for a new PIN that breaks the rules, before the old one is
    tried.
    """
    its_id = attempt_id or binding.operation_id()

    def change(request: Request, uid: int) -> ContainerState:
        sealed_old = sealed_pin(request, uid, old, "change", its_id)
        sealed_new = sealed_pin(request, uid, new, "new", its_id)
        return request.control(ChangePin(uid, its_id, sealed_old, sealed_new))

    return until_done(binding, "ChangePin", change)


def reset_pin(binding: Binding, pin: Pin, owner: int | None = None) -> ContainerState:
    """Set a PIN without the old one, by default the caller's own. The container's keys are lost.

    Raises ``NTE_PERM`` for somebody else's, unless root asks, and ``NTE_VALIDATION_FAILED`` as
    `enrol_pin` does.
    """
    attempt_id = binding.operation_id()

    def reset(request: Request, uid: int) -> ContainerState:
        of = _of(owner, uid)
        return request.control(
            ResetPin(of, attempt_id, sealed_pin(request, of, pin, "new", attempt_id))
        )

    return until_done(binding, "ResetPin", reset)


def create_passport_key(
    binding: Binding,
    pin: Pin,
    name: str,
    algorithm: str = "ECDSA_P256",
    *,
    bits: int = 0,
    overwrite: bool = False,
    properties: tuple[KeyProperty, ...] = (),
    attempt_id: bytes = b"",
) -> KeyReference:
    """A new key in the caller's container, for signing. ``bits``: 0 for the algorithm's usual ones.
    ``properties`` are stored with it.

    Raises ``NTE_EXISTS`` for a name that is taken, and what creating any key raises.
    """
    its_id, operation_id = attempt_id or binding.operation_id(), binding.operation_id()
    length = bits or algorithm_named(algorithm).lengths.default
    location = _location(name)

    def create(request: Request, uid: int) -> KeyHeader:
        ticket = _ticket(request, uid, pin, "create", its_id)
        terms = KeyTerms(
            operation_id,
            location.provider,
            location.scope,
            uid,
            location.name,
            "persisted",
            algorithm,
            length,
            NCRYPT_ALLOW_SIGNING_FLAG,
            0,
            overwrite,
        )
        return request.control(CreateKey(terms, properties, ticket)).header

    seconds = GENERATION_SECONDS if takes_long_to_generate(algorithm, length) else 0
    return KeyReference(until_done(binding, "CreateKey", create, seconds), location)


def find_passport_key(binding: Binding, name: str) -> KeyReference:
    """A key of the caller's container by its name; no PIN is needed to know that it is there.

    Raises ``NTE_BAD_KEYSET`` where there is none.
    """
    location = _location(name)
    find = FindKey(location.provider, location.scope, location.name)
    found = until_done(binding, "FindKey", lambda request, uid: request.control(find))
    return KeyReference(found.header, location)


def sign_with_pin(
    binding: Binding,
    pin: Pin,
    reference: KeyReference,
    digest: bytes,
    padding: Padding,
    *,
    attempt_id: bytes = b"",
) -> bytes:
    """A signature with a key of the caller's container. The trustlet has the key open for this one
    signature.

    Raises ``NTE_BAD_KEYSET`` when the name means another key by now, and ``NTE_BAD_DATA`` when the
    PIN was reset since the key was made.
    """
    its_id = attempt_id or binding.operation_id()

    if reference.location is None:
        raise ncrypt_error(Status.NTE_BAD_TYPE, "an ephemeral key is in no Passport container")
    location, key_id = reference.location, reference.header.key_id

    def sign(request: Request, uid: int) -> bytes:
        ticket = _ticket(request, uid, pin, "use", its_id)
        signature = request.control(
            SignHash(
                location.provider,
                location.scope,
                location.name,
                key_id,
                reference.fingerprint,
                ticket,
                digest,
                padding,
            )
        )
        return signature.value

    return until_done(binding, "SignHash", sign)


def until_done(
    binding: Binding, function: str, work: Callable[[Request, int], T], seconds: float = 0
) -> T:
    """Do something as the caller's uid, from its beginning whenever something broke.

    ``seconds``: how long it may take besides.
    """

    def do(request: Request) -> T:
        if not request.offers(PASSPORT_FEATURE):
            raise ncrypt_error(
                Status.NTE_NOT_SUPPORTED,
                "keyiso is of an older version and has no Passport containers",
                "Restart keyiso.",
            )
        return work(request, request.bound().uid)

    return binding.try_patiently(function, seconds, do)


def _ticket(request: Request, uid: int, pin: Pin, use: TicketUse, attempt_id: bytes) -> bytes:
    """Of an attempt with a PIN that was right."""
    sealed = sealed_pin(request, uid, pin, "verify", attempt_id)
    return request.control(AttemptPin(uid, attempt_id, sealed, use)).ticket


def sealed_pin(
    request: Request, owner: int, pin: Pin, purpose: Purpose, attempt_id: bytes
) -> SealedPin:
    """A PIN for the trustlet, and for nobody between. The key that it is sealed to comes from the
    KeyIso service itself: a service of Passport that was taken over would give one of its own.
    """
    key = request.at_keyiso().control(MakePinKey(owner, purpose, attempt_id))
    terms = PinTerms(owner, key.container_id, purpose, attempt_id)
    return SealedPin(key.public_key, seal_pin(pin, key.public_key, terms))


def _location(name: str) -> KeyLocation:
    return KeyLocation(MS_NGC_KEY_STORAGE_PROVIDER, "user", encode_name(name))


def _of(owner: int | None, uid: int) -> int:
    return uid if owner is None else owner
