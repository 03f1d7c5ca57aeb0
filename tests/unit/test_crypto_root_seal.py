"""Roots on their way from one armed worker to another."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso.crypto.key_blob import Root
from keyiso.crypto.root_seal import Roots, open_roots, seal_roots
from keyiso.errors import NCryptError
from keyiso.status import Status

KEY = X25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes_raw()
BOOT = b"b" * 16
ROOTS = Roots(
    Root(b"0" * 16, "boot", b"s" * 32),
    (Root(b"1" * 16, "machine", b"t" * 32), Root(b"2" * 16, "machine", b"u" * 32)),
)


def status_of_opening(sealed: bytes, key: X25519PrivateKey = KEY, boot: bytes = BOOT) -> int:
    with pytest.raises(NCryptError) as caught:
        open_roots(sealed, key, boot)
    return caught.value.status


def test_who_asked_gets_what_was_sealed() -> None:
    assert open_roots(seal_roots(ROOTS, PUBLIC, BOOT), KEY, BOOT) == ROOTS


def test_a_worker_without_a_machine_root_has_none_to_give() -> None:
    roots = Roots(ROOTS.boot)

    assert open_roots(seal_roots(roots, PUBLIC, BOOT), KEY, BOOT) == roots


def test_nobody_else_opens_it_nor_in_another_boot() -> None:
    sealed = seal_roots(ROOTS, PUBLIC, BOOT)

    assert status_of_opening(sealed, X25519PrivateKey.generate()) == Status.NTE_BAD_DATA
    assert status_of_opening(sealed, boot=b"c" * 16) == Status.NTE_BAD_DATA


def test_a_byte_that_was_changed_anywhere_is_noticed() -> None:
    sealed = seal_roots(ROOTS, PUBLIC, BOOT)
    statuses = {
        status_of_opening(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
        for at in range(len(sealed))
    }

    assert statuses == {Status.NTE_BAD_DATA, Status.NTE_BAD_VER}
    assert {status_of_opening(sealed[:end]) for end in range(len(sealed))} == statuses


def test_what_is_sealed_shows_no_root() -> None:
    sealed = seal_roots(ROOTS, PUBLIC, BOOT)

    assert not any(root.secret[:8] in sealed for root in (ROOTS.boot, *ROOTS.machine))


@pytest.mark.parametrize("key", [b"", b"k" * 31, bytes(32)])
def test_what_is_no_key_is_refused(key: bytes) -> None:
    with pytest.raises(NCryptError) as caught:
        seal_roots(ROOTS, key, BOOT)
    assert caught.value.status == Status.NTE_BAD_DATA


def test_a_boot_root_comes_first_and_machine_roots_after_it() -> None:
    turned = Roots(ROOTS.machine[0], (ROOTS.boot,))

    assert status_of_opening(seal_roots(turned, PUBLIC, BOOT)) == Status.NTE_BAD_DATA
