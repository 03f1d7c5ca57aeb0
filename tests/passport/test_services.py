"""Passport's two services, stopped and started, and clients that leave in the middle."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso.client.binding import Binding, bind_process, trusted_uids
from keyiso.client.passport import get_container, try_pin
from keyiso.client.supervision import start_service, stop_service
from keyiso.identifiers import MS_NGC_KEY_STORAGE_PROVIDER
from keyiso.status import Status
from keyiso.wire.control import Bind, EnumKeys
from keyiso.wire.messages import Call
from tests.cli.command import keyiso
from tests.conformance.raw_client import RawClient, message
from tests.conformance.statuses import fails
from tests.instance import RunningInstance
from tests.passport.conftest import RIGHT, pin
from tests.waiting import wait_until

SERVICES = ("passport", "passport-container")
ME = pwd.getpwuid(os.geteuid()).pw_name


def stop(instance: RunningInstance, service: str) -> None:
    stop_service(instance.instance, trusted_uids(), service)
    wait_until(lambda: not instance.pid_of(service), f"the end of {service}")


def start(instance: RunningInstance, service: str) -> None:
    start_service(instance.instance, trusted_uids(), service)
    wait_until(lambda: bool(instance.pid_of(service)), service)


def processes_of(instance: RunningInstance, service: str) -> list[int]:
    """All that the supervisor has started, and not only the one that it knows."""
    supervisor = instance.pid_of("supervisor")
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text(encoding="ascii")
    wanted = f"--service={service}".encode()
    return [
        int(pid)
        for pid in children.split()
        if wanted in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    ]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("KEYISO_DEADLINE", "6")
    yield


@pytest.mark.parametrize("service", SERVICES)
def test_a_logon_names_the_link_that_is_stopped_and_what_starts_it(
    instance: RunningInstance, binding: Binding, service: str, patient: None
) -> None:
    stop(instance, service)

    ended = keyiso("logon", ME, "--pin-stdin", stdin=f"{RIGHT}\n".encode())

    assert ended.code != 0
    assert "KEYISO_E_SERVICE_UNAVAILABLE" in ended.errors
    assert f"{service}[0]" in ended.errors
    if service == "passport-container":
        assert f"`keyiso service start {service}`" in ended.errors
        assert all(f"{one}[" in ended.errors for one in ("application", "passport"))
    shown = keyiso("status", "--json").json["processes"]
    assert [one["stopped"] for one in shown if one["service"] == service] == [True]
    assert "stopped" in keyiso("status").text
    start(instance, service)
    try_pin(binding, pin(RIGHT))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_nobody_needed_yet_is_stopped_and_started_once(
    instance: RunningInstance, service: str
) -> None:
    """It waits for its first client, who must not start it a second time."""
    stop(instance, service)
    start(instance, service)
    first = instance.pid_of(service)
    with fails(Status.NTE_NOT_FOUND):
        try_pin(bind_process(os.environ, service="passport"), pin(RIGHT))

    assert processes_of(instance, service) == [instance.pid_of(service)] == [first]


def test_a_service_that_is_to_be_started_again_is_started_once(
    instance: RunningInstance, binding: Binding
) -> None:
    """It ends so often that its next start waits; somebody does not want to wait."""
    for _ in range(6):
        instance.kill("passport")
    start(instance, "passport")
    try_pin(binding, pin(RIGHT))
    try_pin(binding, pin(RIGHT))

    assert processes_of(instance, "passport") == [instance.pid_of("passport")]


def test_who_may_not_stop_what(instance: RunningInstance) -> None:
    for service in ("vbs-0", "supervisor", "nothing\n"):
        with fails(Status.NTE_NOT_FOUND) as failed:
            stop_service(instance.instance, trusted_uids(), service)
        assert "passport-container" in failed.value.action


def test_clients_that_leave_with_answers_under_way_end_no_service(
    instance: RunningInstance, binding: Binding
) -> None:
    """Each with several calls at once, of which some are answered when it has gone."""
    get_container(binding)
    before = {service: instance.pid_of(service) for service in SERVICES}
    for number in range(100):
        with RawClient.at(instance.instance.passport_socket) as client:
            client.hello()
            client.call(Bind(b"g" * 16, "leaves"))
            asked = EnumKeys(MS_NGC_KEY_STORAGE_PROVIDER, "user", b"")
            client.send(b"".join(message(Call(10 + one, asked)) for one in range(30)))
            for _ in range(number % 4):
                client.receive()

    assert get_container(binding).attempts_left == 5
    assert {service: instance.pid_of(service) for service in SERVICES} == before
