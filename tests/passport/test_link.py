"""What the worker that has the containers answers to the KeyIso service."""

import os
from collections.abc import Iterator

import pytest

from keyiso.status import Status
from keyiso.wire.link import GetWorkerStatus
from keyiso.wire.messages import Call, Return, Welcome
from keyiso.wire.passport import (
    AttemptPin,
    ContainerState,
    EnrolPin,
    GetContainer,
    MakePinKey,
    Ticket,
)
from tests.conformance.raw_client import RawClient, message
from tests.instance import RunningInstance
from tests.passport.conftest import NEW, RIGHT, WRONG
from tests.passport.link import GENERATOR, Prompt, at_the_worker, status_in

USERS = iter(range(5000, 6000))


@pytest.fixture
def worker(shared_instance: RunningInstance) -> Iterator[RawClient]:
    with at_the_worker(shared_instance.instance) as client:
        yield client


@pytest.fixture
def prompt(worker: RawClient) -> Prompt:
    """Of a user who has no container yet."""
    return Prompt(worker, next(USERS))


@pytest.fixture
def enrolled(prompt: Prompt) -> Prompt:
    assert isinstance(prompt.enrol(), ContainerState)
    return prompt


def left(prompt: Prompt) -> int:
    state = prompt.client.call(GetContainer(prompt.owner))
    assert isinstance(state, ContainerState)
    return state.attempts_left


def test_one_worker_has_containers_and_says_so(shared_instance: RunningInstance) -> None:
    features = {}
    for path in shared_instance.instance.workers.glob("software-*.sock"):
        with RawClient.at(path) as client:
            welcome = client.hello()
            assert isinstance(welcome, Welcome)
            features[path.stem] = "passport" in welcome.features
            if path.stem != GENERATOR:
                assert client.status(GetContainer(1)) == Status.NTE_NOT_SUPPORTED

    assert [name for name, has in features.items() if has] == [GENERATOR]
    assert len(features) > 1


def test_a_container_from_its_enrolment_to_its_reset(prompt: Prompt) -> None:
    state = prompt.enrol()

    assert (state.protector, state.attempts_left, state.locked_seconds) == ("software", 5, 0)
    assert state.not_stopped == ("rollback", "offline guessing")
    assert prompt.attempt(RIGHT) == Ticket(b"")
    assert status_in(prompt.attempt(WRONG)) == Status.NTE_INCORRECT_PASSWORD
    assert left(prompt) == 4
    assert isinstance(prompt.change(RIGHT, NEW), ContainerState)
    assert left(prompt) == 5
    assert status_in(prompt.attempt(RIGHT)) == Status.NTE_INCORRECT_PASSWORD
    assert len(prompt.attempt(NEW, use="use").ticket) == 16
    assert isinstance(prompt.reset(RIGHT), ContainerState)
    assert prompt.attempt(RIGHT) == Ticket(b"")


def test_there_is_no_container_without_a_pin(prompt: Prompt) -> None:
    assert status_in(prompt.client.call(GetContainer(prompt.owner))) == Status.NTE_NOT_FOUND
    assert status_in(prompt.attempt(RIGHT)) == Status.NTE_NOT_FOUND
    assert status_in(prompt.enrol("123456")) == Status.NTE_VALIDATION_FAILED
    assert status_in(prompt.attempt("123456")) == Status.NTE_NOT_FOUND


def test_an_enrolment_is_repeated_under_its_id_and_no_other(prompt: Prompt) -> None:
    attempt_id = os.urandom(16)
    first = prompt.enrol(RIGHT, attempt_id)

    assert prompt.enrol(RIGHT, attempt_id) == first
    assert status_in(prompt.enrol(RIGHT)) == Status.NTE_EXISTS
    assert status_in(prompt.enrol(WRONG, attempt_id)) == Status.NTE_INCORRECT_PASSWORD


def test_an_attempt_is_counted_once_however_often_it_is_repeated(enrolled: Prompt) -> None:
    attempt_id = os.urandom(16)
    answers = [status_in(enrolled.attempt(WRONG, attempt_id)) for _ in range(3)]

    assert answers == [Status.NTE_INCORRECT_PASSWORD] * 3
    assert left(enrolled) == 4


def test_a_locked_container_answers_right_and_wrong_alike(enrolled: Prompt) -> None:
    for _ in range(5):
        assert status_in(enrolled.attempt(WRONG)) == Status.NTE_INCORRECT_PASSWORD
    answers = [enrolled.attempt(text) for text in (RIGHT, WRONG)]
    state = enrolled.client.call(GetContainer(enrolled.owner))

    assert [status_in(one) for one in answers] == [Status.NTE_AUTHENTICATION_IGNORED] * 2
    assert 0 < state.locked_seconds <= 60


def test_containers_of_two_users_have_nothing_in_common(enrolled: Prompt) -> None:
    other = Prompt(enrolled.client, next(USERS))
    assert isinstance(other.enrol(NEW), ContainerState)

    assert status_in(other.attempt(RIGHT)) == Status.NTE_INCORRECT_PASSWORD
    assert (left(enrolled), left(other)) == (5, 4)
    assert enrolled.attempt(RIGHT) == Ticket(b"")


def test_a_sealed_pin_is_good_once_and_for_what_it_was_sealed_for(enrolled: Prompt) -> None:
    """The key is used up by whatever comes."""
    attempt_id, owner = os.urandom(16), enrolled.owner
    sealed = enrolled.sealed(RIGHT, "verify", attempt_id)
    calls = [enrolled.client.call(AttemptPin(owner, attempt_id, sealed, "none")) for _ in range(2)]
    other_id = enrolled.sealed(RIGHT, "verify", attempt_id)
    other_purpose = enrolled.sealed(RIGHT, "verify", attempt_id)
    other_owner = enrolled.sealed(RIGHT, "verify", attempt_id)

    assert calls[0] == Ticket(b"")
    assert status_in(calls[1]) == Status.KEYISO_E_STALE
    for operation in (
        AttemptPin(owner, os.urandom(16), other_id, "none"),
        EnrolPin(owner, attempt_id, other_purpose),
        AttemptPin(owner + 1, attempt_id, other_owner, "none"),
    ):
        assert status_in(enrolled.client.call(operation)) == Status.NTE_BAD_DATA
    assert left(enrolled) == 5


@pytest.mark.parametrize("attempt_id", [b"", b"i" * 15, b"i" * 1000])
def test_an_attempts_id_has_one_length(worker: RawClient, attempt_id: bytes) -> None:
    assert worker.status(MakePinKey(1, "verify", attempt_id)) == Status.NTE_INVALID_PARAMETER


def test_containers_outlive_the_worker(instance: RunningInstance) -> None:
    attempt_id = os.urandom(16)
    with at_the_worker(instance.instance) as client:
        prompt = Prompt(client, 1000)
        prompt.enrol()
        assert status_in(prompt.attempt(WRONG, attempt_id)) == Status.NTE_INCORRECT_PASSWORD
        sealed = prompt.sealed(RIGHT, "verify", attempt_id)
    instance.kill(GENERATOR)
    with at_the_worker(instance.instance) as client:
        prompt = Prompt(client, 1000)
        stale = client.call(AttemptPin(1000, attempt_id, sealed, "none"))

        assert status_in(stale) == Status.KEYISO_E_STALE
        assert status_in(prompt.attempt(WRONG, attempt_id)) == Status.NTE_INCORRECT_PASSWORD
        assert left(prompt) == 4
        assert prompt.attempt(RIGHT) == Ticket(b"")


def test_what_is_stored_is_the_workers_own(instance: RunningInstance) -> None:
    with at_the_worker(instance.instance) as client:
        Prompt(client, 1000).enrol()
    directory = instance.instance.containers / "1000"
    modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}

    assert modes == {"record": 0o600, "counters": 0o600}
    assert directory.stat().st_mode & 0o777 == 0o700
    assert directory.parent.stat().st_mode & 0o777 == 0o700


def test_nobody_waits_for_an_attempt(enrolled: Prompt) -> None:
    """What came after it is answered before it."""
    attempt_id = os.urandom(16)
    sealed = enrolled.sealed(RIGHT, "verify", attempt_id)
    attempt = AttemptPin(enrolled.owner, attempt_id, sealed, "none")
    enrolled.client.send(message(Call(501, attempt)) + message(Call(502, GetWorkerStatus())))
    answers = [enrolled.client.receive() for _ in range(2)]

    assert [type(one) for one in answers] == [Return, Return]
    assert [one.call_id for one in answers] == [502, 501]


def test_attempts_that_come_at_once_are_made_one_by_one(enrolled: Prompt) -> None:
    ids = [os.urandom(16) for _ in range(3)]
    frames = [
        message(Call(number, AttemptPin(enrolled.owner, attempt_id, sealed, "none")))
        for number, attempt_id in enumerate(ids, 601)
        for sealed in [enrolled.sealed(WRONG, "verify", attempt_id)]
    ]
    enrolled.client.send(b"".join(frames))
    answers = [enrolled.client.receive() for _ in ids]

    assert [status_in(one) for one in answers] == [Status.NTE_INCORRECT_PASSWORD] * 3
    assert left(enrolled) == 2


def test_without_the_machine_root_containers_are_closed(instance: RunningInstance) -> None:
    with at_the_worker(instance.instance) as client:
        Prompt(client, 1000).enrol()
    instance.instance.software_machine_root.rename(instance.home / "kept")
    instance.kill(GENERATOR)
    with at_the_worker(instance.instance) as client:
        prompt = Prompt(client, 1000)
        assert status_in(prompt.attempt(RIGHT)) == Status.KEYISO_E_ROOT_MISSING
        assert status_in(prompt.enrol()) == Status.KEYISO_E_ROOT_MISSING
    (instance.home / "kept").rename(instance.instance.software_machine_root)
    instance.kill(GENERATOR)
    with at_the_worker(instance.instance) as client:
        assert Prompt(client, 1000).attempt(RIGHT) == Ticket(b"")
