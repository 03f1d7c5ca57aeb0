"""Attempts with a PIN: the lock is told before anybody is asked, and wrong ones are told."""

from collections.abc import Callable
from typing import TypeVar

from keyiso.cli._pins import Pins
from keyiso.client.binding import Binding
from keyiso.client.passport import get_container
from keyiso.crypto.pin import Pin
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.passport.dialogue import PinQuestion, wrong_pin
from keyiso.status import Status
from keyiso.wire.passport import ContainerState

T = TypeVar("T")


def check_unlocked(state: ContainerState) -> None:
    """Raises ``NTE_AUTHENTICATION_IGNORED`` while no PIN would be looked at."""
    if state.locked_seconds:
        raise ncrypt_error(
            Status.NTE_AUTHENTICATION_IGNORED,
            "the PIN is locked after wrong ones",
            f"Try again in {state.locked_seconds} seconds.",
        )


def with_right_pin(
    binding: Binding,
    pins: Pins,
    description: str,
    work: Callable[[Pin, bytes], T],
    owner: int | None = None,
) -> T:
    """Do something with a PIN, by default the caller's, and the attempt's id. A person whose
    PIN was wrong is asked again until it is locked.

    Raises ``NTE_NOT_FOUND`` for who has no container, ``NTE_AUTHENTICATION_IGNORED`` while it is
    locked, ``NTE_INCORRECT_PASSWORD``, and what the work raises.
    """
    check_unlocked(get_container(binding, owner))
    question = PinQuestion(description=description)
    while True:
        with pins.present(question) as pin:
            try:
                return work(pin, binding.operation_id())
            except NCryptError as error:
                if error.status != Status.NTE_INCORRECT_PASSWORD:
                    raise
        state = get_container(binding, owner)
        if state.locked_seconds or not pins.is_person:
            raise _wrong(state)
        question = PinQuestion(description=description, trouble=wrong_pin(state.attempts_left))


def _wrong(state: ContainerState) -> NCryptError:
    if state.locked_seconds:
        return ncrypt_error(
            Status.NTE_INCORRECT_PASSWORD,
            "the PIN is wrong, and is locked now",
            f"Try again in {state.locked_seconds} seconds.",
        )
    return ncrypt_error(
        Status.NTE_INCORRECT_PASSWORD,
        f"the PIN is wrong; attempts that are left before it is locked: {state.attempts_left}",
    )
