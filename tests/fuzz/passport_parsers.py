"""What is stored of Passport containers, and what prompts send."""

from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso.crypto import pin_history, pin_seal
from keyiso.crypto.bound_seal import BoundSeal
from keyiso.crypto.container_copy import answer_reset, decode_reset, open_reset
from keyiso.crypto.container_secret import unwrapped_secret
from keyiso.crypto.hpke import SUITE
from keyiso.crypto.pin_counters import LockSchedule
from keyiso.crypto.pin_history import new_history, open_history, seal_history
from keyiso.crypto.pin_policy import PinPolicy
from keyiso.crypto.pin_seal import open_pin, seal_pin
from keyiso.status import Status
from keyiso.trustlet.passport.attempt import AttemptNotes
from keyiso.trustlet.passport.container_record import COUNTERS, NOTES, RECORD, ContainerRecord
from keyiso.trustlet.passport.sealed_value import SealedValue
from keyiso.trustlet.passport.software_protector import CountersOnFile, SoftwareProtector
from keyiso.trustlet.passport.tpm_protector import TpmProtector
from tests.fuzz.parser import Outcome, Parser, statuses
from tests.fuzz.wire_parsers import NESTED
from tests.unit.samples import ROOT, pkcs8
from tests.unit.test_crypto_container_copy import RESET, WORKER, request
from tests.unit.test_crypto_container_secret import (
    CONTAINER,
    GESTURE,
    KEY_ID,
    SECRET,
)
from tests.unit.test_crypto_pin import CHEAP, pin
from tests.unit.test_passport_pin_keys import TERMS

STORED = statuses(Status.NTE_BAD_DATA, Status.NTE_BAD_VER)
NO_PIN = statuses(Status.NTE_INVALID_PARAMETER)

KEYS = [SECRET.wrap_key(KEY_ID, pkcs8())]
SECRETS = [SECRET.wrapped(GESTURE)]
HISTORY = new_history(CHEAP)


def unwrap_key(data: bytes) -> None:
    SECRET.unwrap_key(KEY_ID, data)
    assert data in KEYS


def unwrap_secret(data: bytes) -> None:
    unwrapped_secret(CONTAINER, GESTURE, data)
    assert data in SECRETS


def history_parser() -> Parser:
    """What whoever knows the secret could seal."""
    good = msgspec.msgpack.encode(HISTORY)
    known: dict[Outcome, bytes] = {RecursionError: b"\x94" + good[1:] + NESTED}

    def parse(data: bytes) -> None:
        sealed = pin_history._SEAL.seal(SECRET.secret, CONTAINER, data)
        seal_history(SECRET, open_history(SECRET, sealed))

    return Parser(
        "a PIN history",
        parse,
        [good, *known.values()],
        statuses(Status.NTE_BAD_DATA, Status.KEYISO_E_LIMIT),
        known,
    )


PROMPT = X25519PrivateKey.from_private_bytes(b"p" * 32)
PINS = [seal_pin(pin("482915"), PROMPT.public_key().public_bytes_raw(), TERMS)]


def open_sealed_pin(data: bytes) -> None:
    open_pin(data, PROMPT, TERMS)
    assert data in PINS


def pin_parser() -> Parser:
    """What anybody can seal: the key is public."""

    def parse(data: bytes) -> None:
        sealed = b"\1" + SUITE.encrypt(data, PROMPT.public_key(), pin_seal._info(TERMS))
        open_pin(sealed, PROMPT, TERMS).wipe()

    good = [bytes([length]) + b"4" * length + bytes(127 - length) for length in (4, 127)]
    return Parser("a sealed PIN, of anybody", parse, good, STORED | NO_PIN)


def value_parser(name: str, kind: Any, seal: BoundSeal, value: Any) -> Parser:
    """What a worker of another version could have stored."""
    stored: SealedValue[Any] = SealedValue(kind, seal, [ROOT], CONTAINER)
    good = msgspec.msgpack.encode(value)
    known: dict[Outcome, bytes] = {RecursionError: bytes([good[0] + 1]) + good[1:] + NESTED}

    def parse(data: bytes) -> None:
        ids = ROOT.root_id + CONTAINER
        stored.encode(stored.decode(seal.seal(ROOT.secret, ids, data)))

    damaged = statuses(Status.NTE_BAD_DATA, Status.KEYISO_E_LIMIT)
    return Parser(name, parse, [good, *known.values()], damaged, known)


SAVED: SealedValue[AttemptNotes] = SealedValue(AttemptNotes, NOTES, [ROOT], CONTAINER)
SAVED_NOTES = [SAVED.encode(AttemptNotes(b"a" * 16, 1, (b"b" * 16,)))]


def open_notes(data: bytes) -> None:
    SAVED.decode(data)
    assert data in SAVED_NOTES


RECORDED = ContainerRecord(
    owner=1000,
    policy=PinPolicy(),
    schedule=LockSchedule(),
    history=b"h" * 40,
    handles=(0x01800001, 0x01800002),
    tpm=TpmProtector(b"s" * 16, CHEAP, b"u" * 40, b"w" * 32),
    software=SoftwareProtector(b"s" * 16, CHEAP, b"w" * 77),
)

ASKED = request()
DEEP_RESET: dict[Outcome, bytes] = {RecursionError: b"\1\x94" + ASKED[2:] + NESTED}

PARSERS = [
    Parser("a reset request", decode_reset, [ASKED, *DEEP_RESET.values()], STORED, DEEP_RESET),
    Parser(
        "a reset request, answered",
        lambda data: answer_reset(data, RESET),
        [ASKED],
        STORED | statuses(Status.NTE_BAD_KEY),
    ),
    Parser(
        "a reset answer",
        lambda data: open_reset(data, WORKER, ASKED),
        [answer_reset(ASKED, RESET)],
        STORED,
    ),
    Parser("a wrapped Passport key", unwrap_key, KEYS, STORED),
    Parser("a wrapped container secret", unwrap_secret, SECRETS, STORED),
    history_parser(),
    Parser("a sealed PIN", open_sealed_pin, PINS, STORED | NO_PIN),
    pin_parser(),
    Parser("a container's sealed notes", open_notes, SAVED_NOTES, STORED),
    value_parser("a container's record", ContainerRecord, RECORD, RECORDED),
    value_parser(
        "a container's notes", AttemptNotes, NOTES, AttemptNotes(b"a" * 16, 1, (b"b" * 16,))
    ),
    value_parser(
        "a container's counters",
        CountersOnFile,
        COUNTERS,
        CountersOnFile(1, 5, b"a" * 16, b"m" * 32),
    ),
]
