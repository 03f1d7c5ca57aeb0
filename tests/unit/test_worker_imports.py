"""What a trustlet worker carries is bounded.

Whatever is in a worker's memory can be made to run there beside private keys, and has to be moved
into protected memory. So what is loaded is a list with reasons, and a new dependency is noticed.
"""

import subprocess
import sys

import pytest

KEYISO = {
    "keyiso",
    "keyiso.clock",
    "keyiso.crypto",
    "keyiso.errors",
    "keyiso.flags",
    "keyiso.identifiers",
    "keyiso.limits",
    "keyiso.magics",
    "keyiso.names",
    "keyiso.quotas",
    "keyiso.server",
    "keyiso.status",
    "keyiso.trustlet",
    "keyiso.wire",
}
"""Packages and modules of keyiso. Not ``keyiso.server.link``: a worker asks nobody."""

ARMING = {
    f"keyiso.trustlet.arming{module}"
    for module in (
        "",
        ".armed",
        ".handshake",
        ".heap",
        ".kernel",
        ".machine",
        ".mappings",
        ".process",
        ".ptrace",  # each of a pair watches the other
        ".randomness",
        ".rehearsal",
        ".seccomp",
        ".self_probes",
        ".shields",
        ".warm_up",
        ".watcher",
        ".worker_filter",
        ".x86_64",
    )
}
"""The side of arming that is an armed worker's. What moves and watches another process's memory is
the guardian's."""

THIRD_PARTY = {
    "cryptography",
    "_cffi_backend",  # cryptography's
    "_openssl",  # cryptography's
    "msgspec",
    "typing_extensions",  # msgspec's
}

STANDARD_LIBRARY = {
    # keyiso's own needs
    "argparse",
    "array",
    "collections",
    "contextlib",
    "ctypes",
    "dataclasses",
    "enum",
    "errno",
    "functools",
    "hashlib",
    "heapq",
    "hmac",  # comparing in constant time
    "itertools",
    "pathlib",
    "queue",  # what waits for the thread beside the loop
    "resource",
    "selectors",
    "signal",
    "socket",
    "struct",
    "tempfile",
    "traceback",  # where an unexpected exception came from
    "types",
    "typing",
    # cryptography
    "abc",
    "binascii",
    "ipaddress",
    "random",  # it factors a modulus with it, and makes no secrets
    "re",
    "threading",
    "warnings",
    # msgspec
    "datetime",
    "decimal",
    "uuid",
    # what those need
    "__future__",
    "annotationlib",
    "ast",
    "bisect",
    "bz2",
    "codeop",
    "compression",
    "contextvars",
    "copy",
    "copyreg",
    "dis",
    "fnmatch",
    "gettext",
    "glob",
    "importlib",
    "inspect",
    "keyword",
    "linecache",
    "locale",
    "lzma",
    "math",
    "ntpath",
    "numbers",
    "opcode",
    "operator",
    "platform",
    "reprlib",
    "select",
    "shutil",
    "string",
    "textwrap",
    "token",
    "tokenize",
    "urllib",
    "weakref",
    "zlib",
}
"""By the top-level name, for Python 3.11 to 3.14: an older one loads more of it, a newer one
less."""

OF_AN_ARMED_WORKER = {
    "encodings",  # UTF-16 of the names that are rehearsed with
    "fcntl",
    "gc",
    "keyiso.required_shields",
    "keyiso.tpm",  # which has its machine roots
}
"""The same, for what an armed worker has besides."""

FORBIDDEN = {
    "_asyncio",
    "_curses",
    "_json",
    "_multiprocessing",
    "_pickle",
    "_posixsubprocess",
    "_sqlite3",
    "_ssl",
    "_tkinter",
    "asyncio",
    "bcrypt",
    "cffi",
    "click",
    "code",
    "concurrent",
    "email",
    "ftplib",
    "http",
    "importlib.metadata",
    "json",
    "keyiso.cli",
    "keyiso.client",
    "keyiso.events",
    "keyiso.function_table",
    "keyiso.keyiso_service",
    "keyiso.keys",
    "keyiso.ncrypt",
    "keyiso.paths",
    "keyiso.providers",
    "keyiso.router",
    "keyiso.server.link",
    "keyiso.store",
    "keyiso.supervisor",
    "logging",
    "multiprocessing",
    "pdb",
    "pickle",
    "rich",
    "runpy",
    "smtplib",
    "socketserver",
    "sqlite3",
    "ssl",
    "subprocess",
    "tomllib",
    "urllib.request",
    "xml",
    "yaml",
    "zipfile",
}
"""What must never be there, and why it could not be explained: other parts of keyiso, the
network, programs, files of other formats, other interpreters of code."""

LOADED_LATER = {
    "cryptography.hazmat.backends",
    "cryptography.hazmat.backends.openssl",
    "cryptography.hazmat.backends.openssl.backend",
    "cryptography.hazmat.bindings.openssl",
    "cryptography.hazmat.bindings.openssl._conditional",
    "cryptography.hazmat.bindings.openssl.binding",
    "threading",
}
"""What comes with the first operations. A worker that gives up its files must have done each of
them once before."""

START = """
import sys
before = set(sys.modules)
import {imports}
started = set(sys.modules)
level = "{level}"
"""
WORKERS = {
    "software": "keyiso.trustlet.__main__",
    "vbs": "keyiso.trustlet.armed_worker",
}
"""What a worker of each level imports at its start."""

WORK = """
from keyiso.crypto.import_seal import seal_import
from keyiso.crypto.key_blob import Root
from keyiso.crypto.private_keys import private_key_bytes
from keyiso.crypto.signatures import Padding
from keyiso.trustlet.engine import Engine
from keyiso.wire.key_terms import KeyGrant, KeyTerms

machine_root = Root(b"m" * 16, "machine", b"s" * 32)
engine = Engine(level, machine_root, Root(b"b" * 16, "boot", b"t" * 32))
grant = KeyGrant((), 1, b"")
for algorithm, bits, paddings in (
    ("RSA", 2048, (Padding(2, "SHA256"), Padding(2), Padding(8, "SHA512", 64))),
    ("ECDSA_P256", 256, (Padding(),)),
    ("ECDSA_P384", 384, (Padding(),)),
    ("ECDSA_P521", 521, (Padding(),)),
):
    terms = KeyTerms(
        b"o" * 16, "p", "user", 0, b"a\\0", "persisted", algorithm, bits, 2, 0, False, level=level
    )
    key = engine.unseal(engine.generate(terms, grant).blob)
    for padding in paddings:
        engine.sign(key, b"d" * (64 if padding.hash_name == "SHA512" else 32), padding)
    foreign = KeyTerms(
        b"o" * 16, "p", "user", 0, b"", "ephemeral", "", 0, 2, 0, False, level=level
    )
    sealed = seal_import(private_key_bytes(key.private_key), engine.import_key, foreign)
    engine.import_sealed(foreign, grant, sealed)
try:
    engine.unseal(b"no blob")
except Exception as error:
    str(error)
"""


def loaded(code: str, wanted: str) -> set[str]:
    """Modules of a fresh process that ran the code; ``wanted`` is an expression over sets."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"{code}\nprint(*sorted({wanted}), sep='\\n')"],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return set(done.stdout.split())


@pytest.fixture(scope="module", params=WORKERS)
def level(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def start(level: str) -> str:
    return START.format(imports=WORKERS[level], level=level)


@pytest.fixture(scope="module")
def at_start(start: str) -> set[str]:
    """What the import of a worker's main modules adds to a bare interpreter."""
    return loaded(start, "started - before")


@pytest.fixture(scope="module")
def after_work(start: str) -> set[str]:
    """What a worker has that has done everything it can do."""
    return loaded(start + WORK, "set(sys.modules) - before")


def unexplained(modules: set[str], level: str = "software") -> set[str]:
    """Modules that no list above has. What begins with ``_`` is how the standard library does
    what it says in public, and varies; those that matter are forbidden by name."""
    known = KEYISO | THIRD_PARTY | STANDARD_LIBRARY
    arming: set[str] = set()
    if level == "vbs":
        known, arming = known | OF_AN_ARMED_WORKER, ARMING
    return {
        name
        for name in modules
        if not (name.startswith("keyiso.") or name.split(".")[0] in known or name[0] == "_")
        or (name.startswith("keyiso.") and ".".join(name.split(".")[:2]) not in known)
        or (name.startswith("keyiso.trustlet.arming") and name not in arming)
    }


def test_a_worker_loads_only_what_is_known(level: str, after_work: set[str]) -> None:
    assert unexplained(after_work, level) == set()


def test_a_worker_loads_nothing_that_is_forbidden(after_work: set[str]) -> None:
    found = {
        name
        for name in after_work
        if any(name == bad or name.startswith(f"{bad}.") for bad in FORBIDDEN)
    }

    assert found == set()


def test_operations_load_only_what_is_known_to_come_late(
    at_start: set[str], after_work: set[str]
) -> None:
    assert after_work - at_start <= LOADED_LATER


def test_a_module_that_nobody_explained_is_noticed() -> None:
    known = {"keyiso.wire.session", "cryptography.hazmat", "_socket"}
    unknown = {"cgi", "keyiso.store.keys", "keyisolated", "keyiso.trustlet.arming.guardian"}

    for level in WORKERS:
        assert unexplained(known | unknown, level) == unknown
    assert unexplained({"keyiso.trustlet.arming.armed"}, "software")


def test_nothing_is_allowed_and_forbidden() -> None:
    assert not FORBIDDEN & (KEYISO | THIRD_PARTY | STANDARD_LIBRARY | OF_AN_ARMED_WORKER)
