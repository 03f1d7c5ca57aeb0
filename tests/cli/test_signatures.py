"""``keyiso key sign`` and ``verify``: forms, hashes, paddings, wrong signatures."""

import base64
import hashlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, utils

from keyiso import Key, KeyUsage
from tests.child import child
from tests.cli.command import DEADLINE_SECONDS, KEYISO, keyiso, on_terminal
from tests.instance import RunningInstance


@pytest.fixture
def instance(without_keys: RunningInstance) -> RunningInstance:
    """No test here needs one of its own."""
    return without_keys


LETTER = b"A letter of several words.\n" * 100_000
"""More than is read at once."""


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    file = tmp_path / "letter.txt"
    file.write_bytes(LETTER)
    return file


@pytest.fixture
def ecdsa(instance: RunningInstance) -> Key:
    return Key.create("web", "ECDSA_P256")


@pytest.fixture
def rsa(instance: RunningInstance) -> Key:
    return Key.create("token", "RSA")


def test_a_signature_that_openssl_verifies(ecdsa: Key, rsa: Key, letter: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    pss = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest")
    for name, hash_name, options, openssl in (
        ("web", "SHA256", (), ()),
        ("web", "SHA384", (), ()),
        ("token", "SHA256", (), pss),
        ("token", "SHA512", ("--padding", "PKCS1"), ()),
    ):
        signature, public = letter.with_name("letter.sig"), letter.with_name("public.pem")
        public.write_bytes(keyiso("key", "show", name, "--public", "pem").output)
        ended = keyiso(
            *("key", "sign", name, letter, "--out", signature, "--hash", hash_name, *options)
        )
        assert (ended.code, ended.output) == (0, b"")
        subprocess.run(
            [
                *("openssl", "dgst", f"-{hash_name.lower()}", *openssl),
                *("-verify", public, "-signature", signature, letter),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )


def test_the_forms_of_an_ecdsa_signature(ecdsa: Key) -> None:
    usual = keyiso("key", "sign", "web", stdin=LETTER).output
    public = ecdsa.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(usual, LETTER, ec.ECDSA(hashes.SHA256()))
    der = keyiso("key", "sign", "web", "-", "--format", "der", stdin=LETTER).output
    public.verify(der, LETTER, ec.ECDSA(hashes.SHA256()))
    text = keyiso("key", "sign", "web", "--format", "base64", stdin=LETTER).output
    assert text.endswith(b"\n")
    public.verify(base64.b64decode(text, validate=False), LETTER, ec.ECDSA(hashes.SHA256()))
    raw = keyiso("key", "sign", "web", "--format", "raw", stdin=LETTER).output
    ecdsa.verify(raw, LETTER)
    made = keyiso("key", "sign", "web", "--json", stdin=LETTER).json
    assert made["key"] == "web"
    public.verify(base64.b64decode(made["signature"]), LETTER, ec.ECDSA(hashes.SHA256()))


def test_the_forms_of_an_rsa_signature(rsa: Key) -> None:
    rsa.verify(keyiso("key", "sign", "token", stdin=LETTER).output, LETTER)
    raw = keyiso("key", "sign", "token", "--format", "raw", "--padding", "pkcs1", stdin=LETTER)
    rsa.public_key().verify(raw.output, LETTER, padding.PKCS1v15(), hashes.SHA256())  # type: ignore[call-arg, arg-type]
    ended = keyiso("key", "sign", "token", "--format", "der", stdin=LETTER)
    assert ended.code == 2 and "no DER form" in ended.errors


@pytest.mark.parametrize("form", ["raw", "der", "base64", None])
def test_what_was_signed_verifies_and_nothing_else(
    ecdsa: Key, letter: Path, form: str | None
) -> None:
    options = () if form is None else ("--format", form)
    signature = letter.with_name("letter.sig")
    signature.write_bytes(keyiso("key", "sign", "web", letter, *options).output)
    ended = keyiso("key", "verify", "web", signature, letter, *options)
    assert ended.code == 0
    assert ended.text == "The signature is right: it is one of the key 'web'.\n"
    ended = keyiso("key", "verify", "web", signature, "--json", *options, stdin=LETTER)
    assert ended.json == {"key": "web", "verified": True}
    ended = keyiso("key", "verify", "web", signature, "--json", *options, stdin=LETTER + b"!")
    assert (ended.code, ended.json["error"]["status"]) == (5, "NTE_BAD_SIGNATURE")
    assert keyiso("key", "verify", "web", signature, letter, "--hash", "SHA384").code == 5
    with Key.create("other", "ECDSA_P256"):
        assert keyiso("key", "verify", "other", signature, letter, *options).code == 5


@pytest.mark.parametrize("form", ["raw", "der", "base64"])
def test_what_is_no_signature_is_a_wrong_one(ecdsa: Key, letter: Path, form: str) -> None:
    for nonsense in (
        b"",
        b"nonsense",
        b"\0" * 64,
        utils.encode_dss_signature(1, 1 << 300),
        base64.b64encode(b"\0" * 64),
        b"\xff" * 100_000,
    ):
        ended = keyiso("key", "verify", "web", "-", letter, "--format", form, stdin=nonsense)
        assert ended.code == 5, nonsense[:10]
        assert "NTE_BAD_SIGNATURE" in ended.errors


def test_signing_what_is_hashed_already(ecdsa: Key, rsa: Key, letter: Path) -> None:
    digest = hashlib.sha512(LETTER).digest()
    signature = letter.with_name("letter.sig")
    for name in ("web", "token"):
        made = keyiso("key", "sign", name, "--digest", "--hash", "sha512", stdin=digest)
        signature.write_bytes(made.output)
        verify = ("key", "verify", name, signature)
        assert keyiso(*verify, letter, "--hash", "SHA512").code == 0
        assert keyiso(*verify, "--hash", "SHA512", "--digest", stdin=digest).code == 0
        for wrong in (digest[1:], digest + b"!", b""):
            made = keyiso("key", "sign", name, "--digest", "--hash", "SHA512", stdin=wrong)
            assert made.code == 1 and "NTE_BAD_LEN" in made.errors


def test_what_does_not_fit_the_key(ecdsa: Key, letter: Path, tmp_path: Path) -> None:
    ended = keyiso("key", "sign", "web", letter, "--padding", "PSS")
    assert ended.code == 2 and "no padding" in ended.errors
    ended = keyiso("key", "sign", "web", letter, "--hash", "MD2")
    assert ended.code == 1 and "Use one of SHA1, SHA256" in ended.errors
    ended = keyiso("key", "sign", "web", letter, "--out", tmp_path / "missing" / "file")
    assert ended.code == 1 and "No such file" in ended.errors
    ended = keyiso("key", "sign", "web", letter, "--json", "--format", "raw")
    assert ended.code == 2


def test_a_signature_file_is_whole_or_as_it_was(ecdsa: Key, letter: Path) -> None:
    """It is replaced at once, and a device is written into."""
    signature, other_name = letter.with_name("letter.sig"), letter.with_name("other name")
    signature.write_bytes(b"an old signature")
    other_name.hardlink_to(signature)
    assert keyiso("key", "sign", "web", letter, "--out", signature).code == 0
    assert keyiso("key", "verify", "web", signature, letter).code == 0
    assert other_name.read_bytes() == b"an old signature"
    ended = keyiso("key", "sign", "web", letter, "--out", "/dev/full")
    assert (ended.code, ended.errors) == (1, "keyiso: /dev/full: No space left on device\n")
    assert keyiso("key", "sign", "web", letter, "--out", "-").output.startswith(b"\x30")


def test_ed25519_signs_the_file_itself(instance: RunningInstance, tmp_path: Path) -> None:
    with Key.create("new", "ED25519") as key:
        public = key.public_key()
    assert isinstance(public, ed25519.Ed25519PublicKey)
    message, signature = tmp_path / "message", tmp_path / "message.sig"
    message.write_bytes(b"a short message")
    assert keyiso("key", "sign", "new", message, "--out", signature).code == 0
    public.verify(signature.read_bytes(), b"a short message")
    assert keyiso("key", "verify", "new", signature, message).code == 0
    assert keyiso("key", "verify", "new", signature, stdin=b"another message").code == 5
    for options in (("--hash", "SHA512"), ("--digest",), ("--format", "der")):
        assert keyiso("key", "sign", "new", message, *options).code == 2
    ended = keyiso("key", "sign", "new", stdin=LETTER)
    assert ended.code == 1 and "at most MESSAGE_BYTES" in ended.errors


@pytest.mark.parametrize("algorithm", ["AES", "ECDH_P256"])
def test_an_algorithm_that_does_not_sign(
    instance: RunningInstance, letter: Path, algorithm: str
) -> None:
    Key.create("other", algorithm).close()
    ended = keyiso("key", "sign", "other", letter, "--json")
    assert (ended.code, ended.json["error"]["status"]) == (1, "NTE_BAD_ALGID")


def test_a_key_that_may_not_sign(instance: RunningInstance, letter: Path) -> None:
    Key.create("locked", "ECDSA_P256", usage=KeyUsage.AGREE).close()
    ended = keyiso("key", "sign", "locked", letter, "--json")
    assert (ended.code, ended.json["error"]["status"]) == (8, "NTE_PERM")
    assert ended.json["error"]["exit_code"] == 8
    assert ended.json["error"]["chain"][0]["service"] == "application"


def test_a_terminal_gets_text(ecdsa: Key, letter: Path) -> None:
    code, seen = on_terminal("key", "sign", "web", str(letter))
    assert code == 0
    ended = keyiso("key", "verify", "web", "-", letter, "--format", "base64", stdin=seen)
    assert ended.code == 0


def test_interrupted_while_it_reads(ecdsa: Key) -> None:
    with child(
        [*KEYISO, "key", "sign", "web"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        # More than a pipe holds: when it is written, the command is reading.
        process.stdin.write(b"x" * (1 << 20))
        process.stdin.flush()
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(DEADLINE_SECONDS) == 130
        assert process.stdout.read() == b""
        assert process.stderr is not None and b"Traceback" not in process.stderr.read()
