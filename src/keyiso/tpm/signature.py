"""TPMT_SIGNATURE."""

from typing import Annotated

from keyiso.tpm.constants import TPM_ALG
from keyiso.tpm.structure import TPM2B_KEY_NUMBER, UINT16, Selected, Structure


class TPMS_SIGNATURE_RSA(Structure, frozen=True):
    hash: UINT16
    sig: TPM2B_KEY_NUMBER


class TPMS_SIGNATURE_ECC(Structure, frozen=True):
    hash: UINT16
    signature_r: TPM2B_KEY_NUMBER
    signature_s: TPM2B_KEY_NUMBER


class TPMT_SIGNATURE(Structure, frozen=True):
    sig_alg: UINT16
    signature: Annotated[
        TPMS_SIGNATURE_RSA | TPMS_SIGNATURE_ECC,
        Selected(
            "sig_alg",
            {
                TPM_ALG.RSASSA: TPMS_SIGNATURE_RSA,
                TPM_ALG.RSAPSS: TPMS_SIGNATURE_RSA,
                TPM_ALG.ECDSA: TPMS_SIGNATURE_ECC,
            },
        ),
    ]
