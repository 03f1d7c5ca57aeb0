"""Whom a certificate is asked for: a distinguished name, and alternative names."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

_TYPES: Final[Mapping[str, x509.ObjectIdentifier]] = MappingProxyType(
    {
        "CN": NameOID.COMMON_NAME,
        "O": NameOID.ORGANIZATION_NAME,
        "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
        "C": NameOID.COUNTRY_NAME,
        "ST": NameOID.STATE_OR_PROVINCE_NAME,
        "L": NameOID.LOCALITY_NAME,
        "STREET": NameOID.STREET_ADDRESS,
        "POSTALCODE": NameOID.POSTAL_CODE,
        "DC": NameOID.DOMAIN_COMPONENT,
        "UID": NameOID.USER_ID,
        "EMAILADDRESS": NameOID.EMAIL_ADDRESS,
        "SERIALNUMBER": NameOID.SERIAL_NUMBER,
        "SN": NameOID.SURNAME,
        "GN": NameOID.GIVEN_NAME,
        "TITLE": NameOID.TITLE,
        "BUSINESSCATEGORY": NameOID.BUSINESS_CATEGORY,
        "ORGANIZATIONIDENTIFIER": NameOID.ORGANIZATION_IDENTIFIER,
    }
)
"""Types of attributes under openssl's short names; case does not matter (RFC 4514)."""

_TOKEN: Final = re.compile(r"\\?.", re.DOTALL)
_ESCAPED: Final = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\(.?)", re.DOTALL)
_PRINTABLE_STRING: Final = re.compile(r"[A-Za-z0-9 '()+,./:=?-]*")
_PRINTABLE_TYPES: Final = frozenset({NameOID.COUNTRY_NAME, NameOID.SERIAL_NUMBER})
_ASCII_TYPES: Final = frozenset({NameOID.DOMAIN_COMPONENT, NameOID.EMAIL_ADDRESS})

_HOST: Final = re.compile(r"(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.|$))+")
_HOST_CHARACTERS: Final = 253


def subject_of(text: str) -> x509.Name:
    """A distinguished name: ``CN=web,O=Example`` (RFC 4514) or ``/O=Example/CN=web`` (openssl).

    RFC 4514 begins with the most specific part, which comes last in the certificate. Raises
    ``ValueError`` with a sentence for the user.
    """
    if text in ("", "/"):
        return x509.Name([])
    if text.startswith("/"):
        return x509.Name([_relative(part) for part in _split(text[1:], "/")])
    return x509.Name([_relative(part) for part in reversed(_split(text, ","))])


def alternative_name(text: str) -> x509.GeneralName:
    """``DNS:…``, ``IP:…``, ``email:…`` or ``URI:…``; without a kind it is a DNS name.

    Raises ``ValueError`` with a sentence for the user.
    """
    kind, colon, value = text.partition(":")
    if not colon:
        kind, value = "DNS", text
    elif _is_address(text):
        raise ValueError(f"an address has its kind before it: {'IP:' + text!r}")
    maker = _KINDS.get(kind.upper())
    if maker is None:
        raise ValueError(f"{kind!r} is none of DNS, IP, email, URI")
    return maker(value)


def _relative(part: str) -> x509.RelativeDistinguishedName:
    return x509.RelativeDistinguishedName([_attribute(one) for one in _split(part, "+")])


def _attribute(text: str) -> x509.NameAttribute[str]:
    kind, equals, value = text.partition("=")
    kind = kind.strip()
    if not equals:
        raise ValueError(
            f"{text!r} is not TYPE=VALUE; a separator in a value has a backslash before it"
        )
    oid = _oid(kind)
    value = re.sub(r"(?<!\\) +$", "", value.lstrip(" "))
    if value.startswith(('"', "#")):
        raise ValueError(f"a value that begins with {value[0]} needs a backslash before it")
    value = _unescaped(value)
    if not value:
        raise ValueError(f"{kind} has no value")
    if not value.isprintable():
        raise ValueError(f"the value of {kind} has characters that cannot be printed")
    if (oid in _PRINTABLE_TYPES and not _PRINTABLE_STRING.fullmatch(value)) or (
        oid in _ASCII_TYPES and not value.isascii()
    ):
        raise ValueError(f"{value!r} has characters that {kind} cannot have")
    if oid == NameOID.COUNTRY_NAME and len(value) != 2:
        raise ValueError(f"{kind} is a country's code of two letters, not {value!r}")
    if oid == NameOID.COMMON_NAME and len(value.encode()) > _COMMON_NAME_BYTES:
        raise ValueError(f"{kind} has at most {_COMMON_NAME_BYTES} bytes")
    return x509.NameAttribute(oid, value)


_COMMON_NAME_BYTES: Final = 64


def _oid(kind: str) -> x509.ObjectIdentifier:
    try:
        return _TYPES.get(kind.upper()) or x509.ObjectIdentifier(kind)
    except ValueError:
        raise ValueError(f"{kind!r} is not a type: use CN, O, OU, C, ST, L or an OID") from None


def _split(text: str, separator: str) -> list[str]:
    """The parts between separators that have no backslash before them."""
    parts = [""]
    for token in _TOKEN.findall(text):
        if token == separator:
            parts.append("")
        else:
            parts[-1] += token
    return parts


def _unescaped(value: str) -> str:
    """Backslashes stand before one character, or before bytes of UTF-8 in hexadecimal."""
    return _ESCAPED.sub(_meant, value)


def _meant(escaped: re.Match[str]) -> str:
    if escaped[1]:
        try:
            return bytes.fromhex(escaped[1].replace("\\", "")).decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{escaped[1]} is not a character in UTF-8") from None
    if not escaped[2]:
        raise ValueError("the backslash at the end stands before nothing")
    return escaped[2]


def _dns(value: str) -> x509.DNSName:
    if _is_address(value):
        raise ValueError(f"an address has its kind before it: {'IP:' + value!r}")
    if len(value) > _HOST_CHARACTERS or not _HOST.fullmatch(value) or value.endswith("."):
        raise ValueError(
            f"{value!r} is not a DNS name; a name with other letters is written as xn--…"
        )
    return x509.DNSName(value)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # a zone means something on one machine only


def _email(value: str) -> x509.RFC822Name:
    local, at, host = value.rpartition("@")
    if not (local and at and host and value.isascii() and value.isprintable()) or " " in value:
        raise ValueError(f"{value!r} is not an address of the form name@host")
    return x509.RFC822Name(value)


def _uri(value: str) -> x509.UniformResourceIdentifier:
    scheme, colon, rest = value.partition(":")
    if not (scheme and colon and rest and value.isascii() and value.isprintable()) or " " in value:
        raise ValueError(f"{value!r} is not a URI")
    return x509.UniformResourceIdentifier(value)


def _ip(value: str) -> x509.IPAddress:
    if not _is_address(value):
        raise ValueError(f"{value!r} is not an address")
    return x509.IPAddress(ipaddress.ip_address(value))


_KINDS: Final[Mapping[str, Callable[[str], x509.GeneralName]]] = MappingProxyType(
    {"DNS": _dns, "IP": _ip, "EMAIL": _email, "URI": _uri}
)
