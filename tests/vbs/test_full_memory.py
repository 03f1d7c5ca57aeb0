"""The memory of an armed worker does not grow. Clients that fill it are refused; the others, and
the worker, go on.
"""

import contextlib
import os
import random
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from keyiso import Key, NCryptError, Protection, limits
from keyiso.status import Status
from keyiso.trustlet.arming.heap import HEAP_BYTES
from keyiso.wire.control import Attach
from keyiso.wire.messages import Failure, Refusal
from tests.conformance.conftest import homes, python
from tests.conformance.raw_client import Ended, RawClient
from tests.conformance.world import ALICE, BOB, SystemInstance, uid_of
from tests.instance import RunningInstance, in_use
from tests.waiting import wait_until

__all__ = ["homes", "python"]

DATA = b"data"

MANY_HANDLES = """
import sys
from keyiso import Key
keys = []
for number in range(int(sys.argv[1])):
    keys.append(Key.open("RSA" if number % 2 else "EC"))
    keys[-1].sign(b"data")
for key in keys:
    key.sign(b"data")
print(len(keys))
"""
"""A program with more handles than there is memory for, if a few run at a time."""

PROGRAMS, HANDLES = 4, 700
"""About 9 KiB for a key of RSA-2048 and 3 for one of P-256: more than the 16 MiB of a worker."""

CHANNELS_OF_ONE = limits.CHANNELS_PER_CONNECTION - 1
MOST_CHANNELS = limits.CHANNELS_PER_USER
"""Each of them costs a few KiB."""


@pytest.fixture(scope="module")
def instance(
    armed_machine: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningInstance]:
    """One worker has all keys."""
    home: Path = tmp_path_factory.mktemp("full") / "home"
    with in_use(RunningInstance(home, ("--workers=1",))) as running:
        make_keys()
        yield running


@pytest.fixture(scope="module")
def system(armed_machine: None, python: Path, homes: Path) -> Iterator[RunningInstance]:
    """One worker has the keys of all users."""
    with in_use(SystemInstance(homes / "system", python, ("--workers=1",))) as running:
        make_keys()
        yield running


def make_keys() -> None:
    for name, algorithm in (("RSA", "RSA"), ("EC", "ECDSA_P256")):
        protection = Protection.REQUIRE_VBS
        with Key.create(name, algorithm, protection=protection, per_boot=True) as key:
            key.sign(DATA)


@contextlib.contextmanager
def worker_stays(instance: RunningInstance) -> Iterator[None]:
    before = worker_of(instance)
    yield
    assert worker_of(instance) == before


def worker_of(instance: RunningInstance) -> int:
    return next(one.worker_pid for one in instance.status().processes if one.service == "vbs-0")


def test_programs_with_more_keys_than_there_is_memory_for_notice_nothing(
    instance: RunningInstance,
) -> None:
    with worker_stays(instance):
        programs = [
            subprocess.Popen(
                [sys.executable, "-c", MANY_HANDLES, str(HANDLES)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(PROGRAMS)
        ]
        for program in programs:
            said, _ = program.communicate(timeout=300)
            assert (program.returncode, said.strip()) == (0, str(HANDLES))


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")
def test_who_takes_all_memory_is_refused_and_gives_it_back(system: RunningInstance) -> None:
    """One user alone may not: frames that are begun and not finished take some of it, up to a
    share, and as many channels as a user may have most of the rest. Two users fill it. A program
    that signs meanwhile is served, or refused with the same status.
    """
    frame = struct.pack("<I", limits.KEY_FRAME_BYTES) + bytes(limits.KEY_FRAME_BYTES - 1)
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    begun: list[RawClient] = []
    opened = Counter[str]()
    signed = Counter[str]()
    with worker_stays(system), ExitStack() as stack, Key.open("RSA") as rsa, Key.open("EC") as ec:
        for number in range(4 * MOST_CHANNELS):  # one whose frame is refused ends
            if number % CHANNELS_OF_ONE == 0:
                user = BOB if number // CHANNELS_OF_ONE % 2 else ALICE
                client = client_of(user, system)
                stack.callback(client.close)
            frame_begun = user == ALICE and chance.random() < 0.4
            opened[channel_with(client, frame if frame_begun else b"", begun)] += 1
            if chance.random() < 0.1:
                signed[signing(chance.choice((rsa, ec)))] += 1
            if opened["NTE_NO_MEMORY"] > 20:
                break
        assert opened["NTE_NO_MEMORY"] > 20
        wait_until(  # a busy worker refuses late
            lambda: len(still_begun(begun, opened)) * limits.KEY_FRAME_BYTES <= HEAP_BYTES // 8,
            "the share of one user",
        )
        print(dict(opened), dict(signed))
        assert set(opened) <= {"begun", "KEYISO_E_LIMIT", "NTE_NO_MEMORY", "idle"}
        assert begun
        assert set(signed) <= {"done", "NTE_NO_MEMORY"}

    with Key.open("RSA") as rsa, Key.open("EC") as ec:
        for key in (rsa, ec):
            key.verify(key.sign(DATA), DATA)


def client_of(user: str, system: RunningInstance) -> RawClient:
    """One that another user has connected."""
    os.seteuid(uid_of(user))
    try:
        return RawClient.bound(system.instance.control_socket)
    finally:
        os.seteuid(0)


def channel_with(client: RawClient, frame: bytes, begun: list[RawClient]) -> str:
    """What comes of a new channel on which a frame is begun, or nothing more is said."""
    answer = client.call(Attach(level="vbs"))
    if isinstance(answer, Failure):
        return Status(answer.status).name
    channel = client.take_channel()
    try:
        channel.hello()
        if not frame:
            return "idle"
        channel.send(frame)
        channel.socket.settimeout(0.05)
        refusal = channel.receive()
    except TimeoutError:
        begun.append(channel)
        return "begun"
    except (Ended, BrokenPipeError):
        return "hung up on"
    assert isinstance(refusal, Refusal), refusal
    return Status(refusal.status).name


def still_begun(begun: list[RawClient], opened: Counter[str]) -> list[RawClient]:
    """Channels that were not refused. What came of the others is counted."""
    for channel in list(begun):
        channel.socket.settimeout(0.001)
        try:
            refusal = channel.receive()
        except TimeoutError:
            continue
        assert isinstance(refusal, Refusal), refusal
        opened[Status(refusal.status).name] += 1
        opened["begun"] -= 1
        begun.remove(channel)
    return begun


def signing(key: Key) -> str:
    try:
        key.sign(DATA)
    except NCryptError as error:
        return Status(error.status).name
    return "done"
