"""Status codes: what an NCrypt function, a service or a wire message says went wrong.

The numbers are those of the Windows SDK (``winerror.h``, ``ntstatus.h``, ``rpcnterr.h``), so that
a program that knows CNG may compare with the constants it knows. The texts are ours.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_WORD: Final = 1 << 32


@enum.unique
class Status(enum.IntEnum):
    """A status by name, as an unsigned 32-bit number.

    CNG declares these codes as signed 32-bit numbers; we keep them unsigned, as documentation
    and event logs print them. A member is an ``int`` and compares equal to its number.

    Four ranges appear side by side because NCrypt lets all four through: success and plain
    Win32 codes (``ERROR_*``), HRESULTs (``NTE_*``, ``SCARD_*``, ``TPM_*``, ``RPC_*``),
    NTSTATUS values (``STATUS_*``, the results of verifying a claim) and our own (``KEYISO_E_*``).
    The ``RPC_*`` members hold ``HRESULT_FROM_WIN32`` of the Win32 code of that name, because
    that is what the caller of an NCrypt function gets to see.
    """

    _message: str

    def __new__(cls, value: int, message: str = "") -> "Status":
        # The default serves type checkers only: they take a look-up, Status(code), for a call
        # of this method. Every member has a message, and a test insists on it.
        member = int.__new__(cls, value)
        member._value_ = value
        member._message = message
        return member

    @property
    def message(self) -> str:
        """One sentence for people."""
        return self._message

    # Win32 codes (winerror.h). NCrypt passes them on where a lower layer chose them; 6 is also
    # RPC_X_SS_CONTEXT_MISMATCH, what a Windows client gets for a handle from before a restart.
    ERROR_SUCCESS = 0, "The operation completed."
    ERROR_FILE_NOT_FOUND = 2, "The file does not exist."
    ERROR_ACCESS_DENIED = 5, "Access is denied."
    ERROR_INVALID_HANDLE = 6, "The handle is not valid."
    ERROR_NOT_SUPPORTED = 50, "The request is not supported."
    ERROR_INVALID_PARAMETER = 87, "A parameter is not valid."
    ERROR_INSUFFICIENT_BUFFER = 122, "The buffer is too small for the result."
    ERROR_MORE_DATA = 234, "There is more data than was returned."
    ERROR_NO_MORE_ITEMS = 259, "There are no more items."
    ERROR_SERVICE_NOT_ACTIVE = 1062, "The service is not running."
    ERROR_NOT_FOUND = 1168, "The element was not found."
    ERROR_CANCELLED = 1223, "The user cancelled the operation."
    ERROR_LOGON_FAILURE = 1326, "The user name or the credential is wrong."
    ERROR_TIMEOUT = 1460, "Nobody answered in time."
    ERROR_ACCOUNT_LOCKED_OUT = 1909, "The account is locked."

    # The key storage statuses (winerror.h, facility 9).
    NTE_BAD_UID = 0x80090001, "The user id is not valid."
    NTE_BAD_HASH = 0x80090002, "The hash is not valid."
    NTE_BAD_KEY = 0x80090003, "The key is not valid."
    NTE_BAD_LEN = 0x80090004, "The length is not valid."
    NTE_BAD_DATA = 0x80090005, "The data is not valid."
    NTE_BAD_SIGNATURE = 0x80090006, "The signature is not valid."
    NTE_BAD_VER = 0x80090007, "The version is not one this provider knows."
    NTE_BAD_ALGID = 0x80090008, "The algorithm is not valid here."
    NTE_BAD_FLAGS = 0x80090009, "The flags are not valid here."
    NTE_BAD_TYPE = 0x8009000A, "The type is not valid here."
    NTE_BAD_KEY_STATE = 0x8009000B, "The key is in the wrong state for this operation."
    NTE_BAD_HASH_STATE = 0x8009000C, "The hash is in the wrong state for this operation."
    NTE_NO_KEY = 0x8009000D, "The key does not exist."
    NTE_NO_MEMORY = 0x8009000E, "There is not enough memory for the operation."
    NTE_EXISTS = 0x8009000F, "The object already exists."
    NTE_PERM = 0x80090010, "Access is denied."
    NTE_NOT_FOUND = 0x80090011, "The object was not found."
    NTE_DOUBLE_ENCRYPT = 0x80090012, "The data is already encrypted."
    NTE_BAD_PROVIDER = 0x80090013, "The provider is not valid."
    NTE_BAD_PROV_TYPE = 0x80090014, "The provider type is not valid."
    NTE_BAD_PUBLIC_KEY = 0x80090015, "The provider's public key is not valid."
    NTE_BAD_KEYSET = 0x80090016, "The key set does not exist."
    NTE_PROV_TYPE_NOT_DEF = 0x80090017, "The provider type is not defined."
    NTE_PROV_TYPE_ENTRY_BAD = 0x80090018, "The registration of the provider type is damaged."
    NTE_KEYSET_NOT_DEF = 0x80090019, "The key set is not defined."
    NTE_KEYSET_ENTRY_BAD = 0x8009001A, "The registration of the key set is damaged."
    NTE_PROV_TYPE_NO_MATCH = 0x8009001B, "The provider is registered under another type."
    NTE_SIGNATURE_FILE_BAD = 0x8009001C, "The signature file of the provider is damaged."
    NTE_PROVIDER_DLL_FAIL = 0x8009001D, "The provider's image could not be initialised."
    NTE_PROV_DLL_NOT_FOUND = 0x8009001E, "The provider's image was not found."
    NTE_BAD_KEYSET_PARAM = 0x8009001F, "The parameter of the key set is not valid."
    NTE_FAIL = 0x80090020, "The operation failed inside the provider."
    NTE_SYS_ERR = 0x80090021, "The provider got an error from the operating system."
    NTE_SILENT_CONTEXT = 0x80090022, "The operation would have to ask the user and must not."
    NTE_TOKEN_KEYSET_STORAGE_FULL = 0x80090023, "The device has no room for another key."
    NTE_TEMPORARY_PROFILE = 0x80090024, "The user's profile is temporary, nothing can be kept."
    NTE_FIXEDPARAMETER = 0x80090025, "The parameters of the key are fixed already."
    NTE_INVALID_HANDLE = 0x80090026, "The handle is not valid."
    NTE_INVALID_PARAMETER = 0x80090027, "A parameter is not valid."
    NTE_BUFFER_TOO_SMALL = 0x80090028, "The buffer is too small for the result."
    NTE_NOT_SUPPORTED = 0x80090029, "The operation is not supported."
    NTE_NO_MORE_ITEMS = 0x8009002A, "There are no more items."
    NTE_BUFFERS_OVERLAP = 0x8009002B, "The input and output buffers overlap."
    NTE_DECRYPTION_FAILURE = 0x8009002C, "The data could not be decrypted."
    NTE_INTERNAL_ERROR = 0x8009002D, "An error inside the stack, which should not happen."
    NTE_UI_REQUIRED = 0x8009002E, "The operation has to ask the user."
    NTE_HMAC_NOT_SUPPORTED = 0x8009002F, "HMAC is not supported by this algorithm."
    NTE_DEVICE_NOT_READY = 0x80090030, "The device is not ready."
    NTE_AUTHENTICATION_IGNORED = 0x80090031, "The device is locked and ignored the credential."
    NTE_VALIDATION_FAILED = 0x80090032, "What was supplied did not pass validation."
    NTE_INCORRECT_PASSWORD = 0x80090033, "The password or PIN is wrong."
    NTE_ENCRYPTION_FAILURE = 0x80090034, "The data could not be encrypted."
    NTE_DEVICE_NOT_FOUND = 0x80090035, "The device that holds the key was not found."
    NTE_USER_CANCELLED = 0x80090036, "The user cancelled the operation."
    NTE_PASSWORD_CHANGE_REQUIRED = 0x80090037, "The password has expired and must be changed."
    NTE_NOT_ACTIVE_CONSOLE = 0x80090038, "This must be done at the active console."
    # The next two keep the words that programs search for in the text of an exception.
    NTE_VBS_UNAVAILABLE = 0x80090039, "VBS key isolation is not available."
    NTE_VBS_CANNOT_DECRYPT_KEY = 0x8009003A, "Cannot decrypt a VBS-isolated key."

    # HRESULT forms of Win32 codes: 0x80070000 | code (winerror.h). RPC_X_NULL_REF_POINTER is
    # what Windows answers to a NULL argument, because a stub of the RPC call checks it.
    E_HANDLE = 0x80070006, "The handle is not valid."
    RPC_S_INVALID_BINDING = 0x800706A6, "The binding to the service is not valid."
    RPC_S_UNKNOWN_IF = 0x800706B5, "The service does not know this interface."
    RPC_S_SERVER_UNAVAILABLE = 0x800706BA, "The service is not there."
    RPC_S_SERVER_TOO_BUSY = 0x800706BB, "The service is too busy to take the call."
    RPC_S_CALL_FAILED = 0x800706BE, "The call failed, perhaps after the service acted on it."
    RPC_S_CALL_FAILED_DNE = 0x800706BF, "The call failed before the service acted on it."
    RPC_X_SS_IN_NULL_CONTEXT = 0x800706EF, "The call was made with an empty context handle."
    RPC_X_SS_CONTEXT_DAMAGED = 0x800706F1, "The context handle changed during the call."
    RPC_X_SS_HANDLES_MISMATCH = 0x800706F2, "The binding handles of the call do not match."
    RPC_X_SS_CANNOT_GET_CALL_HANDLE = 0x800706F3, "The handle of the call cannot be obtained."
    RPC_X_NULL_REF_POINTER = 0x800706F4, "A required argument is missing."
    RPC_S_COMM_FAILURE = 0x8007071C, "The connection failed during the call."
    RPC_NT_SS_CONTEXT_MISMATCH = 0xC0030005, "The context handle is not one of this service."

    # NTSTATUS values (ntstatus.h). Verifying a claim answers with these.
    STATUS_INVALID_HANDLE = 0xC0000008, "The handle is not valid."
    STATUS_INVALID_PARAMETER = 0xC000000D, "A parameter is not valid."
    STATUS_NO_MEMORY = 0xC0000017, "There is not enough memory for the operation."
    STATUS_ACCESS_DENIED = 0xC0000022, "Access is denied."
    STATUS_BUFFER_TOO_SMALL = 0xC0000023, "The buffer is too small for the result."
    STATUS_OBJECT_TYPE_MISMATCH = 0xC0000024, "The object is of another type than was asked for."
    STATUS_OBJECT_NAME_NOT_FOUND = 0xC0000034, "There is no object of this name."
    STATUS_DATA_ERROR = 0xC000003E, "The data is damaged."
    STATUS_NOT_SUPPORTED = 0xC00000BB, "The request is not supported."
    STATUS_INTERNAL_ERROR = 0xC00000E5, "An internal error occurred."
    STATUS_INVALID_BUFFER_SIZE = 0xC0000206, "The size of the buffer is not valid."
    STATUS_NOT_FOUND = 0xC0000225, "The object was not found."
    STATUS_FAIL_CHECK = 0xC0000229, "A check of the claim failed."
    STATUS_ENCRYPTION_FAILED = 0xC000028A, "The data could not be encrypted."
    STATUS_DECRYPTION_FAILED = 0xC000028B, "The data could not be decrypted."
    STATUS_SMARTCARD_WRONG_PIN = 0xC0000380, "The PIN is wrong."
    STATUS_SMARTCARD_CARD_BLOCKED = 0xC0000381, "The card is blocked."
    STATUS_SMARTCARD_NO_KEY_CONTAINER = 0xC0000384, "The key container is not on the card."
    STATUS_SMARTCARD_SILENT_CONTEXT = (
        0xC000038F,
        "The card would have to ask for its PIN and must not.",
    )
    STATUS_BAD_DATA = 0xC000090B, "The data is not valid."
    STATUS_INVALID_SIGNATURE = 0xC000A000, "The signature is not valid."
    STATUS_AUTH_TAG_MISMATCH = 0xC000A002, "The authentication tag does not match the data."
    STATUS_VSM_NOT_INITIALIZED = 0xC0450000, "Virtual secure mode is not initialised."
    STATUS_VSM_DMA_PROTECTION_NOT_IN_USE = (
        0xC0450001,
        "Virtual secure mode runs without protection from DMA.",
    )
    STATUS_VSM_KEY_CI_POLICY_ROLLBACK_DETECTED = (
        0xC0450002,
        "A roll-back of the code integrity policy was detected.",
    )
    STATUS_VSMIDK_KEYGEN_FAILURE = 0xC0450003, "The identity key could not be generated."
    STATUS_VSMIDK_EXPORT_FAILURE = 0xC0450004, "The identity key could not be exported."
    STATUS_VSMIDK_MODULUS_MISMATCH = 0xC0450005, "The identity key has another modulus."

    # Smart cards (winerror.h, facility 16).
    SCARD_W_WRONG_CHV = 0x8010006B, "The PIN is wrong."
    SCARD_W_CHV_BLOCKED = 0x8010006C, "Too many wrong PINs were given, the card is blocked."
    SCARD_W_CANCELLED_BY_USER = 0x8010006E, "The user cancelled the operation."

    # TPM (winerror.h, facilities 40 and 41). TPM_20_E_* is 0x80280000 | TPM_RC, without the number
    # of the parameter, handle or session that the code speaks of.
    TPM_20_E_ASYMMETRIC = 0x80280081, "The TPM does not know the asymmetric algorithm."
    TPM_20_E_ATTRIBUTES = 0x80280082, "The TPM refused the attributes."
    TPM_20_E_HASH = 0x80280083, "The TPM does not know the hash algorithm, or not here."
    TPM_20_E_VALUE = 0x80280084, "The TPM refused a value."
    TPM_20_E_HIERARCHY = 0x80280085, "The hierarchy of the TPM is not enabled, or not right here."
    TPM_20_E_KEY_SIZE = 0x80280087, "The TPM does not support the size of the key."
    TPM_20_E_MGF = 0x80280088, "The TPM does not know the mask generation function."
    TPM_20_E_MODE = 0x80280089, "The TPM does not know the mode of operation."
    TPM_20_E_TYPE = 0x8028008A, "The TPM refused the type of the object."
    TPM_20_E_HANDLE = 0x8028008B, "The TPM does not have what the handle names."
    TPM_20_E_KDF = 0x8028008C, "The TPM does not know the key derivation function."
    TPM_20_E_RANGE = 0x8028008D, "A value is outside of the range that the TPM allows."
    TPM_20_E_AUTH_FAIL = 0x8028008E, "The TPM refused the authorisation and counted the failure."
    TPM_20_E_NONCE = 0x8028008F, "The TPM refused a nonce."
    TPM_20_E_PP = 0x80280090, "The TPM wants somebody to be present."
    TPM_20_E_SCHEME = 0x80280092, "The TPM does not support the scheme, or not here."
    TPM_20_E_SIZE = 0x80280095, "The TPM refused the size of a structure."
    TPM_20_E_SYMMETRIC = 0x80280096, "The TPM does not know the symmetric algorithm."
    TPM_20_E_TAG = 0x80280097, "The TPM refused the tag of a structure."
    TPM_20_E_SELECTOR = 0x80280098, "The TPM refused the selector of a union."
    TPM_20_E_INSUFFICIENT = 0x8028009A, "The TPM was sent too few bytes."
    TPM_20_E_SIGNATURE = 0x8028009B, "The TPM found a signature wrong."
    TPM_20_E_KEY = 0x8028009C, "The TPM refused the fields of a key."
    TPM_20_E_POLICY_FAIL = 0x8028009D, "The policy of the TPM object is not satisfied."
    TPM_20_E_INTEGRITY = 0x8028009F, "The TPM did not make what it was given, or it was changed."
    TPM_20_E_TICKET = 0x802800A0, "The TPM did not make the ticket."
    TPM_20_E_RESERVED_BITS = 0x802800A1, "The TPM found reserved bits set."
    TPM_20_E_BAD_AUTH = 0x802800A2, "The TPM refused the authorisation."
    TPM_20_E_EXPIRED = 0x802800A3, "The policy of the TPM object has expired."
    TPM_20_E_POLICY_CC = 0x802800A4, "The policy of the TPM object is for another command."
    TPM_20_E_BINDING = 0x802800A5, "The public and the private part do not belong together."
    TPM_20_E_CURVE = 0x802800A6, "The TPM does not support the curve."
    TPM_20_E_ECC_POINT = 0x802800A7, "The point is not on the curve."
    TPM_20_E_INITIALIZE = 0x80280100, "The TPM was not started, or was started before."
    TPM_20_E_FAILURE = 0x80280101, "The TPM has failed and takes no commands."
    TPM_20_E_SEQUENCE = 0x80280103, "The TPM got the steps of a sequence in the wrong order."
    TPM_20_E_PRIVATE = 0x8028010B, "The TPM cannot read the private part."
    TPM_20_E_HMAC = 0x80280119, "The TPM does not use this HMAC."
    TPM_20_E_DISABLED = 0x80280120, "The command is disabled in the TPM."
    TPM_20_E_EXCLUSIVE = 0x80280121, "Another command came into the TPM's exclusive audit."
    TPM_20_E_ECC_CURVE = 0x80280123, "The TPM does not support the curve here."
    TPM_20_E_AUTH_TYPE = 0x80280124, "The TPM object is not authorised in this manner."
    TPM_20_E_AUTH_MISSING = 0x80280125, "The TPM wants an authorisation that was not sent."
    TPM_20_E_POLICY = 0x80280126, "A condition of the policy is not fulfilled."
    TPM_20_E_PCR = 0x80280127, "A PCR does not have the value that it should have."
    TPM_20_E_PCR_CHANGED = 0x80280128, "A PCR changed after it was checked."
    TPM_20_E_UPGRADE = 0x8028012D, "The TPM's firmware is being replaced."
    TPM_20_E_TOO_MANY_CONTEXTS = 0x8028012E, "The TPM has no numbers left for saved contexts."
    TPM_20_E_AUTH_UNAVAILABLE = 0x8028012F, "The TPM object takes no such authorisation now."
    TPM_20_E_REBOOT = 0x80280130, "The TPM goes on only after a restart of the machine."
    TPM_20_E_UNBALANCED = 0x80280131, "The algorithms of the TPM key are not equally strong."
    TPM_20_E_COMMAND_SIZE = 0x80280142, "The TPM was sent a command of a wrong length."
    TPM_20_E_COMMAND_CODE = 0x80280143, "The TPM does not support the command."
    TPM_20_E_AUTHSIZE = 0x80280144, "The TPM was sent authorisations of a wrong length."
    TPM_20_E_AUTH_CONTEXT = 0x80280145, "The command must not be authorised."
    TPM_20_E_NV_RANGE = 0x80280146, "The place is outside of the TPM's NV index."
    TPM_20_E_NV_SIZE = 0x80280147, "The TPM does not allow an NV index of this size."
    TPM_20_E_NV_LOCKED = 0x80280148, "The TPM's NV index is locked."
    TPM_20_E_NV_AUTHORIZATION = 0x80280149, "The TPM's NV index is not accessed in this manner."
    TPM_20_E_NV_UNINITIALIZED = 0x8028014A, "The TPM's NV index was never written."
    TPM_20_E_NV_SPACE = 0x8028014B, "The TPM's NV memory is full."
    TPM_20_E_NV_DEFINED = 0x8028014C, "The TPM's NV index exists already."
    TPM_20_E_BAD_CONTEXT = 0x80280150, "The TPM cannot take the saved context."
    TPM_20_E_CPHASH = 0x80280151, "The policy is for a command with other parameters."
    TPM_20_E_PARENT = 0x80280152, "The handle is not one of a parent key."
    TPM_20_E_NEEDS_TEST = 0x80280153, "The TPM must test itself first."
    TPM_20_E_NO_RESULT = 0x80280154, "The TPM found no result."
    TPM_20_E_SENSITIVE = 0x80280155, "The TPM cannot read the sensitive part."
    TPM_E_DEFEND_LOCK_RUNNING = 0x80280803, "The TPM defends itself from guessing, wait."
    TPM_20_E_CONTEXT_GAP = 0x80280901, "A saved session of the TPM is too old; it must be loaded."
    TPM_20_E_OBJECT_MEMORY = 0x80280902, "The TPM has no room for another object."
    TPM_20_E_SESSION_MEMORY = 0x80280903, "The TPM has no room for another session."
    TPM_20_E_MEMORY = 0x80280904, "The TPM is out of memory."
    TPM_20_E_SESSION_HANDLES = 0x80280905, "The TPM has no handle for another session."
    TPM_20_E_OBJECT_HANDLES = 0x80280906, "The TPM has no handle for another object."
    TPM_20_E_LOCALITY = 0x80280907, "The TPM does not allow this from here."
    TPM_20_E_YIELDED = 0x80280908, "The TPM put the command off."
    TPM_20_E_CANCELED = 0x80280909, "The command was cancelled."
    TPM_20_E_TESTING = 0x8028090A, "The TPM is testing itself."
    TPM_20_E_NV_RATE = 0x80280920, "The TPM slows writing down, so that its memory lasts."
    TPM_20_E_LOCKOUT = 0x80280921, "The TPM is locked after too many wrong authorisations."
    TPM_20_E_RETRY = 0x80280922, "The TPM was not ready for the command."
    TPM_20_E_NV_UNAVAILABLE = 0x80280923, "The TPM's NV memory is not available."
    TPM_E_PCP_DEVICE_NOT_READY = 0x80290401, "The TPM is not ready."
    TPM_E_PCP_INVALID_HANDLE = 0x80290402, "The handle is not one of the platform provider."
    TPM_E_PCP_INVALID_PARAMETER = 0x80290403, "The platform provider refused a parameter."
    TPM_E_PCP_FLAG_NOT_SUPPORTED = 0x80290404, "The platform provider does not know the flag."
    TPM_E_PCP_NOT_SUPPORTED = 0x80290405, "The platform provider does not support the operation."
    TPM_E_PCP_BUFFER_TOO_SMALL = 0x80290406, "The buffer is too small for the result."
    TPM_E_PCP_INTERNAL_ERROR = 0x80290407, "An error inside the platform provider."
    TPM_E_PCP_AUTHENTICATION_FAILED = 0x80290408, "The credential for the TPM key is wrong."
    TPM_E_PCP_AUTHENTICATION_IGNORED = 0x80290409, "The TPM is locked, the credential was ignored."
    TPM_E_PCP_POLICY_NOT_FOUND = 0x8029040A, "The policy of the TPM key was not found."
    TPM_E_PCP_PROFILE_NOT_FOUND = 0x8029040B, "The profile of the TPM key was not found."
    TPM_E_PCP_VALIDATION_FAILED = 0x8029040C, "What was supplied to the TPM is not valid."
    TPM_E_PCP_WRONG_PARENT = 0x8029040E, "The TPM key was made under another parent key."

    # Our own: severity and customer bit set, facility 9 as the NTE_* codes have it, so that no
    # code of Microsoft can ever be one of them (winerror.h, layout of an HRESULT).
    KEYISO_E_EPHEMERAL_GONE = (
        0xA0090001,
        "The ephemeral key ended with the service that held it; make a new one.",
    )
    KEYISO_E_SERVICE_UNAVAILABLE = 0xA0090002, "No service answered within the deadline."
    # Internal to the wire: the client attaches again. It never reaches an application.
    KEYISO_E_STALE = 0xA0090003, "The worker no longer has this key loaded."
    KEYISO_E_PROTOCOL = (
        0xA0090004,
        "The peer broke the wire protocol, or speaks a version that is not supported.",
    )
    KEYISO_E_LIMIT = 0xA0090005, "A limit was exceeded."
    KEYISO_E_ROOT_MISSING = 0xA0090006, "The root that seals this key is not available."
    KEYISO_E_STORE = 0xA0090007, "The key store cannot be read or written."
    KEYISO_E_PEER_REFUSED = 0xA0090008, "The socket belongs to another user."
    KEYISO_E_TPM_ANSWER = 0xA0090009, "The TPM's answer is malformed, or not from this TPM."
    KEYISO_E_TPM_CHANGED = 0xA009000A, "This is not the TPM that was enrolled, or it was cleared."
    KEYISO_E_TPM_LATCHED = 0xA009000B, "The TPM gives the root out only once in each boot."
    KEYISO_E_TPM_PIN_INDEX = 0xA009000C, "The TPM's PIN index is missing, or is another one."


# Calling Status(code) would raise for the many codes that have no member.
_BY_CODE: Final[Mapping[int, Status]] = MappingProxyType({int(one): one for one in Status})


def _find(code: int) -> tuple[int, Status | None]:
    """The unsigned form of a code, and its member where there is one."""
    # Windows tools print these numbers signed, -2146893802 for NTE_BAD_KEYSET.
    unsigned = code + _WORD if -_WORD // 2 <= code < 0 else code
    return unsigned, _BY_CODE.get(unsigned)


def status_name(code: int) -> str:
    """``NTE_BAD_KEYSET`` for 0x80090016; the number in hexadecimal for a code without a name."""
    unsigned, status = _find(code)
    return f"0x{unsigned:08X}" if status is None else status.name


def describe(code: int) -> str:
    """``NTE_BAD_KEYSET (0x80090016): The key set does not exist.``

    Also takes codes that have no name here, as a provider of somebody else may return any.
    """
    unsigned, status = _find(code)
    if status is None:
        return f"0x{unsigned:08X}: a status without a name."
    return f"{status.name} (0x{unsigned:08X}): {status.message}"
