"""What a pinentry answers, and the configuration that names it."""

from keyiso.passport.assuan import Assuan, AssuanError
from keyiso.passport.pinentry import program_in
from keyiso.status import Status
from tests.fuzz.parser import Parser, statuses

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
]
