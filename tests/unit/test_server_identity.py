"""What a running service is, and how it stands in the way of a request."""

import os
from pathlib import Path

import pytest

from keyiso import limits
from keyiso.errors import Hop
from keyiso.server.identity import Identity, boot_id, new_identity
from tests.unit.samples import hops

IDENTITY = Identity("keyiso", b"i" * 16, b"b" * 16, 4711)
OURS = Hop("keyiso", 4711, "OpenKey")


def test_every_start_has_an_instance_id_of_its_own() -> None:
    first, second = new_identity("keyiso"), new_identity("keyiso")

    assert first.instance_id != second.instance_id
    assert len(first.instance_id) == 16
    assert (first.service, first.pid) == ("keyiso", os.getpid())


def test_a_boot_id_is_the_kernels() -> None:
    text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    assert boot_id() == new_identity("x").boot_id == bytes.fromhex(text.replace("-", ""))
    assert len(boot_id()) == 16


@pytest.mark.parametrize("count", [0, 1, limits.HOPS - 1])
def test_a_request_goes_on_with_one_hop_more(count: int) -> None:
    assert IDENTITY.onward(hops(count), "OpenKey") == (*hops(count), OURS)


@pytest.mark.parametrize("count", [limits.HOPS, limits.HOPS + 1, limits.HOPS + 10])
def test_of_too_long_a_way_both_ends_are_kept(count: int) -> None:
    """One client's long way must not break the connection that everybody's calls are on."""
    way = IDENTITY.onward(hops(count), "OpenKey")

    assert len(way) == limits.HOPS
    assert way[0] == hops(count)[0]
    assert way[-1] == OURS
    assert way[1:-1] == hops(count)[count - limits.HOPS + 2 :]
