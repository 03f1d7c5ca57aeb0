"""``keyiso serve`` and ``keyiso stop``."""

import signal
import subprocess

import pytest

from keyiso import Key
from tests.cli.command import DEADLINE_SECONDS, KEYISO, keyiso, process_named
from tests.instance import RunningInstance
from tests.waiting import wait_until

TRIES = 100
"""Each is a process that asks for the status: far more than a start takes."""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, None], ids=str)
def test_in_the_foreground(instance: RunningInstance, ending: signal.Signals | None) -> None:
    Key.create("web", "ECDSA_P256").close()
    assert keyiso("stop").code == 0
    with subprocess.Popen([*KEYISO, "serve", "--workers", "1"], stderr=subprocess.PIPE) as server:
        report = next(
            ended.json
            for ended in (keyiso("status", "--json") for _ in range(TRIES))
            if ended.code == 0
        )
        services = [process["service"] for process in report["processes"]]
        assert services == ["supervisor", "keyiso", "software-0", "software-generator"]
        # The command has become the supervisor.
        assert process_named(report["processes"], "supervisor")["pid"] == server.pid
        assert keyiso("key", "list", "--json").json["keys"][0]["name"] == "web"
        if ending is None:
            assert keyiso("stop").code == 0
        else:
            server.send_signal(ending)
        assert server.wait(DEADLINE_SECONDS) == 0
        assert server.stderr is not None
        assert b"end it with Ctrl-C" in server.stderr.read()
    assert keyiso("status").code == 6


def test_one_instance_is_served_once(instance: RunningInstance) -> None:
    ended = keyiso("serve")
    assert ended.code == 9
    assert "is served already" in ended.errors
    assert keyiso("status").code == 0


def test_stopping_returns_when_everything_has_ended(instance: RunningInstance) -> None:
    ended = keyiso("stop")
    assert ended.code == 0
    assert ended.text == f"keyiso has ended; its keys stay in {instance.instance.state}.\n"
    assert keyiso("status").code == 6
    assert keyiso("stop").code == 6


def test_a_limit_that_is_lowered(instance: RunningInstance) -> None:
    """It reaches every service; what is no limit is said, and nothing is started."""
    assert keyiso("stop").code == 0
    wrong = keyiso("serve", "--limit", "NO_SUCH_LIMIT=1")
    assert (wrong.code, "NO_SUCH_LIMIT=1" in wrong.errors) == (1, True)

    limits = ("--limit", "KEYS_PER_USER=1", "--limit", "EPHEMERALS_PER_USER=5")
    with subprocess.Popen([*KEYISO, "serve", *limits], stderr=subprocess.DEVNULL) as server:
        # Before it listens, a client would start an instance without limits.
        wait_until(lambda: keyiso("status").code == 0, "the start of the instance")
        Key.create("first", "ECDSA_P256").close()
        second = keyiso("key", "create", "second", "--algorithm", "ECDSA_P256")
        assert second.code == 1
        assert "KEYS_PER_USER (1)" in second.errors
        assert keyiso("stop").code == 0
        assert server.wait(DEADLINE_SECONDS) == 0
