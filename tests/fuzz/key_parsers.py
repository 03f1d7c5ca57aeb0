"""Sealed keys, sealed imports, and keys in DER and in CNG's blobs."""

import struct

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519

from keyiso.crypto.algorithms import ALGORITHMS
from keyiso.crypto.import_seal import open_import, seal_import
from keyiso.crypto.key_blob import read_header, seal_key, unseal_key
from keyiso.crypto.key_header import KeyHeader, decode_header, encode_header
from keyiso.crypto.key_types import PublicKey
from keyiso.crypto.private_keys import (
    imported_private_key,
    imported_symmetric_key,
    own_private_key,
)
from keyiso.crypto.public_keys import (
    export_public_blob,
    import_public_blob,
    load_public_key,
    public_key_der,
)
from keyiso.flags import NCRYPT_ALLOW_ALL_USAGES
from keyiso.magics import BCRYPT_KEY_DATA_BLOB_MAGIC
from keyiso.providers.software_encryption import key_data
from keyiso.status import Status
from tests.fuzz.parser import Outcome, Parser, statuses
from tests.fuzz.wire_parsers import NESTED, TERMS
from tests.unit.samples import CURVES, ROOT, ec_key, header, pkcs8, rsa_key

BLOBS = [
    seal_key(ROOT, header(), pkcs8()),
    seal_key(ROOT, header(access=(), name=b"x\0" * 260, key_id=b"K" * 16), pkcs8(rsa_key())),
]
HEADERS = [
    encode_header(header()),
    encode_header(header(access=(), name=b"", client_group=b"g" * 32)),
]
WORKER = x25519.X25519PrivateKey.generate()
SEALED = [seal_import(pkcs8(), WORKER.public_key().public_bytes_raw(), TERMS)]


def deep_header() -> bytes:
    """A header with one field more, in which arrays are nested."""
    count = len(KeyHeader.__struct_fields__)
    return struct.pack(">BH", 0xDC, count + 1) + HEADERS[0][3:] + NESTED


def odd_header() -> bytes:
    return msgspec.msgpack.encode(header(name=b"odd"))


def in_blob(encoded: bytes) -> bytes:
    return struct.pack("<BI", 1, len(encoded)) + encoded + bytes(12 + 16)


def unseal(data: bytes) -> None:
    """What opens is what was sealed."""
    unseal_key(ROOT, data)
    assert data in BLOBS


def open_sealed(data: bytes) -> None:
    open_import(data, WORKER, TERMS)
    assert data in SEALED


def key_parsers() -> list[Parser]:
    damaged = statuses(Status.NTE_BAD_DATA, Status.NTE_BAD_VER)
    known_headers: dict[Outcome, bytes] = {
        RecursionError: deep_header(),
        int(Status.NTE_INVALID_PARAMETER): odd_header(),
    }
    known_blobs = {outcome: in_blob(data) for outcome, data in known_headers.items()}
    blobs = [*BLOBS, *known_blobs.values()]
    return [
        Parser(
            "decode_header",
            decode_header,
            [*HEADERS, *known_headers.values()],
            statuses(Status.NTE_BAD_DATA),
            known_headers,
        ),
        Parser("read_header", read_header, blobs, damaged, known_blobs),
        Parser("unseal_key", unseal, blobs, damaged, known_blobs),
        Parser(
            "open_import",
            open_sealed,
            SEALED,
            damaged | statuses(Status.KEYISO_E_LIMIT),
        ),
    ]


# --- keys --------------------------------------------------------------------------------------

P256 = bytes.fromhex("2a8648ce3d030107")
UNKNOWN_CURVE = bytes.fromhex("2a8648ce3d030155")

EDWARDS = ed25519.Ed25519PrivateKey.generate()

PUBLIC_KEYS: list[PublicKey] = [
    rsa_key().public_key(),
    *(ec_key(name).public_key() for name in CURVES),
    EDWARDS.public_key(),
]


def other_keys() -> list[bytes]:
    """Keys in DER that are no keys of keyiso."""
    return [
        key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        for key in (
            x25519.X25519PrivateKey.generate().public_key(),
            ec.generate_private_key(ec.SECP256K1()).public_key(),
        )
    ]


def import_blob(data: bytes) -> None:
    """What is taken is a key, and can be given back."""
    key, algorithm = import_public_blob(data)
    again, _ = import_public_blob(export_public_blob(key, algorithm.group, "PUBLICBLOB"))
    assert public_key_der(again) == public_key_der(key)


def public_key_parsers() -> list[Parser]:
    der = [public_key_der(key) for key in PUBLIC_KEYS]
    return [
        Parser(
            "import_public_blob",
            import_blob,
            [
                export_public_blob(key, group, "PUBLICBLOB")
                for key in PUBLIC_KEYS
                for group in ("ECDSA", "ECDH")
            ],
            statuses(Status.NTE_BAD_DATA, Status.NTE_INVALID_PARAMETER),
        ),
        Parser(
            "load_public_key",
            load_public_key,
            [*der, *other_keys()],
            statuses(Status.NTE_BAD_DATA, Status.NTE_NOT_SUPPORTED),
            {UnsupportedAlgorithm: der[1].replace(P256, UNKNOWN_CURVE)},
        ),
    ]


def import_any(data: bytes) -> object:
    return imported_private_key(data, NCRYPT_ALLOW_ALL_USAGES)


def private_key_parsers() -> list[Parser]:
    curves = [*(pkcs8(ec_key(name)) for name in CURVES), pkcs8(EDWARDS)]
    refused = statuses(Status.NTE_BAD_DATA, Status.NTE_NOT_SUPPORTED)
    public = public_key_der(ec_key().public_key())
    return [
        Parser(
            # Validating RSA takes a thousand times as long as anything else here.
            "imported_private_key",
            import_any,
            [*curves * 5, pkcs8(rsa_key(1024))],
            refused,
        ),
        Parser(
            "own_private_key, a curve's",
            lambda data: own_private_key(data, ALGORITHMS["ECDSA_P256"], public),
            curves,
            refused,
        ),
        Parser(
            "own_private_key, RSA",
            lambda data: own_private_key(
                data, ALGORITHMS["RSA"], public_key_der(rsa_key().public_key())
            ),
            [pkcs8(rsa_key())],
            refused,
        ),
        Parser(
            "key_data and imported_symmetric_key",
            lambda data: imported_symmetric_key(key_data(data)),
            [
                struct.pack("<3I", BCRYPT_KEY_DATA_BLOB_MAGIC, 1, size) + bytes(size)
                for size in (16, 24, 32)
            ],
            refused | statuses(Status.NTE_INVALID_PARAMETER),
        ),
    ]


PARSERS = [*key_parsers(), *public_key_parsers(), *private_key_parsers()]
