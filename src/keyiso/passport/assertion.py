"""What a logon shows: a JWT that a Passport key signed over a nonce.

Windows' own, as far as it is public: header ``alg``, ``typ``, ``kid``, ``use``; claims ``iss``,
``aud``, ``iat``, ``exp``, ``request_nonce``, ``scope``. Of all that RFC 7515 and RFC 7519 allow,
nothing else is read or made: an unknown field is refused, so nothing in a token chooses a key, an
address or an algorithm.
"""

import hashlib
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Protocol, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from keyiso import limits
from keyiso.crypto.digests import digest
from keyiso.crypto.key_types import PublicKey
from keyiso.crypto.public_keys import export_public_blob
from keyiso.crypto.signatures import NO_PADDING, Padding
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import BCRYPT_PAD_PKCS1
from keyiso.identifiers import BCRYPT_PUBLIC_KEY_BLOB, NCRYPT_ECDSA_ALGORITHM_GROUP
from keyiso.status import Status

HASH: Final = "SHA256"
SCOPE: Final = "openid aza ugs"
"""What Windows asks for."""

_Seconds = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
"""Since 1970-01-01 UTC."""


class SigningKey(Protocol):
    """A key that is held; `keyiso.Key` is one."""

    def public_key(self) -> PublicKey: ...

    def sign_digest(self, digest: bytes, *, hash: str, padding: str | None) -> bytes: ...


class LogonClaims(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an assertion says."""

    iss: str
    """Who logs on."""
    aud: str
    """Who is to believe it."""
    iat: _Seconds
    exp: _Seconds
    request_nonce: str
    scope: str = SCOPE


class _Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    alg: str
    typ: Literal["JWT"] = "JWT"
    kid: str
    use: Literal["ngc"] = "ngc"


@dataclass(frozen=True)
class Scheme:
    """How keys of one kind sign assertions."""

    name: str
    """As JWA has it."""
    padding: str | None
    """For `Key.sign_digest`."""
    pad: Padding
    """The same, for checking."""


_RS256: Final = Scheme("RS256", "PKCS1", Padding(BCRYPT_PAD_PKCS1, HASH))
_ES256: Final = Scheme("ES256", None, NO_PADDING)


@dataclass(frozen=True)
class Assertion:
    """A token that was read. Nothing in it is proven."""

    algorithm: str
    kid: str
    claims: LogonClaims
    signed: bytes
    """What the signature is over."""
    signature: bytes


def scheme_of(key: PublicKey) -> Scheme:
    """The one way in which this key signs assertions.

    Raises ``NTE_NOT_SUPPORTED`` for keys other than RSA and P-256.
    """
    if isinstance(key, rsa.RSAPublicKey):
        return _RS256
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return _ES256
    raise ncrypt_error(
        Status.NTE_NOT_SUPPORTED,
        "a logon is signed with an RSA or a P-256 key",
        "Enrol a key of algorithm RSA or ECDSA_P256.",
    )


def kid_of(key: PublicKey) -> str:
    """A key's id in assertions: base64 of SHA-256 of its CNG public blob."""
    blob = export_public_blob(key, NCRYPT_ECDSA_ALGORITHM_GROUP, BCRYPT_PUBLIC_KEY_BLOB)
    return b64encode(hashlib.sha256(blob).digest()).decode()


def make_assertion(key: SigningKey, claims: LogonClaims) -> bytes:
    """Sign the claims. Raises ``NTE_NOT_SUPPORTED`` for keys other than RSA and P-256,
    ``KEYISO_E_LIMIT`` for claims that are too long, and what the key raises.
    """
    public_key = key.public_key()
    scheme = scheme_of(public_key)
    header = _Header(alg=scheme.name, kid=kid_of(public_key))
    signed = b".".join(_encoded(msgspec.json.encode(part)) for part in (header, claims))
    signature = key.sign_digest(digest(HASH, signed), hash=HASH, padding=scheme.padding)
    token = b".".join((signed, _encoded(signature)))
    _check_length(token)
    return token


def read_assertion(token: bytes) -> Assertion:
    """Take a token apart. Nothing of it is proven by that.

    Raises ``KEYISO_E_LIMIT`` for one that is too long, and ``NTE_BAD_DATA`` for what is none.
    """
    _check_length(token)
    parts = token.split(b".")
    if len(parts) != 3:
        raise _no_assertion("it has not three parts")
    header = _part(parts[0], _Header)
    return Assertion(
        header.alg,
        header.kid,
        _part(parts[1], LogonClaims),
        b".".join(parts[:2]),
        _decoded(parts[2]),
    )


Part = TypeVar("Part", _Header, LogonClaims)


def _part(encoded: bytes, kind: type[Part]) -> Part:
    try:
        return msgspec.json.decode(_decoded(encoded), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _no_assertion("it has other fields than an assertion of a logon") from None


def _encoded(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _decoded(encoded: bytes) -> bytes:
    """Only the one form that `_encoded` makes: one assertion is one token."""
    try:
        data = urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
    except ValueError:
        data = b""
    if _encoded(data) != encoded:
        raise _no_assertion("it is not encoded as base64url, without padding")
    return data


def _check_length(token: bytes) -> None:
    if len(token) > limits.ASSERTION_BYTES:
        raise ncrypt_error(
            Status.KEYISO_E_LIMIT,
            f"the assertion has {len(token)} bytes; ASSERTION_BYTES is {limits.ASSERTION_BYTES}",
        )


def _no_assertion(why: str) -> NCryptError:
    return ncrypt_error(Status.NTE_BAD_DATA, f"this is no assertion of a logon: {why}")
