"""Access lists as Windows security descriptors ([MS-DTYP] 2.4), self-relative.

A uid is the SID S-1-22-1-uid and a gid S-1-22-2-gid, as Samba maps them. Rights are generic ones:
GENERIC_READ to use a key, GENERIC_WRITE to manage it, GENERIC_ALL for both.
"""

import struct
from typing import Final

from keyiso import limits
from keyiso.crypto.key_header import AccessEntry, PrincipalKind, Right
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import (
    DACL_SECURITY_INFORMATION,
    GROUP_SECURITY_INFORMATION,
    OWNER_SECURITY_INFORMATION,
)
from keyiso.status import Status

GENERIC_READ: Final = 0x80000000
GENERIC_WRITE: Final = 0x40000000
GENERIC_ALL: Final = 0x10000000

_HEADER: Final = struct.Struct("<BBHIIII")
"""Revision, padding, control, offsets of owner, group, SACL and DACL."""
_ACL: Final = struct.Struct("<BBHHH")
"""Revision, padding, size, number of entries, padding."""
_ACE: Final = struct.Struct("<BBHI")
"""Type, flags, size, mask; the SID follows."""
_SID: Final = struct.Struct("<BB6sII")
"""Revision, number of sub-authorities, authority; the two sub-authorities that ours have."""

_REVISION: Final = 1
_ACL_REVISION: Final = 2
_DACL_PRESENT: Final = 0x0004
_SELF_RELATIVE: Final = 0x8000
_ACCESS_ALLOWED: Final = 0
_UNIX: Final = (22).to_bytes(6, "big")
_KINDS: Final[dict[int, PrincipalKind]] = {1: "uid", 2: "gid"}

_DESCRIPTOR_BYTES: Final = _HEADER.size + 2 * _SID.size + 0x10000
"""An ACL's size is a word."""


def encode_descriptor(owner: int, access: tuple[AccessEntry, ...], parts: int) -> bytes:
    """The descriptor of a key, with the parts that are asked for (``*_SECURITY_INFORMATION``).

    Keys have no group of their own: the owner stands in that place too.
    """
    control, body = _SELF_RELATIVE, b""
    owner_at = group_at = acl_at = 0
    if parts & OWNER_SECURITY_INFORMATION:
        owner_at = _HEADER.size + len(body)
        body += _sid("uid", owner)
    if parts & GROUP_SECURITY_INFORMATION:
        group_at = _HEADER.size + len(body)
        body += _sid("uid", owner)
    if parts & DACL_SECURITY_INFORMATION:
        acl_at, control = _HEADER.size + len(body), control | _DACL_PRESENT
        body += _acl(access)
    return _HEADER.pack(_REVISION, 0, control, owner_at, group_at, 0, acl_at) + body


def decode_access(descriptor: bytes) -> tuple[AccessEntry, ...]:
    """The access list of a descriptor.

    Raises ``NTE_INVALID_PARAMETER`` for what is no descriptor with an access list,
    ``NTE_NOT_SUPPORTED`` for principals and kinds of entries that keyiso does not have.
    """
    if len(descriptor) > _DESCRIPTOR_BYTES:
        raise _bad("it is too long")
    try:
        revision, _, control, _, _, _, acl_at = _HEADER.unpack_from(descriptor)
        if revision != _REVISION or not control & _SELF_RELATIVE:
            raise _bad("it is not self-relative, of revision 1")
        if not control & _DACL_PRESENT or not acl_at:
            raise _bad("it has no access list, which would allow everybody everything")
        _, _, size, count, _ = _ACL.unpack_from(descriptor, acl_at)
        if count > limits.ACCESS_ENTRIES:
            raise _bad(f"it has more than ACCESS_ENTRIES ({limits.ACCESS_ENTRIES})")
        entries, at = [], acl_at + _ACL.size
        for _ in range(count):
            kind, flags, length, mask = _ACE.unpack_from(descriptor, at)
            if kind != _ACCESS_ALLOWED or flags:
                raise _unknown("an entry that does not simply allow")
            if length != _ACE.size + _SID.size or at + length > acl_at + size:
                raise _unknown("a principal that is neither a uid nor a gid")
            entries.append(_entry(descriptor, at + _ACE.size, mask))
            at += length
    except struct.error:
        raise _bad("it is cut short") from None
    return tuple(entries)


def _entry(descriptor: bytes, at: int, mask: int) -> AccessEntry:
    revision, count, authority, kind, number = _SID.unpack_from(descriptor, at)
    if (revision, count, authority) != (_REVISION, 2, _UNIX) or kind not in _KINDS:
        raise _unknown("a principal that is neither a uid nor a gid")
    if mask & ~(GENERIC_READ | GENERIC_WRITE | GENERIC_ALL):
        raise _unknown(f"the rights {mask:#x}, which are not generic ones")
    rights = Right(0)
    if mask & (GENERIC_READ | GENERIC_ALL):
        rights |= Right.USE
    if mask & (GENERIC_WRITE | GENERIC_ALL):
        rights |= Right.MANAGE
    return AccessEntry(_KINDS[kind], str(number), int(rights))


def _acl(access: tuple[AccessEntry, ...]) -> bytes:
    entries = b""
    known = [entry for entry in access if entry.kind in _KINDS.values()]
    for entry in known:
        mask = {Right.USE: GENERIC_READ, Right.MANAGE: GENERIC_WRITE}.get(
            Right(entry.rights), GENERIC_ALL
        )
        sid = _sid(entry.kind, int(entry.principal))
        entries += _ACE.pack(_ACCESS_ALLOWED, 0, _ACE.size + len(sid), mask) + sid
    return _ACL.pack(_ACL_REVISION, 0, _ACL.size + len(entries), len(known), 0) + entries


def _sid(kind: PrincipalKind, number: int) -> bytes:
    (authority,) = (key for key, value in _KINDS.items() if value == kind)
    return _SID.pack(_REVISION, 2, _UNIX, authority, number)


def _bad(cause: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_INVALID_PARAMETER, f"the security descriptor cannot be used: {cause}"
    )


def _unknown(what: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_NOT_SUPPORTED,
        f"the security descriptor has {what}",
        "Name users as S-1-22-1-uid and groups as S-1-22-2-gid, with generic rights.",
    )
