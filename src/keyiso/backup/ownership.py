"""Whose an instance is, and doing things as the user who owns one of its directories."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from keyiso.errors import ncrypt_error
from keyiso.paths import Instance
from keyiso.status import Status
from keyiso.supervisor.spawn import User

_ROOT_UID = 0


def check_is_ours(instance: Instance) -> None:
    """Raises ``NTE_PERM`` for an instance of somebody else. One that is not there yet is ours."""
    try:
        owner = instance.state.stat().st_uid
    except FileNotFoundError:
        return
    if owner != os.geteuid():
        raise ncrypt_error(
            Status.NTE_PERM,
            f"{instance.state} belongs to uid {owner}, and this is uid {os.geteuid()}",
            "Run this as that user"
            + (" (sudo)." if owner == _ROOT_UID else ", who alone reads and writes it."),
        )


@contextlib.contextmanager
def acting_as_owner(directory: Path) -> Iterator[None]:
    """What is done inside is done by the owner of a directory, where this process is root.

    The services have fewer rights than root. A link that one of them has put into its directory
    leads no further than the service itself could go, and the files that are made belong to it.
    """
    owner = directory.stat()
    if os.geteuid() != _ROOT_UID or owner.st_uid == _ROOT_UID:
        yield
        return
    group = os.getegid()
    os.setegid(owner.st_gid)
    try:
        os.seteuid(owner.st_uid)
        try:
            yield
        finally:
            os.seteuid(_ROOT_UID)
    finally:
        os.setegid(group)


def service_users(
    instance: Instance, keyiso: str, trustlet: str
) -> tuple[User | None, User | None]:
    """Whom the services run as, if not as who starts them."""
    if not instance.system or os.geteuid() != 0:
        return None, None
    try:
        return User.named(keyiso), User.named(trustlet)
    except KeyError as error:
        raise ncrypt_error(
            Status.NTE_NOT_FOUND,
            f"there is no user {error.args[0]}, as whom a service is to run",
            "Make both users, as `keyiso serve --system` says, or name others with --keyiso-user"
            " and --trustlet-user.",
        ) from None
