"""Agreed secrets, and CNG's functions that make keys of them, done again by hand."""

import hashlib
import hmac
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from keyiso import limits
from keyiso.crypto.agreement import Derivation, KdfParameter, agree, derive
from keyiso.errors import NCryptError
from keyiso.flags import (
    KDF_HASH_ALGORITHM,
    KDF_HKDF_INFO,
    KDF_HKDF_SALT,
    KDF_HMAC_KEY,
    KDF_SECRET_APPEND,
    KDF_SECRET_PREPEND,
    KDF_TLS_PRF_LABEL,
    KDF_USE_SECRET_AS_HMAC_KEY_FLAG,
)
from keyiso.status import Status
from tests.unit.samples import CURVES, ec_key

Z = bytes(range(1, 33))


def derivation(
    kdf: str, *parameters: tuple[int, bytes], flags: int = 0, size: int = 0
) -> Derivation:
    return Derivation(kdf, tuple(KdfParameter(*one) for one in parameters), flags, size)


def named(hash_name: str) -> tuple[int, bytes]:
    return KDF_HASH_ALGORITHM, hash_name.encode("utf-16-le") + b"\0\0"


def status_of(action: Callable[[], object]) -> int:
    with pytest.raises(NCryptError) as caught:
        action()
    return caught.value.status


# --- the secret --------------------------------------------------------------------------------


def test_the_secret_is_the_shared_x_coordinate() -> None:
    """RFC 5903, section 8.1."""
    i = 0xC88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433
    r = 0xC6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53
    ours, theirs = (ec.derive_private_key(number, ec.SECP256R1()) for number in (i, r))

    assert agree(ours, theirs.public_key()).hex() == (
        "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de"
    )


@pytest.mark.parametrize(
    ("curve", "size"), [("ECDSA_P256", 32), ("ECDSA_P384", 48), ("ECDSA_P521", 66)]
)
def test_both_sides_agree_on_a_secret_of_the_fields_length(curve: str, size: int) -> None:
    other = ec.generate_private_key(CURVES[curve])
    secret = agree(ec_key(curve), other.public_key())

    assert secret == agree(other, ec_key(curve).public_key())
    assert len(secret) == size


def test_keys_of_two_curves_agree_on_nothing() -> None:
    assert status_of(lambda: agree(ec_key(), ec_key("ECDSA_P384").public_key())) == (
        Status.NTE_INVALID_PARAMETER
    )


# --- the functions -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SHA1", "SHA256", "SHA384", "SHA512"])
def test_hash_is_over_prepends_secret_and_appends(name: str) -> None:
    wanted = derivation(
        "HASH",
        (KDF_SECRET_APPEND, b"behind"),
        (KDF_SECRET_PREPEND, b"before"),
        named(name),
        (KDF_SECRET_PREPEND, b"too"),
    )

    assert derive(Z, wanted) == hashlib.new(name, b"beforetoo" + Z + b"behind").digest()


@pytest.mark.parametrize("kdf", ["HASH", "HMAC"])
def test_without_a_name_the_hash_is_sha1(kdf: str) -> None:
    assert derive(Z, derivation(kdf)) == derive(Z, derivation(kdf, named("SHA1")))
    assert len(derive(Z, derivation(kdf))) == 20


def test_hmac_takes_a_key_or_the_secret_as_its_key() -> None:
    given = derivation("HMAC", named("SHA256"), (KDF_HMAC_KEY, b"key"), (KDF_SECRET_PREPEND, b"p"))
    secret = derivation("HMAC", named("SHA256"), flags=KDF_USE_SECRET_AS_HMAC_KEY_FLAG)
    nothing = derivation("HMAC", named("SHA256"))

    assert derive(Z, given) == hmac.digest(b"key", b"p" + Z, "sha256")
    assert derive(Z, secret) == hmac.digest(Z, Z, "sha256")
    assert derive(Z, nothing) == hmac.digest(b"", Z, "sha256")


def test_two_keys_for_one_hmac_are_refused() -> None:
    both = derivation("HMAC", (KDF_HMAC_KEY, b"k"), flags=KDF_USE_SECRET_AS_HMAC_KEY_FLAG)

    assert status_of(lambda: derive(Z, both)) == Status.NTE_INVALID_PARAMETER


@pytest.mark.parametrize("size", [0, 1, 32, 33, 100, 255 * 32])
def test_hkdf_is_that_of_rfc_5869(size: int) -> None:
    wanted = derivation(
        "HKDF", named("SHA256"), (KDF_HKDF_SALT, b"salt"), (KDF_HKDF_INFO, b"info"), size=size
    )
    key = hmac.digest(b"salt", Z, "sha256")
    output, block = b"", b""
    for number in range(1, 256):
        block = hmac.digest(key, block + b"info" + bytes([number]), "sha256")
        output += block

    assert derive(Z, wanted) == output[: size or 32]


def test_hkdf_gives_255_hashes_and_no_more() -> None:
    wanted = derivation("HKDF", named("SHA256"), size=255 * 32 + 1)

    assert status_of(lambda: derive(Z, wanted)) == Status.NTE_INVALID_PARAMETER


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 100])
def test_truncate_is_the_secret_in_little_endian_order(size: int) -> None:
    """And no longer than it is, whatever is asked for."""
    assert derive(Z, derivation("TRUNCATE", size=size)) == Z[::-1][: size or None]


@pytest.mark.parametrize("kdf", ["HASH", "HMAC", "TRUNCATE"])
@pytest.mark.parametrize("size", [1, 16, 20, 21, 1000])
def test_as_much_is_given_as_there_is_and_as_was_asked_for(kdf: str, size: int) -> None:
    whole = derive(Z, derivation(kdf))

    assert derive(Z, derivation(kdf, size=size)) == whole[:size]


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("kdf", ["", "hash", "TLS_PRF", "SP800_56A_CONCAT", "SHA256"])
def test_another_function_is_not_supported(kdf: str) -> None:
    assert status_of(lambda: derive(Z, derivation(kdf))) == Status.NTE_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("kdf", "kind"),
    [
        ("HASH", KDF_HMAC_KEY),
        ("HASH", KDF_TLS_PRF_LABEL),
        ("HMAC", KDF_HKDF_SALT),
        ("HKDF", KDF_SECRET_PREPEND),
        ("TRUNCATE", KDF_HASH_ALGORITHM),
        ("HASH", -1),
        ("HASH", 2**63),
    ],
)
def test_a_parameter_of_another_function_is_refused(kdf: str, kind: int) -> None:
    assert status_of(lambda: derive(Z, derivation(kdf, (kind, b"SHA1")))) == (
        Status.NTE_INVALID_PARAMETER
    )


@pytest.mark.parametrize(
    ("kdf", "kind"),
    [("HASH", KDF_HASH_ALGORITHM), ("HMAC", KDF_HMAC_KEY), ("HKDF", KDF_HKDF_SALT)],
)
def test_a_parameter_that_there_is_only_one_of_is_not_given_twice(kdf: str, kind: int) -> None:
    value = named("SHA1")[1]

    assert status_of(lambda: derive(Z, derivation(kdf, (kind, value), (kind, value)))) == (
        Status.NTE_INVALID_PARAMETER
    )


@pytest.mark.parametrize(
    ("kdf", "flags"), [("HASH", 1), ("HKDF", 1), ("TRUNCATE", 1), ("HMAC", 2), ("HMAC", 3)]
)
def test_flags_of_nothing_are_refused(kdf: str, flags: int) -> None:
    assert status_of(lambda: derive(Z, derivation(kdf, flags=flags))) == Status.NTE_BAD_FLAGS


@pytest.mark.parametrize("size", [-1, limits.DERIVED_KEY_BYTES + 1, 2**63])
def test_a_size_that_is_none_is_refused(size: int) -> None:
    for kdf in ("HASH", "HMAC", "HKDF", "TRUNCATE"):
        assert status_of(lambda kdf=kdf: derive(Z, derivation(kdf, size=size))) == (  # type: ignore[misc]
            Status.NTE_INVALID_PARAMETER
        )


@pytest.mark.parametrize(
    ("name", "status"),
    [
        (b"S", Status.NTE_INVALID_PARAMETER),
        (b"\0\xd8", Status.NTE_INVALID_PARAMETER),
        ("MD5".encode("utf-16-le"), Status.NTE_NOT_SUPPORTED),
        (b"", Status.NTE_NOT_SUPPORTED),
    ],
)
def test_a_hash_that_is_none_is_refused(name: bytes, status: Status) -> None:
    for kdf in ("HASH", "HMAC", "HKDF"):
        wanted = derivation(kdf, (KDF_HASH_ALGORITHM, name))
        assert status_of(lambda wanted=wanted: derive(Z, wanted)) == status  # type: ignore[misc]


def test_the_name_of_a_hash_may_have_its_nul_or_not() -> None:
    short = derivation("HASH", (KDF_HASH_ALGORITHM, "SHA256".encode("utf-16-le")))

    assert derive(Z, short) == derive(Z, derivation("HASH", named("SHA256")))
