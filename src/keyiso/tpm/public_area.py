"""TPMT_PUBLIC: what can be known of an object, and the Name that is its hash."""

import hashlib
from typing import Annotated

from keyiso.tpm.constants import TPM_ALG
from keyiso.tpm.structure import (
    TPM2B_DIGEST,
    TPM2B_KEY_NUMBER,
    TPM2B_SENSITIVE_DATA,
    UINT16,
    UINT32,
    SecretStructure,
    Selected,
    SizedOf,
    Structure,
)


class NoDetails(Structure, frozen=True):
    """What follows an algorithm that is TPM_ALG_NULL, or that has nothing to choose."""


class TPMS_SYMMETRIC(Structure, frozen=True):
    """A block cipher's key size, in bits, and mode."""

    key_bits: UINT16
    mode: UINT16


class TPMT_SYM_DEF(Structure, frozen=True):
    """A symmetric cipher, or none. Also TPMT_SYM_DEF_OBJECT."""

    algorithm: UINT16
    details: Annotated[
        TPMS_SYMMETRIC | NoDetails,
        Selected("algorithm", {TPM_ALG.AES: TPMS_SYMMETRIC, TPM_ALG.NULL: NoDetails}),
    ]


class TPMS_SCHEME_HASH(Structure, frozen=True):
    """The hash of a scheme."""

    hash_alg: UINT16


class TPMT_SCHEME(Structure, frozen=True):
    """A way to sign or to encrypt, or none: TPMT_SIG_SCHEME, TPMT_RSA_DECRYPT and their kin."""

    scheme: UINT16
    details: Annotated[
        TPMS_SCHEME_HASH | NoDetails,
        Selected(
            "scheme",
            {
                TPM_ALG.NULL: NoDetails,
                TPM_ALG.RSAES: NoDetails,
                TPM_ALG.RSASSA: TPMS_SCHEME_HASH,
                TPM_ALG.RSAPSS: TPMS_SCHEME_HASH,
                TPM_ALG.OAEP: TPMS_SCHEME_HASH,
                TPM_ALG.ECDSA: TPMS_SCHEME_HASH,
            },
        ),
    ]


NO_CIPHER = TPMT_SYM_DEF(TPM_ALG.NULL, NoDetails())
NO_SCHEME = TPMT_SCHEME(TPM_ALG.NULL, NoDetails())
AES_128_CFB = TPMT_SYM_DEF(TPM_ALG.AES, TPMS_SYMMETRIC(128, TPM_ALG.CFB))


class TPMS_KEYEDHASH_PARMS(Structure, frozen=True):
    """Of sealed data, whose scheme is none."""

    scheme: TPMT_SCHEME


class TPMS_RSA_PARMS(Structure, frozen=True):
    symmetric: TPMT_SYM_DEF
    scheme: TPMT_SCHEME
    key_bits: UINT16
    exponent: UINT32
    """0 for 65537."""


class TPMS_ECC_PARMS(Structure, frozen=True):
    symmetric: TPMT_SYM_DEF
    scheme: TPMT_SCHEME
    curve_id: UINT16
    kdf: TPMT_SCHEME


class TPMS_DIGEST_ID(Structure, frozen=True):
    """What tells sealed data from other sealed data."""

    digest: TPM2B_DIGEST


class TPMS_RSA_ID(Structure, frozen=True):
    modulus: TPM2B_KEY_NUMBER


class TPMS_ECC_POINT(Structure, frozen=True):
    x: TPM2B_KEY_NUMBER
    y: TPM2B_KEY_NUMBER


class TPMT_PUBLIC(Structure, frozen=True):
    """The public area of an object."""

    type: UINT16
    name_alg: UINT16
    object_attributes: UINT32
    auth_policy: TPM2B_DIGEST
    parameters: Annotated[
        TPMS_KEYEDHASH_PARMS | TPMS_RSA_PARMS | TPMS_ECC_PARMS,
        Selected(
            "type",
            {
                TPM_ALG.KEYEDHASH: TPMS_KEYEDHASH_PARMS,
                TPM_ALG.RSA: TPMS_RSA_PARMS,
                TPM_ALG.ECC: TPMS_ECC_PARMS,
            },
        ),
    ]
    unique: Annotated[
        TPMS_DIGEST_ID | TPMS_RSA_ID | TPMS_ECC_POINT,
        Selected(
            "type",
            {
                TPM_ALG.KEYEDHASH: TPMS_DIGEST_ID,
                TPM_ALG.RSA: TPMS_RSA_ID,
                TPM_ALG.ECC: TPMS_ECC_POINT,
            },
        ),
    ]

    def name(self) -> bytes:
        """The Name: the hash algorithm's number and the hash of all of this. SHA-256 only."""
        return TPM_ALG.SHA256.to_bytes(2) + hashlib.sha256(self.encode()).digest()


TPM2B_PUBLIC = Annotated[TPMT_PUBLIC, SizedOf(TPMT_PUBLIC, "TPM_PUBLIC_BYTES")]
TPM2B_ECC_POINT = Annotated[TPMS_ECC_POINT, SizedOf(TPMS_ECC_POINT, "TPM_PUBLIC_BYTES")]


class TPMS_SENSITIVE_CREATE(SecretStructure, frozen=True):
    """What an object is made with and does not show."""

    user_auth: TPM2B_DIGEST = b""
    """The authValue."""
    data: TPM2B_SENSITIVE_DATA = b""
    """What is sealed; empty for a key, which the TPM makes."""


TPM2B_SENSITIVE_CREATE = Annotated[
    TPMS_SENSITIVE_CREATE, SizedOf(TPMS_SENSITIVE_CREATE, "TPM_BUFFER_BYTES")
]
