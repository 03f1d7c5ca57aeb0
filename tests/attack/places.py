"""Attacks on everything but the worker itself: where else a key of a service might be."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_der_private_key

from keyiso.crypto.key_blob import Root, unseal_key
from keyiso.errors import NCryptError
from keyiso.trustlet.roots import machine_root_of_file
from tests.attack.cores import FATAL, PATTERN
from tests.attack.outcome import Outcome, found, impossible
from tests.attack.reading import regions
from tests.attack.search import Factors, Search
from tests.attack.services import Served, imported_name
from tests.attack.target import Target, wait_for_end


def served(subject: Target) -> Served:
    assert isinstance(subject, Served)
    return subject


def other_processes(subject: Target) -> Outcome:
    """Read the memory of the supervisor, of the KeyIso service and of all guardians, through which
    an imported key comes or might come. The name of the key is there, which shows that this finds
    something.
    """
    subject = served(subject)
    search = subject.search()
    names = Search({"name": imported_name(subject.kind, "RSA").encode("utf-16-le")})
    read = []
    with subject.at_work():
        for name, pid in subject.services.pids().items():
            if name.startswith("software") or name.endswith("worker"):
                continue
            read.append(name)
            for data in _memory(pid):
                search.look(data)
                names.look(data)
    assert names.found, "not even the key's name was found"
    return found(search, f"{search.searched >> 20} MiB of {', '.join(sorted(read))}")


def files(subject: Target) -> Outcome:
    """Read every file of the instance: the store, the logs, the events, the runtime directory."""
    subject = served(subject)
    search = subject.search()
    names = Search({"name": imported_name(subject.kind, "RSA").encode("utf-16-le")})
    count = 0
    for path in _files(subject):
        data = path.read_bytes()
        search.look(data)
        names.look(data)
        count += 1
    assert names.found, "not even the key's name was found"
    return found(search, f"{search.searched >> 10} KiB in {count} files")


def stored_roots(subject: Target) -> Outcome:
    """Open the stored keys with a root that lies in a file."""
    subject = served(subject)
    roots = list(_roots(subject))
    opened = []
    imported = [imported_name(subject.kind, name) for name in ("RSA", "EC")]
    for name in (*imported, f"{subject.kind} generated"):
        for root in roots:
            with contextlib.suppress(NCryptError):
                _, value = unseal_key(root, subject.services.blob(name))
                load_der_private_key(value, None)
                opened.append(name)
    return Outcome(
        bool(opened), f"{len(roots)} roots in files; opened: {', '.join(opened) or 'none'}"
    )


def generated_key(subject: Target) -> Outcome:
    """Search the worker's memory for a prime of a key that it has generated, and nobody knows."""
    subject = served(subject)
    factors = Factors(subject.keys.modulus)
    size = 0
    with subject.at_work():
        for data in _memory(subject.worker):
            size += len(data)
            factors.look(data)
            if factors.found:
                break
    return Outcome(factors.found, f"{size >> 20} MiB read; prime found: {factors.found}")


def cores(subject: Target) -> Outcome:
    """Have every service but the supervisor end with a core, which goes to a program."""
    subject = served(subject)
    search = subject.search()
    pattern = PATTERN.read_text(encoding="utf-8")
    try:
        PATTERN.write_text(f"|{shutil.which('tee')} {subject.directory}/core.%p", encoding="utf-8")
    except OSError as error:
        impossible(f"core_pattern cannot be set here: {error.strerror}")
    pids = {
        name: pid
        for name, pid in subject.services.pids().items()
        if name == "keyiso" or name.startswith(subject.kind)
    }
    try:
        for pid in pids.values():
            for number in FATAL:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            wait_for_end(pid, 1)
    finally:
        PATTERN.write_text(pattern, encoding="utf-8")
    written = list(subject.directory.glob("core.*"))
    for core in written:
        search.look(core.read_bytes())
        core.unlink()
    return found(search, f"{len(pids)} processes, {len(written)} cores")


def _memory(pid: int) -> Iterator[bytes]:
    """All that a process can have written, as far as it can be read."""
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for region in regions(pid):
            if not region.writable:
                continue
            with contextlib.suppress(OSError):
                yield os.pread(memory.fileno(), region.size, region.start)


def _files(subject: Served) -> Iterator[Path]:
    instance = subject.services.instance
    for directory in (subject.services.running.home, instance.runtime, instance.state):
        for path in directory.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield path


def _roots(subject: Served) -> Iterator[Root]:
    for path in _files(subject):
        with contextlib.suppress(NCryptError):
            yield machine_root_of_file(path.read_bytes(), path)
