"""Another implementation that checks a signature: openssl, else a Python process of its own."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SECONDS: Final = 30.0

_PROGRAM: Final = """\
import sys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

public_key, signature, file = (open(name, "rb").read() for name in sys.argv[1:])
try:
    load_pem_public_key(public_key).verify(signature, file, ECDSA(SHA256()))
except InvalidSignature:
    sys.exit("Verification failure")
print("Verified OK")
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the other implementation said."""

    right: bool
    words: str


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks ECDSA signatures with SHA-256. It is given files, and nothing of keyiso."""

    name: str
    """For people: which implementation it is."""
    _command: tuple[str, ...]
    _signature_option: tuple[str, ...]

    def check(self, public_key: Path, signature: Path, file: Path) -> Verdict:
        """Have it check one signature."""
        option = self._signature_option
        return _run(*self._command, str(public_key), *option, str(signature), str(file))


def other_implementation() -> Verifier:
    """The one that is there."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return Verifier(
            "a separate Python process with the package 'cryptography'",
            (sys.executable, "-P", "-c", _PROGRAM),
            (),
        )
    version = " ".join(_run(openssl, "version").words.split()[:2])
    command = (openssl, "dgst", "-sha256", "-verify")
    return Verifier(f"openssl ({version})", command, ("-signature",))


def _run(*command: str) -> Verdict:
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Verdict(False, f"no answer after {_SECONDS:g} s")
    lines = ended.stdout.decode("utf-8", "replace").splitlines()
    return Verdict(ended.returncode == 0, lines[0] if lines else "it said nothing")
