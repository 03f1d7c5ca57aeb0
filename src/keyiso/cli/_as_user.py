"""Work that only a user may have done, done by root: in a child that has become that user."""

import os
import pwd
from collections.abc import Callable
from typing import Final, NoReturn

import msgspec

from keyiso import limits
from keyiso.errors import Hop, NCryptError, ncrypt_error
from keyiso.server.startup import die_with_parent, harden_process
from keyiso.status import Status

_ROOT_UID: Final = 0


class _Answer(msgspec.Struct, frozen=True, array_like=True):
    result: bytes
    status: int = Status.ERROR_SUCCESS
    cause: str = ""
    action: str = ""
    chain: tuple[Hop, ...] = ()


def as_user(user: pwd.struct_passwd, work: Callable[[], bytes]) -> bytes:
    """What the work returns or raises, done as this user; at once by who is that user already.

    The child executes nothing, and so is never a process that others of this user can debug: what
    it tells is what our code found. Raises ``NTE_PERM`` for who is neither the user nor root, and
    ``NTE_FAIL`` when the child was killed.
    """
    if os.geteuid() == user.pw_uid:
        return work()
    if os.geteuid() != _ROOT_UID:
        raise ncrypt_error(
            Status.NTE_PERM, "only root does this for another user", "Name yourself."
        )
    ours, theirs = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if not child:
        _become_and_answer(user, work, theirs, parent)
    os.close(theirs)
    try:
        with open(ours, "rb") as pipe:
            told = pipe.read(limits.CONTROL_FRAME_BYTES)
    finally:
        os.waitpid(child, 0)
    if not told:
        raise ncrypt_error(Status.NTE_FAIL, "the process that became the user has failed")
    answer = msgspec.msgpack.decode(told, type=_Answer)
    if answer.status != Status.ERROR_SUCCESS:
        raise ncrypt_error(answer.status, answer.cause, answer.action, answer.chain)
    return answer.result


def _become_and_answer(
    user: pwd.struct_passwd, work: Callable[[], bytes], theirs: int, parent: int
) -> NoReturn:
    try:
        harden_process()
        os.initgroups(user.pw_name, user.pw_gid)
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
        harden_process()  # the kernel may have made it one that can be debugged
        die_with_parent(parent)
        try:
            answer = _Answer(work())
        except NCryptError as error:
            answer = _Answer(b"", error.status, error.cause, error.action, error.chain)
        with open(theirs, "wb") as pipe:
            pipe.write(msgspec.msgpack.encode(answer))
    finally:
        os._exit(0)  # the parent's clearing up is the parent's
