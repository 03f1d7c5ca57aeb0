"""What a worker needs from outside it has fetched before it is armed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from keyiso.trustlet.arming.heap import ENVIRONMENT

REPOSITORY = str(Path(__file__).parents[2])

START = """
import os, sys
sys.path.append(%r)
from keyiso.clock import SystemClock
from keyiso.server.background import Background
from keyiso.server.loop import Loop
from keyiso.trustlet.arming.heap import prepare_heap
from keyiso.trustlet.arming.warm_up import warm_up

prepare_heap(4 << 20)
loop = Loop(SystemClock())
background = Background(loop)
"""

WORK = """
from keyiso.crypto.algorithms import ALGORITHMS
from keyiso.crypto.digests import HASH_NAMES
from keyiso.crypto.import_seal import seal_import
from keyiso.crypto.key_blob import Root
from keyiso.crypto.signatures import Padding
from keyiso.crypto.agreement import Derivation, KdfParameter
from keyiso.errors import NCryptError
from keyiso.trustlet.engine import Engine
from keyiso.wire.key_terms import KeyGrant, KeyTerms

BLOBS = ("PKCS8_PRIVATEKEY", "RSAFULLPRIVATEBLOB", "ECCPRIVATEBLOB", "KeyDataBlob", "?")

def work():
    machine_root = Root(b"m" * 16, "machine", b"s" * 32)
    engine = Engine("vbs", machine_root, Root(b"b" * 16, "boot", b"t" * 32))
    for algorithm in ALGORITHMS.values():
        bits = 3072 if algorithm.name == "RSA" else algorithm.lengths.default
        terms = KeyTerms(
            *(b"o" * 16, "p", "user", 0, b"a\\0", "persisted", algorithm.name, bits),
            *(0xFFFFFF, 0, False),
            level="vbs",
        )
        key = engine.unseal(engine.generate(terms, KeyGrant((), 1, b"")).blob)
        for name in HASH_NAMES:
            digest = b"d" * {"1": 20, "6": 32, "4": 48, "2": 64}[name[-1]]
            for padding in (Padding(2, name), Padding(8, name, 20), Padding()):
                try:
                    engine.sign(key, digest, padding)
                except NCryptError as error:
                    str(error)
            try:
                parameters = (KdfParameter(0, (name + "\\0").encode("utf-16-le")),)
                engine.derive(key, key.header.public_key, Derivation("HASH", parameters, 0, 0))
            except NCryptError as error:
                str(error)
        for kind in BLOBS:
            try:
                engine.export(key, kind, b"")
                engine.export(key, kind, b"p" * 8)
            except NCryptError as error:
                str(error)
    for blob in (b"", b"no blob", bytes(1000)):
        try:
            engine.unseal(blob)
        except NCryptError as error:
            str(error)
"""

WATCH = """
seen = []
modules = set(sys.modules)

def note(event, arguments):
    if event in ("open", "import"):
        seen.append((event, str(arguments[0])))

sys.addaudithook(note)
work()
seen = sorted({str(one) for one in seen})
print("\\n".join(seen + sorted(set(sys.modules) - modules)), end="", flush=True)
os._exit(0)
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-s", "-c", (START % REPOSITORY) + code],
        env=dict(ENVIRONMENT),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not done.stderr, done.stderr
    return done.stdout


def test_after_the_warm_up_nothing_is_imported_or_opened() -> None:
    assert run("warm_up(background)" + WORK + WATCH) == ""


LATE = """
rehearsed = work

def work():
    rehearsed()
    import colorsys
"""


def test_what_comes_late_is_seen() -> None:
    """The control: work that imports what nothing has needed before."""
    seen = run("warm_up(background)" + WORK + LATE + WATCH)

    assert "('import', 'colorsys')" in seen
    assert "('open', " in seen


SEEDING = """
import threading
from cryptography.hazmat.primitives.asymmetric import ec
from keyiso.trustlet.arming.randomness import reseed

def generate(name):
    for number in range(3):
        os.write(9, f"{name} {number}".encode())
        ec.generate_private_key(ec.SECP256R1())
    os.write(9, b"end")

def beside():
    for number, event in enumerate(go_on):
        event.wait()
        generate(f"beside {number}")
        done.set()

os.dup2(os.open(os.devnull, os.O_WRONLY), 9)
go_on, done = [threading.Event(), threading.Event()], threading.Event()
thread = threading.Thread(target=beside)
thread.start()
generate("loop 0")
go_on[0].set()
done.wait()
os.write(9, b"reseed")
reseed()
generate("loop 1")
go_on[1].set()
thread.join()
os._exit(0)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_random_numbers_are_seeded_anew(tmp_path: Path) -> None:
    """OpenSSL asks the kernel again, and the generator of each thread asks the one that it hangs
    on: it then looks for a fork, by getpid(2), once more than usual.
    """
    log = tmp_path / "trace"
    subprocess.run(
        [
            *("strace", "-f", "-s", "16", "-e", "trace=getrandom,write,getpid", "-o", str(log)),
            *(sys.executable, "-P", "-s", "-c", (START % REPOSITORY) + SEEDING),
        ],
        env=dict(ENVIRONMENT),
        check=True,
        timeout=120,
    )
    lines = log.read_text().splitlines()

    def calls(after: str, name: str) -> int:
        """How often a call was made between this mark and the next."""
        (start,) = [number for number, line in enumerate(lines) if f'"{after}"' in line]
        thread = lines[start].split()[0]
        rest = [line for line in lines[start + 1 :] if line.startswith(thread)]
        until = next(number for number, line in enumerate(rest) if "write(9" in line)
        return sum(f"{name}(" in line for line in rest[:until])

    assert calls("loop 0 2", "getrandom") == 0
    assert calls("reseed", "getrandom") == 2  # ours, and OpenSSL's own
    for thread in ("loop", "beside"):
        assert calls(f"{thread} 1 0", "getpid") > calls(f"{thread} 1 1", "getpid")


@pytest.mark.parametrize("missing", list(ENVIRONMENT))
def test_a_process_that_was_started_otherwise_cannot_prepare(missing: str) -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name != missing}
    done = subprocess.run(
        [sys.executable, "-P", "-s", "-c", START % REPOSITORY],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert f"started without {missing}=" in done.stderr
