"""What is recorded of containers, and that no PIN is in it, nor in what others see of a process."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyiso.client.binding import Binding, bind_process
from keyiso.client.passport import (
    change_pin,
    create_passport_key,
    enrol_pin,
    find_passport_key,
    get_container,
    reset_pin,
    sign_with_pin,
    try_pin,
)
from keyiso.crypto.signatures import NO_PADDING
from keyiso.errors import NCryptError
from keyiso.status import Status
from keyiso.trustlet.arming.mappings import regions_of
from keyiso.wire.control import SetEventChannel
from tests.child import child
from tests.conformance.canaries import found
from tests.conformance.statuses import fails
from tests.event_log import EventInstance, event_instance
from tests.passport.conftest import pin
from tests.passport.link import GENERATOR
from tests.trace_listener import told_to

SERVICES = ("passport", "passport-container", "keyiso")

FIRST, SECOND, THIRD, WRONG = (f"{name}1-{os.urandom(16).hex()}" for name in "abcd")


class Run:
    """A life of a container with long PINs, and what was told of it."""

    def __init__(self, instance: EventInstance, records: list[bytes]) -> None:
        self.instance = instance
        self.records = records
        self.errors: list[str] = []
        self.processes: dict[str, bytes] = {}
        self.memories: dict[str, bytes] = {}
        """What a core of a service would have in it, after all that."""

    def live(self, binding: Binding) -> None:
        bind_process(os.environ).control(SetEventChannel("Operational", 5))
        self._fails(try_pin, binding, pin(FIRST))
        self._fails(enrol_pin, binding, pin("1" * 20))
        enrol_pin(binding, pin(FIRST))
        key = create_passport_key(binding, pin(FIRST), "logon")
        sign_with_pin(binding, pin(FIRST), key, b"d" * 32, NO_PADDING)
        self._fails(sign_with_pin, binding, pin(WRONG), key, b"d" * 32, NO_PADDING)
        self._fails(sign_with_pin, binding, pin(FIRST), key, b"", NO_PADDING)
        change_pin(binding, pin(FIRST), pin(SECOND))
        self._fails(change_pin, binding, pin(FIRST), pin(SECOND))
        self.instance.kill("keyiso", GENERATOR)
        try_pin(binding, pin(SECOND))
        self.processes = seen_of(self.instance)
        reset_pin(binding, pin(THIRD))
        self._fails(sign_with_pin, binding, pin(THIRD), key, b"d" * 32, NO_PADDING)
        for _ in range(5):
            self._fails(try_pin, binding, pin(WRONG))
        self._fails(try_pin, binding, pin(THIRD))
        assert find_passport_key(binding, "logon").names_the_same_key(key.header)
        assert get_container(binding).attempts_left == 0
        if os.geteuid() == 0:
            pids = self.instance.pids()
            self.memories = {name: memory_of(pids[name]) for name in SERVICES}

    def places(self) -> dict[str, bytes]:
        """Everything that must not have a PIN."""
        state = self.instance.instance.state
        self.instance.sent += self.instance.journal.wait(0)
        return {
            **{str(path): path.read_bytes() for path in state.rglob("*") if path.is_file()},
            **self.processes,
            "journal": b"".join(self.instance.sent),
            "errors": "\n".join(self.errors).encode(),
            "trace": b"".join(self.records),
        }

    def _fails(self, work: Any, *arguments: Any) -> None:
        with pytest.raises(NCryptError) as caught:
            work(*arguments)
        self.errors.append(f"{caught.value} {caught.value!r}")


def seen_of(instance: EventInstance) -> dict[str, bytes]:
    """The arguments and the environments of all processes."""
    return {
        f"{name} {file}": Path(f"/proc/{pid}/{file}").read_bytes()
        for name, pid in {**instance.pids(), "this": os.getpid()}.items()
        for file in ("cmdline", "environ")
    }


def memory_of(pid: int) -> bytes:
    """All that a process has in its memory."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for region in regions_of(pid):
            with contextlib.suppress(OSError, ValueError, OverflowError):  # the kernel's own
                found.append(os.pread(memory.fileno(), region.size, region.start))
    return b"".join(found)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    home = tmp_path_factory.mktemp("told") / "home"
    with (
        pytest.MonkeyPatch.context() as patch,
        event_instance(home) as instance,
        told_to(home / "trace", patch) as records,
    ):
        patch.setenv("KEYISO_HOME", str(home))
        made = Run(instance, records)
        made.live(bind_process(os.environ, service="passport"))
        yield made


def test_no_pin_is_in_anything_that_is_written_or_shown(run: Run) -> None:
    pins = {name: name.encode() for name in (FIRST, SECOND, THIRD, WRONG)}
    places = run.places()

    assert any(place.endswith("events.jsonl") and text for place, text in places.items())
    assert {f"{GENERATOR} environ", "keyiso cmdline", "this environ"} <= places.keys()
    assert all(places[name] for name in ("journal", "errors", "trace"))
    assert found(pins, places) == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads the memory of a service")
def test_no_pin_is_in_the_memory_of_a_service_that_it_went_through(run: Run) -> None:
    """It was sealed on its way. In a process that has it, the same search finds it."""

    def pins_in(memory: bytes) -> set[str]:
        return {
            name
            for name in (FIRST, SECOND, THIRD, WRONG)
            if name.encode() in memory or name.encode("utf-16-le") in memory
        }

    holding = "import sys; pin = sys.stdin.buffer.readline(); print(flush=True); sys.stdin.read()"
    with child(
        [sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        holder.stdin.write(FIRST.encode() + b"\n")
        holder.stdin.flush()
        holder.stdout.readline()
        assert pins_in(memory_of(holder.pid)) == {FIRST}
        holder.stdin.close()

    assert set().union(*map(pins_in, run.memories.values())) == set()
    assert all(b"keyiso.passport" in run.memories[name] for name in SERVICES[:2])


def test_the_search_finds_a_pin(run: Run) -> None:
    planted = {**run.places(), "planted": b"PIN=" + FIRST.encode()}

    assert {place for _, place, _ in found({"pin": FIRST.encode()}, planted)} == {"planted"}


def test_what_becomes_of_a_container_is_recorded(run: Run) -> None:
    state = get_container(bind_process(os.environ, service="passport"))
    run.instance.event(event_id=1004)
    lines = [line for line in run.instance.events() if line["event_id"] > 1000]

    assert [line["event_id"] for line in lines] == [1001, 1002, 1003, 1004]
    assert {line["uid"] for line in lines} == {os.geteuid()}
    for line in lines:
        assert line["data"]["ContainerId"] == state.container_id.hex()
        assert line["data"]["OwnerId"] == line["data"]["UserId"] == str(os.geteuid())
        assert line["data"]["Protector"] == "software"


def test_a_key_that_was_opened_without_its_pin_is_a_failure_on_record(run: Run) -> None:
    key = find_passport_key(bind_process(os.environ, service="passport"), "logon")
    assert key.location is not None
    with fails(Status.NTE_UI_REQUIRED):
        bind_process(os.environ).open(key.location)

    assert run.instance.event(event_id=3, name="logon")["data"]["Status"] == Status.NTE_UI_REQUIRED
