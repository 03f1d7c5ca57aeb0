"""The salt of a session: a secret that one TPM key alone can read (Part 1, annexes B and C)."""

from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from keyiso.tpm.constants import TPM_ECC
from keyiso.tpm.key_derivation import kdf_e
from keyiso.tpm.public_area import (
    TPMS_ECC_PARMS,
    TPMS_ECC_POINT,
    TPMS_RSA_ID,
    TPMS_RSA_PARMS,
    TPMT_PUBLIC,
)
from keyiso.tpm.structure import MalformedError

SALT_BYTES: Final = 32
_LABEL: Final = b"SECRET"
_COORDINATE_BYTES: Final = 32
_DEFAULT_EXPONENT: Final = 65537


def encrypted_salt(public: TPMT_PUBLIC, random: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    """A new salt, and what TPM2_StartAuthSession takes for it.

    The key must be RSA-2048 or P-256, with SHA-256. Raises `MalformedError` for any other and
    for one that is not a key at all.
    """
    try:
        match public.parameters, public.unique:
            case TPMS_RSA_PARMS(key_bits=2048) as parameters, TPMS_RSA_ID() as unique:
                return _for_rsa(parameters, unique, random(SALT_BYTES))
            case TPMS_ECC_PARMS(curve_id=TPM_ECC.NIST_P256), TPMS_ECC_POINT() as point:
                return _for_p256(point)
    except ValueError:
        raise MalformedError("what came as a public key is not one") from None
    raise MalformedError("a session can be salted to RSA-2048 and P-256 only")


def _for_rsa(parameters: TPMS_RSA_PARMS, unique: TPMS_RSA_ID, salt: bytes) -> tuple[bytes, bytes]:
    modulus = int.from_bytes(unique.modulus)
    exponent = parameters.exponent or _DEFAULT_EXPONENT
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), _LABEL + b"\0")
    return salt, key.encrypt(salt, oaep)


def _for_p256(point: TPMS_ECC_POINT) -> tuple[bytes, bytes]:
    x, y = int.from_bytes(point.x), int.from_bytes(point.y)
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    numbers = ephemeral.public_key().public_numbers()
    ours = TPMS_ECC_POINT(
        numbers.x.to_bytes(_COORDINATE_BYTES), numbers.y.to_bytes(_COORDINATE_BYTES)
    )
    salt = kdf_e(ephemeral.exchange(ec.ECDH(), key), _LABEL, ours.x, point.x)
    return salt, ours.encode()
