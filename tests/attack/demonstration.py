"""A worker that holds keys and signs, armed or bare, for the attack suite.

``demonstration.py guard …`` is the guardian's process, ``armed …`` its worker, ``bare …`` the same
worker without any protection. It is keyiso's own: loop, engine, key cache, link and key channels.
Its boot root is made from a word of the command line, so that the suite knows what to look for.
"""

import argparse
import hashlib
import mmap
import os
import socket
import sys
import time
from pathlib import Path

from keyiso.clock import SystemClock
from keyiso.crypto.key_blob import Root
from keyiso.errors import NCryptError
from keyiso.quotas import Quotas
from keyiso.server.background import Background
from keyiso.server.identity import new_identity
from keyiso.server.loop import Loop
from keyiso.trustlet.engine import Engine
from keyiso.trustlet.key_cache import KeyCache
from keyiso.trustlet.worker import Worker

LINK = 3
"""The descriptor of the listening socket."""


def root_secret(word: str) -> bytes:
    """The secret of the boot root; the command line has only the word."""
    return hashlib.sha256(f"root of {word}".encode()).digest()


def guard(options: argparse.Namespace) -> int:
    from keyiso.trustlet.arming.guardian import WorkerStart, python_command, run_guardian

    arguments = ("armed", f"--word={options.word}", f"--heap={options.heap}")
    command = python_command(str(Path(__file__).resolve()), *arguments)
    return run_guardian(
        WorkerStart(command, {"PATH": "/usr/bin", "LANG": "C.UTF-8"}, (LINK,))
    ).status


def serve_armed(options: argparse.Namespace) -> int:
    from keyiso.trustlet.arming.armed import become_armed
    from keyiso.trustlet.arming.heap import prepare_heap
    from keyiso.trustlet.arming.warm_up import warm_up

    heap = prepare_heap(options.heap << 20)
    loop = Loop(SystemClock())
    background = Background(loop)
    identity = new_identity("demonstration")
    warm_up(background)
    started = time.monotonic()
    findings = become_armed()
    print(f"armed in {time.monotonic() - started:.3f} s", *findings, "", sep="\n", flush=True)
    worker = Worker(
        loop,
        identity,
        Engine("vbs", None, Root(b"r" * 16, "boot", root_secret(options.word))),
        os.geteuid(),
        Quotas(),
        cache=KeyCache(is_short=heap.is_short),
        background=background,
    )
    worker.listen(socket.socket(fileno=LINK))
    loop.run()
    return 0


def serve_bare(options: argparse.Namespace) -> int:
    secret = root_secret(options.word)
    left_open = _leave_memory_open(secret)
    loop = Loop(SystemClock())
    engine = Engine("vbs", None, Root(b"r" * 16, "boot", secret))
    worker = Worker(loop, new_identity("demonstration"), engine, os.geteuid(), Quotas())
    worker.listen(socket.socket(fileno=LINK))
    print("bare", "", sep="\n", flush=True)
    loop.run()
    left_open.clear()
    return 0


def _leave_memory_open(secret: bytes) -> list[mmap.mmap]:
    """What a careless worker would do: memory whose descriptor anybody can take, secret memory and
    an ordinary file.
    """
    from keyiso.trustlet.arming.backing import secret_memory

    mappings = []
    for descriptor in (secret_memory(), os.memfd_create("careless")):
        os.ftruncate(descriptor, mmap.PAGESIZE)
        mapped = mmap.mmap(descriptor, mmap.PAGESIZE)
        mapped[: len(secret)] = secret
        mappings.append(mapped)
    return mappings


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("guard", "armed", "bare"))
    parser.add_argument("--word", required=True)
    parser.add_argument("--heap", type=int, required=True, help="MiB")
    options = parser.parse_args()
    roles = {"guard": guard, "armed": serve_armed, "bare": serve_bare}
    try:
        return roles[options.what](options)
    except NCryptError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
