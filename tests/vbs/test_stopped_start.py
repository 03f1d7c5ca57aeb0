"""A pair that is stopped while it is being armed, and those that wait for it."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from keyiso import Key, Protection
from tests.instance import RunningInstance
from tests.waiting import wait_until

pytestmark = pytest.mark.soak


def test_a_client_is_served_before_its_deadline(
    armed_machine: None, instance: RunningInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first pair, as the others wait until it has made the roots."""
    monkeypatch.delenv("KEYISO_DEADLINE")  # the usual one

    def starting() -> list[int]:
        processes = instance.status().processes
        return [one.pid for one in processes if one.pid and one.service.startswith("vbs-")]

    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(Key.create, None, "ECDSA_P256", protection=Protection.REQUIRE_VBS)
        wait_until(lambda: bool(starting()), "the start of a pair")
        stopped = starting()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        with made.result() as key:
            key.verify(key.sign(b"data"), b"data")
    assert not set(stopped) & set(starting())
