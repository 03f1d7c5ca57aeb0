"""NCryptExportKey and NCryptImportKey: blobs to the byte, parsed without keyiso's help."""

import struct
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from keyiso import ncrypt
from keyiso.flags import (
    NCRYPT_ALLOW_ARCHIVING_FLAG,
    NCRYPT_ALLOW_EXPORT_FLAG,
    NCRYPT_ALLOW_PLAINTEXT_ARCHIVING_FLAG,
    NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG,
    NCRYPT_DO_NOT_FINALIZE_FLAG,
    NCRYPT_MACHINE_KEY_FLAG,
    NCRYPT_NO_KEY_VALIDATION,
    NCRYPT_OVERWRITE_KEY_FLAG,
    NCRYPT_PREFER_VBS_FLAG,
    NCRYPT_REQUIRE_VBS_FLAG,
    NCRYPT_SILENT_FLAG,
    NCRYPTBUFFER_PKCS_KEY_NAME,
    NCRYPTBUFFER_PKCS_SECRET,
)
from keyiso.identifiers import (
    BCRYPT_ECCPRIVATE_BLOB,
    BCRYPT_ECCPUBLIC_BLOB,
    BCRYPT_OPAQUE_KEY_BLOB,
    BCRYPT_PRIVATE_KEY_BLOB,
    BCRYPT_PUBLIC_KEY_BLOB,
    BCRYPT_RSAFULLPRIVATE_BLOB,
    BCRYPT_RSAPRIVATE_BLOB,
    BCRYPT_RSAPUBLIC_BLOB,
    LEGACY_RSAPRIVATE_BLOB,
    NCRYPT_ALGORITHM_PROPERTY,
    NCRYPT_EXPORT_POLICY_PROPERTY,
    NCRYPT_KEY_TYPE_PROPERTY,
    NCRYPT_KEY_USAGE_PROPERTY,
    NCRYPT_LENGTH_PROPERTY,
    NCRYPT_NAME_PROPERTY,
    NCRYPT_OPAQUETRANSPORT_BLOB,
    NCRYPT_PKCS7_ENVELOPE_BLOB,
    NCRYPT_PKCS8_PRIVATE_KEY_BLOB,
    NCRYPT_PUBLIC_LENGTH_PROPERTY,
    NCRYPT_UNIQUE_NAME_PROPERTY,
)
from keyiso.limits import PASSWORD_ITERATIONS
from keyiso.status import Status
from tests.conformance.cases import (
    ALGORITHMS,
    ECDSA,
    ECDSA_P256,
    ECDSA_P384,
    ECDSA_P521,
    ED25519,
    PERSISTED,
    RSA,
    RSA_2048,
    RSA_3072,
    SHA256_DIGEST,
    Algorithm,
    Kind,
    begin,
    make,
)
from tests.conformance.independent import (
    bits_of,
    dword,
    is_ecdsa_signature,
    is_ed25519_signature,
    is_rsa_signature,
    parse_public_blob,
    utf16z,
)
from tests.conformance.statuses import fails
from tests.unit.encrypted_keys import pbkdf2

Provider = ncrypt.NCryptProvHandle
Key = ncrypt.NCryptKeyHandle
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


# --- export ------------------------------------------------------------------------------------

MAGICS = {
    "RSA": b"RSA1",
    "ECDSA_P256": b"ECS1",
    "ECDSA_P384": b"ECS3",
    "ECDSA_P521": b"ECS5",
    "ED25519": b"EDP1",
}
OWN_TYPE = {
    "RSA": BCRYPT_RSAPUBLIC_BLOB,
    "ECDSA": BCRYPT_ECCPUBLIC_BLOB,
    "EDDSA": BCRYPT_PUBLIC_KEY_BLOB,
}
"""By algorithm group; CNG has no type for Ed25519."""


@pytest.mark.parametrize("kind", Kind, ids=str)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_a_public_blob(provider: Provider, algorithm: Algorithm, kind: Kind, name: str) -> None:
    key = make(provider, algorithm, kind.key_name(name), kind.flag)
    own_type = OWN_TYPE[algorithm.group]

    blob = ncrypt.NCryptExportKey(key, None, BCRYPT_PUBLIC_KEY_BLOB)

    assert blob[:4] == MAGICS[algorithm.identifier]
    assert bits_of(parse_public_blob(blob)) == algorithm.bits
    assert ncrypt.NCryptExportKey(key, None, own_type) == blob
    assert ncrypt.NCryptExportKey(key, None, own_type, None, NCRYPT_SILENT_FLAG) == blob
    if kind is not Kind.EPHEMERAL:
        opened = ncrypt.NCryptOpenKey(provider, name, 0, kind.flag)
        assert ncrypt.NCryptExportKey(opened, None, BCRYPT_PUBLIC_KEY_BLOB) == blob


def test_an_rsa_public_blob_to_the_byte(provider: Provider) -> None:
    """Exponent 65537 in three bytes, then the modulus, which has its top bit set."""
    blob = ncrypt.NCryptExportKey(make(provider, RSA_2048), None, BCRYPT_RSAPUBLIC_BLOB)

    assert blob[:24] == struct.pack("<4s5I", b"RSA1", 2048, 3, 256, 0, 0)
    assert blob[24:27] == b"\x01\x00\x01"
    assert len(blob) == 24 + 3 + 256
    assert blob[27] & 0x80


@pytest.mark.parametrize("coordinate", ["x", "y"])
def test_a_coordinate_keeps_its_leading_zeros(provider: Provider, coordinate: str) -> None:
    """One with a zero in front is as wide as any other: keys are made until one turns up."""
    numbers = None
    while numbers is None or getattr(numbers, coordinate) >> 248:
        private = ec.generate_private_key(ec.SECP256R1())
        numbers = private.public_key().public_numbers()
    key = import_private(provider, private)

    blob = ncrypt.NCryptExportKey(key, None, BCRYPT_ECCPUBLIC_BLOB)

    assert blob == (
        b"ECS1\x20\0\0\0" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_the_size_probe_and_the_buffer(provider: Provider, algorithm: Algorithm) -> None:
    key = make(provider, algorithm)
    blob = ncrypt.NCryptExportKey(key, None, BCRYPT_PUBLIC_KEY_BLOB)

    size = ncrypt.NCryptExportKey(key, None, BCRYPT_PUBLIC_KEY_BLOB, cbOutput=None)

    assert size == len(blob)
    assert ncrypt.NCryptExportKey(key, None, BCRYPT_PUBLIC_KEY_BLOB, cbOutput=size) == blob
    for too_small in (size - 1, 0):
        with fails(Status.NTE_BUFFER_TOO_SMALL):
            ncrypt.NCryptExportKey(key, None, BCRYPT_PUBLIC_KEY_BLOB, cbOutput=too_small)


@pytest.mark.parametrize(
    ("algorithm", "blob_type"),
    [
        (RSA_2048, BCRYPT_ECCPUBLIC_BLOB),
        (ECDSA_P256, BCRYPT_RSAPUBLIC_BLOB),
        (ED25519, BCRYPT_ECCPUBLIC_BLOB),
        (ED25519, BCRYPT_RSAPUBLIC_BLOB),
    ],
    ids=str,
)
def test_a_public_blob_of_another_algorithm(
    provider: Provider, algorithm: Algorithm, blob_type: str
) -> None:
    with fails(Status.NTE_BAD_TYPE):
        ncrypt.NCryptExportKey(make(provider, algorithm), None, blob_type)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_export_needs_a_finalized_key(provider: Provider, algorithm: Algorithm) -> None:
    key = begin(provider, algorithm)

    with fails(Status.NTE_BAD_KEY_STATE):
        ncrypt.NCryptExportKey(key, None, BCRYPT_PUBLIC_KEY_BLOB)
    with fails(Status.NTE_BAD_KEY_STATE):
        ncrypt.NCryptExportKey(key, None, BCRYPT_PUBLIC_KEY_BLOB, cbOutput=None)


# --- export of private keys --------------------------------------------------------------------


def exportable(provider: Provider, algorithm: Algorithm, policy: int) -> Key:
    """A key whose private numbers the test knows, under an export policy."""
    key = import_private(provider, PRIVATE_KEYS[algorithm], None, NCRYPT_DO_NOT_FINALIZE_FLAG)
    ncrypt.NCryptSetProperty(key, NCRYPT_EXPORT_POLICY_PROPERTY, dword(policy))
    ncrypt.NCryptFinalizeKey(key)
    return key


SECRET = (ncrypt.NCryptBuffer(NCRYPTBUFFER_PKCS_SECRET, "password"),)
OWN_PRIVATE_TYPE = {"RSA": BCRYPT_RSAPRIVATE_BLOB, "ECDSA": BCRYPT_ECCPRIVATE_BLOB}


@pytest.mark.parametrize(
    ("policy", "plain", "encrypted"),
    [
        (0, False, False),
        (NCRYPT_ALLOW_EXPORT_FLAG, False, True),
        (NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG, True, True),
        (NCRYPT_ALLOW_EXPORT_FLAG | NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG, True, True),
        (NCRYPT_ALLOW_ARCHIVING_FLAG | NCRYPT_ALLOW_PLAINTEXT_ARCHIVING_FLAG, False, False),
    ],
    ids=["nothing", "encrypted", "plaintext", "both", "archiving"],
)
@pytest.mark.parametrize("algorithm", [RSA_2048, ECDSA_P256, ED25519], ids=str)
def test_the_export_policy_decides(
    provider: Provider, algorithm: Algorithm, policy: int, plain: bool, encrypted: bool
) -> None:
    """Forbidden is NTE_NOT_SUPPORTED, for the size probe as well: it is the worker's answer."""
    key = exportable(provider, algorithm, policy)
    private = PRIVATE_KEYS[algorithm]
    cases: list[tuple[str, tuple[ncrypt.NCryptBuffer, ...], bool]]
    cases = [(NCRYPT_PKCS8_PRIVATE_KEY_BLOB, (), plain)]
    cases += [(NCRYPT_PKCS8_PRIVATE_KEY_BLOB, SECRET, encrypted)]
    if algorithm.group in OWN_PRIVATE_TYPE:
        cases += [(BCRYPT_PRIVATE_KEY_BLOB, (), plain)]
        cases += [(OWN_PRIVATE_TYPE[algorithm.group], (), plain)]

    for blob_type, parameters, allowed in cases:
        if not allowed:
            with fails(Status.NTE_NOT_SUPPORTED):
                ncrypt.NCryptExportKey(key, None, blob_type, parameters)
            with fails(Status.NTE_NOT_SUPPORTED):
                ncrypt.NCryptExportKey(key, None, blob_type, parameters, cbOutput=None)
            continue
        blob = ncrypt.NCryptExportKey(key, None, blob_type, parameters)
        assert ncrypt.NCryptExportKey(key, None, blob_type, parameters, cbOutput=None) == len(blob)
        if blob_type == NCRYPT_PKCS8_PRIVATE_KEY_BLOB:
            loaded = serialization.load_der_private_key(blob, b"password" if parameters else None)
            assert pkcs8(loaded) == pkcs8(private)
        else:
            assert blob == private_blob(private)


def private_blob(private: PrivateKey) -> bytes:
    """BCRYPT_RSAPRIVATE_BLOB or BCRYPT_ECCPRIVATE_BLOB of an ECDSA key, put together by hand."""
    if isinstance(private, rsa.RSAPrivateKey):
        numbers = private.private_numbers()
        half, whole = private.key_size // 16, private.key_size // 8
        return (
            struct.pack("<4s5I", b"RSA2", private.key_size, 3, whole, half, half)
            + b"\x01\x00\x01"
            + numbers.public_numbers.n.to_bytes(whole, "big")
            + numbers.p.to_bytes(half, "big")
            + numbers.q.to_bytes(half, "big")
        )
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    magic, size = {256: (b"ECS2", 32), 384: (b"ECS4", 48), 521: (b"ECS6", 66)}[private.key_size]
    point = private.public_key().public_numbers()
    secret = private.private_numbers().private_value
    return struct.pack("<4sI", magic, size) + b"".join(
        number.to_bytes(size, "big") for number in (point.x, point.y, secret)
    )


@pytest.mark.parametrize("algorithm", [*RSA, *ECDSA], ids=str)
def test_a_private_blob_to_the_byte(provider: Provider, algorithm: Algorithm) -> None:
    key = exportable(provider, algorithm, NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG)

    blob = ncrypt.NCryptExportKey(key, None, BCRYPT_PRIVATE_KEY_BLOB)

    assert blob == private_blob(PRIVATE_KEYS[algorithm])


def test_the_sizes_of_rsa_1024_are_those_of_windows(provider: Provider) -> None:
    """As observed there: 283 and 603 bytes."""
    key = ncrypt.NCryptCreatePersistedKey(provider, "RSA")
    ncrypt.NCryptSetProperty(key, NCRYPT_LENGTH_PROPERTY, dword(1024))
    ncrypt.NCryptSetProperty(key, NCRYPT_EXPORT_POLICY_PROPERTY, dword(3))
    ncrypt.NCryptFinalizeKey(key)

    assert ncrypt.NCryptExportKey(key, None, BCRYPT_RSAPRIVATE_BLOB, cbOutput=None) == 283
    assert ncrypt.NCryptExportKey(key, None, BCRYPT_RSAFULLPRIVATE_BLOB, cbOutput=None) == 603


def test_a_full_rsa_blob_to_the_byte(provider: Provider) -> None:
    private = PRIVATE_KEYS[RSA_2048]
    assert isinstance(private, rsa.RSAPrivateKey)
    key = exportable(provider, RSA_2048, NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG)

    blob = ncrypt.NCryptExportKey(key, None, BCRYPT_RSAFULLPRIVATE_BLOB)

    numbers = private.private_numbers()
    assert blob == (
        b"RSA3"
        + private_blob(private)[4:]
        + numbers.dmp1.to_bytes(128, "big")
        + numbers.dmq1.to_bytes(128, "big")
        + numbers.iqmp.to_bytes(128, "big")
        + numbers.d.to_bytes(256, "big")
    )


@pytest.mark.parametrize(
    ("algorithm", "blob_type"),
    [
        (RSA_2048, BCRYPT_ECCPRIVATE_BLOB),
        (ECDSA_P256, BCRYPT_RSAPRIVATE_BLOB),
        (ECDSA_P256, BCRYPT_RSAFULLPRIVATE_BLOB),
        (ED25519, BCRYPT_ECCPRIVATE_BLOB),
        (ED25519, BCRYPT_PRIVATE_KEY_BLOB),
    ],
    ids=str,
)
def test_a_private_blob_of_another_algorithm(
    provider: Provider, algorithm: Algorithm, blob_type: str
) -> None:
    key = exportable(provider, algorithm, NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG)

    with fails(Status.NTE_BAD_TYPE):
        ncrypt.NCryptExportKey(key, None, blob_type)


@pytest.mark.parametrize("policy", [0, 3], ids=["no policy", "policy that allows"])
@pytest.mark.parametrize(
    "blob_type",
    [
        LEGACY_RSAPRIVATE_BLOB,
        NCRYPT_PKCS7_ENVELOPE_BLOB,
        NCRYPT_OPAQUETRANSPORT_BLOB,
        BCRYPT_OPAQUE_KEY_BLOB,
        "pkcs8_privatekey",
        "no such blob",
        "",
    ],
)
@pytest.mark.parametrize("algorithm", [RSA_2048, ECDSA_P256], ids=str)
def test_a_blob_type_that_is_not_offered(
    provider: Provider, algorithm: Algorithm, blob_type: str, policy: int
) -> None:
    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptExportKey(exportable(provider, algorithm, policy), None, blob_type)


def test_a_password_is_for_pkcs8_only(provider: Provider) -> None:
    """Who gives one must not get a key in the clear; and the policy is looked at first."""
    for policy, status in ((0, Status.NTE_NOT_SUPPORTED), (3, Status.NTE_INVALID_PARAMETER)):
        key = exportable(provider, ECDSA_P256, policy)
        for blob_type in (BCRYPT_ECCPRIVATE_BLOB, BCRYPT_PRIVATE_KEY_BLOB):
            with fails(status):
                ncrypt.NCryptExportKey(key, None, blob_type, SECRET)


def test_a_password_that_is_no_text(provider: Provider) -> None:
    secret = (ncrypt.NCryptBuffer(NCRYPTBUFFER_PKCS_SECRET, "half a pair: \ud83d"),)

    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptExportKey(
            exportable(provider, ECDSA_P256, 1), None, NCRYPT_PKCS8_PRIVATE_KEY_BLOB, secret
        )


def test_a_public_key_has_no_private_blob(provider: Provider) -> None:
    public = ncrypt.NCryptImportKey(provider, None, BCRYPT_PUBLIC_KEY_BLOB, None, ECC_BLOB)

    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptExportKey(public, None, NCRYPT_PKCS8_PRIVATE_KEY_BLOB)


def test_export_under_another_key_is_not_offered(provider: Provider) -> None:
    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptExportKey(make(provider), make(provider), BCRYPT_PUBLIC_KEY_BLOB)


# --- import of public keys ---------------------------------------------------------------------


@dataclass(frozen=True)
class RsaBlob:
    """A BCRYPT_RSAPUBLIC_BLOB with fields that can be wrong."""

    magic: bytes = b"RSA1"
    bits: int = 2048
    exponent_bytes: int = 3
    modulus_bytes: int = 256

    def __bytes__(self) -> bytes:
        header = struct.pack(
            "<4s5I", self.magic, self.bits, self.exponent_bytes, self.modulus_bytes, 0, 0
        )
        return header + b"\x01\x00\x01" + MODULUS


MODULUS = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n.to_bytes(256, "big")
POINT = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
ECC_BLOB = b"ECS1\x20\0\0\0" + POINT.x.to_bytes(32, "big") + POINT.y.to_bytes(32, "big")


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_a_public_key_goes_in_as_it_came_out(provider: Provider, algorithm: Algorithm) -> None:
    key = make(provider, algorithm)
    blob = ncrypt.NCryptExportKey(key, None, BCRYPT_PUBLIC_KEY_BLOB)

    for blob_type in {BCRYPT_PUBLIC_KEY_BLOB, OWN_TYPE[algorithm.group]}:
        public = ncrypt.NCryptImportKey(provider, None, blob_type, None, blob)

        assert ncrypt.NCryptIsKeyHandle(public)
        assert ncrypt.NCryptExportKey(public, None, blob_type) == blob
        assert ncrypt.NCryptGetProperty(public, NCRYPT_ALGORITHM_PROPERTY) == utf16z(
            algorithm.identifier
        )
        assert ncrypt.NCryptGetProperty(public, NCRYPT_LENGTH_PROPERTY) == dword(algorithm.bits)
        with fails(Status.NTE_INVALID_HANDLE):
            ncrypt.NCryptFinalizeKey(public)
        ncrypt.NCryptFreeObject(public)


def test_an_imported_public_key_is_never_persisted(provider: Provider, name: str) -> None:
    parameters = [ncrypt.NCryptBuffer(NCRYPTBUFFER_PKCS_KEY_NAME, name)]

    public = ncrypt.NCryptImportKey(provider, None, BCRYPT_PUBLIC_KEY_BLOB, parameters, ECC_BLOB)

    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptGetProperty(public, NCRYPT_NAME_PROPERTY)
    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptOpenKey(provider, name)


def test_the_bit_length_of_an_rsa_blob_is_not_believed(provider: Provider) -> None:
    """As on Windows: a wrong one is tolerated, and the modulus says how long the key is."""
    public = ncrypt.NCryptImportKey(
        provider, None, BCRYPT_RSAPUBLIC_BLOB, None, bytes(RsaBlob(bits=768))
    )

    assert ncrypt.NCryptGetProperty(public, NCRYPT_LENGTH_PROPERTY) == dword(2048)


BAD_DATA = {
    "empty": b"",
    "only a magic": b"RSA1",
    "only a header": bytes(RsaBlob())[:24],
    "header cut short": bytes(RsaBlob())[:20],
    "one byte short": bytes(RsaBlob())[:-1],
    "one byte long": bytes(RsaBlob()) + b"\0",
    "exponent too long": bytes(RsaBlob(exponent_bytes=9)),
    "exponent too short": bytes(RsaBlob(exponent_bytes=2)),
    "exponent of no bytes": bytes(RsaBlob(exponent_bytes=0, modulus_bytes=259)),
    "modulus too long": bytes(RsaBlob(modulus_bytes=257)),
    "lengths that overflow": bytes(RsaBlob(exponent_bytes=0xFFFFFFFF, modulus_bytes=260)),
    "ECC one byte short": ECC_BLOB[:-1],
    "ECC one byte long": ECC_BLOB + b"\0",
    "ECC width": ECC_BLOB[:4] + dword(33) + ECC_BLOB[8:],
    "ECC point not on the curve": ECC_BLOB[:-1] + bytes([ECC_BLOB[-1] ^ 1]),
    "ECC coordinates too large": ECC_BLOB[:8] + b"\xff" * 64,
    "ECC of another curve": b"ECS3" + ECC_BLOB[4:],
}


@pytest.mark.parametrize("blob", BAD_DATA.values(), ids=BAD_DATA.keys())
def test_a_damaged_public_blob_is_bad_data(provider: Provider, blob: bytes) -> None:
    with fails(Status.NTE_BAD_DATA):
        ncrypt.NCryptImportKey(provider, None, BCRYPT_PUBLIC_KEY_BLOB, None, blob)


@pytest.mark.parametrize(
    ("blob_type", "blob"),
    [
        (BCRYPT_PUBLIC_KEY_BLOB, bytes(RsaBlob(magic=b"uYA1"))),
        (BCRYPT_RSAPUBLIC_BLOB, bytes(RsaBlob(magic=b"RSA2"))),
        (BCRYPT_PUBLIC_KEY_BLOB, b"ECK2" + ECC_BLOB[4:]),
        (BCRYPT_ECCPUBLIC_BLOB, b"ECS2" + ECC_BLOB[4:]),
        (BCRYPT_RSAPUBLIC_BLOB, ECC_BLOB),
        (BCRYPT_ECCPUBLIC_BLOB, bytes(RsaBlob())),
    ],
    ids=["none", "RSA private", "ECDH private", "ECDSA private", "ECC as RSA", "RSA as ECC"],
)
def test_a_magic_that_is_not_the_blob_types(
    provider: Provider, blob_type: str, blob: bytes
) -> None:
    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptImportKey(provider, None, blob_type, None, blob)


# --- import of private keys --------------------------------------------------------------------


def pkcs8(
    private: PrivateKeyTypes,
    password: str | None = None,
) -> bytes:
    encryption: serialization.KeySerializationEncryption = (
        serialization.NoEncryption()
        if password is None
        else serialization.BestAvailableEncryption(password.encode())
    )
    return private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, encryption
    )


def import_private(
    provider: Provider,
    private: PrivateKey | bytes,
    name: str | None = None,
    flags: int = 0,
    parameters: tuple[ncrypt.NCryptBuffer, ...] = (),
) -> Key:
    named = () if name is None else (ncrypt.NCryptBuffer(NCRYPTBUFFER_PKCS_KEY_NAME, name),)
    data = private if isinstance(private, bytes) else pkcs8(private)
    return ncrypt.NCryptImportKey(
        provider, None, NCRYPT_PKCS8_PRIVATE_KEY_BLOB, (*named, *parameters), data, flags
    )


PRIVATE_KEYS: dict[Algorithm, PrivateKey] = {
    RSA_2048: rsa.generate_private_key(65537, 2048),
    RSA_3072: rsa.generate_private_key(65537, 3072),
    ECDSA_P256: ec.generate_private_key(ec.SECP256R1()),
    ECDSA_P384: ec.generate_private_key(ec.SECP384R1()),
    ECDSA_P521: ec.generate_private_key(ec.SECP521R1()),
    ED25519: ed25519.Ed25519PrivateKey.generate(),
}
P256 = PRIVATE_KEYS[ECDSA_P256]


def signs_with(algorithm: Algorithm, key: Key, private: PrivateKey) -> bool:
    """The key's signatures are those of this private key."""
    signature, public = algorithm.sign(key), private.public_key()
    match algorithm.group:
        case "RSA":
            return is_rsa_signature(
                public, signature, SHA256_DIGEST, hashes.SHA256(), padding.PKCS1v15()
            )
        case "ECDSA":
            return is_ecdsa_signature(public, signature, SHA256_DIGEST, hashes.SHA256())
    return is_ed25519_signature(public, signature, SHA256_DIGEST)


@pytest.mark.parametrize("kind", Kind, ids=str)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_a_private_key_is_imported(
    provider: Provider, algorithm: Algorithm, kind: Kind, name: str
) -> None:
    private = PRIVATE_KEYS[algorithm]

    key = import_private(provider, private, kind.key_name(name), kind.flag)

    assert signs_with(algorithm, key, private)
    assert ncrypt.NCryptGetProperty(key, NCRYPT_ALGORITHM_PROPERTY) == utf16z(algorithm.identifier)
    assert ncrypt.NCryptGetProperty(key, NCRYPT_LENGTH_PROPERTY) == dword(algorithm.bits)
    assert ncrypt.NCryptGetProperty(key, NCRYPT_EXPORT_POLICY_PROPERTY) == dword(0)
    assert ncrypt.NCryptGetProperty(key, NCRYPT_KEY_USAGE_PROPERTY) == dword(0xFFFFFF)
    assert ncrypt.NCryptGetProperty(key, NCRYPT_KEY_TYPE_PROPERTY) == dword(
        NCRYPT_MACHINE_KEY_FLAG if kind is Kind.MACHINE else 0
    )
    if kind is not Kind.EPHEMERAL:
        opened = ncrypt.NCryptOpenKey(provider, name, 0, kind.flag)
        assert signs_with(algorithm, opened, private)


@pytest.mark.parametrize("password", ["password", "p\u00e4ssw\u00f6rd \U0001f511"])
@pytest.mark.parametrize("algorithm", [RSA_2048, ECDSA_P256], ids=str)
def test_a_private_key_under_a_password(
    provider: Provider, algorithm: Algorithm, password: str
) -> None:
    """The password as a string, or as CNG has it: UTF-16 with or without its NUL."""
    private = PRIVATE_KEYS[algorithm]
    encrypted = pkcs8(private, password)

    for value in (password, utf16z(password), utf16z(password)[:-2]):
        secret = ncrypt.NCryptBuffer(NCRYPTBUFFER_PKCS_SECRET, value)
        key = import_private(provider, encrypted, parameters=(secret,))
        assert signs_with(algorithm, key, private)


@pytest.mark.parametrize(
    "value",
    [b"odd", b"w\0e\0b\0\0", "", "a\0b", "x" * 261, utf16z("x" * 261)],
    ids=["odd bytes", "odd NUL", "empty", "NUL", "261 units", "261 units in bytes"],
)
def test_a_name_that_no_key_can_have(provider: Provider, value: bytes | str) -> None:
    parameters = [ncrypt.NCryptBuffer(NCRYPTBUFFER_PKCS_KEY_NAME, value)]

    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptImportKey(
            provider, None, NCRYPT_PKCS8_PRIVATE_KEY_BLOB, parameters, pkcs8(P256)
        )


def test_a_name_in_utf16_bytes(provider: Provider, name: str) -> None:
    for number, value in enumerate((utf16z(name), utf16z(name)[:-2])):
        parameters = [ncrypt.NCryptBuffer(NCRYPTBUFFER_PKCS_KEY_NAME, value)]
        ncrypt.NCryptImportKey(
            provider,
            None,
            NCRYPT_PKCS8_PRIVATE_KEY_BLOB,
            parameters,
            pkcs8(P256),
            NCRYPT_OVERWRITE_KEY_FLAG if number else 0,
        )

        assert signs_with(ECDSA_P256, ncrypt.NCryptOpenKey(provider, name), P256)


ENCRYPTED = pkcs8(P256, "password")
SHORT_ED25519 = bytes.fromhex("302d020100300506032b65700421041f") + bytes(31)
_PBES2 = bytes.fromhex("2a864886f70d01050d")
BAD_PRIVATE = {
    "empty": (b"", None),
    "garbage": (b"garbage", None),
    "cut short": (pkcs8(P256)[:-1], None),
    "one byte long": (pkcs8(P256) + b"\0", None),
    "PEM": (
        P256.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        None,
    ),
    "a public key": (
        P256.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        None,
    ),
    "PKCS #1, not #8": (
        PRIVATE_KEYS[RSA_2048].private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ),
        None,
    ),
    "SEC1, not PKCS #8": (
        P256.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ),
        None,
    ),
    "password missing": (ENCRYPTED, None),
    "password wrong": (ENCRYPTED, "passwore"),
    "password empty": (ENCRYPTED, ""),
    "password that is not text": (ENCRYPTED, "\ud800"),
    "password for a key in the clear": (pkcs8(P256), "password"),
    "unknown encryption": (
        ENCRYPTED.replace(_PBES2, _PBES2[:-1] + b"\x7f"),
        "password",
    ),
    "Ed25519 that lacks a byte": (SHORT_ED25519, None),
    "Ed25519 that lacks a byte, and a password": (SHORT_ED25519, "password"),
    "encrypted and damaged": (ENCRYPTED[:-1] + bytes([ENCRYPTED[-1] ^ 1]), "password"),
}


@pytest.mark.parametrize(("data", "password"), BAD_PRIVATE.values(), ids=BAD_PRIVATE.keys())
def test_a_private_key_that_is_none_is_bad_data(
    provider: Provider, data: bytes, password: str | None, name: str
) -> None:
    secret = () if password is None else (ncrypt.NCryptBuffer(NCRYPTBUFFER_PKCS_SECRET, password),)

    with fails(Status.NTE_BAD_DATA):
        import_private(provider, data, name, parameters=secret)

    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptOpenKey(provider, name)


def test_a_password_that_would_cost_too_much_is_not_tried(provider: Provider, name: str) -> None:
    """How much it costs is said by the key, which may come from anybody."""
    secret = ncrypt.NCryptBuffer(NCRYPTBUFFER_PKCS_SECRET, "password")

    with fails(Status.KEYISO_E_LIMIT) as caught:
        import_private(provider, pbkdf2(PASSWORD_ITERATIONS + 1), name, parameters=(secret,))

    assert "PASSWORD_ITERATIONS (5000000)" in caught.value.cause
    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptOpenKey(provider, name)


def test_numbers_that_do_not_belong_together_are_bad_data(provider: Provider) -> None:
    """An RSA key whose prime is wrong would sign, and betray itself by it."""
    private = PRIVATE_KEYS[RSA_2048]
    assert isinstance(private, rsa.RSAPrivateKey)
    prime = private.private_numbers().p.to_bytes(128, "big")
    data = pkcs8(private)
    assert prime in data

    with fails(Status.NTE_BAD_DATA):
        import_private(provider, data.replace(prime, prime[:-1] + bytes([prime[-1] ^ 2])))


OID_OF_P256 = bytes.fromhex("2a8648ce3d030107")

NOT_OFFERED: dict[str, PrivateKeyTypes] = {
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "Ed448": ed448.Ed448PrivateKey.generate(),
    "X25519": x25519.X25519PrivateKey.generate(),
}


@pytest.mark.parametrize("password", [None, "password"], ids=["in the clear", "encrypted"])
@pytest.mark.parametrize("private", NOT_OFFERED.values(), ids=NOT_OFFERED.keys())
def test_a_private_key_of_an_algorithm_that_is_not_offered(
    provider: Provider, private: PrivateKeyTypes, password: str | None
) -> None:
    secret = () if password is None else (ncrypt.NCryptBuffer(NCRYPTBUFFER_PKCS_SECRET, password),)

    with fails(Status.NTE_NOT_SUPPORTED):
        import_private(provider, pkcs8(private, password), parameters=secret)


def test_an_unknown_curve_that_needs_no_password(provider: Provider) -> None:
    data = pkcs8(P256)
    assert OID_OF_P256 in data

    with fails(Status.NTE_NOT_SUPPORTED):
        import_private(
            provider, data.replace(OID_OF_P256, OID_OF_P256[:-1] + b"\x55"), parameters=SECRET
        )


def test_a_private_key_that_is_too_long_names_the_limit(provider: Provider) -> None:
    with fails(Status.KEYISO_E_LIMIT) as caught:
        import_private(provider, b"x" * 20_000)

    assert "PRIVATE_KEY_BYTES" in caught.value.cause


@pytest.mark.parametrize(
    "blob_type",
    [
        BCRYPT_PRIVATE_KEY_BLOB,
        BCRYPT_RSAPRIVATE_BLOB,
        BCRYPT_ECCPRIVATE_BLOB,
        NCRYPT_PKCS7_ENVELOPE_BLOB,
        NCRYPT_OPAQUETRANSPORT_BLOB,
        "no such blob",
        "",
    ],
)
def test_a_blob_type_that_cannot_be_imported(provider: Provider, blob_type: str) -> None:
    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptImportKey(provider, None, blob_type, None, pkcs8(P256))


def test_import_under_another_key_is_not_offered(provider: Provider) -> None:
    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptImportKey(
            provider, make(provider), NCRYPT_PKCS8_PRIVATE_KEY_BLOB, None, pkcs8(P256)
        )


# --- import: names, policies, isolation ----------------------------------------------------------


@pytest.mark.parametrize("kind", PERSISTED, ids=str)
def test_a_taken_name(provider: Provider, kind: Kind, name: str) -> None:
    first = make(provider, ECDSA_P256, name, kind.flag)

    with fails(Status.NTE_EXISTS):
        import_private(provider, P256, name, kind.flag)

    ECDSA_P256.sign(first)


@pytest.mark.parametrize("kind", PERSISTED, ids=str)
def test_overwrite(provider: Provider, kind: Kind, name: str) -> None:
    first = make(provider, ECDSA_P256, name, kind.flag)

    import_private(provider, P256, name, kind.flag | NCRYPT_OVERWRITE_KEY_FLAG)

    with fails(Status.NTE_BAD_KEYSET):
        ECDSA_P256.sign(first)
    assert signs_with(ECDSA_P256, ncrypt.NCryptOpenKey(provider, name, 0, kind.flag), P256)


def test_the_same_private_key_twice_is_two_keys(provider: Provider, name: str) -> None:
    one = import_private(provider, P256, name)
    other = import_private(provider, P256, name + " again")

    assert ncrypt.NCryptGetProperty(one, NCRYPT_UNIQUE_NAME_PROPERTY) != ncrypt.NCryptGetProperty(
        other, NCRYPT_UNIQUE_NAME_PROPERTY
    )


def test_an_overwritten_handle_is_not_fooled_by_the_same_key(provider: Provider, name: str) -> None:
    """Same public key, another key id: it is a new key, with a policy of its own."""
    old = import_private(provider, P256, name)

    import_private(provider, P256, name, NCRYPT_OVERWRITE_KEY_FLAG)

    with fails(Status.NTE_BAD_KEYSET):
        ECDSA_P256.sign(old)


@pytest.mark.parametrize("kind", Kind, ids=str)
def test_policies_are_set_before_an_import_is_finalized(
    provider: Provider, kind: Kind, name: str
) -> None:
    key = import_private(
        provider, P256, kind.key_name(name), kind.flag | NCRYPT_DO_NOT_FINALIZE_FLAG
    )
    with fails(Status.NTE_BAD_KEY_STATE):
        ECDSA_P256.sign(key)
    ncrypt.NCryptSetProperty(key, NCRYPT_KEY_USAGE_PROPERTY, dword(1))
    ncrypt.NCryptSetProperty(key, NCRYPT_EXPORT_POLICY_PROPERTY, dword(1))

    ncrypt.NCryptFinalizeKey(key)

    with fails(Status.NTE_PERM):
        ECDSA_P256.sign(key)
    assert ncrypt.NCryptGetProperty(key, NCRYPT_EXPORT_POLICY_PROPERTY) == dword(1)


def test_an_import_has_the_length_that_it_has(provider: Provider) -> None:
    key = import_private(provider, PRIVATE_KEYS[RSA_2048], None, NCRYPT_DO_NOT_FINALIZE_FLAG)

    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptSetProperty(key, NCRYPT_LENGTH_PROPERTY, dword(3072))

    ncrypt.NCryptFinalizeKey(key)
    assert ncrypt.NCryptGetProperty(key, NCRYPT_LENGTH_PROPERTY) == dword(2048)


@pytest.mark.parametrize(
    "property_name",
    [NCRYPT_LENGTH_PROPERTY, NCRYPT_PUBLIC_LENGTH_PROPERTY, NCRYPT_ALGORITHM_PROPERTY],
)
def test_an_import_that_waits_makes_nothing_up(provider: Provider, property_name: str) -> None:
    """What only the key can say is said when the key was looked at, or not at all."""
    key = import_private(provider, P256, None, NCRYPT_DO_NOT_FINALIZE_FLAG)
    right = {
        NCRYPT_LENGTH_PROPERTY: dword(256),
        NCRYPT_PUBLIC_LENGTH_PROPERTY: dword(256),
        NCRYPT_ALGORITHM_PROPERTY: utf16z("ECDSA_P256"),
    }

    try:
        value = ncrypt.NCryptGetProperty(key, property_name)
    except ncrypt.NCryptError as error:
        assert error.status == Status.NTE_BAD_KEY_STATE
    else:
        assert value == right[property_name]


@pytest.mark.parametrize("data", [b"garbage", b""], ids=["garbage", "empty"])
def test_an_import_that_waits_is_looked_at_when_it_is_finalized(
    provider: Provider, data: bytes, name: str
) -> None:
    key = import_private(provider, data, name, NCRYPT_DO_NOT_FINALIZE_FLAG)

    with fails(Status.NTE_BAD_DATA):
        ncrypt.NCryptFinalizeKey(key)

    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptOpenKey(provider, name)


@pytest.mark.parametrize("flags", [NCRYPT_SILENT_FLAG, NCRYPT_NO_KEY_VALIDATION])
def test_import_takes_its_flags(provider: Provider, flags: int) -> None:
    assert signs_with(ECDSA_P256, import_private(provider, P256, None, flags), P256)


@pytest.mark.parametrize(
    "flags",
    [NCRYPT_REQUIRE_VBS_FLAG, NCRYPT_REQUIRE_VBS_FLAG | NCRYPT_PREFER_VBS_FLAG],
    ids=["REQUIRE", "REQUIRE PREFER"],
)
def test_isolation_that_is_required_never_falls_back(
    provider: Provider, flags: int, name: str
) -> None:
    """No TPM is enrolled here, which a stored key needs."""
    with fails(Status.NTE_VBS_UNAVAILABLE):
        import_private(provider, P256, name, flags)

    with fails(Status.NTE_BAD_KEYSET):
        ncrypt.NCryptOpenKey(provider, name)


def test_isolation_that_is_preferred_falls_back(provider: Provider, name: str) -> None:
    key = import_private(provider, P256, name, NCRYPT_PREFER_VBS_FLAG)

    assert signs_with(ECDSA_P256, key, P256)
