"""Limits that whoever starts an instance may lower."""

import pytest

from keyiso import limits
from keyiso.errors import NCryptError
from keyiso.quotas import Quotas
from keyiso.status import Status
from keyiso.trustlet.arming.heap import HEAP_BYTES


def test_without_a_word_they_are_the_limits() -> None:
    quotas = Quotas()

    for field in Quotas.__dataclass_fields__:
        name, value = quotas.limit(field)
        assert value == getattr(limits, name)


def test_a_limit_can_be_lowered() -> None:
    quotas = Quotas().lowered(["CONNECTIONS=10", "HELLO_SECONDS=0.5"])

    assert quotas.connections == 10
    assert quotas.limit("hello_seconds") == ("HELLO_SECONDS", 0.5)
    assert quotas.connections_per_user == limits.CONNECTIONS_PER_USER


@pytest.mark.parametrize(
    "setting",
    [
        "",
        "CONNECTIONS",
        "CONNECTIONS=",
        "CONNECTIONS=many",
        "CONNECTIONS=1.5",
        "CONNECTIONS=0",
        "CONNECTIONS=-1",
        "CONNECTIONS=nan",
        "HELLO_SECONDS=nan",
        "HELLO_SECONDS=inf",
        "connections=10",
        "NAME_UNITS=10",
        f"CONNECTIONS={limits.CONNECTIONS + 1}",
    ],
)
def test_what_cannot_be_set(setting: str) -> None:
    """No limit is raised, and none is set that belongs to a format."""
    with pytest.raises(NCryptError) as caught:
        Quotas().lowered([setting])
    assert caught.value.status == Status.NTE_INVALID_PARAMETER


def test_a_process_serves_no_more_clients_than_it_has_descriptors() -> None:
    quotas = Quotas().within_descriptors(1024)

    assert quotas.connections <= 1024 - 50
    assert quotas.channels_per_worker <= 1024 - 50
    assert quotas.connections_per_user <= quotas.connections // 2
    assert quotas.channels_per_user <= quotas.channels_per_worker // 2


def test_enough_descriptors_change_nothing() -> None:
    assert Quotas().within_descriptors(1 << 20) == Quotas()


def test_one_user_leaves_half_of_a_memory_that_does_not_grow() -> None:
    quotas = Quotas().within_memory(HEAP_BYTES)

    assert quotas.half_sent_bytes_per_user + quotas.unsent_bytes_per_user <= HEAP_BYTES // 2
    assert quotas.half_sent_bytes_per_user > limits.CONTROL_FRAME_BYTES
    assert quotas.unsent_bytes_per_user > limits.PROPERTIES_AT_ONCE * limits.CONTROL_FRAME_BYTES


def test_enough_memory_changes_nothing() -> None:
    assert Quotas().within_memory(1 << 30) == Quotas()
