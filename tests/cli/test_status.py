"""``keyiso status``: what runs; and it starts nothing."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyiso import Key, NCryptError
from keyiso.cli import status
from keyiso.paths import client_instance
from tests.cli.command import assert_reads, keyiso, process_named
from tests.instance import RunningInstance
from tests.waiting import wait_until

DATA = b"data"


def test_what_runs(instance: RunningInstance) -> None:
    ended = keyiso("status")
    assert (ended.code, ended.errors) == (0, "")
    assert_reads(
        ended.text,
        """\
SERVICE ... UID  RESTARTS  SINCE ... KEYS  CHANNELS  CALLS  FAILED  LOST ... MEMORY  FILES
supervisor ... MiB ...
keyiso ... MiB ...
software-0 ... MiB ...
software-generator ... MiB ...

Programs connected to the KeyIso service: 0
Events that are not recorded: none

Where
Serves:        you
State:         ...
Sockets:       ...
Events:        ...
Configuration: ...
""",
    )


def test_the_same_for_programs(instance: RunningInstance) -> None:
    with Key.create("web", "ECDSA_P256") as key:
        key.verify(key.sign(DATA), DATA)
        ended = keyiso("status", "--json")
    assert ended.code == 0
    report = ended.json
    assert "error" not in report
    assert (report["running"], report["clients"]) == (True, 1)
    running = [process for process in report["processes"] if process["pid"]]
    assert {process["service"]: process["pid"] for process in running} == instance.pids()
    # Nobody has asked for them yet: pairs for vbs keys, as many as there are software workers, and
    # Passport's services.
    waiting = {one["service"] for one in report["processes"] if not one["pid"]}
    software = {one for one in instance.pids() if one.startswith("software-")}
    pairs = {one.replace("software", "vbs") for one in software}
    assert waiting == {*pairs, "passport", "passport-container"}
    assert not any(one["stopped"] for one in report["processes"])
    for process in running:
        assert process["uid"] == os.geteuid()
        assert process["restarts"] == 0
        assert process["memory_bytes"] > 1 << 20
        if process["service"] != "supervisor":
            assert len(bytes.fromhex(process["instance_id"])) == 16
    workers = [process for process in report["processes"] if process["loaded_keys"] is not None]
    assert sum(worker["loaded_keys"] for worker in workers) == 1
    assert sum(worker["channels"] for worker in workers) == 1
    assert sum(worker["operations"] for worker in workers) >= 1
    assert report["instance"]["control_socket"] == str(instance.instance.control_socket)
    assert report["instance"]["state"] == str(instance.instance.state)


def test_restarts_are_counted_and_have_new_ids(instance: RunningInstance) -> None:
    before = keyiso("status", "--json").json["processes"]
    with Key.create("web", "ECDSA_P256") as key:
        instance.kill("keyiso", "software-0", "software-1", "software-generator")
        key.verify(key.sign(DATA), DATA)
    after = keyiso("status", "--json").json["processes"]
    first, second = (process_named(processes, "keyiso") for processes in (before, after))
    assert second["restarts"] == 1
    assert second["pid"] != first["pid"]
    assert second["instance_id"] != first["instance_id"]


# --- who is bound ------------------------------------------------------------------------------


def bound(pid: int) -> Any:
    """A process as `keyiso status` has it; None for one that is not bound."""
    processes = keyiso("status", "--json").json["bindings"]["processes"]
    return next((process for process in processes if process["pid"] == pid), None)


def test_who_is_bound_to_which_instance_of_whom(instance: RunningInstance) -> None:
    assert bound(os.getpid()) is None
    with Key.create("web", "ECDSA_P256") as key:
        key.sign(DATA)
        report = keyiso("status", "--json").json
        ended = keyiso("status")
    (process,) = report["bindings"]["processes"]
    (worker,) = process["workers"]
    ids = {one["service"]: one["instance_id"] for one in report["processes"]}
    assert report["bindings"]["instance_id"] == ids["keyiso"]
    assert report["bindings"]["more"] == 0
    assert (process["pid"], process["uid"]) == (os.getpid(), os.geteuid())
    assert process["connections"] == 1
    assert (worker["instance_id"], worker["channels"]) == (ids[worker["service"]], 1)
    assert_reads(
        ended.text,
        f"""\
...
Who is bound to which instance
PROGRAM ... PID ... UID ... KEYISO ... WORKERS
... {os.getpid()} ... {ids["keyiso"][:8]} ... {worker["service"]} {worker["instance_id"][:8]}
...
Where
...""",
    )


def test_who_has_channels_is_seen_although_the_service_that_made_them_is_gone(
    instance: RunningInstance,
) -> None:
    with Key.create("web", "ECDSA_P256") as key:
        key.sign(DATA)
        before = bound(os.getpid())
        instance.kill("keyiso")
        after = bound(os.getpid())
        assert (before["connections"], after["connections"]) == (1, 0)
        assert after["workers"] == before["workers"]
        assert after["process"] == before["process"]
        assert Key.exists("web")
        assert bound(os.getpid()) == before


def test_who_ended_is_bound_no_more(instance: RunningInstance) -> None:
    code = "import sys; from keyiso import Key; Key.exists('web'); print(); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None and other.stdout is not None
        other.stdout.readline()
        assert bound(other.pid)["connections"] == 1
        other.stdin.close()
    wait_until(lambda: bound(other.pid) is None, "its end")


def test_nothing_runs_and_nothing_is_started(tmp_path: Path) -> None:
    home = tmp_path / "home"
    environ = {**os.environ, "KEYISO_HOME": str(home)}
    ended = keyiso("status", environ=environ)
    assert ended.code == 6
    assert ended.text.startswith("keyiso is not running here.")
    assert str(home / "state") in ended.text
    assert_reads(
        ended.errors,
        """\
keyiso: KEYISO_E_SERVICE_UNAVAILABLE (0xA0090002): ...
  Cause: no supervisor answers at ...
  To do: Start one with `keyiso serve`.
...
""",
    )
    ended = keyiso("status", "--json", environ=environ)
    assert ended.code == 6
    assert (ended.json["running"], ended.json["processes"]) == (False, [])
    assert ended.json["error"]["exit_code"] == 6
    assert not home.exists()
    assert not client_instance(environ).runtime.exists()


def test_after_a_crash_of_everything_nothing_is_started(instance: RunningInstance) -> None:
    supervisor = os.pidfd_open(instance.pid_of("supervisor"))
    signal.pidfd_send_signal(supervisor, signal.SIGKILL)
    ended = keyiso("status")
    assert ended.code == 6
    with open(instance.instance.lock, "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a supervisor would hold it
        assert keyiso("status").code == 6
    os.close(supervisor)


@pytest.fixture
def wedged(instance: RunningInstance) -> Iterator[int]:
    """The pid of a KeyIso service that does not answer; its supervisor does."""
    pid = instance.pid_of("keyiso")
    os.kill(pid, signal.SIGSTOP)
    yield pid
    with contextlib.suppress(ProcessLookupError):  # the watchdog may have replaced it
        os.kill(pid, signal.SIGCONT)


def test_the_keyiso_service_alone_does_not_answer(wedged: int) -> None:
    ended = keyiso("status")
    assert ended.code == 6
    assert str(wedged) in ended.text
    assert "software-generator" in ended.text
    assert "did not answer" in ended.errors


def test_the_same_silence_for_programs(wedged: int) -> None:
    ended = keyiso("status", "--json")
    assert ended.code == 6
    report = ended.json
    assert (report["running"], report["clients"]) == (True, None)
    assert report["error"]["status"] == "KEYISO_E_SERVICE_UNAVAILABLE"
    found = process_named(report["processes"], "keyiso")
    assert (found["pid"], found["instance_id"]) == (wedged, None)
    assert process_named(report["processes"], "software-generator")["memory_bytes"]


def test_a_supervisor_that_ends_meanwhile_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had answered, and its control socket is gone when the KeyIso service is asked."""
    monkeypatch.setattr(status, "_DEADLINE_SECONDS", 0)
    nobody = client_instance({"KEYISO_HOME": str(tmp_path / "home")})
    with pytest.raises(NCryptError, match="KEYISO_E_SERVICE_UNAVAILABLE"):
        status._service_status(nobody)
    assert not nobody.state.exists()
