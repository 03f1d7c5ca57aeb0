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
from keyiso.client.retry import RetryPolicy
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
STEPS = 7
"""Requests of one logon: state, key; again the key; a key for the PIN, the attempt, the signature.
At the last number none is left."""


class Person:
    """At a keyboard that is never restarted."""

    def __init__(self, deadline: float | None = None) -> None:
        policy = None if deadline is None else RetryPolicy(deadline=deadline)
        self.logon = Logon(pwd.getpwuid(os.geteuid()).pw_name, policy=policy)
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


def kill_during(
    instance: RunningInstance, victims: Sequence[str], seconds: float, work: Callable[[], Any]
) -> None:
    """Do something, and kill services so many seconds after it was begun."""
    killing = threading.Timer(seconds, instance.kill, victims)
    killing.start()
    try:
        work()
    finally:
        killing.join()


def logons_under_kills(
    instance: RunningInstance, person: Person, count: int, chance: random.Random
) -> int:
    """Log on so many times, each with other services killed before, between the steps, or at any
    instant. One in four has a wrong PIN before the right one. Returns how many kills fell while a
    logon was under way.
    """
    under_way = 0
    usual = _seconds_of(person.logs_on)
    for number in range(count):
        victims = VICTIMS[number % len(VICTIMS)]
        is_wrong = chance.random() < 0.25
        work = person.is_refused if is_wrong else person.logs_on
        match chance.choice(("before", "between", "during")):
            case "before":
                instance.kill(*victims)
                work()
            case "between":
                killer = Killer(
                    instance, victims, chance.randrange(STEPS), answered=chance.random() < 0.5
                )
                with person.interrupted(killer):
                    work()
                under_way += killer.has_killed
            case "during":
                kill_during(instance, victims, chance.random() * usual, work)
                under_way += 1
        assert person.attempts_left == ATTEMPTS - is_wrong, f"logon {number}, {victims}"
        if is_wrong:
            person.logs_on()
            assert person.attempts_left == ATTEMPTS
    return under_way


def _seconds_of(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
