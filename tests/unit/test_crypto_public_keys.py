"""Public keys at CNG's edge: blobs to the byte, and what is said of those that are wrong."""

import hashlib
import struct

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from keyiso.crypto.key_types import PublicKey
from keyiso.crypto.public_keys import (
    export_public_blob,
    fingerprint,
    import_public_blob,
    load_public_key,
    public_key_der,
)
from keyiso.errors import NCryptError
from keyiso.status import Status
from tests.unit.samples import CURVES, ec_key, rsa_key

EC_LAYOUT = {
    "ECDSA_P256": (b"ECS1", 32),
    "ECDSA_P384": (b"ECS3", 48),
    "ECDSA_P521": (b"ECS5", 66),
}
"""Magic as it stands in memory, and bytes of a coordinate."""

PRIVATE_AND_STRANGE_MAGICS = [
    b"RSA2",
    b"RSA3",
    b"ECS2",
    b"ECS4",
    b"ECS6",
    b"ECK2",
    b"ECDP",
    b"DHPB",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"1ASR",
    b"rsa1",
]


def rsa_blob(
    e: bytes, n: bytes, *, bits: int | None = None, sizes: tuple[int, int] | None = None
) -> bytes:
    """A BCRYPT_RSAKEY_BLOB of a public key."""
    e_size, n_size = sizes or (len(e), len(n))
    bit_length = 8 * len(n) if bits is None else bits
    return b"RSA1" + struct.pack("<5I", bit_length, e_size, n_size, 0, 0) + e + n


def ecc_blob(magic: bytes, size: int, x: bytes, y: bytes) -> bytes:
    """A BCRYPT_ECCKEY_BLOB of a public key."""
    return magic + struct.pack("<I", size) + x + y


def modulus(bits: int = 2048) -> bytes:
    return rsa_key(bits).public_key().public_numbers().n.to_bytes(bits // 8, "big")


def point(curve: str) -> tuple[bytes, bytes]:
    numbers, size = ec_key(curve).public_key().public_numbers(), EC_LAYOUT[curve][1]
    return numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big")


def status_of_importing(blob: bytes) -> int:
    with pytest.raises(NCryptError) as caught:
        import_public_blob(blob)
    return caught.value.status


def every_key() -> dict[str, PublicKey]:
    return {
        "RSA": rsa_key().public_key(),
        **{curve: ec_key(curve).public_key() for curve in CURVES},
    }


# --- layout ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1024, 2048, 3072])
def test_an_rsa_blob_is_laid_out_as_in_bcrypt(bits: int) -> None:
    blob = export_public_blob(rsa_key(bits).public_key(), "ECDSA", "RSAPUBLICBLOB")

    assert len(blob) == 24 + 3 + bits // 8
    assert blob[:24] == bytes.fromhex(
        "52534131"  # RSA1
        f"{struct.pack('<I', bits).hex()}"
        "03000000"  # cbPublicExp
        f"{struct.pack('<I', bits // 8).hex()}"
        "00000000 00000000"  # cbPrime1, cbPrime2
    )
    assert blob[24:27] == b"\1\0\1"
    assert blob[27:] == modulus(bits)


@pytest.mark.parametrize("curve", CURVES)
def test_an_ecc_blob_is_laid_out_as_in_bcrypt(curve: str) -> None:
    magic, size = EC_LAYOUT[curve]
    blob = export_public_blob(ec_key(curve).public_key(), "ECDSA", "ECCPUBLICBLOB")

    assert len(blob) == 8 + 2 * size
    assert blob == ecc_blob(magic, size, *point(curve))


def test_a_coordinate_keeps_its_zeros_in_front() -> None:
    """One key in 128 has such a coordinate, and others read it at a fixed place."""
    keys = (ec.derive_private_key(number, ec.SECP256R1()).public_key() for number in range(1, 5000))
    key = next(key for key in keys if key.public_numbers().y < 1 << 248)
    blob = export_public_blob(key, "ECDSA", "ECCPUBLICBLOB")

    assert len(blob) == 72
    assert blob[40] == 0
    assert public_key_der(import_public_blob(blob)[0]) == public_key_der(key)


@pytest.mark.parametrize("name", every_key())
def test_a_generic_public_blob_is_whichever_fits(name: str) -> None:
    key = every_key()[name]
    special = "RSAPUBLICBLOB" if name == "RSA" else "ECCPUBLICBLOB"

    assert export_public_blob(key, "ECDSA", "PUBLICBLOB") == export_public_blob(
        key, "ECDSA", special
    )


@pytest.mark.parametrize("name", every_key())
def test_a_key_of_the_other_kind_is_a_bad_type(name: str) -> None:
    wrong = "ECCPUBLICBLOB" if name == "RSA" else "RSAPUBLICBLOB"

    with pytest.raises(NCryptError) as caught:
        export_public_blob(every_key()[name], "ECDSA", wrong)
    assert caught.value.status == Status.NTE_BAD_TYPE


@pytest.mark.parametrize(
    "blob_type",
    [
        "RSAPRIVATEBLOB",
        "RSAFULLPRIVATEBLOB",
        "ECCPRIVATEBLOB",
        "PKCS8_PRIVATEKEY",
        "",
        "publicblob",
    ],
)
def test_a_type_that_is_not_public_is_not_supported(blob_type: str) -> None:
    with pytest.raises(NCryptError) as caught:
        export_public_blob(rsa_key().public_key(), "ECDSA", blob_type)
    assert caught.value.status == Status.NTE_NOT_SUPPORTED


# --- import ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", every_key())
def test_what_was_exported_can_be_imported(name: str) -> None:
    key = every_key()[name]

    assert public_key_der(
        import_public_blob(export_public_blob(key, "ECDSA", "PUBLICBLOB"))[0]
    ) == (public_key_der(key))


@pytest.mark.parametrize("bits", [0, 1, 1024, 4096, 2**32 - 1])
def test_the_bit_length_of_the_header_is_not_believed_and_no_error(bits: int) -> None:
    key, _ = import_public_blob(rsa_blob(b"\1\0\1", modulus(), bits=bits))

    assert key.key_size == 2048


@pytest.mark.parametrize("e", [b"\3", b"\1\0\1", b"\x80\0\1", b"\0\0\1\0\1"], ids=bytes.hex)
def test_an_exponent_of_any_length_is_taken_and_given_back_at_its_shortest(e: bytes) -> None:
    key, _ = import_public_blob(rsa_blob(e, modulus()))
    blob = export_public_blob(key, "RSA", "RSAPUBLICBLOB")

    assert blob == rsa_blob(e.lstrip(b"\0"), modulus())


@pytest.mark.parametrize("magic", PRIVATE_AND_STRANGE_MAGICS)
def test_another_magic_is_an_invalid_parameter(magic: bytes) -> None:
    rsa, ecc = rsa_blob(b"\1\0\1", modulus()), ecc_blob(b"ECS1", 32, *point("ECDSA_P256"))

    assert status_of_importing(magic + rsa[4:]) == Status.NTE_INVALID_PARAMETER
    assert status_of_importing(magic + ecc[4:]) == Status.NTE_INVALID_PARAMETER


BAD_RSA = {
    "nothing": b"",
    "a magic": b"RSA1",
    "half a header": rsa_blob(b"\1\0\1", modulus())[:12],
    "a header": rsa_blob(b"\1\0\1", modulus())[:24],
    "a byte too short": rsa_blob(b"\1\0\1", modulus())[:-1],
    "a byte too long": rsa_blob(b"\1\0\1", modulus()) + b"\0",
    "a longer exponent": rsa_blob(b"\1\0\1", modulus(), sizes=(4, 256)),
    "a shorter exponent": rsa_blob(b"\1\0\1", modulus(), sizes=(2, 256)),
    "a longer modulus": rsa_blob(b"\1\0\1", modulus(), sizes=(3, 257)),
    "lengths that wrap": rsa_blob(b"\1\0\1", modulus(), sizes=(2**32 - 253, 2**32 - 1)),
    "no exponent": rsa_blob(b"", modulus()),
    "no modulus": rsa_blob(b"\1\0\1", b""),
    "exponent 0": rsa_blob(b"\0", modulus()),
    "exponent 1": rsa_blob(b"\1", modulus()),
    "exponent 2": rsa_blob(b"\2", modulus()),
    "modulus 0": rsa_blob(b"\1\0\1", bytes(256)),
    "modulus below the exponent": rsa_blob(b"\1\0\1", b"\xff\xff"),
}


@pytest.mark.parametrize("blob", BAD_RSA.values(), ids=BAD_RSA)
def test_an_rsa_blob_whose_lengths_or_numbers_are_wrong_is_bad_data(blob: bytes) -> None:
    assert status_of_importing(blob) == Status.NTE_BAD_DATA


@pytest.mark.parametrize("curve", CURVES)
def test_an_ecc_blob_whose_lengths_or_numbers_are_wrong_is_bad_data(curve: str) -> None:
    magic, size = EC_LAYOUT[curve]
    x, y = point(curve)
    for blob in (
        magic,
        magic + b"\x20\0\0",
        ecc_blob(magic, size, b"", b""),
        ecc_blob(magic, size, x, y[:-1]),
        ecc_blob(magic, size, x, y + b"\0"),
        ecc_blob(magic, size - 1, x, y),
        ecc_blob(magic, size + 1, x, y),
        ecc_blob(magic, size - 1, x[1:], y[1:]),
        ecc_blob(magic, size + 1, b"\0" + x, b"\0" + y),
        ecc_blob(magic, 0, x, y),
        ecc_blob(magic, 2**32 - 1, x, y),
        ecc_blob(magic, size, y, x),
        ecc_blob(magic, size, bytes(size), bytes(size)),
        ecc_blob(magic, size, b"\xff" * size, y),
        ecc_blob(magic, size, x, b"\xff" * size),
    ):
        assert status_of_importing(blob) == Status.NTE_BAD_DATA


def test_a_point_of_one_curve_is_none_of_another() -> None:
    """P-256 points do not lie on secp256k1, whose coordinates have the same size."""
    stranger = ec.generate_private_key(ec.SECP256K1()).public_key().public_numbers()
    blob = ecc_blob(b"ECS1", 32, stranger.x.to_bytes(32, "big"), stranger.y.to_bytes(32, "big"))

    assert status_of_importing(blob) == Status.NTE_BAD_DATA


# --- inside keyiso -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", every_key())
def test_a_key_is_what_its_der_says(name: str) -> None:
    key = every_key()[name]

    assert load_public_key(public_key_der(key)).public_numbers() == key.public_numbers()


def test_a_fingerprint_is_the_hash_of_the_der() -> None:
    der = public_key_der(ec_key().public_key())

    assert fingerprint(der) == hashlib.sha256(der).digest()


def subject_public_key_info(oid: str, parameters: str) -> bytes:
    """A SubjectPublicKeyInfo of an algorithm and curve of one's choice."""
    good = public_key_der(ec_key().public_key())
    return good.replace(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex(oid)).replace(
        bytes.fromhex("2a8648ce3d030107"), bytes.fromhex(parameters)
    )


@pytest.mark.parametrize(
    "der",
    [b"", b"\x30\x00", b"no DER at all", public_key_der(ec_key().public_key())[:-1]],
    ids=["nothing", "an empty sequence", "text", "cut short"],
)
def test_what_is_no_public_key_is_bad_data(der: bytes) -> None:
    with pytest.raises(NCryptError) as caught:
        load_public_key(der)
    assert caught.value.status == Status.NTE_BAD_DATA


def test_a_key_of_an_algorithm_that_keyiso_has_not_is_not_supported() -> None:
    key = x25519.X25519PrivateKey.generate().public_key()
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    with pytest.raises(NCryptError) as caught:
        load_public_key(der)
    assert caught.value.status == Status.NTE_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("oid", "parameters"),
    [("2a8648ce3d0201", "2a8648ce3d030155"), ("2a8648ce3d0255", "2a8648ce3d030107")],
    ids=["curve", "algorithm"],
)
def test_a_key_that_the_library_does_not_know_is_not_supported(oid: str, parameters: str) -> None:
    with pytest.raises(NCryptError) as caught:
        load_public_key(subject_public_key_info(oid, parameters))
    assert caught.value.status == Status.NTE_NOT_SUPPORTED


def test_a_key_of_a_curve_that_keyiso_has_not_is_not_supported() -> None:
    der = public_key_der(ec.generate_private_key(ec.SECP256K1()).public_key())

    with pytest.raises(NCryptError) as caught:
        load_public_key(der)
    assert caught.value.status == Status.NTE_NOT_SUPPORTED
