"""What a pinentry answers, the configuration that names it, and what a logon shows."""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode

from keyiso.passport.assertion import LogonClaims, make_assertion, read_assertion
from keyiso.passport.assuan import Assuan, AssuanError
from keyiso.passport.pam import read_pin
from keyiso.passport.pinentry import program_in
from keyiso.passport.verifier import AssertionVerifier
from keyiso.status import Status
from tests.fuzz.parser import Outcome, Parser, statuses
from tests.passport.test_assertion import AUDIENCE, HELD, USER
from tests.unit.fake_clock import FakeClock

_PIECE = 7
"""Bytes that come at a time, so that lines end within pieces and pieces within lines."""


def converse(data: bytes) -> None:
    """A greeting and an answer, and what is kept of them is wiped."""
    rest = memoryview(data)

    def receive(room: memoryview) -> int:
        nonlocal rest
        piece, rest = rest[: min(_PIECE, len(room))], rest[min(_PIECE, len(room)) :]
        room[: len(piece)] = piece
        return len(piece)

    assuan = Assuan(lambda line: None, receive)
    try:
        assuan.greeting()
        typed = assuan.ask("GETPIN")
        assert len(typed) <= len(data)
    finally:
        assuan.wipe()


NOW = int(FakeClock().time())
CLAIMS = LogonClaims(iss=USER, aud=AUDIENCE, iat=NOW, exp=NOW + 60, request_nonce="6e" * 32)
TOKENS = [make_assertion(held, CLAIMS) for held in HELD.values()]


def believe(data: bytes) -> None:
    """Whoever sends it, one verifier believes one token."""
    verifier = AssertionVerifier(AUDIENCE, FakeClock(), lambda size: b"n" * size)
    verifier.begin(USER)
    verifier.verify(data, USER, HELD["ECDSA_P256"].public_key())
    assert data == TOKENS[1]


def read_parts(data: bytes) -> None:
    """JSON that came whole."""
    header, _, claims = data.partition(b"\n")
    read_assertion(b".".join((_encoded(header), _encoded(claims), b"AAAA")))


def _encoded(json: bytes) -> bytes:
    return urlsafe_b64encode(json).rstrip(b"=")


def read_from_pam(data: bytes) -> None:
    """More than a pipe takes at once never comes: PAM cuts it."""
    ours, theirs = os.pipe()
    try:
        os.write(theirs, data[:4096])
        os.close(theirs)
        read_pin(ours).wipe()
    finally:
        os.close(ours)


GOOD_PARTS = [
    b"\n".join(urlsafe_b64decode(one + b"==") for one in token.split(b".")[:2]) for token in TOKENS
]
DEEP: dict[Outcome, bytes] = {RecursionError: b'{"alg":"","kid":"","x":' + b"[" * 4000}
NO_ASSERTION = statuses(Status.NTE_BAD_DATA, Status.KEYISO_E_LIMIT)

PARSERS = [
    Parser(
        "an answer of pinentry",
        converse,
        [
            b"OK Pleased to meet you\n# who\nD 48%32915\nOK\n",
            b"OK\nS PIN_REPEATED\nD 4829\nD 15%0A%25\nOK done\n",
            b"OK\nERR 83886179 Operation cancelled <Pinentry>\n",
            b"OK\n" + b"S x\n" * 63 + b"OK\n",
            b"OK\nD " + b"%41" * 332 + b"\nD " + b"5" * 180 + b"\nOK\n",
        ],
        statuses(Status.KEYISO_E_PROTOCOL, Status.KEYISO_E_LIMIT) | {AssuanError},
    ),
    Parser(
        "a configuration of gpg-agent",
        program_in,
        [b"# ours\npinentry-program /usr/bin/pinentry-tty\nmax-cache-ttl 60\n"],
        frozenset(),
    ),
    Parser("an assertion", read_assertion, TOKENS, NO_ASSERTION),
    Parser("what an assertion says", read_parts, [*GOOD_PARTS, *DEEP.values()], NO_ASSERTION, DEEP),
    Parser(
        "an assertion, believed",
        believe,
        TOKENS,
        NO_ASSERTION
        | statuses(Status.NTE_BAD_SIGNATURE, Status.NTE_BAD_ALGID, Status.ERROR_LOGON_FAILURE),
    ),
    Parser(
        "a PIN of pam_exec",
        read_from_pam,
        [b"482915\0", b"482915", b"4" * 127, b"4" * 127 + b"\0"],
        statuses(Status.NTE_INVALID_PARAMETER),
    ),
]
