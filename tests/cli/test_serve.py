"""``keyiso serve`` and ``keyiso stop``."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from keyiso import Key
from keyiso.trustlet.arming.bpf_lsm import probe_bpf_lsm
from keyiso.trustlet.arming.shields import Answer
from tests.child import child
from tests.cli.command import DEADLINE_SECONDS, KEYISO, Ended, keyiso, process_named
from tests.instance import RunningInstance
from tests.waiting import wait_until

TRIES = 100
"""Each is a process that asks for the status: far more than a start takes."""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, None], ids=str)
def test_in_the_foreground(instance: RunningInstance, ending: signal.Signals | None) -> None:
    Key.create("web", "ECDSA_P256").close()
    assert keyiso("stop").code == 0
    with child([*KEYISO, "serve", "--workers", "1"], stderr=subprocess.PIPE) as server:
        report = next(
            ended.json
            for ended in (keyiso("status", "--json") for _ in range(TRIES))
            if ended.code == 0
        )
        running = [one["service"] for one in report["processes"] if one["pid"]]
        waiting = [one["service"] for one in report["processes"] if not one["pid"]]
        assert running == ["supervisor", "keyiso", "software-0", "software-generator"]
        assert waiting == ["vbs-0", "vbs-generator", "passport", "passport-container"]
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

    with serving("--limit", "KEYS_PER_USER=1", "--limit", "EPHEMERALS_PER_USER=5") as server:
        Key.create("first", "ECDSA_P256").close()
        assert refused_for(keyiso("key", "create", "second", "--algorithm", "ECDSA_P256"))
        assert keyiso("stop").code == 0
        assert server.wait(DEADLINE_SECONDS) == 0


def test_options_outlive_the_supervisor(instance: RunningInstance) -> None:
    """Whoever starts it again by using a key; until it is served with others."""
    assert keyiso("stop").code == 0
    with serving("--workers", "1", "--limit", "KEYS_PER_USER=1") as server:
        Key.create("first", "ECDSA_P256").close()
        server.kill()
    assert refused_for(keyiso("key", "create", "second", "--algorithm", "ECDSA_P256"))
    assert workers() == ["software-0", "software-generator"]

    assert keyiso("stop").code == 0
    assert refused_for(keyiso("key", "create", "second", "--algorithm", "ECDSA_P256"))

    assert keyiso("stop").code == 0
    with serving("--workers", "2") as server:
        server.kill()
    assert keyiso("key", "create", "second", "--algorithm", "ECDSA_P256").code == 0
    assert workers() == ["software-0", "software-1", "software-generator"]


def test_a_shield_is_for_the_whole_machine(instance: RunningInstance) -> None:
    ended = keyiso("serve", "--shield", "bpf-lsm")
    assert ended.code == 2
    assert "--shield is for root, with --system" in ended.errors


@pytest.mark.skipif(os.geteuid() != 0, reason="only root raises the shield")
def test_nothing_is_served_without_a_shield_that_was_asked_for(instance: RunningInstance) -> None:
    found = probe_bpf_lsm()
    if found.answer is Answer.YES:
        pytest.skip("this kernel would raise it, for the whole machine: make test-vm does")
    assert keyiso("stop").code == 0
    ended = keyiso("serve", "--system", "--shield", "bpf-lsm")
    assert ended.code == 7
    assert "keyiso serves" not in ended.errors
    assert "the shield bpf-lsm cannot be raised" in ended.errors
    assert found.evidence in ended.errors
    assert keyiso("status").code == 6


@contextlib.contextmanager
def serving(*options: str) -> Iterator[subprocess.Popen[bytes]]:
    """``keyiso serve``, once it serves; it has ended when the block has."""
    with child([*KEYISO, "serve", *options], stderr=subprocess.DEVNULL) as server:
        # Before it listens, a client would start an instance.
        wait_until(lambda: keyiso("status").code == 0, "the start of the instance")
        yield server


def refused_for(ended: Ended) -> bool:
    return ended.code == 1 and "KEYS_PER_USER (1)" in ended.errors


def workers() -> list[str]:
    processes = keyiso("status", "--json").json["processes"]
    return [one["service"] for one in processes if one["service"].startswith("software")]
