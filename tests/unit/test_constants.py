"""The constants are CNG's, to the bit and to the letter.

The tables follow the metadata of the Windows SDK and were not made from the modules, so a slip in
a module does not repeat itself here. Every constant is in a table or follows from a rule below.
"""

import pickle
import re
from collections import Counter
from collections.abc import Callable
from types import ModuleType

import pytest

from keyiso import flags, identifiers, magics
from keyiso.status import Status, describe, status_name

NUMBERS = {
    "CRYPT_MACHINE_KEYSET": 0x20,
    "OWNER_SECURITY_INFORMATION": 1,
    "GROUP_SECURITY_INFORMATION": 2,
    "DACL_SECURITY_INFORMATION": 4,
    "SACL_SECURITY_INFORMATION": 8,
    "LABEL_SECURITY_INFORMATION": 0x10,
    "NCRYPT_NO_KEY_VALIDATION": 8,
    "NCRYPT_MACHINE_KEY_FLAG": 0x20,
    "NCRYPT_SILENT_FLAG": 0x40,
    "NCRYPT_OVERWRITE_KEY_FLAG": 0x80,
    "NCRYPT_AUTHORITY_KEY_FLAG": 0x100,
    "NCRYPT_WRITE_KEY_TO_LEGACY_STORE_FLAG": 0x200,
    "NCRYPT_DO_NOT_FINALIZE_FLAG": 0x400,
    "NCRYPT_EXPORT_LEGACY_FLAG": 0x800,
    "NCRYPT_IGNORE_DEVICE_STATE_FLAG": 0x1000,
    "NCRYPT_TREAT_NIST_AS_GENERIC_ECC_FLAG": 0x2000,
    "NCRYPT_NO_CACHED_PASSWORD": 0x4000,
    "NCRYPT_PROTECT_TO_LOCAL_SYSTEM": 0x8000,
    "NCRYPT_EXTENDED_ERRORS_FLAG": 0x10000000,
    "NCRYPT_PREFER_VBS_FLAG": 0x10000,
    "NCRYPT_PREFER_VIRTUAL_ISOLATION_FLAG": 0x10000,
    "NCRYPT_REQUIRE_VBS_FLAG": 0x20000,
    "NCRYPT_USE_VIRTUAL_ISOLATION_FLAG": 0x20000,
    "NCRYPT_USE_VBS_PER_BOOT_KEY_FLAG": 0x40000,
    "NCRYPT_USE_PER_BOOT_KEY_FLAG": 0x40000,
    "NCRYPT_PERSIST_ONLY_FLAG": 0x40000000,
    "NCRYPT_PERSIST_FLAG": 0x80000000,
    "NCRYPT_NO_PADDING_FLAG": 1,
    "NCRYPT_PAD_PKCS1_FLAG": 2,
    "NCRYPT_PAD_OAEP_FLAG": 4,
    "NCRYPT_PAD_PSS_FLAG": 8,
    "NCRYPT_PAD_CIPHER_FLAG": 0x10,
    "NCRYPT_PAD_PQDSA_FLAG": 0x20,
    "NCRYPT_ATTESTATION_FLAG": 0x20,
    "NCRYPT_TPM_PAD_PSS_IGNORE_SALT": 0x20,
    "NCRYPT_SEALING_FLAG": 0x100,
    "BCRYPT_PAD_NONE": 1,
    "BCRYPT_PAD_PKCS1": 2,
    "BCRYPT_PAD_OAEP": 4,
    "BCRYPT_PAD_PSS": 8,
    "BCRYPT_PAD_PKCS1_OPTIONAL_HASH_OID": 0x10,
    "BCRYPT_PAD_PQDSA": 0x20,
    "BCRYPT_MLDSA_EXTERNAL_MU": 0x40,
    "NCRYPT_CIPHER_NO_PADDING_FLAG": 0,
    "NCRYPT_CIPHER_BLOCK_PADDING_FLAG": 1,
    "NCRYPT_CIPHER_OTHER_PADDING_FLAG": 2,
    "NCRYPT_REGISTER_NOTIFY_FLAG": 1,
    "NCRYPT_UNREGISTER_NOTIFY_FLAG": 2,
    "KDF_USE_SECRET_AS_HMAC_KEY_FLAG": 1,
    "BCRYPT_CAPI_AES_FLAG": 0x10,
    "NCRYPT_NAMED_DESCRIPTOR_FLAG": 1,
    "NCRYPT_UNPROTECT_NO_DECRYPT": 1,
    "NCRYPT_REQUIRE_KDS_LRPC_BIND_FLAG": 0x20000000,
    "NCRYPT_ALLOW_EXPORT_FLAG": 1,
    "NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG": 2,
    "NCRYPT_ALLOW_ARCHIVING_FLAG": 4,
    "NCRYPT_ALLOW_PLAINTEXT_ARCHIVING_FLAG": 8,
    "NCRYPT_ALLOW_PKCS11_RSA_AES_EXPORT_FLAG": 0x10,
    "NCRYPT_ALLOW_DECRYPT_FLAG": 1,
    "NCRYPT_ALLOW_SIGNING_FLAG": 2,
    "NCRYPT_ALLOW_KEY_AGREEMENT_FLAG": 4,
    "NCRYPT_ALLOW_KEY_IMPORT_FLAG": 8,
    "NCRYPT_ALLOW_KEY_ENVELOPE_FLAG": 8,
    "NCRYPT_ALLOW_KEY_ATTESTATION_FLAG": 0x10,
    "NCRYPT_ALLOW_KEY_IMPORT_EPHEMERAL_FLAG": 0x20,
    "NCRYPT_ALLOW_ALL_USAGES": 0xFFFFFF,
    "NCRYPT_UI_PROTECT_KEY_FLAG": 1,
    "NCRYPT_UI_FORCE_HIGH_PROTECTION_FLAG": 2,
    "NCRYPT_UI_FINGERPRINT_PROTECTION_FLAG": 4,
    "NCRYPT_UI_APPCONTAINER_ACCESS_MEDIUM_FLAG": 8,
    "NCRYPT_IMPL_HARDWARE_FLAG": 1,
    "NCRYPT_IMPL_SOFTWARE_FLAG": 2,
    "NCRYPT_IMPL_REMOVABLE_FLAG": 8,
    "NCRYPT_IMPL_HARDWARE_RNG_FLAG": 0x10,
    "NCRYPT_IMPL_VIRTUAL_ISOLATION_FLAG": 0x20,
    "NCRYPT_KEY_ACCESS_POLICY_VERSION": 1,
    "NCRYPT_ALLOW_SILENT_KEY_ACCESS": 1,
    "NCRYPT_PIN_CACHE_DISABLE_DPL_FLAG": 1,
    "NCRYPT_PIN_CACHE_REQUIRE_GESTURE_FLAG": 1,
    "NCRYPT_PIN_CACHE_CLEAR_FOR_CALLING_PROCESS_OPTION": 1,
    "NCRYPT_PIN_CACHE_APPLICATION_TICKET_BYTE_LENGTH": 90,
    "NCRYPT_PIN_CACHE_PIN_BYTE_LENGTH": 90,
    "NCRYPT_PCP_SIGNATURE_KEY": 1,
    "NCRYPT_PCP_ENCRYPTION_KEY": 2,
    "NCRYPT_PCP_GENERIC_KEY": 3,
    "NCRYPT_PCP_STORAGE_KEY": 4,
    "NCRYPT_PCP_IDENTITY_KEY": 8,
    "NCRYPT_PCP_HMACVERIFICATION_KEY": 0x10,
    "NCRYPT_MAX_KEY_NAME_LENGTH": 512,
    "NCRYPT_MAX_ALG_ID_LENGTH": 512,
    "NCRYPT_MAX_PROPERTY_NAME": 64,
    "NCRYPT_MAX_PROPERTY_DATA": 0x100000,
    "NCRYPT_CIPHER_OPERATION": 1,
    "NCRYPT_HASH_OPERATION": 2,
    "NCRYPT_ASYMMETRIC_ENCRYPTION_OPERATION": 4,
    "NCRYPT_SECRET_AGREEMENT_OPERATION": 8,
    "NCRYPT_SIGNATURE_OPERATION": 0x10,
    "NCRYPT_RNG_OPERATION": 0x20,
    "NCRYPT_KEY_DERIVATION_OPERATION": 0x40,
    "NCRYPT_KEY_ENCAPSULATION_OPERATION": 0x80,
    "NCRYPT_CIPHER_INTERFACE": 1,
    "NCRYPT_HASH_INTERFACE": 2,
    "NCRYPT_ASYMMETRIC_ENCRYPTION_INTERFACE": 3,
    "NCRYPT_SECRET_AGREEMENT_INTERFACE": 4,
    "NCRYPT_SIGNATURE_INTERFACE": 5,
    "BCRYPT_RNG_INTERFACE": 6,
    "NCRYPT_KEY_DERIVATION_INTERFACE": 7,
    "NCRYPT_KEY_ENCAPSULATION_INTERFACE": 8,
    "NCRYPT_KEY_STORAGE_INTERFACE": 0x10001,
    "NCRYPT_SCHANNEL_INTERFACE": 0x10002,
    "NCRYPT_SCHANNEL_SIGNATURE_INTERFACE": 0x10003,
    "NCRYPT_KEY_PROTECTION_INTERFACE": 0x10004,
    "AT_KEYEXCHANGE": 1,
    "AT_SIGNATURE": 2,
    "NCRYPTBUFFER_VERSION": 0,
    "NCRYPTBUFFER_EMPTY": 0,
    "NCRYPTBUFFER_DATA": 1,
    "NCRYPTBUFFER_PROTECTION_DESCRIPTOR_STRING": 3,
    "NCRYPTBUFFER_PROTECTION_FLAGS": 4,
    "NCRYPTBUFFER_SSL_CLIENT_RANDOM": 20,
    "NCRYPTBUFFER_SSL_SERVER_RANDOM": 21,
    "NCRYPTBUFFER_SSL_HIGHEST_VERSION": 22,
    "NCRYPTBUFFER_SSL_CLEAR_KEY": 23,
    "NCRYPTBUFFER_SSL_KEY_ARG_DATA": 24,
    "NCRYPTBUFFER_SSL_SESSION_HASH": 25,
    "NCRYPTBUFFER_PKCS_OID": 40,
    "NCRYPTBUFFER_PKCS_ALG_OID": 41,
    "NCRYPTBUFFER_PKCS_ALG_PARAM": 42,
    "NCRYPTBUFFER_PKCS_ALG_ID": 43,
    "NCRYPTBUFFER_PKCS_ATTRS": 44,
    "NCRYPTBUFFER_PKCS_KEY_NAME": 45,
    "NCRYPTBUFFER_PKCS_SECRET": 46,
    "NCRYPTBUFFER_CERT_BLOB": 47,
    "NCRYPTBUFFER_CLAIM_IDBINDING_NONCE": 48,
    "NCRYPTBUFFER_CLAIM_KEYATTESTATION_NONCE": 49,
    "NCRYPTBUFFER_ATTESTATION_STATEMENT_NONCE": 49,
    "NCRYPTBUFFER_KEY_PROPERTY_FLAGS": 50,
    "NCRYPTBUFFER_ATTESTATIONSTATEMENT_BLOB": 51,
    "NCRYPTBUFFER_ATTESTATION_CLAIM_TYPE": 52,
    "NCRYPTBUFFER_ATTESTATION_CLAIM_CHALLENGE_REQUIRED": 53,
    "NCRYPTBUFFER_ECC_CURVE_NAME": 60,
    "NCRYPTBUFFER_ECC_PARAMETERS": 61,
    "NCRYPTBUFFER_TPM_SEAL_PASSWORD": 70,
    "NCRYPTBUFFER_TPM_SEAL_POLICYINFO": 71,
    "NCRYPTBUFFER_TPM_SEAL_TICKET": 72,
    "NCRYPTBUFFER_TPM_SEAL_NO_DA_PROTECTION": 73,
    "NCRYPTBUFFER_TPM_PLATFORM_CLAIM_PCR_MASK": 80,
    "NCRYPTBUFFER_TPM_PLATFORM_CLAIM_NONCE": 81,
    "NCRYPTBUFFER_TPM_PLATFORM_CLAIM_STATIC_CREATE": 82,
    "NCRYPTBUFFER_ATTESTATION_STATEMENT_SIGNATURE_HASH": 90,
    "NCRYPTBUFFER_ATTESTATION_STATEMENT_SIGNATURE_PADDING_SCHEME": 91,
    "NCRYPTBUFFER_ATTESTATION_STATEMENT_SIGNATURE_PADDING_ALGO": 92,
    "NCRYPTBUFFER_ATTESTATION_STATEMENT_SIGNATURE_PADDING_SALT_SIZE": 93,
    "NCRYPTBUFFER_ATTESTATION_STATEMENT_SIGNATURE_PADDING_SALT": 93,
    "NCRYPTBUFFER_VBS_ATTESTATION_STATEMENT_ROOT_DETAILS": 94,
    "NCRYPTBUFFER_VBS_ATTESTATION_STATEMENT_IDENTITY_DETAILS": 95,
    "NCRYPTBUFFER_PKCS_AES_KEY_BITS": 96,
    "NCRYPTBUFFER_PKCS_PADDING_ALGO": 97,
    "NCRYPTBUFFER_PKCS_PADDING_LABEL": 98,
    "NCRYPT_CLAIM_AUTHORITY_ONLY": 1,
    "NCRYPT_CLAIM_SUBJECT_ONLY": 2,
    "NCRYPT_CLAIM_AUTHORITY_AND_SUBJECT": 3,
    "NCRYPT_CLAIM_VBS_KEY_ATTESTATION_STATEMENT": 4,
    "NCRYPT_CLAIM_VBS_ROOT": 5,
    "NCRYPT_CLAIM_VBS_IDENTITY": 6,
    "NCRYPT_CLAIM_WEB_AUTH_SUBJECT_ONLY": 0x102,
    "NCRYPT_CLAIM_WEB_AUTH_SUBJECT_ONLY_V2": 0x103,
    "NCRYPT_CLAIM_UNKNOWN": 0x1000,
    "NCRYPT_CLAIM_PLATFORM": 0x10000,
    "NCRYPT_VBS_RETURN_CLAIM_DETAILS_FLAG": 0x100000,
    "NCRYPT_VBS_KEY_FLAG_CREATED_IN_ISOLATION": 1,
    "NCRYPT_VBS_KEY_FLAG_IMPORT_ONLY": 2,
    "NCRYPT_VBS_KEY_FLAG_PER_BOOT_KEY": 4,
    "NCRYPT_VBS_KEY_FLAG_IMPORT_EPHEMERAL_ONLY": 8,
}

# What `spelling` does not give.
STRINGS = {
    "MS_KEY_STORAGE_PROVIDER": "Microsoft Software Key Storage Provider",
    "MS_SMART_CARD_KEY_STORAGE_PROVIDER": "Microsoft Smart Card Key Storage Provider",
    "MS_PLATFORM_CRYPTO_PROVIDER": "Microsoft Platform Crypto Provider",
    "MS_PLATFORM_KEY_STORAGE_PROVIDER": "Microsoft Platform Crypto Provider",
    "MS_NGC_KEY_STORAGE_PROVIDER": "Microsoft Passport Key Storage Provider",
    "MS_PLUTON_CRYPTO_PROVIDER": "Microsoft Pluton Cryptographic Provider",
    "MS_KEY_PROTECTION_PROVIDER": "Microsoft Key Protection Provider",
    "MS_SCHANNEL_PROVIDER": "Microsoft SSL Protocol Provider",
    "NCRYPT_MLKEM_ALGORITHM": "ML-KEM",
    "NCRYPT_MLDSA_ALGORITHM": "ML-DSA",
    "NCRYPT_SLHDSA_ALGORITHM": "SLH-DSA",
    "NCRYPT_HMAC_SHA256_ALGORITHM": "HMAC-SHA256",
    "NCRYPT_SP800108_CTR_HMAC_ALGORITHM": "SP800_108_CTR_HMAC",
    "NCRYPT_SP80056A_CONCAT_ALGORITHM": "SP800_56A_CONCAT",
    "BCRYPT_SHA3_256_ALGORITHM": "SHA3-256",
    "BCRYPT_SHA3_384_ALGORITHM": "SHA3-384",
    "BCRYPT_SHA3_512_ALGORITHM": "SHA3-512",
    "NCRYPT_NAME_PROPERTY": "Name",
    "NCRYPT_UNIQUE_NAME_PROPERTY": "Unique Name",
    "NCRYPT_EPHEMERAL_NAME_PROPERTY": "Ephemeral Name",
    "NCRYPT_ALGORITHM_PROPERTY": "Algorithm Name",
    "NCRYPT_ALGORITHM_GROUP_PROPERTY": "Algorithm Group",
    "NCRYPT_LENGTH_PROPERTY": "Length",
    "NCRYPT_LENGTHS_PROPERTY": "Lengths",
    "NCRYPT_BLOCK_LENGTH_PROPERTY": "Block Length",
    "NCRYPT_PUBLIC_LENGTH_PROPERTY": "PublicKeyLength",
    "NCRYPT_SIGNATURE_LENGTH_PROPERTY": "SignatureLength",
    "NCRYPT_CHAINING_MODE_PROPERTY": "Chaining Mode",
    "NCRYPT_AUTH_TAG_LENGTH": "AuthTagLength",
    "NCRYPT_INITIALIZATION_VECTOR": "IV",
    "NCRYPT_UI_POLICY_PROPERTY": "UI Policy",
    "NCRYPT_EXPORT_POLICY_PROPERTY": "Export Policy",
    "NCRYPT_WINDOW_HANDLE_PROPERTY": "HWND Handle",
    "NCRYPT_USE_CONTEXT_PROPERTY": "Use Context",
    "NCRYPT_IMPL_TYPE_PROPERTY": "Impl Type",
    "NCRYPT_KEY_USAGE_PROPERTY": "Key Usage",
    "NCRYPT_KEY_TYPE_PROPERTY": "Key Type",
    "NCRYPT_VERSION_PROPERTY": "Version",
    "NCRYPT_SECURITY_DESCR_SUPPORT_PROPERTY": "Security Descr Support",
    "NCRYPT_SECURITY_DESCR_PROPERTY": "Security Descr",
    "NCRYPT_USE_COUNT_ENABLED_PROPERTY": "Enabled Use Count",
    "NCRYPT_USE_COUNT_PROPERTY": "Use Count",
    "NCRYPT_LAST_MODIFIED_PROPERTY": "Modified",
    "NCRYPT_MAX_NAME_LENGTH_PROPERTY": "Max Name Length",
    "NCRYPT_PROVIDER_HANDLE_PROPERTY": "Provider Handle",
    "NCRYPT_PIN_PROPERTY": "SmartCardPin",
    "NCRYPT_CERTIFICATE_PROPERTY": "SmartCardKeyCertificate",
    "NCRYPT_DH_PARAMETERS_PROPERTY": "DHParameters",
    "NCRYPT_ECC_PARAMETERS_PROPERTY": "ECCParameters",
    "NCRYPT_ECC_CURVE_NAME_PROPERTY": "ECCCurveName",
    "NCRYPT_ECC_CURVE_NAME_LIST_PROPERTY": "ECCCurveNameList",
    "NCRYPT_KEY_ACCESS_POLICY_PROPERTY": "Key Access Policy",
    "NCRYPT_KDF_SECRET_VALUE": "KDFKeySecret",
    "NCRYPT_PARAMETER_SET_NAME_PROPERTY": "ParameterSetName",
    "NCRYPT_KEM_SHARED_SECRET_LENGTH_PROPERTY": "KEMSharedSecretLength",
    "NCRYPT_KEM_CIPHERTEXT_LENGTH_PROPERTY": "KEMCiphertextLength",
    "NCRYPT_USE_VIRTUAL_ISOLATION_PROPERTY": "Virtual Iso",
    "NCRYPT_USE_PER_BOOT_KEY_PROPERTY": "Per Boot Key",
    "NCRYPT_VBS_ROOT_PUB_PROPERTY": "VBS_ROOT_PUB",
    "NCRYPT_READER_PROPERTY": "SmartCardReader",
    "NCRYPT_READER_ICON_PROPERTY": "SmartCardReaderIcon",
    "NCRYPT_SMARTCARD_GUID_PROPERTY": "SmartCardGuid",
    "NCRYPT_PIN_PROMPT_PROPERTY": "SmartCardPinPrompt",
    "NCRYPT_USER_CERTSTORE_PROPERTY": "SmartCardUserCertStore",
    "NCRYPT_ROOT_CERTSTORE_PROPERTY": "SmartcardRootCertStore",
    "NCRYPT_SECURE_PIN_PROPERTY": "SmartCardSecurePin",
    "NCRYPT_ASSOCIATED_ECDH_KEY": "SmartCardAssociatedECDHKey",
    "NCRYPT_SCARD_PIN_ID": "SmartCardPinId",
    "NCRYPT_SCARD_PIN_INFO": "SmartCardPinInfo",
    "NCRYPT_SCARD_NGC_KEY_NAME": "SmartCardNgcKeyName",
    "NCRYPT_PIN_CACHE_FLAGS_PROPERTY": "PinCacheFlags",
    "NCRYPT_PIN_CACHE_APPLICATION_TICKET_PROPERTY": "PinCacheApplicationTicket",
    "NCRYPT_PIN_CACHE_APPLICATION_IMAGE_PROPERTY": "PinCacheApplicationImage",
    "NCRYPT_PIN_CACHE_APPLICATION_STATUS_PROPERTY": "PinCacheApplicationStatus",
    "NCRYPT_PIN_CACHE_PIN_PROPERTY": "PinCachePin",
    "NCRYPT_PIN_CACHE_IS_GESTURE_REQUIRED_PROPERTY": "PinCacheIsGestureRequired",
    "NCRYPT_PIN_CACHE_FREE_APPLICATION_TICKET_PROPERTY": "PinCacheFreeApplicationTicket",
    "NCRYPT_PIN_CACHE_CLEAR_PROPERTY": "PinCacheClear",
    "NGC_KEY_IMPL_TYPE_PROPERTY": "NgcKeyImplType",
    "NGC_SOFTWARE_KEY_PBKDF2_SALT_PROPERTY": "NgcSoftwareKeyPbkdf2Salt",
    "NGC_SOFTWARE_KEY_PBKDF2_ROUND_PROPERTY": "NgcSoftwareKeyPbkdf2Round",
    "NCRYPT_PCP_PROVIDERHANDLE_PROPERTY": "PCP_PROVIDERMHANDLE",
    "NCRYPT_CHANGEPASSWORD_PROPERTY": "PCP_CHANGEPASSWORD",
    "NCRYPT_PCP_PSS_SALT_SIZE_PROPERTY": "PSS Salt Size",
    "NCRYPT_PCP_KEYATTESTATION_PROPERTY": "PCP_TPM12_KEYATTESTATION",
    "NCRYPT_ALTERNATE_KEY_STORAGE_LOCATION_PROPERTY": "PCP_ALTERNATE_KEY_STORAGE_LOCATION",
    "TPM_RSA_SRK_SEAL_KEY": "MICROSOFT_PCP_KSP_RSA_SEAL_KEY_3BD1C4BF-004E-4E2F-8A4D-0BF633DCB074",
    "BCRYPT_PUBLIC_KEY_BLOB": "PUBLICBLOB",
    "BCRYPT_PRIVATE_KEY_BLOB": "PRIVATEBLOB",
    "BCRYPT_MLKEM_ENCAPSULATION_BLOB": "MLKEMPUBLICBLOB",
    "BCRYPT_MLKEM_DECAPSULATION_BLOB": "MLKEMPRIVATEBLOB",
    "BCRYPT_KEY_DATA_BLOB": "KeyDataBlob",
    "BCRYPT_OPAQUE_KEY_BLOB": "OpaqueKeyBlob",
    "BCRYPT_AES_WRAP_KEY_BLOB": "Rfc3565KeyWrapBlob",
    "BCRYPT_PKCS11_RSA_AES_WRAP_KEY_BLOB": "PKCS11RsaAesWrapBlob",
    "LEGACY_RSAPUBLIC_BLOB": "CAPIPUBLICBLOB",
    "LEGACY_RSAPRIVATE_BLOB": "CAPIPRIVATEBLOB",
    "LEGACY_DSA_V2_PUBLIC_BLOB": "V2CAPIDSAPUBLICBLOB",
    "LEGACY_DSA_V2_PRIVATE_BLOB": "V2CAPIDSAPRIVATEBLOB",
    "NCRYPT_PKCS7_ENVELOPE_BLOB": "PKCS7_ENVELOPE",
    "NCRYPT_PKCS8_PRIVATE_KEY_BLOB": "PKCS8_PRIVATEKEY",
    "NCRYPT_OPAQUETRANSPORT_BLOB": "OpaqueTransport",
    "NCRYPT_CIPHER_KEY_BLOB": "CipherKeyBlob",
    "NCRYPT_KDF_KEY_BLOB": "KDFKeyBlob",
    "NCRYPT_PROTECTED_KEY_BLOB": "ProtectedKeyBlob",
    "NCRYPT_ISOLATED_KEY_ENVELOPE_BLOB": "ISOLATED_KEY_ENVELOPE",
    "NCRYPT_PQ_PRIVATE_KEY_BLOB": "PQPrivateKeyBlob",
    "NCRYPT_PQ_PUBLIC_KEY_BLOB": "PUBLICBLOB",
    "NCRYPT_TPM_LOADABLE_KEY_BLOB": "PcpTpmProtectedKeyBlob",
    "NCRYPT_TPM_PERSISTENT_KEY_BLOB": "PcpTpmPersistentKeyBlob",
    "BCRYPT_KDF_SP80056A_CONCAT": "SP800_56A_CONCAT",
    "BCRYPT_KDF_RAW_SECRET": "TRUNCATE",
}

MAGIC_TEXTS = {
    "BCRYPT_RSAPUBLIC_MAGIC": b"RSA1",
    "BCRYPT_RSAPRIVATE_MAGIC": b"RSA2",
    "BCRYPT_RSAFULLPRIVATE_MAGIC": b"RSA3",
    "BCRYPT_ECDH_PUBLIC_P256_MAGIC": b"ECK1",
    "BCRYPT_ECDH_PRIVATE_P256_MAGIC": b"ECK2",
    "BCRYPT_ECDH_PUBLIC_P384_MAGIC": b"ECK3",
    "BCRYPT_ECDH_PRIVATE_P384_MAGIC": b"ECK4",
    "BCRYPT_ECDH_PUBLIC_P521_MAGIC": b"ECK5",
    "BCRYPT_ECDH_PRIVATE_P521_MAGIC": b"ECK6",
    "BCRYPT_ECDH_PUBLIC_GENERIC_MAGIC": b"ECKP",
    "BCRYPT_ECDH_PRIVATE_GENERIC_MAGIC": b"ECKV",
    "BCRYPT_ECDSA_PUBLIC_P256_MAGIC": b"ECS1",
    "BCRYPT_ECDSA_PRIVATE_P256_MAGIC": b"ECS2",
    "BCRYPT_ECDSA_PUBLIC_P384_MAGIC": b"ECS3",
    "BCRYPT_ECDSA_PRIVATE_P384_MAGIC": b"ECS4",
    "BCRYPT_ECDSA_PUBLIC_P521_MAGIC": b"ECS5",
    "BCRYPT_ECDSA_PRIVATE_P521_MAGIC": b"ECS6",
    "BCRYPT_ECDSA_PUBLIC_GENERIC_MAGIC": b"ECDP",
    "BCRYPT_ECDSA_PRIVATE_GENERIC_MAGIC": b"ECDV",
    "BCRYPT_ECC_PARAMETERS_MAGIC": b"ECCP",
    "BCRYPT_DH_PUBLIC_MAGIC": b"DHPB",
    "BCRYPT_DH_PRIVATE_MAGIC": b"DHPV",
    "BCRYPT_DH_PARAMETERS_MAGIC": b"DHPM",
    "BCRYPT_DSA_PUBLIC_MAGIC": b"DSPB",
    "BCRYPT_DSA_PRIVATE_MAGIC": b"DSPV",
    "BCRYPT_DSA_PARAMETERS_MAGIC": b"DSPM",
    "BCRYPT_DSA_PUBLIC_MAGIC_V2": b"DPB2",
    "BCRYPT_DSA_PRIVATE_MAGIC_V2": b"DPV2",
    "BCRYPT_DSA_PARAMETERS_MAGIC_V2": b"DPM2",
    "BCRYPT_MLDSA_PUBLIC_MAGIC": b"DSPK",
    "BCRYPT_MLDSA_PRIVATE_MAGIC": b"DSSK",
    "BCRYPT_MLDSA_PRIVATE_SEED_MAGIC": b"DSSS",
    "BCRYPT_SLHDSA_PUBLIC_MAGIC": b"SHPK",
    "BCRYPT_SLHDSA_PRIVATE_MAGIC": b"SHSK",
    "BCRYPT_LMS_PUBLIC_MAGIC": b"LMPK",
    "BCRYPT_XMSS_PUBLIC_MAGIC": b"XMPK",
    "BCRYPT_MLKEM_PUBLIC_MAGIC": b"MLKP",
    "BCRYPT_MLKEM_PRIVATE_MAGIC": b"MLKR",
    "BCRYPT_MLKEM_PRIVATE_SEED_MAGIC": b"MLKS",
    "BCRYPT_COMPOSITE_MLDSA_PUBLIC_MAGIC": b"CMPK",
    "BCRYPT_COMPOSITE_MLDSA_PRIVATE_MAGIC": b"CMSK",
    "BCRYPT_COMPOSITE_MLKEM_PUBLIC_MAGIC": b"CMKP",
    "BCRYPT_COMPOSITE_MLKEM_PRIVATE_MAGIC": b"CMKR",
    "BCRYPT_COMPOSITE_MLKEM_PRIVATE_IRTF_SEED_MAGIC": b"CMKS",
    "BCRYPT_KEY_DATA_BLOB_MAGIC": b"KDBM",
    "BCRYPT_PKCS11_RSA_AES_WRAP_BLOB_MAGIC": b"RAPW",
    "NCRYPT_CIPHER_KEY_BLOB_MAGIC": b"CPHR",
    "NCRYPT_KDF_KEY_BLOB_MAGIC": b"KDF1",
    "NCRYPT_PROTECTED_KEY_BLOB_MAGIC": b"PRTK",
    "NCRYPT_PQ_PRIVATE_BLOB_MAGIC": b"PQPR",
    "NCRYPT_TPM_LOADABLE_KEY_BLOB_MAGIC": b"KPTM",
    "NCRYPT_TPM_PERSISTENT_KEY_BLOB_MAGIC": b"KPTM",
    "VBS_KEY_ATTESTATION_STATEMENT_MAGIC": b"VKAS",
    "VBS_ROOT_ATTESTATION_HEADER_MAGIC": b"VRCH",
    "VBS_IDENTITY_ATTESTATION_HEADER_MAGIC": b"VICH",
}

STATUSES = {
    "ERROR_SUCCESS": 0,
    "ERROR_FILE_NOT_FOUND": 2,
    "ERROR_ACCESS_DENIED": 5,
    "ERROR_INVALID_HANDLE": 6,
    "ERROR_NOT_SUPPORTED": 50,
    "ERROR_INVALID_PARAMETER": 87,
    "ERROR_INSUFFICIENT_BUFFER": 122,
    "ERROR_MORE_DATA": 234,
    "ERROR_NO_MORE_ITEMS": 259,
    "ERROR_SERVICE_NOT_ACTIVE": 1062,
    "ERROR_NOT_FOUND": 1168,
    "ERROR_CANCELLED": 1223,
    "ERROR_LOGON_FAILURE": 1326,
    "ERROR_ACCOUNT_LOCKED_OUT": 1909,
    "E_HANDLE": 0x80070006,
    "RPC_S_INVALID_BINDING": 0x800706A6,
    "RPC_S_UNKNOWN_IF": 0x800706B5,
    "RPC_S_SERVER_UNAVAILABLE": 0x800706BA,
    "RPC_S_SERVER_TOO_BUSY": 0x800706BB,
    "RPC_S_CALL_FAILED": 0x800706BE,
    "RPC_S_CALL_FAILED_DNE": 0x800706BF,
    "RPC_X_SS_IN_NULL_CONTEXT": 0x800706EF,
    "RPC_X_SS_CONTEXT_DAMAGED": 0x800706F1,
    "RPC_X_SS_HANDLES_MISMATCH": 0x800706F2,
    "RPC_X_SS_CANNOT_GET_CALL_HANDLE": 0x800706F3,
    "RPC_X_NULL_REF_POINTER": 0x800706F4,
    "RPC_S_COMM_FAILURE": 0x8007071C,
    "RPC_NT_SS_CONTEXT_MISMATCH": 0xC0030005,
    "STATUS_INVALID_HANDLE": 0xC0000008,
    "STATUS_INVALID_PARAMETER": 0xC000000D,
    "STATUS_NO_MEMORY": 0xC0000017,
    "STATUS_ACCESS_DENIED": 0xC0000022,
    "STATUS_BUFFER_TOO_SMALL": 0xC0000023,
    "STATUS_OBJECT_TYPE_MISMATCH": 0xC0000024,
    "STATUS_OBJECT_NAME_NOT_FOUND": 0xC0000034,
    "STATUS_DATA_ERROR": 0xC000003E,
    "STATUS_NOT_SUPPORTED": 0xC00000BB,
    "STATUS_INTERNAL_ERROR": 0xC00000E5,
    "STATUS_INVALID_BUFFER_SIZE": 0xC0000206,
    "STATUS_NOT_FOUND": 0xC0000225,
    "STATUS_FAIL_CHECK": 0xC0000229,
    "STATUS_ENCRYPTION_FAILED": 0xC000028A,
    "STATUS_DECRYPTION_FAILED": 0xC000028B,
    "STATUS_SMARTCARD_WRONG_PIN": 0xC0000380,
    "STATUS_SMARTCARD_CARD_BLOCKED": 0xC0000381,
    "STATUS_SMARTCARD_NO_KEY_CONTAINER": 0xC0000384,
    "STATUS_SMARTCARD_SILENT_CONTEXT": 0xC000038F,
    "STATUS_BAD_DATA": 0xC000090B,
    "STATUS_INVALID_SIGNATURE": 0xC000A000,
    "STATUS_AUTH_TAG_MISMATCH": 0xC000A002,
    "STATUS_VSM_NOT_INITIALIZED": 0xC0450000,
    "STATUS_VSM_DMA_PROTECTION_NOT_IN_USE": 0xC0450001,
    "STATUS_VSM_KEY_CI_POLICY_ROLLBACK_DETECTED": 0xC0450002,
    "STATUS_VSMIDK_KEYGEN_FAILURE": 0xC0450003,
    "STATUS_VSMIDK_EXPORT_FAILURE": 0xC0450004,
    "STATUS_VSMIDK_MODULUS_MISMATCH": 0xC0450005,
    "SCARD_W_WRONG_CHV": 0x8010006B,
    "SCARD_W_CHV_BLOCKED": 0x8010006C,
    "SCARD_W_CANCELLED_BY_USER": 0x8010006E,
    "TPM_20_E_AUTH_FAIL": 0x8028008E,
    "TPM_20_E_BAD_AUTH": 0x802800A2,
    "TPM_E_DEFEND_LOCK_RUNNING": 0x80280803,
    "TPM_20_E_LOCKOUT": 0x80280921,
    "TPM_E_PCP_DEVICE_NOT_READY": 0x80290401,
    "TPM_E_PCP_INVALID_HANDLE": 0x80290402,
    "TPM_E_PCP_INVALID_PARAMETER": 0x80290403,
    "TPM_E_PCP_FLAG_NOT_SUPPORTED": 0x80290404,
    "TPM_E_PCP_NOT_SUPPORTED": 0x80290405,
    "TPM_E_PCP_BUFFER_TOO_SMALL": 0x80290406,
    "TPM_E_PCP_INTERNAL_ERROR": 0x80290407,
    "TPM_E_PCP_AUTHENTICATION_FAILED": 0x80290408,
    "TPM_E_PCP_AUTHENTICATION_IGNORED": 0x80290409,
    "TPM_E_PCP_POLICY_NOT_FOUND": 0x8029040A,
    "TPM_E_PCP_PROFILE_NOT_FOUND": 0x8029040B,
    "TPM_E_PCP_VALIDATION_FAILED": 0x8029040C,
    "TPM_E_PCP_WRONG_PARENT": 0x8029040E,
    "KEYISO_E_EPHEMERAL_GONE": 0xA0090001,
    "KEYISO_E_SERVICE_UNAVAILABLE": 0xA0090002,
    "KEYISO_E_STALE": 0xA0090003,
    "KEYISO_E_PROTOCOL": 0xA0090004,
    "KEYISO_E_LIMIT": 0xA0090005,
    "KEYISO_E_ROOT_MISSING": 0xA0090006,
    "KEYISO_E_STORE": 0xA0090007,
    "KEYISO_E_PEER_REFUSED": 0xA0090008,
}

# The names of KDF_* 0 and of those that follow it.
KDF_NAMES = """
    HASH_ALGORITHM SECRET_PREPEND SECRET_APPEND HMAC_KEY TLS_PRF_LABEL TLS_PRF_SEED SECRET_HANDLE
    TLS_PRF_PROTOCOL ALGORITHMID PARTYUINFO PARTYVINFO SUPPPUBINFO SUPPPRIVINFO LABEL CONTEXT SALT
    ITERATION_COUNT GENERIC_PARAMETER KEYBITLENGTH HKDF_SALT HKDF_INFO
"""

# The names of 0x80090001 and of those that follow it.
NTE_NAMES = """
    BAD_UID BAD_HASH BAD_KEY BAD_LEN BAD_DATA BAD_SIGNATURE BAD_VER BAD_ALGID BAD_FLAGS BAD_TYPE
    BAD_KEY_STATE BAD_HASH_STATE NO_KEY NO_MEMORY EXISTS PERM NOT_FOUND DOUBLE_ENCRYPT
    BAD_PROVIDER BAD_PROV_TYPE BAD_PUBLIC_KEY BAD_KEYSET PROV_TYPE_NOT_DEF PROV_TYPE_ENTRY_BAD
    KEYSET_NOT_DEF KEYSET_ENTRY_BAD PROV_TYPE_NO_MATCH SIGNATURE_FILE_BAD PROVIDER_DLL_FAIL
    PROV_DLL_NOT_FOUND BAD_KEYSET_PARAM FAIL SYS_ERR SILENT_CONTEXT TOKEN_KEYSET_STORAGE_FULL
    TEMPORARY_PROFILE FIXEDPARAMETER INVALID_HANDLE INVALID_PARAMETER BUFFER_TOO_SMALL
    NOT_SUPPORTED NO_MORE_ITEMS BUFFERS_OVERLAP DECRYPTION_FAILURE INTERNAL_ERROR UI_REQUIRED
    HMAC_NOT_SUPPORTED DEVICE_NOT_READY AUTHENTICATION_IGNORED VALIDATION_FAILED
    INCORRECT_PASSWORD ENCRYPTION_FAILURE DEVICE_NOT_FOUND USER_CANCELLED
    PASSWORD_CHANGE_REQUIRED NOT_ACTIVE_CONSOLE VBS_UNAVAILABLE VBS_CANNOT_DECRYPT_KEY
"""


def dashed(text: str) -> str:
    """Words joined by dashes."""
    return text.replace("_", "-")


def joined(text: str) -> str:
    """Words joined by nothing."""
    return text.replace("_", "")


# Spellings that follow from the name: a pattern and what to make of its groups.
RULES: list[tuple[str, Callable[[re.Match[str]], str]]] = [
    (r"BCRYPT_SLHDSA_PARAMETER_SET_(\w+)([SF])", lambda m: dashed(m[1]) + m[2].lower()),
    (r"BCRYPT_\w+_PARAMETER_SET_(\w+)", lambda m: dashed(m[1])),
    (r"NCRYPT_(PCP_\w+?)(_PROPERTY)?", lambda m: m[1]),
    (r"BCRYPT_(\w+)_BLOB", lambda m: joined(m[1]) + "BLOB"),
    (r"LEGACY_(\w+)_BLOB", lambda m: "CAPI" + joined(m[1]) + "BLOB"),
    (r"[BN]CRYPT_(\w+)_ALGORITHM(_GROUP)?", lambda m: m[1]),
    (r"NCRYPT_(\w+)_GROUP", lambda m: m[1]),
    (r"BCRYPT_KDF_(\w+)", lambda m: m[1]),
]


def spelling(name: str) -> str | None:
    """What the constant of this name should say."""
    if name in STRINGS:
        return STRINGS[name]
    for pattern, text in RULES:
        if match := re.fullmatch(pattern, name):
            return text(match)
    return None


def constants(module: ModuleType) -> dict[str, int | str]:
    """The constants of a module, which are its names in capitals."""
    return {name: value for name, value in vars(module).items() if name.isupper()}


def test_flags_are_the_numbers_of_cng() -> None:
    """A program that passes CNG's number means CNG's flag."""
    kdf = {f"KDF_{name}": number for number, name in enumerate(KDF_NAMES.split())}

    assert constants(flags) == NUMBERS | kdf


def test_identifiers_are_spelled_as_in_cng() -> None:
    """Strings are compared exactly, with their blanks and their odd capitals."""
    found = {
        name: value
        for name, value in constants(identifiers).items()
        if not name.startswith("KEYISO_")  # keyiso's own
    }

    assert found == {name: spelling(name) for name in found}
    assert found.keys() >= STRINGS.keys()


def test_every_magic_reads_as_its_text() -> None:
    """A magic in memory is four letters, lowest byte first."""
    in_memory = {
        name: value.to_bytes(4, "little")
        for name, value in constants(magics).items()
        if isinstance(value, int)
    }

    assert in_memory == MAGIC_TEXTS


def test_magics_tell_blobs_apart() -> None:
    """Only the two blobs of a TPM key share a magic."""
    shared = [text for text, count in Counter(MAGIC_TEXTS.values()).items() if count > 1]

    assert shared == [b"KPTM"]


def test_statuses_are_the_numbers_of_cng() -> None:
    """A program that compares with CNG's number finds its status. NTE_* count without a gap."""
    nte = {f"NTE_{name}": code for code, name in enumerate(NTE_NAMES.split(), 0x80090001)}

    assert {name: int(one) for name, one in Status.__members__.items()} == STATUSES | nte


@pytest.mark.parametrize(("module", "kind"), [(flags, int), (magics, int), (identifiers, str)])
def test_constants_are_of_one_kind(module: ModuleType, kind: type) -> None:
    """Numbers are unsigned and of 32 bits; strings are printable ASCII."""
    for name, value in constants(module).items():
        assert type(value) is kind, name
        if isinstance(value, int):
            assert 0 <= value <= 0xFFFFFFFF, name
        else:
            assert value and value.isascii() and value.isprintable(), name


def test_no_name_means_two_things() -> None:
    """A name may be imported from any of the modules, and is one value."""
    seen: dict[str, int | str] = {}
    for values in (
        constants(flags),
        constants(identifiers),
        constants(magics),
        dict(Status.__members__),
    ):
        for name, value in values.items():
            assert seen.setdefault(name, value) == value, name


def test_flags_of_a_key_can_be_combined() -> None:
    """Flags of creating, opening and importing are single bits that do not collide."""
    names = [
        "NCRYPT_NO_KEY_VALIDATION",
        "NCRYPT_MACHINE_KEY_FLAG",
        "NCRYPT_SILENT_FLAG",
        "NCRYPT_OVERWRITE_KEY_FLAG",
        "NCRYPT_AUTHORITY_KEY_FLAG",
        "NCRYPT_WRITE_KEY_TO_LEGACY_STORE_FLAG",
        "NCRYPT_DO_NOT_FINALIZE_FLAG",
        "NCRYPT_EXPORT_LEGACY_FLAG",
        "NCRYPT_IGNORE_DEVICE_STATE_FLAG",
        "NCRYPT_TREAT_NIST_AS_GENERIC_ECC_FLAG",
        "NCRYPT_NO_CACHED_PASSWORD",
        "NCRYPT_PROTECT_TO_LOCAL_SYSTEM",
        "NCRYPT_PREFER_VBS_FLAG",
        "NCRYPT_REQUIRE_VBS_FLAG",
        "NCRYPT_USE_PER_BOOT_KEY_FLAG",
        "NCRYPT_EXTENDED_ERRORS_FLAG",
        "NCRYPT_PERSIST_ONLY_FLAG",
        "NCRYPT_PERSIST_FLAG",
    ]
    values = [getattr(flags, name) for name in names]

    assert {value.bit_count() for value in values} == {1}
    assert len(set(values)) == len(names)


def test_statuses_are_unique_numbers_of_32_bits() -> None:
    """A number has one name, so that a code on the wire has one meaning."""
    assert len(Status.__members__) == len({int(one) for one in Status})
    assert all(0 <= one <= 0xFFFFFFFF for one in Status)


def test_our_statuses_are_errors_that_microsoft_cannot_assign() -> None:
    """Severity and customer bit are set, the other reserved bits clear, the facility is 9."""
    ours = [one for one in Status if one.name.startswith("KEYISO_")]

    assert {one >> 16 for one in ours} == {0b1010_0000_0000_1001}


@pytest.mark.parametrize("one", Status)
def test_status_has_a_message_of_one_sentence(one: Status) -> None:
    """Every status can be printed as a sentence on one line."""
    assert one.message.endswith(".")
    assert one.message[0].isupper()
    assert one.message.isprintable()


def test_status_cannot_be_given_another_message() -> None:
    """A status is a frozen value."""
    with pytest.raises(AttributeError):
        Status.NTE_FAIL.message = "changed"  # type: ignore[misc]


def test_status_stays_itself_when_pickled() -> None:
    """A status that went through a pickle is the same member, with its message."""
    assert pickle.loads(pickle.dumps(Status.NTE_EXISTS)) is Status.NTE_EXISTS


def test_only_success_is_false() -> None:
    """``if status:`` asks whether something went wrong."""
    assert [one for one in Status if not one] == [Status.ERROR_SUCCESS]


@pytest.mark.parametrize("code", [0x80090016, 0x80090016 - 0x100000000, Status.NTE_BAD_KEYSET])
def test_status_is_found_signed_and_unsigned(code: int) -> None:
    """Windows' tools print a status signed, its documentation unsigned."""
    assert status_name(code) == "NTE_BAD_KEYSET"
    assert describe(code) == "NTE_BAD_KEYSET (0x80090016): The key set does not exist."


@pytest.mark.parametrize(
    ("code", "name"), [(0x800706BC, "0x800706BC"), (4711, "0x00001267"), (-1, "0xFFFFFFFF")]
)
def test_unknown_status_is_shown_as_a_number(code: int, name: str) -> None:
    """A code that a provider of somebody else returned is shown and does not raise."""
    assert status_name(code) == name
    assert describe(code) == f"{name}: a status without a name."


def test_texts_that_programs_search_for() -> None:
    """Programs tell the two VBS errors by their text, so it is Windows' text."""
    assert Status.NTE_VBS_UNAVAILABLE.message == "VBS key isolation is not available."
    assert Status.NTE_VBS_CANNOT_DECRYPT_KEY.message == "Cannot decrypt a VBS-isolated key."
