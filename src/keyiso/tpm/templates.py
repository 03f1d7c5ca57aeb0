"""What the objects of keyiso look like before the TPM makes them."""

from typing import Final

from keyiso.tpm.constants import TPM_ALG, TPM_ECC, TPMA_OBJECT
from keyiso.tpm.public_area import (
    AES_128_CFB,
    NO_CIPHER,
    NO_SCHEME,
    TPMS_DIGEST_ID,
    TPMS_ECC_PARMS,
    TPMS_ECC_POINT,
    TPMS_KEYEDHASH_PARMS,
    TPMS_RSA_ID,
    TPMS_RSA_PARMS,
    TPMT_PUBLIC,
)

_STORAGE_KEY: Final = (
    TPMA_OBJECT.fixedTPM
    | TPMA_OBJECT.fixedParent
    | TPMA_OBJECT.sensitiveDataOrigin
    | TPMA_OBJECT.userWithAuth
    | TPMA_OBJECT.noDA
    | TPMA_OBJECT.restricted
    | TPMA_OBJECT.decrypt
)

SRK_TEMPLATES: Final = {
    TPM_ALG.ECC: TPMT_PUBLIC(
        TPM_ALG.ECC,
        TPM_ALG.SHA256,
        _STORAGE_KEY,
        b"",
        TPMS_ECC_PARMS(AES_128_CFB, NO_SCHEME, TPM_ECC.NIST_P256, NO_SCHEME),
        TPMS_ECC_POINT(bytes(32), bytes(32)),
    ),
    TPM_ALG.RSA: TPMT_PUBLIC(
        TPM_ALG.RSA,
        TPM_ALG.SHA256,
        _STORAGE_KEY,
        b"",
        TPMS_RSA_PARMS(AES_128_CFB, NO_SCHEME, 2048, 0),
        TPMS_RSA_ID(bytes(256)),
    ),
}
"""Storage root keys of the TCG's TPM v2.0 Provisioning Guidance, 7.5.1: P-256 and RSA-2048.

Of one seed, the same template gives the same key; other programs use these templates too.
"""

SEALED_ATTRIBUTES: Final = (
    TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent | TPMA_OBJECT.adminWithPolicy | TPMA_OBJECT.noDA
)
"""Without userWithAuth: only the policy opens it, and no wrong guess counts against the TPM."""


def sealed_template(auth_policy: bytes) -> TPMT_PUBLIC:
    """Sealed data that only this policy opens."""
    return TPMT_PUBLIC(
        TPM_ALG.KEYEDHASH,
        TPM_ALG.SHA256,
        SEALED_ATTRIBUTES,
        auth_policy,
        TPMS_KEYEDHASH_PARMS(NO_SCHEME),
        TPMS_DIGEST_ID(b""),
    )


def verifying_template(point: TPMS_ECC_POINT) -> TPMT_PUBLIC:
    """The public part of somebody's P-256 key, whose signatures the TPM is to check."""
    return TPMT_PUBLIC(
        TPM_ALG.ECC,
        TPM_ALG.SHA256,
        TPMA_OBJECT.userWithAuth | TPMA_OBJECT.sign,
        b"",
        TPMS_ECC_PARMS(NO_CIPHER, NO_SCHEME, TPM_ECC.NIST_P256, NO_SCHEME),
        point,
    )
