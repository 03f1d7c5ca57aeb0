"""Asking somebody for a PIN, in whatever way there is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hmac import compare_digest
from typing import Final

from keyiso import limits
from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_policy import PinPolicy
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.passport.dialogue import CannotAskError, PinQuestion, PinSource
from keyiso.passport.pinentry import Pinentry, pinentry_program
from keyiso.passport.terminal import Terminal
from keyiso.status import Status

_RETYPED: Final = (Status.NTE_INVALID_PARAMETER, Status.NTE_VALIDATION_FAILED)
"""What was typed is no PIN, or none that may be set: it is asked for again."""


class PinPrompt:
    """Asks in the first way that works."""

    def __init__(
        self, sources: Sequence[PinSource], timeout: float = limits.PROMPT_SECONDS
    ) -> None:
        """Without sources nobody is asked: a silent context. ``timeout`` in seconds, for each
        question.
        """
        self._sources: Final = sources
        self._timeout: Final = timeout

    def ask(self, question: PinQuestion) -> Pin:
        """A PIN, which the caller wipes; what is no PIN is asked for again.

        Raises ``NTE_SILENT_CONTEXT`` where nobody can be asked, ``NTE_USER_CANCELLED``,
        ``ERROR_TIMEOUT``, and ``NTE_INVALID_PARAMETER`` for what is no PIN in the end either.
        """
        return self._until_good(question, self._typed)

    def ask_new(self, question: PinQuestion, policy: PinPolicy) -> Pin:
        """A PIN that is to be set: it follows the policy, and was typed twice.

        Raises as `ask`, and ``NTE_VALIDATION_FAILED`` for what breaks a rule in the end too. The
        trustlet checks again; here the person learns it before typing it a second time.
        """

        def typed_twice(question: PinQuestion) -> Pin:
            pin = self._typed(question)
            try:
                policy.check(pin)
                again = replace(question, prompt=f"{question.prompt} again", trouble="")
                with self._typed(again) as second:
                    if not compare_digest(pin.characters, second.characters):
                        raise _two_pins()
            except BaseException:
                pin.wipe()
                raise
            return pin

        return self._until_good(question, typed_twice)

    def _until_good(self, question: PinQuestion, get: Callable[[PinQuestion], Pin]) -> Pin:
        for _ in range(limits.PROMPT_ROUNDS - 1):
            try:
                return get(question)
            except NCryptError as error:
                if error.status not in _RETYPED:
                    raise
                question = replace(question, trouble=f"{_sentence(error.cause)} {error.action}")
        return get(question)

    def _typed(self, question: PinQuestion) -> Pin:
        reasons = []
        for source in self._sources:
            try:
                return Pin(source.read(question, self._timeout))
            except CannotAskError as error:
                reasons.append(str(error))
        raise ncrypt_error(
            Status.NTE_SILENT_CONTEXT,
            "; ".join(["nobody can be asked for the PIN here", *reasons]),
            "Run it on a terminal, or install a pinentry for the desktop.",
        )


def pin_prompt(
    environ: Mapping[str, str],
    *,
    silent: bool = False,
    program: str | None = None,
    timeout: float = limits.PROMPT_SECONDS,
) -> PinPrompt:
    """As gpg asks: with a program that is configured, else ``pinentry``; else on the terminal.

    ``program`` is asked with instead. A ``silent`` prompt asks nobody.
    """
    if silent:
        return PinPrompt([], timeout)
    program = program or pinentry_program(environ)
    pinentry = [Pinentry(program, environ)] if program else []
    return PinPrompt([*pinentry, Terminal()], timeout)


def _two_pins() -> NCryptError:
    return ncrypt_error(
        Status.NTE_VALIDATION_FAILED, "two different PINs were typed", "Type one PIN twice."
    )


def _sentence(cause: str) -> str:
    return f"{cause[:1].upper()}{cause[1:]}."
