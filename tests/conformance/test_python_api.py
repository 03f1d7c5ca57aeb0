"""keyiso.keys, used as its readers are told to use it."""

import os
import pickle
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

import keyiso
from keyiso import (
    ExportPolicy,
    InvalidSignatureError,
    Key,
    KeyExistsError,
    KeyNotFoundError,
    KeyUsage,
    NCryptError,
    Protection,
    Provider,
    ServiceUnavailableError,
    VbsUnavailableError,
    ncrypt,
)
from keyiso.router import process_router
from keyiso.status import Status
from tests.conformance.cases import ALGORITHMS, ECDSA_P256, RSA_2048, Algorithm
from tests.conformance.independent import (
    HASHES,
    bits_of,
    digest,
    is_ecdsa_signature,
    is_ed25519_signature,
    is_rsa_signature,
)
from tests.conformance.statuses import fails
from tests.instance import RunningInstance

pytestmark = pytest.mark.usefixtures("shared_instance")

DATA = b"what is signed"


def create(algorithm: Algorithm, name: str | None = None) -> Key:
    length = algorithm.bits if algorithm.group == "RSA" else None
    return Key.create(name, algorithm.identifier, length=length)


# --- the first screen --------------------------------------------------------------------------


def test_create_sign_verify_open(name: str) -> None:
    with Key.create(name, "ECDSA_P256") as key:
        signature = key.sign(DATA, hash="SHA256")
        key.verify(signature, DATA, hash="SHA256")

    with Key.open(name) as key:
        key.verify(signature, DATA)
        key.delete()

    assert not Key.exists(name)


@pytest.mark.parametrize("machine", [False, True], ids=["user", "machine"])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_what_a_key_says_of_itself(algorithm: Algorithm, machine: bool, name: str) -> None:
    length = algorithm.bits if algorithm.group == "RSA" else None
    with Key.create(name, algorithm.identifier, length=length, machine=machine) as made:
        for key in (made, Key.open(name, machine=machine)):
            assert key.name == name
            assert key.algorithm == algorithm.identifier
            assert key.length == algorithm.bits
            assert key.machine is machine
            assert not key.ephemeral
            assert key.usage == KeyUsage.ALL
            assert key.export_policy == ExportPolicy.NONE
            assert key.unique_name == made.unique_name
            assert key.public_key() == made.public_key()
            assert bits_of(key.public_key()) == algorithm.bits


def test_rsa_is_2048_bits_when_nothing_is_said() -> None:
    with Key.create(None, "RSA") as key:
        assert key.length == 2048


README = Path(__file__).parents[2] / "README.md"


def test_the_code_of_the_readme_runs() -> None:
    """Each block as it stands there; ``data`` and ``digest`` are the reader's own."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, README.name, "exec"), {"data": DATA, "digest": digest("SHA256", DATA)})


# --- signatures --------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_signatures_by_default(algorithm: Algorithm) -> None:
    """SHA-256, but for Ed25519, which signs the data itself; for RSA, PSS with a salt as long as
    the hash. `cryptography` agrees."""
    with create(algorithm) as key:
        signature = key.sign(DATA)
        key.verify(signature, DATA)
        public = key.public_key()
    hashed = digest("SHA256", DATA)
    match algorithm.group:
        case "RSA":
            scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
            assert is_rsa_signature(public, signature, hashed, hashes.SHA256(), scheme)
        case "ECDSA":
            assert is_ecdsa_signature(public, signature, hashed, hashes.SHA256())
        case _:
            assert is_ed25519_signature(public, signature, DATA)


@pytest.mark.parametrize("hash_name", HASHES)
@pytest.mark.parametrize("algorithm", [RSA_2048, ECDSA_P256], ids=str)
def test_every_hash(algorithm: Algorithm, hash_name: str) -> None:
    with create(algorithm) as key:
        signature = key.sign(DATA, hash=hash_name)

        key.verify(signature, DATA, hash=hash_name)
        key.verify_digest(signature, digest(hash_name, DATA), hash=hash_name)
        with pytest.raises(InvalidSignatureError):
            key.verify(signature, DATA + b"!", hash=hash_name)


def test_a_digest_is_signed_as_its_data() -> None:
    with create(ECDSA_P256) as key:
        key.verify(key.sign_digest(digest("SHA384", DATA), hash="SHA384"), DATA, hash="SHA384")


def test_the_paddings_of_rsa() -> None:
    hashed, sha512 = digest("SHA512", DATA), hashes.SHA512()
    with create(RSA_2048) as key:
        public = key.public_key()

        pkcs1 = key.sign(DATA, hash="SHA512", padding="PKCS1")
        assert is_rsa_signature(public, pkcs1, hashed, sha512, padding.PKCS1v15())
        key.verify(pkcs1, DATA, hash="SHA512", padding="PKCS1")

        pss = key.sign(DATA, hash="SHA512", padding="PSS", salt_length=11)
        scheme = padding.PSS(padding.MGF1(sha512), 11)
        assert is_rsa_signature(public, pss, hashed, sha512, scheme)
        key.verify(pss, DATA, hash="SHA512", padding="PSS", salt_length=11)
        with pytest.raises(InvalidSignatureError):
            key.verify(pss, DATA, hash="SHA512")


def test_paddings_that_are_none() -> None:
    with create(RSA_2048) as key, pytest.raises(ValueError, match="OAEP"):
        key.sign(DATA, padding="OAEP")
    with create(ECDSA_P256) as key:
        with pytest.raises(ValueError, match="no padding"):
            key.sign(DATA, padding="PSS")
        with pytest.raises(ValueError, match="no padding"):
            key.verify(b"x" * 64, DATA, salt_length=32)


def test_a_wrong_signature_is_an_exception_not_an_answer() -> None:
    key, other = create(ECDSA_P256), create(ECDSA_P256)

    with pytest.raises(InvalidSignatureError) as caught:
        key.verify(other.sign(DATA), DATA)

    assert caught.value.status == Status.NTE_BAD_SIGNATURE


# --- errors ------------------------------------------------------------------------------------


def test_errors_have_classes_of_their_own(name: str) -> None:
    """Each is an NCryptError with CNG's status, so that either way of catching works."""
    with pytest.raises(KeyNotFoundError) as not_found:
        Key.open(name)
    Key.create(name, "ECDSA_P256")
    with pytest.raises(KeyExistsError) as exists:
        Key.create(name, "ECDSA_P256")
    with pytest.raises(VbsUnavailableError) as unavailable:
        # No TPM is enrolled, and a machine that cannot arm a worker has none either.
        Key.create("to be stored", "ECDSA_P256", protection=Protection.REQUIRE_VBS)

    for caught, status in (
        (not_found, Status.NTE_BAD_KEYSET),
        (exists, Status.NTE_EXISTS),
        (unavailable, Status.NTE_VBS_UNAVAILABLE),
    ):
        assert isinstance(caught.value, NCryptError)
        assert caught.value.status == status


def test_an_error_tells_cause_action_and_way(name: str) -> None:
    with pytest.raises(KeyNotFoundError) as caught:
        Key.open(name)

    error = caught.value
    text = str(error)
    assert f"'{name}'" in error.cause
    assert error.action
    assert [hop.service for hop in error.chain] == ["application", "keyiso"]
    assert error.chain[0].pid == os.getpid()
    for part in ("NTE_BAD_KEYSET (0x80090016)", error.cause, error.action, "keyiso["):
        assert part in text


def test_an_error_survives_a_pickle(name: str) -> None:
    """Worker pools carry exceptions from process to process."""
    with pytest.raises(KeyNotFoundError) as caught:
        Key.open(name)

    copy = pickle.loads(pickle.dumps(caught.value))

    assert type(copy) is KeyNotFoundError
    assert (copy.status, str(copy)) == (caught.value.status, str(caught.value))


def test_a_name_cannot_forge_the_text_of_an_error() -> None:
    with pytest.raises(KeyNotFoundError) as caught:
        Key.open("web\n\x1b[2Jall is well")

    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("length", [-1, 1 << 32])
def test_a_number_that_is_no_dword(length: int) -> None:
    with pytest.raises(ValueError, match="32 bits"):
        Key.create(None, "RSA", length=length)


def test_an_unknown_hash_names_those_that_are_known() -> None:
    with create(ECDSA_P256) as key, pytest.raises(NCryptError) as caught:
        key.sign(DATA, hash="MD5")

    assert "SHA256" in caught.value.action


def test_a_home_that_cannot_be_made_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full or read-only is no reason for a bare OSError out of NCrypt."""
    monkeypatch.setenv("KEYISO_HOME", "/proc/keyiso-cannot-be-here")
    monkeypatch.setenv("KEYISO_DEADLINE", "0.2")
    process_router.cache_clear()
    try:
        with pytest.raises(ServiceUnavailableError) as caught:
            Key.exists("web")
    finally:
        process_router.cache_clear()

    assert caught.value.status == Status.KEYISO_E_SERVICE_UNAVAILABLE
    assert "/proc/keyiso-cannot-be-here" in str(caught.value)


# --- names, scopes, overwriting ----------------------------------------------------------------


def test_exists(name: str) -> None:
    assert not Key.exists(name)

    Key.create(name, "ECDSA_P256").close()

    assert Key.exists(name)
    assert not Key.exists(name, machine=True)
    assert not Key.exists(name.upper())


@pytest.mark.parametrize("bad", ["", "a\0b", "x" * 261])
def test_exists_does_not_swallow_a_name_that_is_none(bad: str) -> None:
    with fails(Status.NTE_INVALID_PARAMETER):
        Key.exists(bad)


def test_overwrite_is_asked_for(name: str) -> None:
    old = Key.create(name, "ECDSA_P256")
    with pytest.raises(KeyExistsError):
        Key.create(name, "ECDSA_P384")

    new = Key.create(name, "ECDSA_P384", overwrite=True)

    assert new.unique_name != old.unique_name
    with pytest.raises(KeyNotFoundError):
        old.sign(DATA)
    assert Key.open(name).algorithm == "ECDSA_P384"


def test_keys_of_a_provider(name: str) -> None:
    Key.create(name, "ECDSA_P256")
    Key.create(name, "ECDSA_P521", machine=True)
    with Provider() as provider:
        user = {key.pszName: key.pszAlgid for key in provider.keys()}
        machine = {key.pszName: key.pszAlgid for key in provider.keys(machine=True)}

    assert user[name] == "ECDSA_P256"
    assert machine[name] == "ECDSA_P521"


def test_a_provider_says_what_it_can() -> None:
    with Provider() as provider:
        assert provider.name == "Microsoft Software Key Storage Provider"
        assert {"RSA", "ECDSA_P256", "ECDSA_P384", "ECDSA_P521"} <= set(provider.algorithms())
    with fails(Status.NTE_INVALID_HANDLE):
        provider.algorithms()


def test_an_unknown_provider() -> None:
    with fails(Status.NTE_NOT_FOUND):
        Key.create(None, "RSA", provider="no such provider")


# --- objects -----------------------------------------------------------------------------------


def test_keys_are_made_by_their_methods_only() -> None:
    with pytest.raises(TypeError, match=r"Key\.create"):
        Key()


def test_closing(name: str) -> None:
    with Key.create(name, "ECDSA_P256") as key:
        handle = key.handle
        assert ncrypt.NCryptIsKeyHandle(handle)
    assert not ncrypt.NCryptIsKeyHandle(handle)

    key.close()  # a second time is no error
    with fails(Status.NTE_INVALID_HANDLE):
        key.sign(DATA)


def test_an_exception_closes_the_key_and_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError), create(ECDSA_P256) as key:
        raise ZeroDivisionError
    assert not ncrypt.NCryptIsKeyHandle(key.handle)


def test_delete_closes() -> None:
    with create(ECDSA_P256) as key:
        key.delete()
        assert not ncrypt.NCryptIsKeyHandle(key.handle)


def test_an_ephemeral_key() -> None:
    with Key.create(None, "ECDSA_P256") as key:
        assert key.ephemeral
        assert key.name is None
        assert not key.machine
        key.verify(key.sign(DATA), DATA)
    with fails(Status.NTE_INVALID_HANDLE):
        key.sign(DATA)


def test_repr(name: str) -> None:
    key = Key.create(name, "ECDSA_P256")
    assert repr(key) == f"<Key {name!r} ECDSA_P256>"
    assert repr(Key.create(None, "RSA")) == "<Key None RSA>"

    key.close()

    assert repr(key) == "<Key closed>"


def test_repr_of_a_name_that_is_not_printable() -> None:
    with Key.create("\ud800\n", "ECDSA_P256") as key:
        assert repr(key) == "<Key '\\ud800\\n' ECDSA_P256>"


def test_usage_and_policy_are_kept(name: str) -> None:
    Key.create(
        name, "ECDSA_P256", usage=KeyUsage.DECRYPT, export_policy=ExportPolicy.ENCRYPTED
    ).close()

    with Key.open(name) as key:
        assert key.usage == KeyUsage.DECRYPT
        assert key.export_policy == ExportPolicy.ENCRYPTED
        with fails(Status.NTE_PERM):
            key.sign(DATA)


# --- import ------------------------------------------------------------------------------------


def pkcs8(
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None
) -> bytes:
    return private.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    )


@pytest.mark.parametrize("password", [None, "p\u00e4ssword"], ids=["in the clear", "password"])
@pytest.mark.parametrize("named", [True, False], ids=["named", "ephemeral"])
def test_import(named: bool, password: str | None, name: str) -> None:
    private = ec.generate_private_key(ec.SECP384R1())
    data = pkcs8(private, password.encode() if password else None)

    with Key.import_key(name if named else None, data, password=password) as key:
        assert key.public_key() == private.public_key()
        key.verify(key.sign(DATA), DATA)
        assert key.ephemeral is not named

    assert Key.exists(name) is named


def test_import_with_the_wrong_password(name: str) -> None:
    data = pkcs8(ec.generate_private_key(ec.SECP256R1()), b"right")

    for password in ("wrong", None):
        with fails(Status.NTE_BAD_DATA):
            Key.import_key(name, data, password=password)
    assert not Key.exists(name)


def test_import_takes_what_create_takes(name: str) -> None:
    data = pkcs8(ec.generate_private_key(ec.SECP256R1()))
    Key.create(name, "RSA", machine=True)
    with pytest.raises(KeyExistsError):
        Key.import_key(name, data, machine=True)
    with pytest.raises(VbsUnavailableError):
        Key.import_key(name, data, protection=Protection.REQUIRE_VBS)

    Key.import_key(
        name,
        data,
        machine=True,
        overwrite=True,
        usage=KeyUsage.SIGN,
        export_policy=ExportPolicy.PLAINTEXT,
        protection=Protection.PREFER_VBS,
    ).close()

    with Key.open(name, machine=True) as key:
        assert key.algorithm == "ECDSA_P256"
        assert key.usage == KeyUsage.SIGN
        assert key.export_policy == ExportPolicy.PLAINTEXT
        key.verify(key.sign(DATA), DATA)


def test_an_empty_password_never_leaves_a_key_in_the_clear() -> None:
    """Whoever gives a password means the key to be encrypted."""
    clear = ExportPolicy.ENCRYPTED | ExportPolicy.PLAINTEXT
    with (
        Key.create(None, "ECDSA_P256", export_policy=clear) as key,
        pytest.raises(ValueError, match="empty password"),
    ):
        key.export(password="")


# --- protection --------------------------------------------------------------------------------


@pytest.mark.parametrize("protection", [Protection.SOFTWARE, Protection.PREFER_VBS])
def test_protection_says_what_a_key_has(protection: Protection, name: str) -> None:
    """PREFER fell back, and the key does not hide it."""
    with Key.create(name, "ECDSA_P256", protection=protection) as key:
        report = key.protection

    assert (report.level, report.lifetime) == ("software", "persisted")
    assert "root secret" in report.at_rest
    assert any("copies the whole state directory" in line for line in report.not_stopped)
    assert any("root" in line and "memory" in line for line in report.not_stopped)
    assert any("rollback" in line for line in report.not_stopped)
    text = str(report)
    for part in (report.level, report.lifetime, report.at_rest, *report.not_stopped):
        assert part in text


def test_protection_of_an_ephemeral_key() -> None:
    with Key.create(None, "ECDSA_P256") as key:
        report = key.protection

    assert (report.level, report.lifetime, report.at_rest) == ("software", "ephemeral", "")
    assert not any("copies the whole state directory" in line for line in report.not_stopped)


def test_protection_says_where_a_key_came_from(name: str) -> None:
    """Whoever had the file of an imported key can still have the key."""
    data = pkcs8(ec.generate_private_key(ec.SECP256R1()))
    with Key.import_key(name, data) as imported, Key.create(None, "ECDSA_P256") as generated:
        assert "imported" in str(imported.protection)
        assert "imported" not in str(generated.protection)


# --- the package -------------------------------------------------------------------------------


def test_everything_public_is_there_by_name() -> None:
    for name in keyiso.__all__:
        assert getattr(keyiso, name).__name__ == name
    assert dir(keyiso) == keyiso.__all__
    with pytest.raises(AttributeError, match="no_such_name"):
        keyiso.no_such_name  # noqa: B018


def test_a_key_is_used_from_a_child_process(
    shared_instance: RunningInstance, name: str, tmp_path: Path
) -> None:
    """The object is inherited by fork and binds anew there, also an ephemeral one."""
    with Key.create(name, "ECDSA_P256") as key, Key.create(None, "ECDSA_P256") as ephemeral:
        key.sign(DATA)
        signatures = tmp_path / "signatures"
        child = os.fork()
        if not child:
            try:
                signatures.write_bytes(key.sign(DATA) + ephemeral.sign(DATA))
                os._exit(0)
            finally:
                os._exit(1)

        _, status = os.waitpid(child, 0)

        assert os.waitstatus_to_exitcode(status) == 0
        key.verify(signatures.read_bytes()[:64], DATA)
        ephemeral.verify(signatures.read_bytes()[64:], DATA)
        key.verify(key.sign(DATA), DATA)


def test_a_key_is_used_from_a_daemon_that_closed_all_files(
    shared_instance: RunningInstance, name: str, tmp_path: Path
) -> None:
    """Files that it opened under the numbers of our sockets stay its own."""
    with Key.create(name, "ECDSA_P256") as key:
        key.sign(DATA)
        signature = tmp_path / "signature"
        child = os.fork()
        if not child:
            try:
                os.closerange(3, 1024)
                paths = [tmp_path / f"file-{number}" for number in range(50)]
                files = [os.open(path, os.O_CREAT | os.O_WRONLY) for path in paths]
                signature.write_bytes(key.sign(DATA))
                for file in files:
                    os.write(file, b"its own")
                os._exit(0)
            finally:
                os._exit(1)

        _, status = os.waitpid(child, 0)

        assert os.waitstatus_to_exitcode(status) == 0
        key.verify(signature.read_bytes(), DATA)
        assert {one.read_bytes() for one in tmp_path.glob("file-*")} == {b"its own"}
        key.verify(key.sign(DATA), DATA)
