"""A PIN that was forgotten, while its keys are kept: for a container that was given a reset key.

The reset key is X25519, and its private half is on another machine. All functions raise what those
of `keyiso.client.passport` do.
"""

from keyiso.client.binding import Binding
from keyiso.client.passport import sealed_pin, until_done
from keyiso.client.request import Request
from keyiso.crypto.pin import Pin
from keyiso.wire.passport import ContainerState, RequestReset, SetResetKey, UnlockPin


def set_reset_key(
    binding: Binding, pin: Pin, reset_key: bytes, *, attempt_id: bytes = b""
) -> ContainerState:
    """Give the caller's container a reset key in place of the one that it may have: the public
    half, 32 bytes; empty for none. It is an attempt with the PIN, as in `keyiso.client.passport`.

    Who has the private half can from now on have the PIN set anew, without the old one. Raises
    ``NTE_BAD_DATA`` for what is no such key.
    """
    its_id = attempt_id or binding.operation_id()

    def set_key(request: Request, uid: int) -> ContainerState:
        sealed = sealed_pin(request, uid, pin, "reset-key", its_id)
        return request.at_keyiso().control(SetResetKey(uid, its_id, sealed, reset_key))

    return until_done(binding, "SetResetKey", set_key)


def request_reset(binding: Binding, owner: int | None = None) -> bytes:
    """What is to be answered with the reset key (`keyiso.crypto.container_copy.answer_reset`), 512
    bytes at most; by default for the caller's own container. From now on no earlier answer is good.

    Raises ``NTE_PERM`` for somebody else's container, unless root asks, and ``NTE_NOT_SUPPORTED``
    for one that has no reset key.
    """

    def ask(request: Request, uid: int) -> bytes:
        return request.at_keyiso().control(RequestReset(uid if owner is None else owner)).request

    return until_done(binding, "RequestReset", ask)


def unlock_pin(
    binding: Binding, pin: Pin, answer: bytes, owner: int | None = None
) -> ContainerState:
    """Set a PIN with the answer to the last `request_reset`, by default of the caller's own
    container. Keys are kept, and a lock ends. An answer is good once.

    Raises ``NTE_PERM`` as `request_reset` does, ``NTE_BAD_DATA`` and ``NTE_BAD_VER`` for what is
    not that answer, and ``NTE_VALIDATION_FAILED`` for a PIN that breaks the rules: the answer is
    then good for another PIN.
    """
    attempt_id = binding.operation_id()

    def unlock(request: Request, uid: int) -> ContainerState:
        of = uid if owner is None else owner
        sealed = sealed_pin(request, of, pin, "new", attempt_id)
        return request.control(UnlockPin(of, attempt_id, sealed, answer))

    return until_done(binding, "UnlockPin", unlock)
