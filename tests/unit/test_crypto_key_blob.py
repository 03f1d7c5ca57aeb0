"""Sealed keys: what opens them, and that nothing else does."""

import struct

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from keyiso import limits
from keyiso.crypto.key_blob import VERSION, Root, read_header, seal_key, unseal_key
from keyiso.crypto.key_header import AccessEntry, KeyHeader, Right, decode_header, encode_header
from keyiso.errors import NCryptError
from keyiso.status import Status
from tests.unit.samples import BOOT_ROOT, ROOT, boot_header, ec_key, header, pkcs8, structs

NONCE_AND_TAG = 12 + 16


def status_of_unsealing(blob: bytes, root: Root = ROOT) -> int:
    with pytest.raises(NCryptError) as caught:
        unseal_key(root, blob)
    return caught.value.status


def parts(blob: bytes) -> tuple[bytes, bytes, bytes]:
    """Version and length, header, and what is encrypted with its nonce."""
    (length,) = struct.unpack_from("<I", blob, 1)
    return blob[:5], blob[5 : 5 + length], blob[5 + length :]


def good_headers() -> st.SearchStrategy[KeyHeader]:
    """Any header that ``ROOT`` may seal."""
    names = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=10)
    return st.builds(
        lambda any_header, name, key_id, container_id: msgspec.structs.replace(
            any_header,
            root_id=ROOT.root_id,
            root_kind=ROOT.kind,
            name=name.encode("utf-16-le", "surrogatepass"),
            key_id=key_id,
            container_id=container_id,
        ),
        structs(KeyHeader),
        names,
        st.binary(min_size=16, max_size=16),
        st.sampled_from([b"", b"c" * 16]),
    )


@given(sealed_header=good_headers(), key=st.binary(max_size=3000))
@settings(max_examples=100)
def test_what_was_sealed_is_what_is_unsealed(sealed_header: KeyHeader, key: bytes) -> None:
    blob = seal_key(ROOT, sealed_header, key)

    assert unseal_key(ROOT, blob) == (sealed_header, key)
    assert read_header(blob) == sealed_header


def test_a_boot_root_seals_what_ends_with_the_boot() -> None:
    blob = seal_key(BOOT_ROOT, boot_header(), pkcs8())

    assert unseal_key(BOOT_ROOT, blob) == (boot_header(), pkcs8())
    assert status_of_unsealing(blob, ROOT) == Status.NTE_BAD_DATA


def test_the_layout_is_the_one_that_is_documented() -> None:
    """Opened here without the code that sealed it, because stored keys outlive that code."""
    blob = seal_key(ROOT, header(), pkcs8(), random=lambda count: bytes(range(count)))
    nonce = bytes(range(12))
    prefix, encoded, sealed = parts(blob)
    key = HKDF(hashes.SHA256(), 32, salt=header().key_id, info=b"keyiso key blob 1")

    assert prefix == struct.pack("<BI", 1, len(encoded))
    assert msgspec.msgpack.decode(encoded)[:4] == [
        ROOT.root_id,
        "machine",
        header().provider,
        "user",
    ]
    assert sealed[:12] == nonce
    assert len(sealed) == NONCE_AND_TAG + len(pkcs8())
    assert AESGCM(key.derive(ROOT.secret)).decrypt(nonce, sealed[12:], prefix + encoded) == pkcs8()


def test_a_key_that_is_sealed_twice_makes_two_blobs() -> None:
    """A nonce is never used again."""
    assert len({seal_key(ROOT, header(), pkcs8()) for _ in range(100)}) == 100


def test_a_blob_does_not_show_the_private_key() -> None:
    blob = seal_key(ROOT, header(), pkcs8())
    secret = ec_key().private_numbers().private_value.to_bytes(32, "big")

    assert secret in pkcs8()
    assert not any(secret[at : at + 4] in blob for at in range(len(secret) - 3))


@pytest.mark.parametrize("bit", range(8))
def test_a_bit_that_was_changed_anywhere_is_noticed(bit: int) -> None:
    blob = seal_key(ROOT, header(), pkcs8())
    statuses = set()
    for at in range(len(blob)):
        changed = bytearray(blob)
        changed[at] ^= 1 << bit
        statuses.add(status_of_unsealing(bytes(changed)))

    assert statuses == {Status.NTE_BAD_DATA, Status.NTE_BAD_VER}


def test_a_blob_that_was_cut_is_noticed() -> None:
    blob = seal_key(ROOT, header(), pkcs8())

    assert {status_of_unsealing(blob[:size]) for size in range(len(blob))} == {Status.NTE_BAD_DATA}


@pytest.mark.parametrize("more", [b"\0", b"x" * 16, b"x" * limits.KEY_BLOB_BYTES])
def test_a_blob_that_was_extended_is_noticed(more: bytes) -> None:
    assert status_of_unsealing(seal_key(ROOT, header(), pkcs8()) + more) == Status.NTE_BAD_DATA


@pytest.mark.parametrize(
    "root",
    [
        Root(ROOT.root_id, ROOT.kind, b"another secret of 32 bytes......"),
        Root(b"another root id.", ROOT.kind, ROOT.secret),
        Root(ROOT.root_id, "boot", ROOT.secret),
        BOOT_ROOT,
    ],
    ids=["another secret", "another id", "another kind", "another root"],
)
def test_another_root_opens_nothing(root: Root) -> None:
    assert status_of_unsealing(seal_key(ROOT, header(), pkcs8()), root) == Status.NTE_BAD_DATA


@pytest.mark.parametrize(
    "other",
    [
        header(usage=0xFFFFFF),
        header(owner=0),
        header(export_policy=3),
        header(name=b"a\0"),
        header(access=(AccessEntry("uid", "4711", 3),)),
        header(generation=2),
        header(key_id=b"K" * 16),
        header(level="vbs"),
    ],
    ids=lambda other: next(
        name
        for name in KeyHeader.__struct_fields__
        if getattr(other, name) != getattr(header(), name)
    ),
)
def test_the_header_of_another_key_does_not_fit(other: KeyHeader) -> None:
    """Neither whole nor with the length that belongs to it: more usage is not to be had."""
    prefix, _, sealed = parts(seal_key(ROOT, header(), pkcs8()))
    other_prefix, other_encoded, other_sealed = parts(seal_key(ROOT, other, pkcs8()))

    assert status_of_unsealing(other_prefix + other_encoded + sealed) == Status.NTE_BAD_DATA
    assert (
        status_of_unsealing(prefix + encode_header(header()) + other_sealed) == Status.NTE_BAD_DATA
    )


def test_each_key_id_has_a_key_of_its_own() -> None:
    """Two keys under one nonce, as a broken random generator would give, share no key stream."""
    blobs = [
        seal_key(ROOT, header(key_id=key_id), bytes(64), random=bytes)
        for key_id in (b"a" * 16, b"b" * 16)
    ]

    assert parts(blobs[0])[2][12:76] != parts(blobs[1])[2][12:76]


@pytest.mark.parametrize("version", [0, 2, 0x31, 255])
def test_another_version_is_named_and_not_guessed(version: int) -> None:
    blob = seal_key(ROOT, header(), pkcs8())

    with pytest.raises(NCryptError, match=f"version {version}; .* version {VERSION}") as caught:
        read_header(bytes([version]) + blob[1:])
    assert caught.value.status == Status.NTE_BAD_VER


@pytest.mark.parametrize(
    ("root", "wrong"),
    [
        (ROOT, header(root_id=b"another root id.")),
        (ROOT, header(root_kind="boot")),
        (BOOT_ROOT, header()),
    ],
)
def test_a_root_seals_only_headers_that_name_it(root: Root, wrong: KeyHeader) -> None:
    with pytest.raises(ValueError, match="another root"):
        seal_key(root, wrong, pkcs8())


def test_reading_a_header_asks_for_no_root_and_proves_nothing() -> None:
    blob = bytearray(seal_key(ROOT, header(), pkcs8()))
    blob[-1] ^= 1

    assert read_header(bytes(blob)) == header()


def test_a_header_above_the_limit_is_not_sealed() -> None:
    entries = tuple(AccessEntry("unit", "u" * 1000, 1) for _ in range(40))

    with pytest.raises(NCryptError, match="KEY_HEADER_BYTES is 32768") as caught:
        seal_key(ROOT, header(access=entries), pkcs8())
    assert caught.value.status == Status.KEYISO_E_LIMIT


def test_the_longest_key_with_the_longest_header_fits() -> None:
    room = limits.KEY_HEADER_BYTES - len(encode_header(header(public_key=b"p" * 0x1000)))
    longest = header(public_key=b"p" * (0x1000 + room))
    blob = seal_key(ROOT, longest, b"k" * limits.PRIVATE_KEY_BYTES)

    assert len(encode_header(longest)) == limits.KEY_HEADER_BYTES
    assert unseal_key(ROOT, blob) == (longest, b"k" * limits.PRIVATE_KEY_BYTES)


def test_a_blob_above_the_limit_is_refused_though_it_is_right() -> None:
    around = len(seal_key(ROOT, header(), b""))
    longest = b"k" * (limits.KEY_BLOB_BYTES - around)

    assert unseal_key(ROOT, seal_key(ROOT, header(), longest))[1] == longest
    assert status_of_unsealing(seal_key(ROOT, header(), longest + b"k")) == Status.NTE_BAD_DATA


@pytest.mark.parametrize("length", [0, limits.KEY_HEADER_BYTES + 1, 2**31, 2**32 - 1])
def test_a_length_that_cannot_be_is_refused(length: int) -> None:
    blob = struct.pack("<BI", VERSION, length) + bytes(limits.KEY_HEADER_BYTES + 100)

    assert status_of_unsealing(blob) == Status.NTE_BAD_DATA


def test_a_root_is_printed_without_its_secret() -> None:
    shown = f"{ROOT} {ROOT!r}"

    assert ROOT.root_id.hex() in shown
    assert "secret" not in shown
    assert ROOT.secret.hex() not in shown


# --- the header alone --------------------------------------------------------------------------


@given(good_headers())
@settings(max_examples=100)
def test_a_header_is_what_it_was(sealed_header: KeyHeader) -> None:
    assert decode_header(encode_header(sealed_header)) == sealed_header


def test_a_field_of_a_later_version_is_ignored() -> None:
    fields = msgspec.msgpack.decode(encode_header(header()))

    assert decode_header(msgspec.msgpack.encode([*fields, "later", {"x": [1]}])) == header()


@pytest.mark.parametrize("length", [1, 15, 17, 1000])
def test_a_containers_id_has_one_length(length: int) -> None:
    with pytest.raises(NCryptError) as caught:
        decode_header(encode_header(header(container_id=b"c" * length)))

    assert caught.value.status == Status.NTE_BAD_DATA


def test_every_field_before_the_client_group_is_needed() -> None:
    fields = msgspec.msgpack.decode(encode_header(header()))

    for count in (1, 2):  # it and the container were added later
        assert decode_header(msgspec.msgpack.encode(fields[:-count])) == header()
    for count in range(len(fields) - 2):
        with pytest.raises(NCryptError) as caught:
            decode_header(msgspec.msgpack.encode(fields[:count]))
        assert caught.value.status == Status.NTE_BAD_DATA


BAD_HEADERS = {
    "nothing": b"",
    "no array": b"\xc0",
    "key id too short": msgspec.msgpack.encode(header(key_id=b"k" * 15)),
    "key id too long": msgspec.msgpack.encode(header(key_id=b"k" * 17)),
    "root id too short": msgspec.msgpack.encode(header(root_id=b"")),
    "unknown scope": msgspec.msgpack.encode(header(scope="world")),
    "unknown lifetime": msgspec.msgpack.encode(header(lifetime="eternal")),
    "unknown level": msgspec.msgpack.encode(header(level="sgx")),
    "unknown origin": msgspec.msgpack.encode(header(origin="found")),
    "unknown kind of root": msgspec.msgpack.encode(header(root_kind="user")),
    "unknown principal": msgspec.msgpack.encode(
        header(access=(AccessEntry("sid", "S-1-1-0", 3),))  # type: ignore[arg-type]
    ),
    "too many entries": msgspec.msgpack.encode(
        header(
            access=tuple(
                AccessEntry("uid", str(uid), 1) for uid in range(limits.ACCESS_ENTRIES + 1)
            )
        )
    ),
    "no UTF-8": msgspec.msgpack.encode(header()).replace(b"Microsoft", b"Micro\xff\xfe\xfdt"),
    "something behind": msgspec.msgpack.encode(header()) + b"\0",
}


@pytest.mark.parametrize("data", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_what_is_no_header_is_bad_data(data: bytes) -> None:
    with pytest.raises(NCryptError) as caught:
        decode_header(data)
    assert caught.value.status == Status.NTE_BAD_DATA


def test_as_many_access_entries_as_the_limit_are_read() -> None:
    entries = tuple(AccessEntry("uid", str(uid), 1) for uid in range(limits.ACCESS_ENTRIES))

    assert decode_header(encode_header(header(access=entries))).access == entries


IMPOSSIBLE_NAMES = {"odd": b"a", "NUL": b"\0\0", "too long": b"a\0" * 261}


@pytest.mark.parametrize("name", IMPOSSIBLE_NAMES.values(), ids=IMPOSSIBLE_NAMES)
def test_a_header_with_an_impossible_name_is_refused(name: bytes) -> None:
    with pytest.raises(NCryptError):
        decode_header(msgspec.msgpack.encode(header(name=name)))


def test_the_rights_of_an_access_list_keep_their_numbers() -> None:
    """They are sealed with every key."""
    assert {right.name: int(right) for right in (Right.USE, Right.MANAGE, Right.ALL)} == {
        "USE": 1,
        "MANAGE": 2,
        "ALL": 3,
    }


@pytest.mark.parametrize("name", IMPOSSIBLE_NAMES.values(), ids=IMPOSSIBLE_NAMES)
def test_a_header_with_an_impossible_name_is_bad_data(name: bytes) -> None:
    with pytest.raises(NCryptError) as caught:
        decode_header(msgspec.msgpack.encode(header(name=name)))
    assert caught.value.status == Status.NTE_BAD_DATA


def test_a_header_that_is_nested_too_deep_is_bad_data() -> None:
    """One edited row of the store must not be an error of all the others."""
    fields = msgspec.msgpack.encode(header())
    count = len(KeyHeader.__struct_fields__)
    assert fields[:3] == struct.pack(">BH", 0xDC, count)
    nested = struct.pack(">BH", 0xDC, count + 1) + fields[3:] + b"\x91" * 20_000 + b"\xc0"

    with pytest.raises(NCryptError) as caught:
        decode_header(nested)
    assert caught.value.status == Status.NTE_BAD_DATA


@pytest.mark.parametrize("root", [ROOT, BOOT_ROOT], ids=["its root", "another root"])
def test_the_message_of_an_error_does_not_quote_what_is_sealed(root: Root) -> None:
    blob = seal_key(ROOT, header(), pkcs8())

    for damaged in (blob[:-1], blob[:-1] + bytes([blob[-1] ^ 1])):
        with pytest.raises(NCryptError) as caught:
            unseal_key(root, damaged)
        assert "Schl" not in str(caught.value)
        assert pkcs8()[-8:].hex() not in str(caught.value)
