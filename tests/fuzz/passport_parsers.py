"""What is stored of Passport containers, and what prompts send."""

import msgspec

from keyiso.crypto import pin_history
from keyiso.crypto.container_secret import unwrapped_secret
from keyiso.crypto.pin_history import new_history, open_history, seal_history
from keyiso.status import Status
from tests.fuzz.parser import Outcome, Parser, statuses
from tests.fuzz.wire_parsers import NESTED
from tests.unit.samples import pkcs8
from tests.unit.test_crypto_container_secret import (
    CONTAINER,
    GESTURE,
    KEY_ID,
    SECRET,
)
from tests.unit.test_crypto_pin import CHEAP

STORED = statuses(Status.NTE_BAD_DATA, Status.NTE_BAD_VER)

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


PARSERS = [
    Parser("a wrapped Passport key", unwrap_key, KEYS, STORED),
    Parser("a wrapped container secret", unwrap_secret, SECRETS, STORED),
    history_parser(),
]
