"""Runs in the guest: carries out commands that come by the second serial line.

Each message is a line of JSON. At its start the agent says which boot this is; for each command it
sends what that prints, line by line, and then its exit status (None: it took too long).
"""

import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import threading
import tty
from pathlib import Path
from typing import Any, BinaryIO

LINE = "/dev/ttyS1"
OUTPUT_BYTES = 4 << 20
"""More of a command's output is not sent."""
LINE_BYTES = 64 << 10
ENVIRON = {
    "PATH": f"{os.path.dirname(sys.executable)}:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "KEYISO_DEADLINE": "120",
}
"""Of every command. Nothing is quick on an emulated processor."""


def main() -> None:
    with open(LINE, "r+b", buffering=0) as line:
        tty.setraw(line.fileno())
        line.write(b"\n")  # ends what an earlier boot did not finish
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        send(line, {"boot": boot})
        for request in requests(line):
            send(line, {"status": carry_out(line, request)})


def requests(line: BinaryIO) -> Any:
    buffer = b""
    while data := line.read(4096):
        *whole, buffer = (buffer + data).split(b"\n")
        yield from map(json.loads, filter(None, whole))


def send(line: BinaryIO, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[line.write(data) :]


def carry_out(line: BinaryIO, request: dict[str, Any]) -> int | None:
    """Run a command to its end. What it leaves behind in its process group is killed."""
    entry = pwd.getpwnam(request["user"])
    child = subprocess.Popen(
        request["command"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=entry.pw_dir,
        env={**ENVIRON, "HOME": entry.pw_dir, "USER": entry.pw_name},
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        start_new_session=True,
    )
    late = threading.Event()

    def end() -> None:
        late.set()
        kill_group(child)

    timer = threading.Timer(request["seconds"], end)
    timer.start()
    try:
        send_output(line, child)
        status = child.wait()
    finally:
        timer.cancel()
        kill_group(child)
    return None if late.is_set() else status


def send_output(line: BinaryIO, child: "subprocess.Popen[bytes]") -> None:
    assert child.stdout is not None
    sent = 0
    while text := child.stdout.readline(LINE_BYTES):
        if sent < OUTPUT_BYTES:
            send(line, {"output": text.decode(errors="backslashreplace")})
        sent += len(text)


def kill_group(child: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
