"""Asking through the desktop's own pinentry, the program that gpg asks with."""

import os
import select
import shutil
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from keyiso import limits
from keyiso.crypto.pin import wipe
from keyiso.errors import NCryptError
from keyiso.passport.assuan import Assuan, AssuanError
from keyiso.passport.dialogue import (
    CannotAskError,
    PinQuestion,
    cancelled,
    shown,
    shown_lines,
    timed_out,
)
from keyiso.passport.terminal import CONTROLLING_TERMINAL
from keyiso.passport.terminal_state import kept

_TIMED_OUT: Final = 62
_CANCELLED: Final = (99, 114, 198)
"""In libgpg-error: cancelled, not confirmed, fully cancelled."""

_WINDOWS: Final = ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS")
"""One of them is set where a pinentry may find a desktop."""

_SYSTEM_CONFIG: Final = Path("/etc/gnupg/gpg-agent.conf")
_WRITABLE_BY_OTHERS: Final = 0o022


class Pinentry:
    """A pinentry program. It is started for each question, and ended after it."""

    def __init__(self, program: str, environ: Mapping[str, str]) -> None:
        self._program: Final = program
        self._environ: Final = environ

    def read(self, question: PinQuestion, timeout: float) -> bytearray:
        """As `PinSource.read`. It is never told that it may keep the PIN in a keyring."""
        try:
            with _running(self._program, self._environ) as pinentry:
                return self._converse(pinentry, question, timeout)
        except AssuanError as error:
            if error.code in _CANCELLED:
                raise cancelled() from None
            if error.code == _TIMED_OUT:
                raise timed_out(timeout) from None
            reason = shown(error.text)
        except NCryptError as error:
            reason = error.cause
        except (OSError, termios.error) as error:
            reason = str(error)
        raise CannotAskError(f"{self._program}: {reason}")

    def _converse(self, pinentry: "_Running", question: PinQuestion, timeout: float) -> bytearray:
        assuan = Assuan(pinentry.send, pinentry.receive)
        try:
            pinentry.allow(limits.PINENTRY_ANSWER_SECONDS)
            assuan.greeting()
            self._explain(assuan, question, timeout)
            pinentry.allow(timeout + limits.PINENTRY_ANSWER_SECONDS)
            return assuan.ask("GETPIN")
        finally:
            assuan.wipe()

    def _explain(self, assuan: Assuan, question: PinQuestion, timeout: float) -> None:
        for option in _options(self._environ):
            _ask_if_known(assuan, "OPTION", option)
        _ask_if_known(assuan, "SETTIMEOUT", str(max(1, int(timeout))))
        for command, text in (
            ("SETTITLE", "keyiso"),
            ("SETDESC", shown_lines(question.description)),
            ("SETPROMPT", shown(question.prompt)),
            ("SETERROR", shown_lines(question.trouble)),
        ):
            if text:
                wipe(assuan.ask(command, text))


class _Running:
    """A pinentry process, and how long it may take."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 (they are)
        self._input: Final = process.stdin.fileno()
        self._output: Final = process.stdout.fileno()
        self._until = 0.0

    def allow(self, seconds: float) -> None:
        """What is received from now on must come within so many seconds, all together."""
        self._until = time.monotonic() + seconds

    def send(self, line: bytes) -> None:
        """A line is shorter than what a pipe takes at once."""
        os.write(self._input, line)

    def receive(self, room: memoryview) -> int:
        ready = select.poll()
        ready.register(self._output, select.POLLIN)
        if not ready.poll(max(0.0, self._until - time.monotonic()) * 1000):
            raise TimeoutError("it did not answer")
        return os.readv(self._output, [room])


@contextmanager
def _running(program: str, environ: Mapping[str, str]) -> Iterator[_Running]:
    with subprocess.Popen(
        [program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,  # a buffered reader would keep what was typed
        env=environ,
    ) as process:
        try:
            with _terminal_kept(process, environ):
                yield _Running(process)
        finally:
            process.kill()


@contextmanager
def _terminal_kept(process: subprocess.Popen[bytes], environ: Mapping[str, str]) -> Iterator[None]:
    try:
        terminal = os.open(CONTROLLING_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        if not any(map(environ.get, _WINDOWS)):  # pinentry-tty would say that somebody cancelled
            raise CannotAskError("there is no desktop") from None
        yield
        return
    try:
        with kept(terminal, process.kill):
            yield
    finally:
        os.close(terminal)


def _options(environ: Mapping[str, str]) -> Iterator[str]:
    """Where it is to ask, and how the terminal there is to be spoken to."""
    yield f"ttyname={CONTROLLING_TERMINAL}"
    if kind := environ.get("TERM"):
        yield f"ttytype={kind}"
    if charset := next(filter(None, map(environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), None):
        yield f"lc-ctype={charset}"


def _ask_if_known(assuan: Assuan, command: str, text: str) -> None:
    """Pinentries differ in what they can be told."""
    with suppress(AssuanError):
        wipe(assuan.ask(command, text))


# --- which program ----------------------------------------------------------------------------


def pinentry_program(environ: Mapping[str, str]) -> str | None:
    """The program that gpg-agent is configured to ask with, else ``pinentry``; None for neither."""
    gnupg = Path(environ.get("GNUPGHOME") or Path(environ.get("HOME", "/"), ".gnupg"))
    for config in (gnupg / _SYSTEM_CONFIG.name, _SYSTEM_CONFIG):
        if program := program_in(_trusted_text(config)):
            return program
    return shutil.which("pinentry", path=environ.get("PATH"))


def program_in(config: bytes) -> str | None:
    """The last absolute path that a gpg-agent.conf names as ``pinentry-program``."""
    found = None
    for line in config.splitlines():
        option, _, value = line.strip().partition(b" ")
        value = value.strip().strip(b'"')
        if option == b"pinentry-program" and value.startswith(b"/") and b"\0" not in value:
            found = os.fsdecode(value)
    return found


def _trusted_text(config: Path) -> bytes:
    """The file's beginning; nothing if others than this user and root can write it."""
    try:
        with config.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_uid not in (0, os.geteuid()) or found.st_mode & _WRITABLE_BY_OTHERS:
                return b""
            return file.read(limits.PINENTRY_CONFIG_BYTES)
    except OSError:
        return b""
