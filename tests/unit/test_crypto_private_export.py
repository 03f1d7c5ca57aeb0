"""Private keys on their way out: as blobs of CNG, and only as far as the policy allows."""

import struct

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from keyiso.crypto.key_types import PrivateKey, SymmetricKey
from keyiso.crypto.private_export import export_private_key
from keyiso.crypto.private_keys import private_key_bytes
from keyiso.errors import NCryptError
from keyiso.status import Status
from tests.unit.samples import ec_key, header, rsa_key

NOTHING, ENCRYPTED, PLAIN = 0, 1, 2

ED25519 = ed25519.Ed25519PrivateKey.generate()
AES = SymmetricKey(b"a" * 24)


def export(
    key: PrivateKey,
    blob_type: str,
    *,
    algorithm: str,
    policy: int = PLAIN,
    password: bytes = b"",
) -> bytes:
    return export_private_key(
        key, header(algorithm=algorithm, export_policy=policy), blob_type, password
    )


def status_of_exporting(key: PrivateKey, blob_type: str, *, algorithm: str, **how: object) -> int:
    with pytest.raises(NCryptError) as caught:
        export(key, blob_type, algorithm=algorithm, **how)  # type: ignore[arg-type]
    return caught.value.status


def big(number: int, size: int) -> bytes:
    return number.to_bytes(size, "big")


# --- layout ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1024, 2048])
def test_rsa_blobs_are_laid_out_as_in_bcrypt(bits: int) -> None:
    n = rsa_key(bits).private_numbers()
    size, half = bits // 8, bits // 16
    sizes = struct.pack("<5I", bits, 3, size, half, half)
    short = b"\1\0\1" + big(n.public_numbers.n, size) + big(n.p, half) + big(n.q, half)
    rest = big(n.dmp1, half) + big(n.dmq1, half) + big(n.iqmp, half) + big(n.d, size)

    assert export(rsa_key(bits), "RSAPRIVATEBLOB", algorithm="RSA") == b"RSA2" + sizes + short
    assert export(rsa_key(bits), "PRIVATEBLOB", algorithm="RSA") == b"RSA2" + sizes + short
    assert export(rsa_key(bits), "RSAFULLPRIVATEBLOB", algorithm="RSA") == (
        b"RSA3" + sizes + short + rest
    )


@pytest.mark.parametrize(
    ("algorithm", "magic", "size"),
    [
        ("ECDSA_P256", b"ECS2", 32),
        ("ECDSA_P384", b"ECS4", 48),
        ("ECDSA_P521", b"ECS6", 66),
        ("ECDH_P256", b"ECK2", 32),
        ("ECDH_P384", b"ECK4", 48),
        ("ECDH_P521", b"ECK6", 66),
    ],
)
@pytest.mark.parametrize("blob_type", ["ECCPRIVATEBLOB", "PRIVATEBLOB"])
def test_ecc_blobs_are_laid_out_as_in_bcrypt(
    algorithm: str, magic: bytes, size: int, blob_type: str
) -> None:
    key = ec_key(algorithm.replace("ECDH", "ECDSA"))
    n = key.private_numbers()
    point = n.public_numbers

    assert export(key, blob_type, algorithm=algorithm) == (
        magic
        + struct.pack("<I", size)
        + big(point.x, size)
        + big(point.y, size)
        + big(n.private_value, size)
    )


def test_an_aes_key_is_a_key_data_blob() -> None:
    assert export(AES, "KeyDataBlob", algorithm="AES") == (
        b"KDBM" + struct.pack("<2I", 1, 24) + AES.value
    )


@pytest.mark.parametrize(
    ("key", "algorithm"), [(rsa_key(), "RSA"), (ec_key(), "ECDSA_P256"), (ED25519, "ED25519")]
)
def test_every_key_pair_can_be_pkcs8(key: PrivateKey, algorithm: str) -> None:
    assert export(key, "PKCS8_PRIVATEKEY", algorithm=algorithm) == private_key_bytes(key)


@pytest.mark.parametrize(
    ("key", "algorithm"), [(rsa_key(), "RSA"), (ec_key(), "ECDSA_P256"), (ED25519, "ED25519")]
)
def test_a_password_encrypts(key: PrivateKey, algorithm: str) -> None:
    data = export(key, "PKCS8_PRIVATEKEY", algorithm=algorithm, password="pässword".encode())
    opened = serialization.load_der_private_key(data, "pässword".encode())

    assert private_key_bytes(opened) == private_key_bytes(key)  # type: ignore[arg-type]
    with pytest.raises((ValueError, TypeError)):
        serialization.load_der_private_key(data, b"another")
    with pytest.raises((ValueError, TypeError)):
        serialization.load_der_private_key(data, None)


# --- policy ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "plain", "encrypted"),
    [
        (NOTHING, False, False),
        (ENCRYPTED, False, True),
        (PLAIN, True, True),
        (ENCRYPTED | PLAIN, True, True),
        (4 | 8 | 16, False, False),
    ],
)
def test_the_policy_decides(policy: int, plain: bool, encrypted: bool) -> None:
    """Archiving and wrapping are other permissions."""
    for password, allowed in ((b"", plain), (b"password", encrypted)):
        how = {"algorithm": "RSA", "policy": policy, "password": password}
        if allowed:
            assert export(rsa_key(), "PKCS8_PRIVATEKEY", **how)  # type: ignore[arg-type]
        else:
            assert status_of_exporting(rsa_key(), "PKCS8_PRIVATEKEY", **how) == (  # type: ignore[arg-type]
                Status.NTE_NOT_SUPPORTED
            )


@pytest.mark.parametrize(
    ("key", "algorithm", "blob_type"),
    [
        (rsa_key(), "RSA", "RSAPRIVATEBLOB"),
        (rsa_key(), "RSA", "RSAFULLPRIVATEBLOB"),
        (ec_key(), "ECDSA_P256", "ECCPRIVATEBLOB"),
        (AES, "AES", "KeyDataBlob"),
    ],
)
@pytest.mark.parametrize("policy", [NOTHING, ENCRYPTED])
def test_a_blob_in_the_clear_needs_the_permission_for_it(
    key: PrivateKey, algorithm: str, blob_type: str, policy: int
) -> None:
    assert status_of_exporting(key, blob_type, algorithm=algorithm, policy=policy) == (
        Status.NTE_NOT_SUPPORTED
    )


@pytest.mark.parametrize(
    ("key", "algorithm", "blob_type"),
    [
        (rsa_key(), "RSA", "ECCPRIVATEBLOB"),
        (ec_key(), "ECDSA_P256", "RSAPRIVATEBLOB"),
        (ec_key(), "ECDSA_P256", "RSAFULLPRIVATEBLOB"),
        (ED25519, "ED25519", "ECCPRIVATEBLOB"),
        (AES, "AES", "PKCS8_PRIVATEKEY"),
        (AES, "AES", "PRIVATEBLOB"),
    ],
)
def test_a_blob_of_another_kind_of_key_is_a_bad_type(
    key: PrivateKey, algorithm: str, blob_type: str
) -> None:
    assert status_of_exporting(key, blob_type, algorithm=algorithm) == Status.NTE_BAD_TYPE


@pytest.mark.parametrize("blob_type", ["", "privateblob", "OpaqueTransport", "\0", "x" * 10_000])
def test_an_unknown_type_is_not_supported(blob_type: str) -> None:
    assert status_of_exporting(rsa_key(), blob_type, algorithm="RSA") == Status.NTE_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("key", "algorithm", "blob_type"),
    [(rsa_key(), "RSA", "RSAPRIVATEBLOB"), (AES, "AES", "KeyDataBlob")],
)
def test_a_password_makes_no_other_blob_an_encrypted_one(
    key: PrivateKey, algorithm: str, blob_type: str
) -> None:
    """The permission to export encrypted does not give the key in the clear."""
    status = status_of_exporting(
        key, blob_type, algorithm=algorithm, policy=ENCRYPTED, password=b"word"
    )

    assert status == Status.NTE_NOT_SUPPORTED


def test_a_password_that_the_library_does_not_take_is_an_error_of_ncrypt() -> None:
    status = status_of_exporting(
        rsa_key(), "PKCS8_PRIVATEKEY", algorithm="RSA", password=b"p" * 1024
    )

    assert status == Status.NTE_INVALID_PARAMETER
