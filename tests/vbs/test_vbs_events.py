"""What the event log tells of ``vbs``."""

import os
import signal
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from keyiso import Key, KeyUsage, Protection
from keyiso.errors import NCryptError
from keyiso.events.reader import LogReader
from keyiso.status import Status
from tests.instance import RunningInstance
from tests.restart.victims import wait_until

CLIENT = """
from keyiso import Key, Protection
for _ in range(3):
    with Key.create(None, "ECDSA_P256", protection=Protection.REQUIRE_VBS) as key:
        key.sign(b"data")
"""


def found(running: RunningInstance, event_id: int) -> list[dict[str, Any]]:
    reader = LogReader(running.instance.events)
    try:
        lines = [msgspec.json.decode(line, type=dict[str, Any]) for _, line in reader.read()]
    finally:
        reader.close()
    return [one for one in lines if one["event_id"] == event_id]


def test_a_process_that_uses_vbs_is_told_once(vbs_instance: RunningInstance) -> None:
    before = len(found(vbs_instance, 15))
    for count in (1, 2):
        client = subprocess.Popen([sys.executable, "-c", CLIENT], env=dict(vbs_instance.environ))
        assert client.wait(60) == 0
        told = found(vbs_instance, 15)[before:]
        assert [one["pid"] == client.pid for one in told].count(True) == 1
        assert len(told) == count
        assert told[-1]["data"]["BindingStatusCode"] == 0


def test_what_the_pairs_are_is_told(vbs_instance: RunningInstance) -> None:
    Key.create(None, "ECDSA_P256", protection=Protection.REQUIRE_VBS).close()

    standing = found(vbs_instance, 25)
    assert standing
    assert all(one["data"]["Status"].startswith("armed") for one in standing)
    assert found(vbs_instance, 20) == []


def test_a_failure_is_told_with_the_counts_of_client_and_function(
    vbs_instance: RunningInstance,
) -> None:
    with Key.create(
        None, "ECDSA_P256", protection=Protection.REQUIRE_VBS, usage=KeyUsage.AGREE
    ) as key:
        for _ in range(2):
            with pytest.raises(NCryptError):
                key.sign(b"data")

    def told() -> list[dict[str, Any]]:
        return [one for one in found(vbs_instance, 14) if one["pid"] == os.getpid()]

    wait_until(lambda: bool(told()), "no event 14 of this process")
    data = told()[-1]["data"]
    assert data["Function"] == "Sign"
    assert data["StatusCode"] != Status.ERROR_SUCCESS
    assert data["FailuresCount"] == data["FailuresCountGlobal"] == 2
    assert data["SuccessCountGlobal"] >= 0


def test_a_pair_that_was_replaced_is_told(vbs_instance: RunningInstance) -> None:
    Key.create(None, "ECDSA_P256", protection=Protection.REQUIRE_VBS).close()
    before = len(found(vbs_instance, 26))
    (pair,) = (one for one in vbs_instance.status().processes if one.service == "vbs-1")
    os.kill(pair.pid, signal.SIGKILL)

    wait_until(lambda: len(found(vbs_instance, 26)) > before, "no event 26")
    told = found(vbs_instance, 26)[-1]
    assert told["service"] == "vbs-1"
    assert told["data"]["TotalAttemptedRestarts"] == told["data"]["TotalSuccessfulRestarts"]
