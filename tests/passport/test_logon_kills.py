"""A PIN logon across four processes, any of which restarts: nobody notices.

What the first of the two write-ups describes that started this project: a client of the KeyIso
service had bound once for its life, and after a restart of that service no PIN was right any more,
until that client was restarted too.
"""

import contextlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from keyiso.client.binding import trusted_uids
from keyiso.client.passport import create_passport_key, enrol_pin
from keyiso.client.supervision import start_service, stop_service
from keyiso.identifiers import MS_NGC_KEY_STORAGE_PROVIDER
from keyiso.status import Status
from keyiso.supervisor.layout import listen_at
from keyiso.wire.control import Bind, EnumKeys, KeyNames
from tests.conformance.raw_client import RawClient
from tests.conformance.statuses import fails
from tests.instance import RunningInstance
from tests.passport.conftest import PROJECT, RIGHT, pin
from tests.passport.killer import Killer
from tests.passport.logons import (
    ATTEMPTS,
    CHAIN,
    STEPS,
    VICTIMS,
    Person,
    logons_under_kills,
)
from tests.restart.seed import SEED
from tests.waiting import wait_until

SOAK_LOGONS = int(os.environ.get("KEYISO_SOAK_LOGONS", "500"))


@pytest.fixture(scope="module")
def instance(shared_instance: RunningInstance) -> RunningInstance:
    return shared_instance


@pytest.fixture(scope="module")
def person(instance: RunningInstance) -> Person:
    """Who has a PIN, and is bound through the whole chain."""
    one = Person()
    enrol_pin(one.logon.binding, pin(RIGHT))
    create_passport_key(one.logon.binding, pin(RIGHT), "logon")
    one.logs_on()
    return one


def log_on_after_a_restart_of_keyiso_alone(instance: RunningInstance, person: Person) -> None:
    """Everybody is bound; the KeyIso service restarts, and nobody else; somebody types a PIN."""
    person.logs_on()
    before = instance.pids()
    instance.kill("keyiso")
    person.logs_on()
    after = instance.pids()
    assert after.pop("keyiso") != before.pop("keyiso")
    assert after.items() >= {name: before[name] for name in CHAIN if name in before}.items()


def test_a_pin_logs_on_after_the_keyiso_service_alone_has_restarted(
    instance: RunningInstance, person: Person
) -> None:
    log_on_after_a_restart_of_keyiso_alone(instance, person)


def test_with_a_context_that_is_cached_for_life_no_pin_logs_on(
    instance: RunningInstance, person: Person
) -> None:
    """The negative control: the same steps, through a container service with that defect."""
    with stale_container_service(instance):
        person.logs_on()
        with fails(Status.KEYISO_E_PROTOCOL) as failed:
            log_on_after_a_restart_of_keyiso_alone(instance, person)
        assert failed.value.chain[-1].service == "keyiso"
        with fails(Status.KEYISO_E_PROTOCOL):
            Person().logs_on()  # a new logon screen does not help
    person.logs_on()  # with another container service everything is well


@contextmanager
def stale_container_service(instance: RunningInstance) -> Iterator[None]:
    """In the place of the real one. The first who came to it is still there."""
    stop_service(instance.instance, trusted_uids(), "passport-container")
    wait_until(lambda: not instance.pid_of("passport-container"), "the end of the real service")
    place = instance.instance.container_socket
    kept = place.with_name("kept.sock")
    with contextlib.ExitStack() as stack:
        stack.callback(_serve_again, instance)
        place.rename(kept)
        stack.callback(kept.rename, place)
        listening = stack.enter_context(listen_at(place, mode=0o600))
        process = subprocess.Popen(
            [
                sys.executable,
                *("-c", START, str(listening.fileno()), "--service=passport-container"),
                f"--upstream={instance.instance.served_socket}",
                f"--passport-socket={instance.instance.passport_socket}",
            ],
            pass_fds=[listening.fileno()],
            cwd=PROJECT,
            env={**os.environ, "NOTIFY_SOCKET": ""},
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        instance.kill("passport")  # it is connected to nobody else now
        first = stack.enter_context(RawClient.at(instance.instance.passport_socket))
        first.hello()
        first.call(Bind(b"g" * 16, "the first"))
        asked = EnumKeys(MS_NGC_KEY_STORAGE_PROVIDER, "user", b"")
        wait_until(lambda: isinstance(first.call(asked), KeyNames), "a way through it")
        yield


def _serve_again(instance: RunningInstance) -> None:
    start_service(instance.instance, trusted_uids(), "passport-container")
    wait_until(lambda: instance.pid_of("passport-container") != 0, "the real service")


START = """
import os, sys
from tests.passport.stale_container_service import main
descriptor = int(sys.argv.pop(1))
if descriptor != 3:
    os.dup2(descriptor, 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="clients")
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("victims", VICTIMS, ids="+".join)
def test_a_pin_logs_on_when_services_have_restarted(
    instance: RunningInstance, person: Person, victims: tuple[str, ...]
) -> None:
    """Before the first step, and between two steps, whichever."""
    instance.kill(*victims)
    person.logs_on()
    chance = random.Random(f"{SEED} {victims}")
    at, answered = chance.randrange(len(STEPS)), chance.random() < 0.5
    killer = Killer(instance, victims, at, answered=answered)
    with person.interrupted(killer):
        person.logs_on()
    assert killer.has_killed
    assert person.attempts_left == ATTEMPTS


@pytest.mark.parametrize(
    "count",
    [len(VICTIMS), pytest.param(SOAK_LOGONS, marks=pytest.mark.soak)],
    ids=["short", "soak"],
)
def test_logons_do_not_notice_kills_at_any_instant(
    instance: RunningInstance, person: Person, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    under_way = logons_under_kills(instance, person, count, random.Random(SEED))
    with capsys.disabled():
        print(
            f"\n  seed {SEED}: {count} logons, services killed at each, {under_way} times while it"
            f" was under way; the slowest took {person.slowest:.1f} s"
        )
    assert under_way >= count // 3
