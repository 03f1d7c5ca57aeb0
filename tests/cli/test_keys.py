"""``keyiso key``: create, list, show, import, delete."""

import base64
import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from keyiso import Key
from keyiso.cli._output import printable
from keyiso.crypto.public_keys import import_public_blob
from keyiso.limits import PASSWORD_ITERATIONS
from tests.cli.command import KEYISO, assert_reads, keyiso, on_terminal
from tests.instance import RunningInstance
from tests.unit.encrypted_keys import pbkdf2


@pytest.fixture
def instance(without_keys: RunningInstance) -> RunningInstance:
    """No test here needs one of its own."""
    return without_keys


PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
PKCS8 = serialization.PrivateFormat.PKCS8
TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL
EVIL = "e\x1b[31mvil\n[bold]\\x\u202e"
"""A name that would colour the terminal, forge a line and turn the text around."""
EVIL_SHOWN = r"e\x1b[31mvil\n[bold]\\x\u202e"


def test_a_key_from_its_creation_to_its_end(instance: RunningInstance) -> None:
    assert_reads(
        keyiso("key", "create", "web", "--algorithm", "ECDSA_P256").text,
        """\
Created the key 'web' (ECDSA_P256, 256 bits).
Protection:  software: ...
Lifetime:    persisted
Stored key:  ...
Not stopped: - root ...
             - ...
""",
    )
    assert keyiso("key", "list").text == "NAME  ALGORITHM\nweb   ECDSA_P256\n"
    assert_reads(
        keyiso("key", "show", "web").text,
        """\
Key:         web
Scope:       yours
Algorithm:   ECDSA_P256, 256 bits
Usage:       all
Export:      never
Fingerprint: SHA256:...
Protection:  software: ...
Not stopped: - root ...

Properties
Name:            web
Unique Name:     ...
Algorithm Name:  ECDSA_P256
Algorithm Group: ECDSA
ECCCurveName:    nistP256
Length:          256
...
Public key
-----BEGIN PUBLIC KEY-----
...
-----END PUBLIC KEY-----
""",
    )
    ended = keyiso("key", "create", "web", "--algorithm", "ECDSA_P256")
    assert ended.code == 4
    assert_reads(
        ended.errors,
        """\
keyiso: NTE_EXISTS (0x8009000F): The object already exists.
  Cause: a key of this name exists
  To do: Choose another name, or replace the key with --overwrite.
""",
    )
    ended = keyiso("key", "delete", "web", "--yes")
    assert ended.text == "Deleted the key 'web'.\n"
    ended = keyiso("key", "show", "web")
    assert ended.code == 3
    assert_reads(
        ended.errors,
        """\
keyiso: NTE_BAD_KEYSET (0x80090016): The key set does not exist.
  Cause: there is no key named 'web' in the user scope
  To do: List the keys with `keyiso key list`; names are compared exactly, case included.
  Way:   application[...] OpenKey -> keyiso[...] OpenKey
""",
    )
    assert_reads(keyiso("key", "list").text, "You have no keys. Make one with: keyiso key ...\n")


def test_what_is_asked_of_a_new_key(instance: RunningInstance) -> None:
    ended = keyiso(
        *("key", "create", "token", "--algorithm", "RSA", "--length", "3072", "--machine"),
        *("--usage", "sign,decrypt", "--export-policy", "plaintext", "--json"),
    )
    assert ended.code == 0
    made = ended.json
    assert (made["name"], made["machine"], made["length"]) == ("token", True, 3072)
    assert made["usage"] == ["sign", "decrypt"]
    assert made["export_policy"] == ["encrypted", "plaintext"]
    assert made["properties"]["Key Usage"] == "0x3"
    assert made == keyiso("key", "show", "token", "--machine", "--json").json
    assert keyiso("key", "list", "--json").json == {"keys": []}
    machine_keys = keyiso("key", "list", "--machine", "--json").json
    assert machine_keys == {"keys": [{"name": "token", "algorithm": "RSA"}]}
    assert keyiso("key", "delete", "token", "--machine", "--yes").code == 0


def test_a_key_without_a_public_key(instance: RunningInstance) -> None:
    made = keyiso("key", "create", "data", "--algorithm", "AES", "--length", "128", "--json").json
    assert (made["length"], made["public_key"], made["fingerprint_sha256"]) == (128, None, None)
    shown = keyiso("key", "show", "data")
    assert shown.code == 0
    assert "Public key" not in shown.text
    ended = keyiso("key", "show", "data", "--public", "pem")
    assert ended.code == 1 and "no public key" in ended.errors


def test_every_algorithm_is_shown_as_it_was_made(instance: RunningInstance) -> None:
    for algorithm in ("RSA", "ECDSA_P384", "ECDH_P256", "ED25519"):
        made = keyiso("key", "create", algorithm, "--algorithm", algorithm, "--json")
        assert made.json["algorithm"] == algorithm
        shown = keyiso("key", "show", algorithm, "--public", "pem")
        assert shown.text == made.json["public_key"]


def test_overwriting_makes_another_key(instance: RunningInstance) -> None:
    arguments = ("key", "create", "web", "--algorithm", "ECDSA_P256", "--overwrite", "--json")
    first, second = keyiso(*arguments).json, keyiso(*arguments).json
    assert first["unique_name"] != second["unique_name"]
    assert first["fingerprint_sha256"] != second["fingerprint_sha256"]


def test_required_protection_is_never_pretended(instance: RunningInstance) -> None:
    arguments = ("key", "create", "web", "--algorithm", "ECDSA_P256", "--protection")
    ended = keyiso(*arguments, "require-vbs")
    assert ended.code == 7
    assert "keyiso tpm enroll" in ended.errors
    ended = keyiso(*arguments, "require-vbs", "--json")
    assert (ended.code, ended.json["error"]["status"]) == (7, "NTE_VBS_UNAVAILABLE")
    ended = keyiso(*arguments, "prefer-vbs")
    assert ended.code == 0
    assert "vbs) was preferred, but" in ended.text


def test_the_public_key_in_every_form(instance: RunningInstance) -> None:
    with Key.create("web", "ECDSA_P256") as key:
        expected = key.public_key()
    shown = {
        form: keyiso("key", "show", "web", "--public", form).text
        for form in ("pem", "der-hex", "der-base64", "cng-hex", "ssh")
    }
    for text in shown.values():
        assert text.endswith("\n") and not text.endswith("\n\n")
    assert serialization.load_pem_public_key(shown["pem"].encode()) == expected
    assert serialization.load_der_public_key(bytes.fromhex(shown["der-hex"])) == expected
    assert serialization.load_der_public_key(base64.b64decode(shown["der-base64"])) == expected
    assert serialization.load_ssh_public_key(shown["ssh"].encode()) == expected
    public, algorithm = import_public_blob(bytes.fromhex(shown["cng-hex"]))
    assert (public, algorithm.name) == (expected, "ECDSA_P256")


def test_the_fingerprint_is_that_of_the_public_key(instance: RunningInstance) -> None:
    Key.create("web", "ECDSA_P256").close()
    der = bytes.fromhex(keyiso("key", "show", "web", "--public", "der-hex").text)
    shown = keyiso("key", "show", "web", "--json").json
    assert shown["fingerprint_sha256"] == hashlib.sha256(der).hexdigest()


def test_a_name_cannot_steer_the_terminal(instance: RunningInstance) -> None:
    created = keyiso("key", "create", EVIL, "--algorithm", "ECDSA_P256")
    listed = keyiso("key", "list")
    shown = keyiso("key", "show", EVIL)
    missing = keyiso("key", "show", EVIL + "?")
    again = keyiso("key", "create", EVIL, "--algorithm", "ECDSA_P256")
    deleted = keyiso("key", "delete", EVIL, "--yes")
    assert [ended.code for ended in (created, listed, shown, missing, again, deleted)] == [
        *(0, 0, 0, 3, 4, 0)
    ]
    for text in (created.text, listed.text, shown.text, deleted.text, missing.errors):
        assert EVIL_SHOWN in text
    for text in (created.text, listed.text, shown.text, deleted.text, missing.errors, again.errors):
        assert all(line.isprintable() for line in text.splitlines())


def test_json_has_the_exact_name(instance: RunningInstance) -> None:
    Key.create(EVIL, "ECDSA_P256").close()
    ended = keyiso("key", "list", "--json")
    assert ended.json["keys"][0]["name"] == EVIL
    assert ended.output.isascii() and b"\x1b" not in ended.output
    assert keyiso("key", "show", EVIL, "--json").json["name"] == EVIL


def test_names_that_look_like_options_and_differ_in_case(instance: RunningInstance) -> None:
    for name in ("-web", "--", "Web", "web"):
        made = keyiso("key", "create", "--algorithm", "ECDSA_P256", "--json", "--", name)
        assert made.json["name"] == name
    assert [key["name"] for key in keyiso("key", "list", "--json").json["keys"]] == [
        *("--", "-web", "Web", "web")
    ]
    assert keyiso("key", "delete", "--yes", "--", "--").code == 0


@pytest.mark.parametrize("name", ["", "n" * 261])
def test_a_name_that_no_key_can_have(instance: RunningInstance, name: str) -> None:
    ended = keyiso("key", "create", name, "--algorithm", "ECDSA_P256")
    assert ended.code == 1
    assert "NTE_INVALID_PARAMETER" in ended.errors


def test_deleting_asks_first(instance: RunningInstance) -> None:
    Key.create("web", "ECDSA_P256").close()
    code, seen = on_terminal("key", "delete", "web", prompt=b"[y/N]", typed=b"n\n")
    assert code == 1
    assert b"Delete the key 'web' (ECDSA_P256) for good? [y/N]" in seen
    assert b"Nothing was done." in seen
    assert Key.exists("web")
    # The line after it ends a wait that had not begun when the signal came.
    code, seen = on_terminal("key", "delete", "web", prompt=b"[y/N]", typed=b"\x03\n")
    assert code in (130, 1), "1: the line came first, and was taken for a no"
    assert Key.exists("web")
    code, seen = on_terminal("key", "delete", "web", prompt=b"[y/N]", typed=b"y\n")
    assert code == 0
    assert not Key.exists("web")
    assert on_terminal("key", "delete", "web")[0] == 3


def test_where_nobody_can_be_asked_nothing_is_deleted(instance: RunningInstance) -> None:
    Key.create("web", "ECDSA_P256").close()
    ended = keyiso("key", "delete", "web", stdin=b"y\n")
    assert ended.code == 2
    assert "--yes" in ended.errors
    assert Key.exists("web")
    assert keyiso("key", "delete", "web", "--yes", "--json").json == {"deleted": "web"}


SLOW = ("key", "create", "big", "--algorithm", "RSA", "--length", "4608")


def test_a_terminal_sees_that_work_goes_on(instance: RunningInstance) -> None:
    code, seen = on_terminal(*SLOW)
    assert code == 0
    assert b"Generating an RSA key of 4608 bits: 0 s" in seen
    assert b"Created the key 'big' (RSA, 4608 bits)." in seen


def test_elsewhere_only_the_result_is_seen(instance: RunningInstance) -> None:
    ended = keyiso(*SLOW)
    assert ended.text.startswith("Created the key 'big' (RSA, 4608 bits).\n")
    assert ended.errors == ""
    code, seen = on_terminal("key", "create", "small", "--algorithm", "RSA")
    assert code == 0
    assert b"Generating" not in seen


def test_interrupted_while_a_key_is_made(instance: RunningInstance) -> None:
    """The terminal is as it was, with its cursor; the key may come all the same."""
    code, seen = on_terminal(
        *("key", "create", "big", "--algorithm", "RSA", "--length", "16384"),
        prompt=b"Generating an RSA key of 16384 bits: 1 s",
        typed=b"\x03",
    )
    assert code == 130
    assert b"Interrupted; the key may be made all the same." in seen
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")
    assert b"Traceback" not in seen


# --- import ------------------------------------------------------------------------------------


def written(directory: Path, key, encoding, form, password: bytes | None = None) -> Path:
    encryption = (
        serialization.NoEncryption()
        if password is None
        else serialization.BestAvailableEncryption(password)
    )
    file = directory / "private.key"
    file.write_bytes(key.private_bytes(encoding, form, encryption))
    return file


@pytest.mark.parametrize("encoding", [PEM, DER])
@pytest.mark.parametrize("form", [PKCS8, TRADITIONAL])
def test_import_of_a_file(instance: RunningInstance, tmp_path: Path, encoding, form) -> None:
    original = ec.generate_private_key(ec.SECP384R1())
    ended = keyiso("key", "import", "old", written(tmp_path, original, encoding, form))
    assert ended.code == 0
    assert_reads(
        ended.text,
        """\
Imported the key 'old' (ECDSA_P384, 384 bits).
Protection:  software: ...
The file still has the private key; so has every copy of it.
""",
    )
    with Key.open("old") as key:
        assert key.public_key() == original.public_key()


def test_import_from_standard_input(instance: RunningInstance, tmp_path: Path) -> None:
    original = rsa.generate_private_key(65537, 2048)
    pem = written(tmp_path, original, PEM, TRADITIONAL).read_bytes()
    ended = keyiso("key", "import", "old", "-", "--usage", "sign", "--json", stdin=pem)
    assert (ended.json["algorithm"], ended.json["usage"]) == ("RSA", ["sign"])


@pytest.mark.parametrize("form", [PKCS8, TRADITIONAL])
def test_import_with_a_password(instance: RunningInstance, tmp_path: Path, form) -> None:
    original = ec.generate_private_key(ec.SECP256R1())
    file = written(tmp_path, original, PEM, form, b"correct horse")
    right, wrong, empty = tmp_path / "right", tmp_path / "wrong", tmp_path / "empty"
    right.write_bytes(b"correct horse\n")
    wrong.write_bytes(b"battery staple\n")
    empty.write_bytes(b"\n")

    ended = keyiso("key", "import", "old", file)
    assert ended.code == 2 and "--password-file" in ended.errors
    ended = keyiso("key", "import", "old", file, "--password-file", wrong)
    assert ended.code == 1 and "the password is wrong" in ended.errors
    assert keyiso("key", "import", "old", file, "--password-file", empty).code == 2
    assert keyiso("key", "list", "--json").json == {"keys": []}
    assert keyiso("key", "import", "old", file, "--password-file", right).code == 0
    code, seen = on_terminal(
        *("key", "import", "typed", str(file)),
        # The space comes after what was typed too early has been thrown away.
        prompt=b"Password of the file: ",
        typed=b"correct horse\n",
    )
    assert code == 0
    assert b"correct" not in seen
    plain = written(tmp_path, original, PEM, form)
    assert keyiso("key", "import", "new", plain, "--password-file", right).code == 2


@pytest.mark.parametrize("encoding", [PEM, DER])
def test_import_of_a_file_whose_password_costs_too_much(
    instance: RunningInstance, tmp_path: Path, encoding
) -> None:
    file, data = tmp_path / "file", pbkdf2(PASSWORD_ITERATIONS + 1)
    if encoding is PEM:
        lines = base64.encodebytes(data)
        data = b"-----BEGIN %(of)s-----\n%(lines)s-----END %(of)s-----\n" % {
            b"of": b"ENCRYPTED PRIVATE KEY",
            b"lines": lines,
        }
    file.write_bytes(data)
    password = tmp_path / "password"
    password.write_bytes(b"password\n")

    ended = keyiso("key", "import", "costly", file, "--password-file", password)

    assert (ended.code, "PASSWORD_ITERATIONS" in ended.errors) == (1, True), ended.errors


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", "NTE_BAD_DATA"),
        (b"-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n", "NTE_BAD_DATA"),
        (b"\x30\x82" + b"secret" * 10, "NTE_BAD_DATA"),
        (bytes.fromhex("302d020100300506032b65700421041f") + bytes(31), "NTE_BAD_DATA"),
        (b"secret" * 100_000, "KEYISO_E_LIMIT"),
    ],
    ids=["empty", "PEM", "DER", "Ed25519 that lacks a byte", "long"],
)
def test_import_of_what_is_no_key(
    instance: RunningInstance, tmp_path: Path, content: bytes, status: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    ended = keyiso("key", "import", "old", file, "--json")
    assert (ended.code, ended.json["error"]["status"]) == (1, status)
    assert b"secret" not in ended.output and "secret" not in ended.errors


def test_import_of_an_algorithm_that_is_not_supported(
    instance: RunningInstance, tmp_path: Path
) -> None:
    file = written(tmp_path, dsa.generate_private_key(1024), PEM, PKCS8)
    ended = keyiso("key", "import", "old", file, "--json")
    assert (ended.code, ended.json["error"]["status"]) == (1, "NTE_NOT_SUPPORTED")


# --- how it is printed -------------------------------------------------------------------------


def test_no_colours_but_on_a_terminal(instance: RunningInstance) -> None:
    Key.create(EVIL, "ECDSA_P256").close()
    assert b"\x1b" not in keyiso("key", "list").output
    code, seen = on_terminal("key", "list")
    assert code == 0
    assert b"\x1b[1mNAME" in seen
    assert EVIL_SHOWN.encode() in seen


def test_what_the_terminal_cannot_show_is_escaped(instance: RunningInstance) -> None:
    Key.create("schlüssel Ω", "ECDSA_P256").close()
    western = {**instance.environ, "PYTHONIOENCODING": "latin-1"}
    ended = keyiso("key", "list", environ=western)
    assert ended.code == 0
    assert "schlüssel \\u03a9".encode("latin-1") in ended.output


@pytest.mark.parametrize("arguments", [("list",), ("show", "web", "--json"), ("--help",)])
def test_a_reader_that_went_away(instance: RunningInstance, arguments: tuple[str, ...]) -> None:
    Key.create("web", "ECDSA_P256").close()
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [*KEYISO, "key", *arguments], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_disk_that_is_full(instance: RunningInstance) -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [*KEYISO, "key", "list"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, b"keyiso: No space left on device\n")


@pytest.mark.parametrize("text", ["plain", "a\x1b[1mb", "line\nline", r"back\slash", "\u202e"])
def test_messages_are_escaped_once(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
    assert json.loads(json.dumps(printable(text))) == printable(text)
