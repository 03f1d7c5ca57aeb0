"""``keyiso trace``: the command's own output and exit code, and the tree beside them."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from keyiso import Key, limits
from keyiso.cli._collector import Collector
from keyiso.cli._trace_tree import as_lines, as_object
from keyiso.client.tracing import Step
from keyiso.status import Status
from keyiso.wire.messages import Span
from tests.cli.command import DEADLINE_SECONDS, KEYISO, assert_reads, keyiso
from tests.instance import RunningInstance


def test_the_output_is_the_commands_and_the_tree_goes_beside_it(
    shared_instance: RunningInstance, tmp_path: Path
) -> None:
    Key.create("web", "ECDSA_P256", overwrite=True).close()
    plain = keyiso("key", "show", "web")
    ended = keyiso("trace", *KEYISO, "key", "show", "web")
    assert (ended.code, ended.text) == (0, plain.text)
    assert_reads(
        ended.errors,
        """\
...[...]
  FindKey 'web' ... ms  ok
    keyiso[...] bound, instance ... ms
    keyiso[...] Bind ... ms (... ms there)
    keyiso[...] FindKey ... ms (... ms there)
...
    keyiso[...] OpenKey ... ms (... ms there)
      software-...[...] Load ... ms
""",
    )
    report = tmp_path / "report"
    ended = keyiso("trace", "--output", report, *KEYISO, "key", "show", "web")
    assert (ended.code, ended.text, ended.errors) == (0, plain.text, "")
    assert "FindKey 'web'" in report.read_text()
    ended = keyiso("trace", "--json", *KEYISO, "key", "show", "web")
    assert json.loads(ended.errors)["processes"][0]["operations"][0]["function"] == "FindKey"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("true",), 0),
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "kill -TERM $$"), 128 + signal.SIGTERM),
        (("/nonexistent/command",), 127),
        (("/etc/hostname",), 126),
        (("-c", "true"), 2),
        (("--", "-c", "true"), 127),
        ((), 2),
    ],
    ids=str,
)
def test_the_exit_code_is_the_commands(command: tuple[str, ...], code: int) -> None:
    ended = keyiso("trace", *command)
    assert ended.code == code
    if code in (0, 7):
        assert ended.errors == "No program in it used keyiso.\n"


def test_options_after_the_command_are_the_commands() -> None:
    ended = keyiso("trace", "echo", "--json", "--output", "-h", "--", "x")
    assert (ended.code, ended.text) == (0, "--json --output -h -- x\n")


def test_the_command_decides_what_a_signal_means(tmp_path: Path) -> None:
    """What `keyiso trace` gets goes on to the command, and the tree is printed after all."""
    code = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
print("ready", flush=True)
signal.pause()
"""
    with subprocess.Popen(
        [*KEYISO, "trace", sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)  # a terminal sends it to both
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, errors) == (9, "No program in it used keyiso.\n")


def test_nobody_else_can_send_and_nothing_is_left_behind() -> None:
    code = """
import os, stat
path = os.environ["KEYISO_TRACE"]
print(oct(stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode)), path)
"""
    mode, path = keyiso("trace", sys.executable, "-c", code).text.split()
    assert mode == "0o700"
    assert not os.path.exists(os.path.dirname(path))


# --- what is collected -------------------------------------------------------------------------


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


SEND = """
import os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
    for record in sys.argv[1:]:
        sending.sendto(bytes.fromhex(record), os.environ["KEYISO_TRACE"])
"""


def sent(collector: Collector, *records: bytes) -> None:
    command = [sys.executable, "-c", SEND, *(record.hex() for record in records)]
    assert collector.run(command, os.environ) == 0


def step(*spans: Span, pid: int = 10, trace: str = "t", note: str = "", began: float = 1.0) -> Step:
    return Step(trace, pid, 9, "web", "SignHash", "key", 1, began, spans, note)


SIGN = Span("software-0", 20, "Sign", 0.001)


def test_what_is_no_record_is_counted(collector: Collector) -> None:
    good = msgspec.msgpack.encode(step(SIGN))
    sent(collector, good, b"", b"\xc1", good[:-3], b"\x91" * 5000, msgspec.msgpack.encode(step()))
    assert (collector.steps(), collector.lost) == ([step(SIGN)], 5)


def test_a_newer_record_is_understood(collector: Collector) -> None:
    fields = [*msgspec.structs.astuple(step(SIGN)), "a field that nobody knows"]
    sent(collector, msgspec.msgpack.encode(fields))
    assert (collector.steps(), collector.lost) == ([step(SIGN)], 0)


def test_what_is_kept_is_bounded(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    good = msgspec.msgpack.encode(step(SIGN))
    monkeypatch.setattr(limits, "TRACE_BYTES", 2 * len(good))
    sent(collector, good, good, good)
    assert (len(collector.steps()), collector.lost) == (2, 1)


def test_a_socket_fits_wherever_temporary_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with Collector() as collector:
        sent(collector, msgspec.msgpack.encode(step(SIGN)))
    assert len(collector.steps()) == 1
    assert not list(deep.iterdir())


# --- what is printed ---------------------------------------------------------------------------


def connected(instance: str, *, trace: str, began: float) -> Step:
    return step(Span("keyiso", 30, "connect", 0.5), trace=trace, note=instance, began=began)


def test_a_tree_of_any_services() -> None:
    """What a service tells of those that it asked hangs below it, however deep."""
    deep = (
        Span("passport", 2, "GetKeyMetadata", 0.004),
        Span("passport", 2, "GetKeyMetadata", 0.003),
        Span("container", 3, "GetKeyMetadata", 0.002, Status.NTE_PERM, 1),
        Span("keyiso", 4, "OpenKey", 1.5, 0, 2),
    )
    assert list(as_lines([step(*deep)])) == [
        "web[10]",
        "  SignHash 'key'  4.0 ms  ok",
        "    passport[2] GetKeyMetadata  4.0 ms (3.0 ms there)",
        "      container[3] GetKeyMetadata  NTE_PERM  2.0 ms",
        "        keyiso[4] OpenKey  1.50 s",
    ]


def test_a_next_instance_is_bound_again_and_another_process_binds_its_own() -> None:
    steps = [
        connected("a", trace="1", began=1),
        connected("a", trace="2", began=2),
        connected("b", trace="3", began=3),
    ]
    assert [line.split("  ")[2] for line in as_lines(steps) if "30" in line] == [
        "keyiso[30] bound, instance a",
        "keyiso[30] bound, instance a",
        "keyiso[30] re-bound, instance b",
    ]
    (process,) = as_object(steps)
    assert [operation["rebinds"] for operation in process["operations"]] == [0, 0, 1]


def test_what_is_the_same_again_and_again_is_one_line() -> None:
    broken = Span("keyiso", 0, "connect", 0.25, Status.KEYISO_E_STALE)
    steps = [step(broken, note="keyiso is away", began=float(n)) for n in range(4)]
    assert list(as_lines(steps))[2:] == [
        "    keyiso[-] connect  broken: keyiso is away  1.00 s, 4 times"
    ]


def test_what_failed_says_which_events_belong_to_it() -> None:
    failed = step(Span("keyiso", 4, "x", 0.0, Status.NTE_PERM), trace="00-1")
    assert list(as_lines([failed]))[1] == "  SignHash 'key'  0.0 ms  NTE_PERM, trace 00-1"


def test_nothing_in_a_tree_steers_a_terminal() -> None:
    evil = "\x1b[2J\n\u202e"
    told = Step(evil, 1, 2, evil, evil, evil, 1, 1.0, (Span(evil, 3, evil, 0.0, 5), SIGN), evil, 0)
    for line in as_lines([told, step(Span(evil, 0, "connect", 0.0), note=evil)]):
        assert re.fullmatch(r"[ -~]*", line), ascii(line)
