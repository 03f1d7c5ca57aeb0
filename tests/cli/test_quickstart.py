"""``keyiso quickstart`` verifies what it shows, and leaves nothing behind."""

import os
import re
import select
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from keyiso.cli._memory_theft import StolenKey
from keyiso.paths import client_instance
from tests.cli.command import Ended, assert_reads, keyiso

SHOWN = """\
A program that signs things needs a private key. ...

1. A keyiso of its own, which touches none of your keys
It runs in ..., as these processes:
PROCESS ... PID  TASK
supervisor ...
keyiso ...
software-0 ...
software-generator ...

2. A key, and a signature
Made the key 'quickstart' (ECDSA_P256). This program has a handle to it.
Signed letter.txt (164 bytes). The signature is in letter.sig1 (7... bytes).

3. Somebody else checks it
Somebody else is {verifier}, with the public key only.
letter.sig1 under letter.txt: Verified OK
The same signature under a changed letter: Verification ...ailure

4. Kill it all, and sign with the same handle
All of them were killed with SIGKILL. The handle is still the one from step 2.
Signed letter.txt (164 bytes). The signature is in letter.sig2 (7... bytes).
letter.sig2 under letter.txt: Verified OK
PROCESS ... PID BEFORE  PID NOW
keyiso ...
software-0 ...

5. What protects this key, and what does not
Protection:  software: ...
Not stopped: - root ...

6. A key that root cannot read either
...

7. Cleaning up
The key is deleted, keyiso has ended, ... is gone.

Everything was verified.
"""


def environment(tmp_path: Path, **changes: str) -> Mapping[str, str]:
    """Another home, to see that it is left alone."""
    return {**os.environ, "KEYISO_HOME": str(tmp_path / "home"), **changes}


def home_of(ended: Ended) -> Path:
    found = re.search(r"It runs in (\S+), as these processes:", ended.text)
    assert found is not None
    return Path(found[1])


def assert_nothing_is_left(ended: Ended, tmp_path: Path) -> None:
    home = home_of(ended)
    assert not home.exists()
    assert not client_instance({**os.environ, "KEYISO_HOME": str(home)}).runtime.exists()
    supervisor = re.search(r"^supervisor +(\d+)", ended.text, re.MULTILINE)
    assert supervisor is not None
    assert has_ended(int(supervisor[1]))
    assert not (tmp_path / "home").exists()


def has_ended(pid: int) -> bool:
    """No such process, or one that only waits for its parent to notice."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ended = bool(select.select([pidfd], [], [], 0)[0])
    os.close(pidfd)
    return ended


def programs(tmp_path: Path, openssl: str = "") -> str:
    """A PATH with nothing, or nothing but an openssl that is this script."""
    directory = tmp_path / "programs"
    directory.mkdir()
    if openssl:
        file = directory / "openssl"
        file.write_text(f"#!/bin/sh\n[ $1 = version ] && echo OpenSSL fake && exit\n{openssl}\n")
        file.chmod(0o755)
    return str(directory)


def test_with_openssl(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    ended = keyiso("quickstart", environ=environment(tmp_path))
    assert (ended.code, ended.errors) == (0, "")
    assert_reads(ended.text, SHOWN.format(verifier="openssl (OpenSSL ...)"))
    assert_nothing_is_left(ended, tmp_path)


def test_without_openssl(tmp_path: Path) -> None:
    ended = keyiso("quickstart", environ=environment(tmp_path, PATH=programs(tmp_path)))
    assert (ended.code, ended.errors) == (0, "")
    verifier = "a separate Python process with the package 'cryptography'"
    assert_reads(ended.text, SHOWN.format(verifier=verifier))
    assert_nothing_is_left(ended, tmp_path)


def test_the_same_attack_finds_the_key_in_a_plain_process_and_not_at_vbs(
    armed_machine: None, tmp_path: Path
) -> None:
    shown = keyiso("quickstart", environ=environment(tmp_path)).text
    assert re.search(r"^a program of today +[1-9][\d.]* MiB +FOUND$", shown, re.MULTILINE)
    assert re.search(r"^keyiso, level vbs +\S.* (not found|-)$", shown, re.MULTILINE)


def test_what_is_looked_for_is_found_where_it_is_and_nowhere_else() -> None:
    key, other = StolenKey(), StolenKey()
    with key.in_a_plain_process() as pid, other.in_a_plain_process() as pid_of_other:
        assert key.look_for([pid]).found
        assert key.look_for([pid_of_other, pid]).found
        innocent = key.look_for([pid_of_other])
        assert innocent.read > 1 << 20
        assert not innocent.found


@pytest.mark.parametrize(
    ("openssl", "code", "reason"),
    [
        ("exit 1", 1, "The signature was found wrong."),
        ("exit 0", 1, "A changed letter was accepted"),
        ("kill -INT $PPID", 130, ""),
        ("kill -TERM $PPID", 143, ""),
        ("kill -HUP $PPID", 129, ""),
    ],
)
def test_whatever_goes_wrong_nothing_is_left(
    tmp_path: Path, openssl: str, code: int, reason: str
) -> None:
    environ = environment(tmp_path, PATH=programs(tmp_path, openssl))
    ended = keyiso("quickstart", environ=environ)
    assert ended.code == code
    assert reason in ended.errors
    assert "Traceback" not in ended.errors
    assert "Everything was verified." not in ended.text
    assert_nothing_is_left(ended, tmp_path)


def test_it_fails_where_handles_do_not_survive(tmp_path: Path) -> None:
    """With re-binding switched off, the same steps do not succeed."""
    ended = keyiso("quickstart", environ=environment(tmp_path, KEYISO_DEADLINE="0"))
    assert ended.code == 6
    assert "Everything was verified." not in ended.text
    assert_nothing_is_left(ended, tmp_path)


def test_keeping_it(tmp_path: Path) -> None:
    environ = environment(tmp_path, PATH=programs(tmp_path))
    ended = keyiso("quickstart", "--keep", environ=environ)
    assert ended.code == 0
    kept = {**os.environ, "KEYISO_HOME": str(home_of(ended))}
    try:
        letter, signature = home_of(ended) / "letter.txt", home_of(ended) / "letter.sig2"
        verified = keyiso("key", "verify", "quickstart", signature, letter, environ=kept)
        assert verified.code == 0
    finally:
        assert keyiso("stop", environ=kept).code == 0
        shutil.rmtree(client_instance(kept).runtime)
        shutil.rmtree(home_of(ended))
