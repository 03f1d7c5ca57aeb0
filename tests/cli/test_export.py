"""``keyiso key export``: public keys, private keys as far as the policy allows, safe files."""

import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from keyiso import ExportPolicy, Key
from tests.cli.command import KEYISO, assert_reads, keyiso, on_terminal
from tests.instance import RunningInstance

PASSWORD = b"correct horse"
CLEAR = ExportPolicy.ENCRYPTED | ExportPolicy.PLAINTEXT


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_bytes(PASSWORD + b"\nsecond line\n")
    return file


@pytest.fixture(scope="module")
def closed(shared_instance: RunningInstance) -> Key:
    return Key.create("closed", "ECDSA_P256")


@pytest.fixture(scope="module")
def sealed(shared_instance: RunningInstance) -> Key:
    return Key.create("sealed", "ECDSA_P256", export_policy=ExportPolicy.ENCRYPTED)


@pytest.fixture(scope="module")
def clear(shared_instance: RunningInstance) -> Key:
    return Key.create("clear", "ECDSA_P256", export_policy=CLEAR)


def loaded(data: bytes, password: bytes | None = None) -> Any:
    load = (
        serialization.load_pem_private_key
        if data.startswith(b"-----BEGIN")
        else serialization.load_der_private_key
    )
    return load(data, password)


# --- public keys -------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RSA", "ECDSA_P256", "ECDH_P384", "ED25519"])
def test_the_public_key_in_every_form(
    shared_instance: RunningInstance, tmp_path: Path, algorithm: str
) -> None:
    with Key.create("web", algorithm, overwrite=True) as key:
        public = key.public_key()
    pem = keyiso("key", "export", "web").output
    assert serialization.load_pem_public_key(pem) == public
    der = keyiso("key", "export", "web", "--format", "der").output
    assert serialization.load_der_public_key(der) == public
    if not algorithm.startswith("ECDH"):
        ssh = keyiso("key", "export", "web", "--format", "ssh").output
        assert serialization.load_ssh_public_key(ssh) == public
    file = tmp_path / "web.pem"
    ended = keyiso("key", "export", "web", "--out", file)
    assert (ended.code, ended.output, ended.errors) == (0, b"", "")
    assert file.read_bytes() == pem
    assert keyiso("key", "export", "web", "--json").json == {
        "key": "web",
        "public_key": pem.decode(),
    }


def test_a_public_file_has_the_usual_mode(closed: Key, tmp_path: Path) -> None:
    file = tmp_path / "web.pem"
    before = os.umask(0o027)
    try:
        assert keyiso("key", "export", "closed", "--out", file).code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_key_of_the_machine(shared_instance: RunningInstance) -> None:
    with Key.create("of the machine", "ECDSA_P256", machine=True) as key:
        public = key.public_key()
    assert keyiso("key", "export", "of the machine").code == 3
    pem = keyiso("key", "export", "of the machine", "--machine").output
    assert serialization.load_pem_public_key(pem) == public


# --- private keys ------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RSA", "ECDSA_P256", "ECDH_P521", "ED25519"])
def test_a_private_key_under_a_password(
    shared_instance: RunningInstance, tmp_path: Path, password: Path, algorithm: str
) -> None:
    """Its file is the owner's alone, whatever the umask; keyiso takes it back."""
    with Key.create(algorithm, algorithm, export_policy=ExportPolicy.ENCRYPTED) as key:
        public = key.public_key()
    file = tmp_path / "web.key"
    before = os.umask(0)
    try:
        ended = keyiso(
            *("key", "export", algorithm, "--private", "--password-file", password, "--out", file)
        )
    finally:
        os.umask(before)
    assert (ended.code, ended.output, ended.errors) == (0, b"", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert max(map(len, file.read_bytes().splitlines())) == 64
    assert loaded(file.read_bytes(), PASSWORD).public_key() == public
    with pytest.raises(ValueError):
        loaded(file.read_bytes(), b"battery staple")
    assert (
        keyiso("key", "import", algorithm + " again", file, "--password-file", password).code == 0
    )
    with Key.open(algorithm + " again") as again:
        assert again.public_key() == public
    der = keyiso(
        *("key", "export", algorithm, "--private", "--password-file", password, "--format", "der")
    )
    assert loaded(der.output, PASSWORD).public_key() == public


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_reads_a_private_key(sealed: Key, tmp_path: Path, password: Path) -> None:
    file = tmp_path / "web.key"
    keyiso("key", "export", "sealed", "--private", "--password-file", password, "--out", file)
    shown = subprocess.run(
        ["openssl", "pkey", "-in", file, "-passin", f"file:{password}", "-pubout"],
        check=True,
        stdout=subprocess.PIPE,
    )
    assert shown.stdout == keyiso("key", "export", "sealed").output


def test_the_password_is_typed_twice_and_not_shown(sealed: Key, tmp_path: Path) -> None:
    file = tmp_path / "web.key"
    code, seen = on_terminal(
        *("key", "export", "sealed", "--private", "--out", str(file)),
        prompt=b"Password for the file: ",
        typed=PASSWORD + b"\n",
        then=[(b"Repeat for confirmation: ", PASSWORD + b"\n")],
    )
    assert code == 0
    assert b"correct" not in seen
    assert loaded(file.read_bytes(), PASSWORD).public_key() == sealed.public_key()


def test_two_different_passwords_are_asked_for_again(sealed: Key, tmp_path: Path) -> None:
    file = tmp_path / "web.key"
    code, seen = on_terminal(
        *("key", "export", "sealed", "--private", "--out", str(file)),
        prompt=b"Password for the file: ",
        typed=b"one\n",
        then=[
            (b"Repeat for confirmation: ", b"two\n"),
            (b"Password for the file: ", b"three\n"),
            (b"Repeat for confirmation: ", b"three\n"),
        ],
    )
    assert code == 0
    assert b"do not match" in seen
    assert loaded(file.read_bytes(), b"three").public_key() == sealed.public_key()


def test_in_the_clear_only_when_it_is_asked_for_and_allowed(
    closed: Key, sealed: Key, clear: Key, tmp_path: Path
) -> None:
    ended = keyiso("key", "export", "clear", "--private", "--no-password")
    assert loaded(ended.output).public_key() == clear.public_key()
    ended = keyiso("key", "export", "sealed", "--private", "--no-password")
    assert (ended.code, ended.output) == (1, b"")
    assert_reads(
        ended.errors,
        """\
keyiso: NTE_NOT_SUPPORTED (0x80090029): The operation is not supported.
  Cause: the key's export policy allows it to be exported only under a password
  To do: Leave --no-password out.
""",
    )
    ended = keyiso("key", "export", "closed", "--private", "--no-password")
    assert (ended.code, ended.output) == (1, b"")
    assert "--export-policy" in ended.errors
    ended = keyiso("key", "export", "clear", "--private")
    assert (ended.code, ended.output) == (2, b"")
    assert "--password-file" in ended.errors


def test_a_policy_that_says_no_asks_for_no_password(closed: Key) -> None:
    code, seen = on_terminal("key", "export", "closed", "--private", "--out", "/nonexistent/file")
    assert code == 1
    assert b"does not allow" in seen and b"Password" not in seen


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", 2), (b"\nsecond\n", 2), (b"\xff\xfe\n", 2), (b"x" * 1024 + b"\n", 1)],
    ids=["empty", "empty line", "not UTF-8", "long"],
)
def test_passwords_that_are_none(sealed: Key, tmp_path: Path, content: bytes, code: int) -> None:
    """Above all an empty one: it would leave the key in the clear."""
    file = tmp_path / "none"
    file.write_bytes(content)
    ended = keyiso("key", "export", "sealed", "--private", "--password-file", file)
    assert (ended.code, ended.output) == (code, b"")


def test_the_longest_password(sealed: Key, tmp_path: Path) -> None:
    file = tmp_path / "long"
    file.write_bytes(b"x" * 1023 + b"\r\n")
    ended = keyiso("key", "export", "sealed", "--private", "--password-file", file)
    assert loaded(ended.output, b"x" * 1023).public_key() == sealed.public_key()


@pytest.mark.parametrize(
    "options",
    [
        ("--no-password",),
        ("--password-file", "/dev/null"),
        ("--private", "--no-password", "--password-file", "/dev/null"),
        ("--private", "--no-password", "--format", "ssh"),
        ("--json", "--out", "file"),
        ("--json", "--format", "der"),
        ("--format", "xml"),
        ("--private", "--password-file", "/nonexistent/file"),
    ],
    ids=" ".join,
)
def test_options_that_do_not_fit(clear: Key, options: tuple[str, ...]) -> None:
    ended = keyiso("key", "export", "clear", *options)
    assert (ended.code, ended.output) == (2, b"")
    assert "Usage: keyiso key export" in ended.errors


def test_a_key_without_a_public_key_and_without_pkcs8(shared_instance: RunningInstance) -> None:
    Key.create("data", "AES", export_policy=CLEAR).close()
    for options in ((), ("--format", "der"), ("--private", "--no-password")):
        ended = keyiso("key", "export", "data", *options)
        assert ended.code == 1 and "NTE_NOT_SUPPORTED" in ended.errors
    assert keyiso("key", "export", "nobody", "--json").json["error"]["exit_code"] == 3


# --- where it goes -----------------------------------------------------------------------------


def test_no_file_is_replaced_unless_that_is_asked_for(clear: Key, tmp_path: Path) -> None:
    file = tmp_path / "web.key"
    file.write_bytes(b"precious")
    file.chmod(0o644)
    for options in ((), ("--private", "--no-password")):
        ended = keyiso("key", "export", "clear", *options, "--out", file)
        assert ended.code == 2
        assert f"{file} exists: use --force to replace it." in ended.errors
        assert file.read_bytes() == b"precious"
    ended = keyiso("key", "export", "clear", "--private", "--no-password", "--out", file, "--force")
    assert ended.code == 0
    assert loaded(file.read_bytes()).public_key() == clear.public_key()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".keyiso-")]


def test_a_private_key_is_not_written_through_a_link(clear: Key, tmp_path: Path) -> None:
    """Whoever made the link may be somebody who can read what it leads to."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"precious")
    link.symlink_to(target)
    for force in ((), ("--force",)):
        ended = keyiso(
            *("key", "export", "clear", "--private", "--no-password", "--out", link), *force
        )
        assert ended.code in (1, 2)
        assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("options", [(), ("--private", "--no-password")], ids=["public", "private"])
def test_files_that_cannot_be_written(clear: Key, tmp_path: Path, options: tuple[str, ...]) -> None:
    export = ("key", "export", "clear", *options, "--out")
    ended = keyiso(*export, "/dev/full")
    assert (ended.code, ended.errors) == (1, "keyiso: /dev/full: No space left on device\n")
    missing = tmp_path / "missing" / "file"
    ended = keyiso(*export, missing)
    assert (ended.code, ended.errors) == (1, f"keyiso: {missing}: No such file or directory\n")
    ended = keyiso(*export, tmp_path, "--force")
    assert (ended.code, ended.errors) == (1, f"keyiso: {tmp_path}: Is a directory\n")


def test_a_file_that_cannot_be_finished_leaves_what_was_there(clear: Key, tmp_path: Path) -> None:
    """Here because files may have no content at all (RLIMIT_FSIZE), as on a disk that is full."""
    file, new = tmp_path / "web.key", tmp_path / "new.key"
    file.write_bytes(b"precious")
    arguments = (
        *KEYISO,
        "key",
        "export",
        "clear",
        "--private",
        "--no-password",
        "--force",
        "--out",
    )
    for out in (file, new):
        ended = subprocess.run(
            ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *arguments, str(out)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (1, f"keyiso: {out}: File too large\n")
    assert os.listdir(tmp_path) == ["web.key"]
    assert file.read_bytes() == b"precious"


@pytest.mark.parametrize(
    "options",
    [
        ("--format", "der"),
        ("--private", "--no-password"),
        ("--private", "--no-password", "--json"),
        ("--private", "--no-password", "--out", "-"),
    ],
    ids=" ".join,
)
def test_a_terminal_shows_neither_binary_nor_private_keys(
    clear: Key, options: tuple[str, ...]
) -> None:
    code, seen = on_terminal("key", "export", "clear", *options)
    assert code == 2
    assert b"is not printed on a terminal: name a file with --out." in seen
    assert b"PRIVATE KEY-----" not in seen


def test_a_terminal_shows_a_public_key(clear: Key) -> None:
    code, seen = on_terminal("key", "export", "clear")
    assert code == 0
    assert serialization.load_pem_public_key(seen) == clear.public_key()


def test_standard_output_that_is_full_gone_or_closed(clear: Key) -> None:
    arguments = [*KEYISO, "key", "export", "clear", "--private", "--no-password"]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (1, b"keyiso: No space left on device\n")
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(arguments, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")
    ended = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *arguments], stderr=subprocess.PIPE, check=False
    )
    assert (ended.returncode, ended.stderr) == (1, b"keyiso: Bad file descriptor\n")


def test_closed_streams_are_nobody_elses(clear: Key, tmp_path: Path) -> None:
    """With all of them closed, the descriptors 0 to 2 would be the next files that are opened."""
    file = tmp_path / "web.pem"
    arguments = [*KEYISO, "key", "export", "clear", "--out", str(file)]
    ended = subprocess.run(["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *arguments], check=False)
    assert ended.returncode == 0
    assert serialization.load_pem_public_key(file.read_bytes()) == clear.public_key()
