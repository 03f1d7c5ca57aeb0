"""A person at a terminal, and a program there that asks for a PIN."""

import hashlib
import json
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.cli.command import WITH_TERMINAL
from tests.waiting import DEADLINE_SECONDS, wait_until

ASKING = """
import hashlib, json, logging, os, sys
from keyiso.crypto.pin_policy import PinPolicy
from keyiso.errors import NCryptError
from keyiso.passport.dialogue import PinQuestion, wrong_pin
from keyiso.passport.prompt import pin_prompt

logging.basicConfig(level=logging.DEBUG)
told = dict(json.loads(sys.argv[1]))
found, go_on = int(told.pop("found")), int(told.pop("go_on"))
new, keep, left = told.pop("new", False), told.pop("keep", False), told.pop("left", None)
text = told.pop("text", "Log on to host")
question = PinQuestion(description=text, trouble="" if left is None else wrong_pin(left))
prompt = pin_prompt(os.environ, **told)
kept, outcome = [], {}
try:
    pin = prompt.ask_new(question, PinPolicy()) if new else prompt.ask(question)
    outcome = {"sha256": hashlib.sha256(pin.characters).hexdigest()}
    kept.append(pin)
    if not keep:
        pin.wipe()
except NCryptError as error:
    outcome = {"status": error.status, "cause": error.cause}
except KeyboardInterrupt:
    outcome = {"interrupted": True}
os.write(found, json.dumps(outcome).encode() + b"\\n")
os.read(go_on, 1)
"""

AS_A_JOB = """\
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if not job:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
print("ended with", os.waitstatus_to_exitcode(os.waitpid(job, 0)[1]), flush=True)
signal.pause()
"""
"""As a shell starts it. The kernel stops no process that no shell could let go on, and makes a
terminal anew when the first process of its session ends.
"""


class Sitting:
    """A program on a terminal of its own, or on none."""

    def __init__(
        self, environ: Mapping[str, str], *, terminal: bool, job: bool, **told: Any
    ) -> None:
        self._ours, theirs = pty.openpty()
        self._found, found = os.pipe()
        go_on, self._go_on = os.pipe()
        asking = [sys.executable, "-c", ASKING]
        argument = json.dumps({**told, "found": found, "go_on": go_on})
        self.process = subprocess.Popen(
            [sys.executable, "-c", AS_A_JOB if job else WITH_TERMINAL, *asking, argument]
            if terminal
            else [*asking, argument],
            stdin=theirs if terminal else subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            pass_fds=(found, go_on),
            env={**os.environ, "TERM": "xterm", **environ},
        )
        for descriptor in (theirs, found, go_on):
            os.close(descriptor)
        self.seen = b""

    @property
    def processes(self) -> set[int]:
        """All that run on the terminal."""
        found = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                if int(stat.read_text().rpartition(")")[2].split()[3]) == self.process.pid:
                    found.add(int(stat.parent.name))
        return found

    @property
    def pid_of_job(self) -> int:
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())

    @property
    def echo(self) -> bool:
        """What is typed now is shown."""
        return bool(termios.tcgetattr(self._ours)[3] & termios.ECHO)

    def watch(self) -> bytes:
        """All that the screen was told until now."""
        while select.select([self._ours], [], [], 0)[0]:
            try:
                self.seen += os.read(self._ours, 65536)
            except OSError:  # EIO: nobody has the terminal open any more
                break
        return self.seen

    def wait_for(self, text: str, times: int = 1) -> None:
        """Until the screen shows it, and what is typed is not shown."""
        wait_until(
            lambda: self.watch().count(text.encode()) >= times and not self.echo,
            f"{text!r} on the screen, times {times},",
        )

    def type(self, text: bytes) -> None:
        os.write(self._ours, text)

    def outcome(self) -> dict[str, Any]:
        """What the program found; it still runs."""
        line = b""
        while not line.endswith(b"\n"):
            self.watch()
            if select.select([self._found], [], [], 0.05)[0]:
                more = os.read(self._found, 4096)
                assert more, f"it ended: {self.watch()!r}"
                line += more
        return dict(json.loads(line))

    def memory(self) -> Iterator[bytes]:
        """Everything that the program has in memory that it may write."""
        proc = Path(f"/proc/{self.process.pid}")
        with (proc / "mem").open("rb", buffering=0) as memory:
            for line in (proc / "maps").read_text().splitlines():
                where, rights = line.split()[:2]
                start, end = (int(part, 16) for part in where.split("-"))
                if rights.startswith("rw"):
                    memory.seek(start)
                    yield memory.read(end - start)

    def end(self) -> None:
        os.close(self._go_on)  # whatever else runs of it reads the end of that
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)
        for descriptor in (self._ours, self._found):
            os.close(descriptor)


@contextmanager
def sitting(
    environ: Mapping[str, str] | None = None,
    *,
    terminal: bool = True,
    job: bool = False,
    **told: Any,
) -> Iterator[Sitting]:
    """It ends with the block."""
    one = Sitting(environ or {}, terminal=terminal, job=job, **told)
    try:
        yield one
    finally:
        one.end()


def typed(pin: bytes) -> dict[str, str]:
    """The outcome when this PIN was taken."""
    return {"sha256": hashlib.sha256(pin).hexdigest()}
