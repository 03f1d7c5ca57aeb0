"""Killing a service exactly at one of its system calls (strace(1), injection)."""

import contextlib
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.instance import DEADLINE_SECONDS

needs_strace = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can trace the KeyIso service"),
]


@contextlib.contextmanager
def killing(pid: int, path: Path, call: str, when: int) -> Iterator[int]:
    """The process is killed where one of its threads enters its N-th call of this kind.

    Gives a pidfd of the process. ``path`` is a directory for strace's log.
    """
    pidfd = os.pidfd_open(pid)
    tracer = subprocess.Popen(
        [
            "strace",
            "-f",
            "-o",
            str(path / "strace.log"),
            "-p",
            str(pid),
            "-e",
            f"trace={call}",
            "-e",
            f"inject={call}:signal=SIGKILL:when={when}",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert tracer.stderr is not None
        assert "attached" in tracer.stderr.readline()
        yield pidfd
    finally:
        tracer.terminate()
        tracer.communicate(timeout=DEADLINE_SECONDS)
        os.close(pidfd)


def wait_for_end(pidfd: int) -> None:
    ended, _, _ = select.select([pidfd], [], [], DEADLINE_SECONDS)
    assert ended, "the request failed although the service was not killed"
