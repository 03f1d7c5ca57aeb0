"""RSA keys that take longer to make than a client usually waits."""

import threading

import pytest

from keyiso import Key, NCryptError
from tests.instance import RunningInstance

DEADLINE = "2"
"""Seconds; the mean time for 8192 bits is several times that."""


def test_a_long_key_may_take_longer_than_the_deadline(
    instance: RunningInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the other calls of the process do not wait behind it."""
    Key.create("short", "ECDSA_P256").close()
    monkeypatch.setenv("KEYISO_DEADLINE", DEADLINE)  # now that all services are there
    made: list[int | NCryptError] = []

    def make_long_key() -> None:
        try:
            with Key.create("long", "RSA", length=8192) as key:
                made.append(key.length)
        except NCryptError as error:
            made.append(error)

    thread = threading.Thread(target=make_long_key)
    thread.start()
    while thread.is_alive():
        Key.create("short", "ECDSA_P256", overwrite=True).close()
    thread.join()

    assert made == [8192]
