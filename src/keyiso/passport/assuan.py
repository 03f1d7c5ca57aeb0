"""The client's side of Assuan, the protocol that pinentry speaks: a command, then lines of answer.

What comes may be a PIN: it is in bytearrays that are overwritten, never in a string or in bytes.
Source: the description of the protocol in libassuan's manual.
"""

import string
from collections.abc import Callable
from typing import Final

from keyiso import limits
from keyiso.crypto.pin import wipe
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

_CODE: Final = 0xFFFF
"""Of an error's number in libgpg-error: the rest says which program found it."""
_HEX_DIGITS: Final = frozenset(string.hexdigits.encode())


class AssuanError(Exception):
    """The other side answered ERR."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code: Final = code
        """Of libgpg-error, without its source."""
        self.text: Final = text


class Assuan:
    """One conversation, over two functions that send and receive bytes."""

    def __init__(
        self, send: Callable[[bytes], object], receive: Callable[[memoryview], int]
    ) -> None:
        """``receive`` fills a buffer and says how many bytes came; 0 at the end."""
        self._send: Final = send
        self._receive: Final = receive
        self._buffer: Final = bytearray(limits.ASSUAN_LINE_BYTES + 1)
        self._filled = 0

    def greeting(self) -> None:
        """Take the line that a server begins with. Raises as `ask` does."""
        wipe(self._answer())

    def ask(self, command: str, text: str = "") -> bytearray:
        """Send a command, and return the data of its answer, which the caller wipes.

        ``text`` is escaped, and cut where a line ends. Raises `AssuanError` for ERR,
        ``KEYISO_E_PROTOCOL`` for what is no answer and at the end of the conversation, and
        ``KEYISO_E_LIMIT`` for an answer that is too long.
        """
        self._send(_line(command, text))
        return self._answer()

    def wipe(self) -> None:
        """Overwrite the answers. Nothing can be asked after it."""
        wipe(self._buffer)

    def _answer(self) -> bytearray:
        data = bytearray(limits.ASSUAN_DATA_BYTES)  # one that grew would leave copies behind
        length = 0
        try:
            for _ in range(limits.ASSUAN_ANSWER_LINES):
                end = self._line_end()
                if self._buffer.startswith((b"OK\n", b"OK ")):
                    self._drop(end)
                    return data[:length]
                if self._buffer.startswith(b"ERR "):
                    error = _error_in(bytes(self._buffer[:end]))
                    self._drop(end)
                    raise error
                if self._buffer.startswith(b"D "):
                    length = self._decode(end, data, length)
                elif not self._buffer.startswith((b"S ", b"#")):
                    raise _broken("answered what nobody asked for")
                self._drop(end)
        finally:
            wipe(data)
        raise _too_long("ASSUAN_ANSWER_LINES", limits.ASSUAN_ANSWER_LINES)

    def _line_end(self) -> int:
        """Where the line at the beginning of the buffer ends; it is read if need be."""
        while (end := self._buffer.find(b"\n", 0, self._filled)) < 0:
            if self._filled == len(self._buffer):
                raise _too_long("ASSUAN_LINE_BYTES", limits.ASSUAN_LINE_BYTES)
            with memoryview(self._buffer) as whole, whole[self._filled :] as room:
                count = self._receive(room)
            if not count:
                raise _broken("ended before it answered")
            self._filled += count
        return end

    def _drop(self, end: int) -> None:
        """Move what follows a line to the beginning. What was there is overwritten by `wipe`."""
        rest = self._filled - (end + 1)
        with memoryview(self._buffer) as whole:
            whole[:rest] = whole[end + 1 : self._filled]
        self._filled = rest

    def _decode(self, end: int, data: bytearray, length: int) -> int:
        """Add a line of data to what came before; returns the new length."""
        at = len(b"D ")
        while at < end:
            if length == len(data):
                raise _too_long("ASSUAN_DATA_BYTES", limits.ASSUAN_DATA_BYTES)
            byte = self._buffer[at]
            if byte == ord("%"):
                byte = self._escaped(at, end)
                at += 2
            data[length] = byte
            length += 1
            at += 1
        return length

    def _escaped(self, at: int, end: int) -> int:
        if at + 2 >= end or not _HEX_DIGITS.issuperset(self._buffer[at + 1 : at + 3]):
            raise _broken("sent a line with a wrong escape")
        return int(self._buffer[at + 1 : at + 3], 16)


def _line(command: str, text: str) -> bytes:
    """A command's line, with as much of the text as it has room for."""
    line = bytearray(command.encode())
    if text:
        line += b" "
    for character in text:
        encoded = character.encode(errors="replace")
        escaped = b"".join(
            b"%%%02X" % one if one < ord(" ") or one == ord("%") else bytes([one])
            for one in encoded
        )
        if len(line) + len(escaped) > limits.ASSUAN_LINE_BYTES:
            break
        line += escaped
    return bytes(line) + b"\n"


def _error_in(line: bytes) -> Exception:
    _, number, text = (line + b"  ").split(b" ", 2)
    if not number.isdigit():
        return _broken("answered with an error that has no number")
    return AssuanError(int(number) & _CODE, text.decode(errors="replace").strip())


def _broken(what: str) -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_PROTOCOL,
        f"pinentry {what}",
        "Try which pinentry works here: echo GETPIN | pinentry",
    )


def _too_long(name: str, limit: int) -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_LIMIT,
        f"pinentry answered more than anybody types; {name} is {limit}",
        "Try which pinentry works here: echo GETPIN | pinentry",
    )
