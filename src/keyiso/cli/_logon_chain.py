"""A logon: the container's state, its key, a nonce, an assertion over it, and who believes that."""

import os
import pwd
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from keyiso.cli._as_user import as_user
from keyiso.cli._logon_key import LOGON_KEY
from keyiso.cli._pin_attempts import check_unlocked
from keyiso.client.binding import Binding, bind_process
from keyiso.client.passport import find_passport_key, get_container, sign_with_pin
from keyiso.client.reference import KeyReference
from keyiso.client.retry import RetryPolicy
from keyiso.clock import SystemClock
from keyiso.crypto.key_types import PublicKey
from keyiso.crypto.pin import Pin
from keyiso.crypto.public_keys import load_public_key
from keyiso.crypto.signatures import NO_PADDING
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.passport.assertion import LogonClaims, make_assertion
from keyiso.passport.verifier import AssertionVerifier
from keyiso.paths import client_instance
from keyiso.status import Status


class Logon:
    """Of one user. The process that has it verifies; as root it asks for the container's key as
    the user, and believes services of root and of keyiso alone.
    """

    def __init__(
        self, name: str, *, policy: RetryPolicy | None = None, autostart: bool = True
    ) -> None:
        """Raises ``NTE_NOT_FOUND`` for a user who is not known."""
        self.user: Final = _user_named(name)
        self.steps: Final[dict[str, float]] = {}
        """Seconds, by what was done."""
        instance = client_instance(os.environ)
        oneself = self.user.pw_uid == os.geteuid()
        self.binding: Final = bind_process(
            os.environ,
            # A child that is the user would look for an instance of the user's own.
            resolve=None if oneself else lambda: instance,
            policy=policy,
            autostart=autostart and oneself,
            service="passport",
        )
        self.verifier: Final = AssertionVerifier(socket.gethostname(), SystemClock())

    def check_ready(self) -> PublicKey:
        """Return when the right PIN can log on now: with the key that its assertion must be of.

        Raises ``NTE_NOT_FOUND`` for who has no container, ``NTE_AUTHENTICATION_IGNORED`` while it
        is locked, and ``NTE_BAD_KEYSET`` where it has no key for logons.
        """
        with self._step("container"):
            check_unlocked(get_container(self.binding, self.user.pw_uid))
        with self._step("key"):
            return load_public_key(as_user(self.user, lambda: _public_key(self.binding)))

    def log_on(self, enrolled: PublicKey, pin: Pin, attempt_id: bytes) -> LogonClaims:
        """One attempt. The claims are proven.

        Raises ``NTE_INCORRECT_PASSWORD``, and what making an assertion and verifying it does.
        """
        with self._step("nonce"):
            claims = self.verifier.begin(self.user.pw_name)
        with self._step("assertion"):
            token = as_user(self.user, lambda: _assertion(self.binding, pin, attempt_id, claims))
        with self._step("verification"):
            return self.verifier.verify(token, self.user.pw_name, enrolled)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.steps[name] = time.perf_counter() - began


class _KeyOfContainer:
    """Signs once, for the PIN."""

    def __init__(self, binding: Binding, pin: Pin, attempt_id: bytes) -> None:
        self._binding, self._pin, self._attempt_id = binding, pin, attempt_id
        self._reference = _reference(binding)

    def public_key(self) -> PublicKey:
        return load_public_key(self._reference.header.public_key)

    def sign_digest(self, digest: bytes, *, hash: str, padding: str | None) -> bytes:
        try:
            return sign_with_pin(
                self._binding,
                self._pin,
                self._reference,
                digest,
                NO_PADDING,
                attempt_id=self._attempt_id,
            )
        except NCryptError as error:
            if error.status != Status.NTE_BAD_DATA:
                raise
            raise _no_key("the key for logons was lost when the PIN was reset") from None


def _assertion(binding: Binding, pin: Pin, attempt_id: bytes, claims: LogonClaims) -> bytes:
    with pin:
        return make_assertion(_KeyOfContainer(binding, pin, attempt_id), claims)


def _public_key(binding: Binding) -> bytes:
    return _reference(binding).header.public_key


def _reference(binding: Binding) -> KeyReference:
    try:
        return find_passport_key(binding, LOGON_KEY)
    except NCryptError as error:
        if error.status != Status.NTE_BAD_KEYSET:
            raise
        raise _no_key("the container has no key for logons") from None


def _no_key(cause: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_BAD_KEYSET, cause, "The user makes one with `keyiso passport change-pin`."
    )


def _user_named(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise ncrypt_error(Status.NTE_NOT_FOUND, "there is no user of that name") from None
