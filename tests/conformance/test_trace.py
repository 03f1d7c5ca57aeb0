"""``keyiso trace``: what real programs have done with keys, told by everybody who did it."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyiso import Key, limits
from keyiso.client.tracing import TRACE_VARIABLE
from keyiso.wire.control import FindKey
from keyiso.wire.messages import Call, Return
from tests.cli.command import DEADLINE_SECONDS, KEYISO, Ended
from tests.conformance.raw_client import PROVIDER, RawClient, message
from tests.event_log import EventInstance, event_instance
from tests.instance import RunningInstance
from tests.pages import check_page

ROOT = Path(__file__).parents[2]
Object = dict[str, Any]


def traced(report: Path, *command: str) -> tuple[Ended, Object]:
    """Run a command under ``keyiso trace``."""
    done = subprocess.run(
        [*KEYISO, "trace", "--json", "--output", report, *command],
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    ended = Ended(done.returncode, done.stdout, done.stderr.decode())
    return ended, json.loads(report.read_text(encoding="utf-8"))


def traced_code(report: Path, code: str, *arguments: str) -> Object:
    """Run some Python; what the code does must succeed."""
    ended, told = traced(report, sys.executable, "-c", PRELUDE + code, *arguments)
    assert ended.code == 0, ended.errors
    assert told["lost"] == 0
    return told


PRELUDE = """
import os, signal, subprocess, sys
from keyiso import Key, Protection
def kill(pid):
    "SIGKILL, and wait until it is gone."
    import select
    pidfd = os.pidfd_open(int(pid))
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert select.select([pidfd], [], [], 60)[0]
"""


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "report.json"


def operations(told: Object, function: str) -> list[Object]:
    """All operations of a function, of all processes."""
    return [
        operation
        for process in told["processes"]
        for operation in process["operations"]
        if operation["function"] == function
    ]


def way(operation: Object) -> list[tuple[int, str, str]]:
    """Who did what, with how deep in the tree that is."""
    return [
        (span["depth"], span["service"], span["function"])
        for step in operation["steps"]
        for span in step["spans"]
    ]


def spans(told: Object) -> Iterator[Object]:
    for process in told["processes"]:
        for operation in process["operations"]:
            for step in operation["steps"]:
                yield from step["spans"]


# --- the tree ----------------------------------------------------------------------------------


def test_every_process_on_the_way_is_told(instance: RunningInstance, report: Path) -> None:
    Key.create("web", "ECDSA_P256").close()
    told = traced_code(report, "print(os.getpid()); Key.open('web').sign(b'data')")
    (process,) = told["processes"]
    (opened,), (signed,) = operations(told, "OpenKey"), operations(told, "SignHash")
    pids = instance.pids()

    worker = opened["steps"][-1]["spans"][-1]["service"]
    assert way(opened) == [
        (0, "keyiso", "Attach"),
        (1, "keyiso", "Attach"),
        (2, worker, "AddChannel"),
        (0, worker, "connect"),
        (0, "keyiso", "OpenKey"),
        (1, "keyiso", "OpenKey"),
        (2, worker, "Load"),
    ]
    assert way(signed) == [(0, worker, "Sign"), (1, worker, "Sign")]
    assert {signed["subject"], opened["subject"]} == {"web"}
    for span in spans(told):
        assert span["pid"] == pids[span["service"]]
        assert span["status"] == "ERROR_SUCCESS"
        assert span["seconds"] >= 0
    assert process["process"] == "-c"


def test_nobody_tells_who_was_not_asked_to(instance: RunningInstance) -> None:
    Key.create("web", "ECDSA_P256").close()
    find = FindKey(PROVIDER, "user", "web".encode("utf-16-le"))
    with RawClient.bound(instance.instance.control_socket) as client:
        for tell in (False, True):
            client.send(message(Call(1000 + tell, find, "", (), tell)))
            answer = client.receive()
            assert isinstance(answer, Return)
            assert [span.service for span in answer.spans] == ["keyiso"] * tell


def test_an_error_is_told_with_its_status(instance: RunningInstance, report: Path) -> None:
    ended, told = traced(report, *KEYISO, "key", "show", "nobody")
    assert ended.code == 3
    assert "NTE_BAD_KEYSET" in ended.errors
    assert told["exit_code"] == 3
    opened = operations(told, "OpenKey")[-1]
    assert (opened["status"], opened["subject"]) == ("NTE_BAD_KEYSET", "nobody")
    last = opened["steps"][-1]
    assert [span["status"] for span in last["spans"]] == ["NTE_BAD_KEYSET"] * 2
    assert re.fullmatch(r"application\[\d+\] OpenKey -> keyiso\[\d+\] OpenKey", last["note"])


def test_children_and_forks_are_told_of(instance: RunningInstance, report: Path) -> None:
    """Each under its own pid, with the handle that it inherited."""
    Key.create("web", "ECDSA_P256").close()
    told = traced_code(
        report,
        """
key = Key.open("web")
key.sign(b"parent")
if not os.fork():
    key.sign(b"fork")
    os._exit(0)
os.wait()
subprocess.run([sys.executable, "-m", "keyiso", "key", "show", "web"], check=True)
""",
    )
    parent, *children = told["processes"]
    assert len(children) == 2
    assert {child["parent"] for child in children} == {parent["pid"]}
    assert len({process["pid"] for process in told["processes"]}) == 3
    (forked,) = (child for child in children if child["process"] == "-c")
    (signed,) = forked["operations"]
    assert signed["subject"] == "web"
    services = [span["service"] for step in signed["steps"] for span in step["spans"]]
    assert services[:2] == ["keyiso", "keyiso"]
    assert signed["rebinds"] == 0  # it had no binding of its own before


def test_many_signatures_are_told_batch_by_batch(instance: RunningInstance, report: Path) -> None:
    Key.create("web", "ECDSA_P256").close()
    told = traced_code(report, "Key.open('web').sign_digests([b'd' * 32] * 100)")
    (signed,) = operations(told, "SignHashes")
    batches = [step for step in signed["steps"] if step["spans"][0]["function"] == "SignBatch"]
    assert len(batches) >= 100 / limits.DIGESTS_PER_BATCH
    assert all(len(step["spans"]) == 2 for step in batches)


# --- what restarts -----------------------------------------------------------------------------


def test_a_killed_keyiso_service_is_seen_to_be_bound_again(
    instance: RunningInstance, report: Path
) -> None:
    Key.create("web", "ECDSA_P256").close()
    before = instance.pid_of("keyiso")
    told = traced_code(
        report,
        "Key.exists('web'); kill(sys.argv[1]); assert Key.exists('web')",
        str(before),
    )
    first, *_, second = operations(told, "FindKey")
    assert (first["rebinds"], first["attempts"]) == (0, 1)
    assert (second["rebinds"], second["status"]) == (1, "ERROR_SUCCESS")
    assert second["attempts"] > 1
    broken, *_, bound, bind, found = second["steps"]
    (lost,) = broken["spans"]
    assert (lost["service"], lost["pid"], lost["function"], lost["status"]) == (
        *("keyiso", before, "FindKey", "KEYISO_E_STALE"),
    )
    assert broken["note"].startswith("keyiso ")
    after = instance.pid_of("keyiso")
    assert [step["spans"][0]["function"] for step in (bound, bind, found)] == [
        *("connect", "Bind", "FindKey"),
    ]
    assert {step["spans"][0]["pid"] for step in (bound, bind, found)} == {after}
    assert first["steps"][0]["note"] != bound["note"]


def test_a_killed_worker_is_seen_to_be_attached_again(
    instance: RunningInstance, report: Path
) -> None:
    Key.create("web", "ECDSA_P256").close()
    pids = [pid for name, pid in instance.pids().items() if re.fullmatch(r"software-\d+", name)]
    told = traced_code(
        report,
        "key = Key.open('web'); key.sign(b'1'); list(map(kill, sys.argv[1:])); key.sign(b'2')",
        *map(str, pids),
    )
    first, second = operations(told, "SignHash")
    assert (first["rebinds"], first["attempts"]) == (0, 1)
    assert second["attempts"] > 1
    functions = [step["spans"][0]["function"] for step in second["steps"]]
    assert functions[0] == functions[-1] == "Sign"
    assert "Attach" in functions
    assert second["steps"][0]["spans"][0]["status"] == "KEYISO_E_STALE"
    (sign,) = second["steps"][-1:]
    assert sign["spans"][-1]["pid"] not in pids


def test_what_cannot_be_bound_again_is_told_with_everything_that_was_tried(
    instance: RunningInstance, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Key.create("web", "ECDSA_P256").close()
    os.kill(instance.pid_of("keyiso"), 19)  # SIGSTOP: its socket takes connections
    monkeypatch.setenv("KEYISO_DEADLINE", "0.5")
    ended, told = traced(report, *KEYISO, "key", "show", "web")
    assert ended.code == 6
    found = operations(told, "FindKey")[-1]
    assert found["status"] == "KEYISO_E_SERVICE_UNAVAILABLE"
    *tried, gave_up = found["steps"]
    assert gave_up["spans"][0]["function"] == "give up"
    assert all(step["spans"][0]["status"] == "KEYISO_E_STALE" for step in tried)
    assert "did not answer" in tried[0]["note"]


# --- what else ---------------------------------------------------------------------------------


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventInstance]:
    with event_instance(tmp_path / "home") as running:
        monkeypatch.setenv("KEYISO_HOME", str(tmp_path / "home"))
        yield running


def test_an_event_has_the_trace_of_the_tree(logged: EventInstance, report: Path) -> None:
    told = traced_code(report, "Key.create('web', 'ECDSA_P256').close()")
    (made,) = operations(told, "FinalizeKey")
    event = logged.event(event_id=21, name="web")
    assert event["trace"] == made["trace"]


@pytest.mark.parametrize("path", ["{home}/nobody", "relative", "/" + "x" * 300, "\udcff"])
def test_who_is_not_listened_to_goes_on(
    instance: RunningInstance, path: str, tmp_path: Path
) -> None:
    """The command under ``keyiso trace`` has ended, and what it started has not."""
    environ = {**os.environ, TRACE_VARIABLE: path.format(home=tmp_path)}
    code = "from keyiso import Key; Key.create('web', 'ECDSA_P256').sign(b'data')"
    subprocess.run([sys.executable, "-c", code], env=environ, check=True, timeout=DEADLINE_SECONDS)


def test_who_does_not_read_is_waited_for_once(instance: RunningInstance, tmp_path: Path) -> None:
    """Later records find no room, and nobody waits for it: else this would take minutes."""
    environ = {**os.environ, TRACE_VARIABLE: str(tmp_path / "socket")}
    code = """
from keyiso import Key
key = Key.create("web", "ECDSA_P256")
for _ in range(500):
    key.sign(b"data")
"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "socket"))
        subprocess.run(
            [sys.executable, "-c", code], env=environ, check=True, timeout=DEADLINE_SECONDS
        )


def test_a_program_that_was_traced_can_still_end_at_once(
    instance: RunningInstance, report: Path
) -> None:
    """A command that leaves something behind is not waited for."""
    ended, told = traced(report, "sh", "-c", "sleep 600 >&- 2>&- & echo $!; exit 5")
    os.kill(int(ended.text), 9)
    assert (ended.code, told["processes"]) == (5, [])


# --- the page ----------------------------------------------------------------------------------

PAGE = ROOT / "docs" / "trace.md"


def test_the_page_shows_what_happens(instance: RunningInstance, tmp_path: Path) -> None:
    """Its commands are run, one after the other, and print what stands there."""
    (tmp_path / "letter.txt").write_text("Dear Alice")
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "twice.py").write_text(program)

    assert check_page(PAGE, tmp_path) >= 4
