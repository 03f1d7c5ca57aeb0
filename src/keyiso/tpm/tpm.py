"""A TPM: runs commands, and forgets what they loaded."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from keyiso import limits
from keyiso.clock import Clock
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.tpm.command import HEADER_BYTES, Command, Header
from keyiso.tpm.general_commands import TPM2_FlushContext
from keyiso.tpm.response_code import RETRIED, ResponseCode
from keyiso.tpm.session import Authorization, Unauthorized
from keyiso.tpm.structure import Structure
from keyiso.tpm.transport import Transport

R = TypeVar("R", bound=Structure)

FIRST_RETRY_SECONDS: Final = 0.005
LONGEST_RETRY_SECONDS: Final = 0.5


class Tpm:
    """What runs commands, and waits for their answers: a chip may take seconds for a key.

    It knows no secrets, and keeps nothing between two commands.
    """

    def __init__(
        self, transport: Transport, clock: Clock, *, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._transport = transport
        self._clock = clock
        self.random = random
        """For nonces and salts."""

    def run(self, command: Command[R], authorization: Authorization | None = None) -> R:
        """The result of a command.

        Raises ``TPM_20_E_*`` as the TPM answers, ``KEYISO_E_TPM_ANSWER`` for an answer that is
        malformed or not authentic, ``NTE_DEVICE_NOT_READY`` for none.
        """
        used = authorization or Unauthorized()
        return used.result(command, self._exchange(used.request(command)))

    @contextlib.contextmanager
    def flushing(self, handle: int) -> Iterator[None]:
        """Flush an object or a session when the block ends, however it ends."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(NCryptError):  # the first error says more
                self.run(TPM2_FlushContext(handle))
            raise
        self.run(TPM2_FlushContext(handle))

    def _exchange(self, frame: bytes) -> bytes:
        """The answer. What the TPM was not ready for is sent again, the same bytes, for
        ``TPM_RETRY_SECONDS``; then its refusal is the answer.
        """
        deadline = self._clock.monotonic() + limits.TPM_RETRY_SECONDS
        pause = FIRST_RETRY_SECONDS
        while True:
            answer = self._transport.exchange(frame)
            if len(answer) > limits.TPM_MESSAGE_BYTES:
                raise ncrypt_error(
                    Status.KEYISO_E_TPM_ANSWER,
                    f"an answer has {len(answer)} bytes;"
                    f" TPM_MESSAGE_BYTES is {limits.TPM_MESSAGE_BYTES}",
                )
            if not _is_refused_for_now(answer) or self._clock.monotonic() + pause > deadline:
                return answer
            self._clock.sleep(pause)
            pause = min(2 * pause, LONGEST_RETRY_SECONDS)


def _is_refused_for_now(answer: bytes) -> bool:
    if len(answer) != HEADER_BYTES:
        return False
    return ResponseCode(Header.decode(answer).code).base in RETRIED
