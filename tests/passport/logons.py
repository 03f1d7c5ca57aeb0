"""Logons of one long-lived process by PIN, while services of the chain are killed."""

import itertools
import os
import pwd
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from keyiso.cli._logon_chain import Logon
from keyiso.client.binding import Binding
from keyiso.client.passport import get_container
from keyiso.errors import NCryptError
from keyiso.status import Status
from tests.instance import RunningInstance
from tests.passport.conftest import RIGHT, WRONG, pin
from tests.passport.killer import Killer

CHAIN = ("passport", "passport-container", "keyiso", "software-generator")
"""The processes that a logon goes through after the one that asks for the PIN."""

VICTIMS: tuple[tuple[str, ...], ...] = (
    *((one,) for one in CHAIN),
    *itertools.combinations(CHAIN, 2),
    CHAIN,
)
"""Each by itself, each pair, and all at once."""

ATTEMPTS = 5

STEPS = ("GetContainer", "FindKey", "FindKey", "MakePinKey", "AttemptPin", "SignHash")
"""The requests of one logon; a wrong PIN is refused at the last but one."""


class Person:
    """At a keyboard that is never restarted."""

    def __init__(self) -> None:
        self.logon = Logon(pwd.getpwuid(os.geteuid()).pw_name)
        self.slowest = 0.0
        """Seconds of the longest logon."""

    @property
    def attempts_left(self) -> int:
        return get_container(self.logon.binding).attempts_left

    def logs_on(self, text: str = RIGHT) -> None:
        """Raises for who is not logged on."""
        began = time.monotonic()
        try:
            enrolled = self.logon.check_ready()
            self.logon.log_on(enrolled, pin(text), os.urandom(16))
        finally:
            self.slowest = max(self.slowest, time.monotonic() - began)

    def is_refused(self) -> None:
        """A wrong PIN is wrong, and is counted once."""
        try:
            self.logs_on(WRONG)
        except NCryptError as error:
            assert error.status == Status.NTE_INCORRECT_PASSWORD, error
        else:
            raise AssertionError("a wrong PIN has logged somebody on")

    @contextmanager
    def interrupted(self, killer: Killer) -> Iterator[None]:
        """While this lasts, services are killed at one step of a logon."""
        patient = self.logon.binding
        self.logon.binding = Binding(patient._settings, killer.request)  # type: ignore[misc]
        try:
            yield
        finally:
            self.logon.binding = patient  # type: ignore[misc]


def killed_during(
    instance: RunningInstance, victims: Sequence[str], seconds: float, work: Callable[[], Any]
) -> bool:
    """Do something, and kill services so many seconds after it was begun. Whether it was still
    under way then: a service that is just being started again is waited for.
    """
    ends: list[float] = []
    troubles: list[BaseException] = []

    def kill() -> None:
        try:
            instance.kill(*victims)
            ends.append(time.monotonic())
        except BaseException as error:  # told in the test's own thread
            troubles.append(error)

    killing = threading.Timer(seconds, kill)
    killing.start()
    try:
        work()
        done = time.monotonic()
    finally:
        killing.join()
    if troubles:
        raise troubles[0]
    return ends[0] < done


def logons_under_kills(
    instance: RunningInstance, person: Person, count: int, chance: random.Random
) -> int:
    """Log on so many times, each with other services killed: in turn before the logon, between two
    of its steps, and at any instant. One in four has a wrong PIN before the right one. Returns how
    many kills fell while a logon was under way.
    """
    under_way = 0
    usual = _seconds_of(person.logs_on)
    for number in range(count):
        victims = VICTIMS[number % len(VICTIMS)]
        is_wrong = chance.random() < 0.25
        work = person.is_refused if is_wrong else person.logs_on
        match number % 3:
            case 0:
                instance.kill(*victims)
                work()
            case 1:
                at, answered = chance.randrange(len(STEPS) - is_wrong), chance.random() < 0.5
                killer = Killer(instance, victims, at, answered=answered)
                with person.interrupted(killer):
                    work()
                assert killer.has_killed
                under_way += 1
            case 2:
                instant = chance.random() * usual
                under_way += killed_during(instance, victims, instant, work)
        assert person.attempts_left == ATTEMPTS - is_wrong, f"logon {number}, {victims}"
        if is_wrong:
            person.logs_on()
            assert person.attempts_left == ATTEMPTS
    return under_way


def _seconds_of(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
