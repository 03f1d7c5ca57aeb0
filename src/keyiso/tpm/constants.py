"""The specification's numbers that keyiso uses (TPM 2.0 Library, Part 2)."""

import enum


@enum.unique
class TPM_ALG(enum.IntEnum):
    """Algorithms."""

    RSA = 0x0001
    AES = 0x0006
    KEYEDHASH = 0x0008
    SHA256 = 0x000B
    NULL = 0x0010
    RSASSA = 0x0014
    RSAES = 0x0015
    RSAPSS = 0x0016
    OAEP = 0x0017
    ECDSA = 0x0018
    ECC = 0x0023
    CFB = 0x0043


@enum.unique
class TPM_ECC(enum.IntEnum):
    """Curves."""

    NIST_P256 = 0x0003


@enum.unique
class TPM_CC(enum.IntEnum):
    """Command codes."""

    NV_UndefineSpace = 0x122
    NV_DefineSpace = 0x12A
    CreatePrimary = 0x131
    NV_Increment = 0x134
    NV_Write = 0x137
    Startup = 0x144
    Shutdown = 0x145
    PolicyNV = 0x149
    NV_Read = 0x14E
    PolicySecret = 0x151
    Create = 0x153
    Load = 0x157
    RSA_Decrypt = 0x159
    Sign = 0x15D
    Unseal = 0x15E
    PolicySigned = 0x160
    FlushContext = 0x165
    LoadExternal = 0x167
    NV_ReadPublic = 0x169
    PolicyAuthValue = 0x16B
    PolicyCommandCode = 0x16C
    PolicyCounterTimer = 0x16D
    ReadPublic = 0x173
    StartAuthSession = 0x176
    GetCapability = 0x17A
    GetRandom = 0x17B
    PCR_Read = 0x17E
    PolicyPCR = 0x17F
    ReadClock = 0x181
    PCR_Extend = 0x182
    PolicyGetDigest = 0x189


@enum.unique
class TPM_ST(enum.IntEnum):
    """Tags of structures."""

    NO_SESSIONS = 0x8001
    SESSIONS = 0x8002
    HASHCHECK = 0x8024


@enum.unique
class TPM_SU(enum.IntEnum):
    """Kinds of start and shutdown."""

    CLEAR = 0x0000
    STATE = 0x0001


@enum.unique
class TPM_SE(enum.IntEnum):
    """Kinds of session."""

    HMAC = 0x00
    POLICY = 0x01
    TRIAL = 0x03


@enum.unique
class TPM_RH(enum.IntEnum):
    """Permanent handles."""

    OWNER = 0x40000001
    NULL = 0x40000007
    PW = 0x40000009
    """Stands in the place of a session: the authValue itself is the authorisation."""


@enum.unique
class TPM_HT(enum.IntEnum):
    """The first handle of each kind, as TPM2_GetCapability is asked for it."""

    NV_INDEX = 0x01000000
    LOADED_SESSION = 0x02000000
    SAVED_SESSION = 0x03000000
    TRANSIENT = 0x80000000


@enum.unique
class TPM_CAP(enum.IntEnum):
    """Kinds of capability."""

    HANDLES = 0x00000001
    PCRS = 0x00000005
    TPM_PROPERTIES = 0x00000006


@enum.unique
class TPM_PT(enum.IntEnum):
    """Properties of a TPM."""

    FAMILY_INDICATOR = 0x100
    MANUFACTURER = 0x105
    PERMANENT = 0x200
    LOCKOUT_COUNTER = 0x20E
    MAX_AUTH_FAIL = 0x20F
    LOCKOUT_INTERVAL = 0x210


@enum.unique
class TPM_EO(enum.IntEnum):
    """Comparisons of TPM2_PolicyNV and TPM2_PolicyCounterTimer."""

    EQ = 0x0000
    NEQ = 0x0001
    UNSIGNED_GT = 0x0003
    UNSIGNED_LT = 0x0005
    UNSIGNED_GE = 0x0007
    UNSIGNED_LE = 0x0009


class TPMA_OBJECT(enum.IntFlag):
    """Attributes of an object."""

    fixedTPM = 0x00000002
    fixedParent = 0x00000010
    sensitiveDataOrigin = 0x00000020
    userWithAuth = 0x00000040
    adminWithPolicy = 0x00000080
    noDA = 0x00000400
    restricted = 0x00010000
    decrypt = 0x00020000
    sign = 0x00040000


class TPMA_SESSION(enum.IntFlag):
    """What a session does for one command."""

    continueSession = 0x01
    decrypt = 0x20
    """The command's first parameter is encrypted."""
    encrypt = 0x40
    """The answer's first parameter is encrypted."""
    audit = 0x80


class TPMA_NV(enum.IntFlag):
    """Attributes of an NV index. TPM_NT, its kind, is in bits 4 to 7."""

    OWNERWRITE = 0x00000002
    AUTHWRITE = 0x00000004
    POLICYWRITE = 0x00000008
    COUNTER = 0x00000010
    PIN_FAIL = 0x00000080
    OWNERREAD = 0x00020000
    AUTHREAD = 0x00040000
    NO_DA = 0x02000000
    WRITTEN = 0x20000000


class TPMA_PERMANENT(enum.IntFlag):
    """What TPM_PT.PERMANENT tells."""

    ownerAuthSet = 0x00000001
    inLockout = 0x00000200
