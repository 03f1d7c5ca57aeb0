"""What is stored of machine roots, and what is carried by hand to recover them."""

import io
import os
from typing import Any

import msgspec

from keyiso import limits
from keyiso.cli._armour import REQUEST, armoured, read_armoured
from keyiso.crypto import recovery
from keyiso.crypto.hand_carried import seal_message
from keyiso.crypto.key_blob import Root
from keyiso.crypto.recovery import answer_request, decode_request, open_answer
from keyiso.status import Status
from keyiso.tpm.enrolment import decode_enrolment, encode_enrolment
from keyiso.trustlet import kept_boot_root
from keyiso.trustlet.enrolling.messages import (
    ANSWERS,
    JOBS,
    OUTCOMES,
    AddRecovery,
    Answer,
    Asked,
    Enrol,
    Enrolled,
    Failed,
    Restore,
    Rotate,
    receive,
    send,
)
from tests.fuzz.parser import Outcome, Parser, statuses
from tests.fuzz.wire_parsers import NESTED
from tests.unit.test_crypto_recovery import RECOVERY, WORKER, request
from tests.unit.test_tpm_enrolment import ENROLMENT, changed

STORED = statuses(Status.NTE_BAD_DATA, Status.NTE_BAD_VER)


def enrolment_parser() -> Parser:
    known: dict[Outcome, bytes] = {
        RecursionError: b"\1\x95" + changed()[2:] + NESTED,
        UnicodeDecodeError: changed().replace(b"/dev/tpmrm0", b"/dev/tpm\xff\xff\xff"),
    }
    return Parser(
        "an enrolment",
        lambda data: encode_enrolment(decode_enrolment(data)),
        [changed(), changed(roots=ENROLMENT.roots[:1]), *known.values()],
        STORED,
        known,
    )


def kept_root_parsers() -> list[Parser]:
    """As anybody can change it, and as only somebody can who has the machine root."""
    machine = Root(b"r" * limits.ROOT_ID_BYTES, "machine", b"s" * 32)

    def with_mac(sealed: bytes) -> bytes:
        root_id = b"b" * limits.ROOT_ID_BYTES
        kept = (root_id, sealed, kept_boot_root._mac(machine, root_id, sealed))
        return b"\1" + msgspec.msgpack.encode(kept)

    def read(data: bytes) -> object:
        return kept_boot_root.read_kept(data, machine)

    sealed = ENROLMENT.roots[0].sealed
    known: dict[Outcome, bytes] = {RecursionError: b"\1\x94" + with_mac(sealed)[2:] + NESTED}
    return [
        Parser("a kept boot root", read, [with_mac(sealed), *known.values()], STORED, known),
        Parser("what it keeps", lambda data: read(with_mac(data)), [sealed, NESTED], STORED),
    ]


def request_parser() -> Parser:
    """As the machine with the recovery key reads it."""
    known: dict[Outcome, bytes] = {RecursionError: b"\1\x94" + request()[2:] + NESTED}
    return Parser("a recovery request", decode_request, [request(), *known.values()], STORED, known)


def answering_parser() -> Parser:
    return Parser(
        "a recovery request, answered",
        lambda data: answer_request(data, RECOVERY),
        [request()],
        STORED | statuses(Status.NTE_BAD_KEY),
    )


def answer_parser() -> Parser:
    asked = request()
    return Parser(
        "a recovery answer",
        lambda data: open_answer(data, WORKER, asked),
        [answer_request(asked, RECOVERY)],
        STORED,
    )


def sealed_answer_parser() -> Parser:
    """What somebody sealed who has no recovery key: the worker's key is public."""

    asked = request()
    public_key = WORKER.public_key().public_bytes_raw()
    good = msgspec.msgpack.encode(
        recovery.RecoveredRoots(RECOVERY.public_key().public_bytes_raw(), (b"s" * 32,) * 2)
    )
    known: dict[Outcome, bytes] = {RecursionError: b"\x93" + good[1:] + NESTED}
    return Parser(
        "a recovery answer, sealed by anybody",
        lambda data: open_answer(
            seal_message(data, public_key, recovery._answer_info(asked)), WORKER, asked
        ),
        [good, *known.values()],
        STORED,
        known,
    )


def armour_parser() -> Parser:
    def parse(data: bytes) -> None:
        found = read_armoured(io.BytesIO(data), REQUEST)
        assert read_armoured(io.BytesIO(armoured(found, REQUEST).encode()), REQUEST) == found

    text = armoured(request(), REQUEST).encode()
    return Parser(
        "a recovery request as text",
        parse,
        [text, b"mail\r\n" + text.replace(b"\n", b"\r\n") + b"more", text[:-9]],
        statuses(Status.NTE_BAD_DATA),
    )


def frames_parser(name: str, decoder: Any, messages: list[Any]) -> Parser:
    """What goes in and out of a pair that makes roots."""
    descriptor = os.memfd_create("frames")

    def frame(message: Any) -> bytes:
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        send(descriptor, message)
        return os.pread(descriptor, 1 << 20, 0)

    def parse(data: bytes) -> None:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, data, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        receive(descriptor, decoder)

    deep = b"\x92\1" + NESTED
    long = len(deep).to_bytes(4, "little") + deep
    return Parser(
        name,
        parse,
        [*map(frame, messages), long],
        frozenset({EOFError, msgspec.DecodeError, msgspec.ValidationError}),
    )


PARSERS = [
    enrolment_parser(),
    *kept_root_parsers(),
    request_parser(),
    answering_parser(),
    answer_parser(),
    sealed_answer_parser(),
    armour_parser(),
    frames_parser(
        "a job for a pair",
        JOBS,
        [
            Enrol("/dev/tpmrm0", "any-start", (7, 12), b"k" * 32),
            Rotate(changed()),
            AddRecovery(changed(), b"k" * 32),
            Restore(changed(), "unix:/tpm"),
        ],
    ),
    frames_parser(
        "what a pair says", OUTCOMES, [Enrolled(changed()), Asked(request()), Failed(1, "c", "a")]
    ),
    frames_parser("what a pair is answered", ANSWERS, [Answer(b"a" * 200)]),
]
