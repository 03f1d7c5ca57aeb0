"""A child process that does not outlive the block that uses it."""

import contextlib
import subprocess
from collections.abc import Iterator
from typing import Any

DEADLINE_SECONDS = 120


@contextlib.contextmanager
def child(arguments: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process. At the end of the block it is waited for; when the block fails, killed.

    `subprocess.Popen` alone waits in both cases, which is for ever where a test fails before the
    line that ends the process.
    """
    with subprocess.Popen(arguments, **options) as process:
        try:
            yield process
            process.wait(DEADLINE_SECONDS)
        except BaseException:
            process.kill()
            raise
