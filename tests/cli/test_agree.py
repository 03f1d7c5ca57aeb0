"""``keyiso key agree``: the same derived key on both sides."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyiso import Key, KeyUsage
from tests.cli.command import keyiso, on_terminal
from tests.instance import RunningInstance


@pytest.fixture(scope="module")
def mine(shared_instance: RunningInstance) -> Key:
    return Key.create("mine", "ECDH_P256")


@pytest.fixture(scope="module")
def theirs() -> ec.EllipticCurvePrivateKey:
    """Somebody else's, who knows nothing of keyiso."""
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def peer(tmp_path: Path, theirs: ec.EllipticCurvePrivateKey) -> Path:
    return written(tmp_path, theirs.public_key())


def written(
    directory: Path, key, encoding: serialization.Encoding = serialization.Encoding.PEM
) -> Path:
    file = directory / "peer.pem"
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    file.write_bytes(key.public_bytes(encoding, form))
    return file


def other_side(
    theirs: ec.EllipticCurvePrivateKey,
    mine: Key,
    *,
    algorithm: hashes.HashAlgorithm | None = None,
    length: int = 32,
    salt: bytes | None = None,
    info: bytes | None = None,
) -> bytes:
    """What they derive."""
    public = mine.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    secret = theirs.exchange(ec.ECDH(), public)
    return HKDF(algorithm or hashes.SHA256(), length, salt=salt, info=info).derive(secret)


def test_both_sides_have_the_same(
    mine: Key, theirs: ec.EllipticCurvePrivateKey, peer: Path, tmp_path: Path
) -> None:
    expected = other_side(theirs, mine)
    ended = keyiso("key", "agree", "mine", peer)
    assert (ended.code, ended.text, ended.errors) == (0, expected.hex() + "\n", "")
    ended = keyiso("key", "agree", "mine", peer, "--json")
    assert ended.json == {"key": "mine", "derived_key": expected.hex()}
    file = tmp_path / "derived.key"
    ended = keyiso("key", "agree", "mine", peer, "--out", file)
    assert (ended.code, ended.output, ended.errors) == (0, b"", "")
    assert file.read_bytes() == expected
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_public_key_in_der_from_a_pipe(
    mine: Key, theirs: ec.EllipticCurvePrivateKey, tmp_path: Path
) -> None:
    der = written(tmp_path, theirs.public_key(), serialization.Encoding.DER).read_bytes()
    assert keyiso("key", "agree", "mine", "-", stdin=der).text == (
        other_side(theirs, mine).hex() + "\n"
    )


def test_how_the_key_is_derived(mine: Key, theirs: ec.EllipticCurvePrivateKey, peer: Path) -> None:
    expected = other_side(
        theirs, mine, algorithm=hashes.SHA512(), length=100, salt=b"s\xc3\xa4lt", info=b"\x00\xff"
    )
    for options in (
        ("--salt", "sält", "--info-hex", "00ff"),
        ("--salt-hex", "73C3A46c74", "--info-hex", "00 FF"),
    ):
        ended = keyiso(
            *("key", "agree", "mine", peer, "--length", "100", "--hash", "sha512"), *options
        )
        assert ended.text == expected.hex() + "\n"


def test_two_keys_of_keyiso_agree(mine: Key, tmp_path: Path) -> None:
    Key.create("yours", "ECDH_P256").close()
    mine_pem, yours_pem = tmp_path / "mine.pem", tmp_path / "yours.pem"
    assert keyiso("key", "export", "mine", "--out", mine_pem).code == 0
    assert keyiso("key", "export", "yours", "--out", yours_pem).code == 0
    here = keyiso("key", "agree", "mine", yours_pem, "--info", "session 1")
    there = keyiso("key", "agree", "yours", mine_pem, "--info", "session 1")
    assert here.code == there.code == 0
    assert here.text == there.text


def test_a_public_key_that_does_not_fit(mine: Key, tmp_path: Path) -> None:
    others = (
        (ec.generate_private_key(ec.SECP384R1()), "the curve secp384r1"),
        (rsa.generate_private_key(65537, 2048), "not one of ECDH"),
    )
    for key, words in others:
        ended = keyiso("key", "agree", "mine", written(tmp_path, key.public_key()))
        assert (ended.code, ended.output) == (1, b"")
        assert "NTE_INVALID_PARAMETER" in ended.errors and words in ended.errors


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"\0" * 99],
    ids=["empty", "text", "PEM", "zeros"],
)
def test_what_is_no_public_key(mine: Key, content: bytes) -> None:
    ended = keyiso("key", "agree", "mine", "-", stdin=content)
    assert (ended.code, ended.output) == (1, b"")
    assert "not a public key in PEM or DER" in ended.errors


def test_keys_that_do_not_agree(shared_instance: RunningInstance, peer: Path) -> None:
    for algorithm in ("RSA", "ECDSA_P256", "ED25519", "AES"):
        Key.create(algorithm, algorithm).close()
        ended = keyiso("key", "agree", algorithm, peer)
        assert (ended.code, ended.output) == (1, b"")
        assert "NTE_BAD_ALGID" in ended.errors and "ECDH_P256" in ended.errors
    Key.create("locked", "ECDH_P256", usage=KeyUsage.SIGN).close()
    ended = keyiso("key", "agree", "locked", peer)
    assert ended.code == 8 and "--usage" in ended.errors
    assert keyiso("key", "agree", "nobody", peer).code == 3


@pytest.mark.parametrize(
    "options",
    [
        ("--length", "0"),
        ("--length", "20000"),
        ("--salt", "a", "--salt-hex", "61"),
        ("--salt-hex", "xyz"),
        ("--info-hex", "123"),
        ("--json", "--out", "file"),
    ],
    ids=" ".join,
)
def test_options_that_mean_nothing(mine: Key, peer: Path, options: tuple[str, ...]) -> None:
    ended = keyiso("key", "agree", "mine", peer, *options)
    assert (ended.code, ended.output) == (2, b"")


def test_more_than_the_hash_gives(mine: Key, peer: Path) -> None:
    ended = keyiso("key", "agree", "mine", peer, "--length", "8161")
    assert ended.code == 1 and "at most 8160 bytes" in ended.errors
    ended = keyiso("key", "agree", "mine", peer, "--hash", "MD5")
    assert ended.code == 1 and "Use one of SHA1" in ended.errors


def test_a_file_that_is_missing_there_already_or_full(
    mine: Key, peer: Path, tmp_path: Path
) -> None:
    assert keyiso("key", "agree", "mine", tmp_path / "missing").code == 2
    there = tmp_path / "there"
    there.write_bytes(b"precious")
    ended = keyiso("key", "agree", "mine", peer, "--out", there)
    assert ended.code == 2 and "--force" in ended.errors
    assert there.read_bytes() == b"precious"
    assert keyiso("key", "agree", "mine", peer, "--out", there, "--force").code == 0
    assert len(there.read_bytes()) == 32
    ended = keyiso("key", "agree", "mine", peer, "--out", "/dev/full")
    assert (ended.code, ended.errors) == (1, "keyiso: /dev/full: No space left on device\n")


def test_a_terminal_does_not_show_it(mine: Key, peer: Path) -> None:
    for options in ((), ("--json",)):
        code, seen = on_terminal("key", "agree", "mine", str(peer), *options)
        assert code == 2
        assert b"A derived key is not printed on a terminal" in seen
