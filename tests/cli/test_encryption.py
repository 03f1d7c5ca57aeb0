"""``keyiso key encrypt`` and ``decrypt``: RSA and AES, what fits, where it goes."""

import base64
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from keyiso import Key, KeyUsage
from tests.cli.command import keyiso, on_terminal
from tests.instance import RunningInstance

MESSAGE = b"a secret that is short"
AES_BYTES = 61440


@pytest.fixture(scope="module")
def rsa(shared_instance: RunningInstance) -> Key:
    return Key.create("rsa", "RSA")


@pytest.fixture(scope="module")
def aes(shared_instance: RunningInstance) -> Key:
    return Key.create("aes", "AES")


@pytest.fixture
def message(tmp_path: Path) -> Path:
    file = tmp_path / "message"
    file.write_bytes(MESSAGE)
    return file


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("aes", ()),
        ("rsa", ()),
        ("rsa", ("--hash", "sha512")),
        ("rsa", ("--padding", "OAEP", "--hash", "SHA1")),
        ("rsa", ("--padding", "pkcs1")),
    ],
)
def test_there_and_back(
    rsa: Key, aes: Key, message: Path, name: str, options: tuple[str, ...]
) -> None:
    encrypted, decrypted = message.with_name("encrypted"), message.with_name("decrypted")
    ended = keyiso("key", "encrypt", name, message, "--out", encrypted, *options)
    assert (ended.code, ended.output, ended.errors) == (0, b"", "")
    assert MESSAGE not in encrypted.read_bytes()
    ended = keyiso("key", "decrypt", name, encrypted, "--out", decrypted, *options)
    assert (ended.code, ended.output, ended.errors) == (0, b"", "")
    assert decrypted.read_bytes() == MESSAGE
    assert stat.S_IMODE(decrypted.stat().st_mode) == 0o600
    piped = keyiso("key", "encrypt", name, "-", *options, stdin=MESSAGE).output
    assert keyiso("key", "decrypt", name, *options, stdin=piped).output == MESSAGE


def test_it_is_what_the_library_makes(rsa: Key, aes: Key) -> None:
    for key in (rsa, aes):
        assert key.name is not None
        assert key.decrypt(keyiso("key", "encrypt", key.name, stdin=MESSAGE).output) == MESSAGE
        encrypted = key.encrypt(MESSAGE)
        assert keyiso("key", "decrypt", key.name, stdin=encrypted).output == MESSAGE
    public = rsa.public_key()
    assert isinstance(public, RSAPublicKey)
    scheme = padding.OAEP(padding.MGF1(hashes.SHA384()), hashes.SHA384(), None)
    encrypted = public.encrypt(MESSAGE, scheme)
    ended = keyiso("key", "decrypt", "rsa", "--hash", "SHA384", stdin=encrypted)
    assert ended.output == MESSAGE


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_encrypts_for_the_key(rsa: Key, message: Path) -> None:
    public, encrypted = message.with_name("rsa.pem"), message.with_name("encrypted")
    keyiso("key", "export", "rsa", "--out", public)
    subprocess.run(
        [
            *("openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", public),
            *("-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"),
            *("-in", message, "-out", encrypted),
        ],
        check=True,
    )
    assert keyiso("key", "decrypt", "rsa", encrypted).output == MESSAGE


def test_the_same_for_programs(aes: Key) -> None:
    ended = keyiso("key", "encrypt", "aes", "--json", stdin=MESSAGE)
    assert ended.json["key"] == "aes"
    encrypted = base64.b64decode(ended.json["ciphertext"], validate=True)
    ended = keyiso("key", "decrypt", "aes", "--json", stdin=encrypted)
    assert ended.json == {"key": "aes", "message": base64.b64encode(MESSAGE).decode()}


@pytest.mark.parametrize(
    ("name", "options", "longest"),
    [
        ("aes", (), AES_BYTES),
        ("rsa", (), 190),
        ("rsa", ("--hash", "SHA512"), 126),
        ("rsa", ("--padding", "PKCS1"), 245),
    ],
)
def test_what_fits(rsa: Key, aes: Key, name: str, options: tuple[str, ...], longest: int) -> None:
    """Nothing at all, up to the limit to the byte; and what is longer hears the limit."""
    for size in (0, longest):
        encrypted = keyiso("key", "encrypt", name, *options, stdin=b"x" * size).output
        assert keyiso("key", "decrypt", name, *options, stdin=encrypted).output == b"x" * size
    for size in (longest + 1, longest + 1_000_000):
        ended = keyiso("key", "encrypt", name, *options, stdin=b"x" * size)
        assert (ended.code, ended.output) == (1, b"")
        assert "NTE_BAD_LEN" in ended.errors and f"at most {longest} bytes" in ended.errors


def test_a_key_that_is_too_short_for_its_padding(shared_instance: RunningInstance) -> None:
    Key.create("short", "RSA", length=1024).close()
    ended = keyiso("key", "encrypt", "short", "--hash", "SHA512", stdin=b"")
    assert ended.code == 1 and "too short for OAEP and SHA512" in ended.errors


@pytest.mark.parametrize("name", ["rsa", "aes"])
def test_what_was_not_encrypted_by_the_key(rsa: Key, aes: Key, name: str) -> None:
    encrypted = bytearray(keyiso("key", "encrypt", name, stdin=MESSAGE).output)
    encrypted[-1] ^= 1
    for data in (bytes(encrypted), bytes(encrypted[:-1]), b"", MESSAGE, bytes(100_000)):
        ended = keyiso("key", "decrypt", name, stdin=data)
        assert (ended.code, ended.output) == (1, b"")
        assert "NTE_" in ended.errors and "Traceback" not in ended.errors


def test_a_key_of_another_kind(shared_instance: RunningInstance, message: Path) -> None:
    for algorithm in ("ECDSA_P256", "ECDH_P256", "ED25519"):
        Key.create(algorithm, algorithm).close()
        for command in ("encrypt", "decrypt"):
            ended = keyiso("key", command, algorithm, message)
            assert (ended.code, ended.output) == (1, b"")
            assert "does not encrypt" in ended.errors and "RSA or an AES" in ended.errors


def test_a_key_that_may_not(shared_instance: RunningInstance) -> None:
    """RSA encrypts with the public key, which everybody may."""
    Key.create("locked", "RSA", usage=KeyUsage.SIGN).close()
    Key.create("locked aes", "AES", usage=KeyUsage.SIGN).close()
    encrypted = keyiso("key", "encrypt", "locked", stdin=MESSAGE).output
    for command, name, data in (
        ("decrypt", "locked", encrypted),
        ("encrypt", "locked aes", MESSAGE),
        ("decrypt", "locked aes", b"\x01" + bytes(100)),
    ):
        ended = keyiso("key", command, name, stdin=data)
        assert (ended.code, ended.output) == (8, b"")
        assert "--usage" in ended.errors and "Key Usage" not in ended.errors


@pytest.mark.parametrize("command", ["encrypt", "decrypt"])
def test_what_does_not_fit(rsa: Key, aes: Key, message: Path, command: str) -> None:
    for options in (
        ("aes", message, "--padding", "OAEP"),
        ("aes", message, "--hash", "SHA256"),
        ("rsa", message, "--padding", "PKCS1", "--hash", "SHA256"),
        ("rsa", message, "--padding", "none"),
        ("rsa", message.with_name("missing")),
        ("rsa", message, "--json", "--out", message.with_name("out")),
    ):
        ended = keyiso("key", command, *options)
        assert (ended.code, ended.output) == (2, b""), options
    ended = keyiso("key", command, "rsa", message, "--hash", "MD5")
    assert ended.code == 1 and "Use one of SHA1" in ended.errors
    assert keyiso("key", command, "nobody", message).code == 3


def test_a_terminal_shows_neither_ciphertexts_nor_messages(aes: Key, message: Path) -> None:
    encrypted = message.with_name("encrypted")
    keyiso("key", "encrypt", "aes", message, "--out", encrypted)
    for options in (
        ("encrypt", "aes", str(message)),
        ("decrypt", "aes", str(encrypted)),
        ("decrypt", "aes", str(encrypted), "--json"),
    ):
        code, seen = on_terminal("key", *options)
        assert code == 2
        assert b"is not printed on a terminal: name a file with --out." in seen


def test_a_message_replaces_no_file_unless_that_is_asked_for(aes: Key, message: Path) -> None:
    encrypted = message.with_name("encrypted")
    keyiso("key", "encrypt", "aes", message, "--out", encrypted)
    message.write_bytes(b"precious")
    ended = keyiso("key", "decrypt", "aes", encrypted, "--out", message)
    assert ended.code == 2 and "--force" in ended.errors
    assert message.read_bytes() == b"precious"
    assert keyiso("key", "decrypt", "aes", encrypted, "--out", message, "--force").code == 0
    assert message.read_bytes() == MESSAGE


def test_a_file_can_be_encrypted_in_its_place(aes: Key, message: Path) -> None:
    assert keyiso("key", "encrypt", "aes", message, "--out", message).code == 0
    assert keyiso("key", "decrypt", "aes", message).output == MESSAGE


def test_a_full_disk(aes: Key, message: Path) -> None:
    encrypted = message.with_name("encrypted")
    keyiso("key", "encrypt", "aes", message, "--out", encrypted)
    for command, file in (("encrypt", message), ("decrypt", encrypted)):
        ended = keyiso("key", command, "aes", file, "--out", "/dev/full")
        assert (ended.code, ended.errors) == (1, "keyiso: /dev/full: No space left on device\n")


def test_a_pipe_with_a_name_is_written_into(aes: Key, message: Path) -> None:
    pipe = message.with_name("pipe")
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    encrypted = keyiso("key", "encrypt", "aes", message).output
    assert keyiso("key", "decrypt", "aes", "--out", pipe, stdin=encrypted).code == 0
    assert os.read(reading, 1000) == MESSAGE
    os.close(reading)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
