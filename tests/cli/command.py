"""Running the command line as people and scripts do: as a process, on a pipe or a terminal."""

import doctest
import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE_SECONDS = 120
KEYISO = (sys.executable, "-m", "keyiso")
WITH_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes standard input the terminal whose ^C is a signal."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    output: bytes
    """What it wrote to standard output."""
    errors: str

    @property
    def text(self) -> str:
        return self.output.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.output)


def keyiso(
    *arguments: str | os.PathLike[str],
    stdin: bytes = b"",
    environ: Mapping[str, str] | None = None,
    interpreter: Path | None = None,
) -> Ended:
    """Run ``keyiso`` with pipes around it, of this Python or another."""
    ended = subprocess.run(
        [*([interpreter, "-I", "-m", "keyiso"] if interpreter else KEYISO), *arguments],
        input=stdin,
        capture_output=True,
        env=environ,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr.decode())


def on_terminal(
    *arguments: str,
    prompt: bytes = b"",
    typed: bytes = b"",
    then: Sequence[tuple[bytes, bytes]] = (),
) -> tuple[int, bytes]:
    """Run ``keyiso`` on a terminal of its own, and type when the prompt is there.

    ``then`` has further prompts, with what is typed at each.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_TERMINAL, *KEYISO, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm"},  # what a build machine has need not know colours
    )
    os.close(theirs)
    seen = b""
    answered = 0  # so much of what was seen
    dialogue = [(prompt, typed), *then] if typed else []
    quiet = 0
    try:
        while quiet < DEADLINE_SECONDS:
            if not select.select([ours], [], [], 1)[0]:
                quiet += 1
                if prompt and not dialogue:
                    # A signal may come before the read that it should end: a line ends it too.
                    os.write(ours, b"\n")
                continue
            try:
                seen += os.read(ours, 65536)
            except OSError:  # EIO: nobody has the terminal open any more
                break
            if dialogue and dialogue[0][0] in seen[answered:]:
                os.write(ours, dialogue.pop(0)[1])
                answered = len(seen)
        return process.wait(DEADLINE_SECONDS), seen.replace(b"\r\n", b"\n")
    finally:
        os.close(ours)
        process.kill()
        process.wait()


def assert_reads(actual: str, expected: str) -> None:
    """The output is what a person should see; ``...`` stands for what differs each time."""
    checker = doctest.OutputChecker()
    example = doctest.Example("", expected)
    if not checker.check_output(example.want, actual, doctest.ELLIPSIS):
        raise AssertionError(checker.output_difference(example, actual, doctest.REPORT_NDIFF))


def process_named(processes: Sequence[Mapping[str, Any]], service: str) -> Mapping[str, Any]:
    """One process of ``keyiso status --json``."""
    return next(process for process in processes if process["service"] == service)
