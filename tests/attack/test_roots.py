"""Who is given the roots of armed workers: processes of their own user, and nobody else."""

import contextlib
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso.errors import NCryptError
from keyiso.server.identity import Identity, new_identity
from keyiso.status import Status
from keyiso.trustlet.root_sharing import ask_for_roots
from tests.attack.root_asking import PAIR, ask
from tests.attack.services import Services

STRANGER = 65534

GIVEN, NOT_CONNECTED, NO_ANSWER = 0, 1, 2

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with tempfile.TemporaryDirectory() as directory, Services(Path(directory)) as services:
        yield services


def test_root_is_given_them(services: Services) -> None:
    """As docs/isolation.md says: what root starts may be what it likes."""
    assert ask(services).boot.kind == "boot"


def test_another_user_does_not_reach_them(services: Services) -> None:
    assert asked_by_stranger(services) == NOT_CONNECTED


def test_another_user_is_refused_where_the_path_is_open(services: Services) -> None:
    """Whatever has become of the modes of directories and sockets."""
    path = services.instance.sharing_socket(PAIR)
    with opened(path, *path.parents):
        assert asked_by_stranger(services) == NO_ANSWER


def asked_by_stranger(services: Services) -> int:
    """What comes of it when another user asks a pair for its roots."""
    path = str(services.instance.sharing_socket(PAIR))
    identity = new_identity("stranger")
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 255
    try:
        os.setgroups([])
        os.setresgid(STRANGER, STRANGER, STRANGER)
        os.setresuid(STRANGER, STRANGER, STRANGER)
        status = _asked(path, identity)
    finally:
        os._exit(status)


def _asked(path: str, identity: Identity) -> int:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except PermissionError:
        return NOT_CONNECTED
    try:
        ask_for_roots(connection, identity)
    except NCryptError as error:
        return NO_ANSWER if error.status == Status.KEYISO_E_STALE else 255
    return GIVEN


@contextlib.contextmanager
def opened(*paths: Path) -> Iterator[None]:
    """Everybody may go there."""
    before = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    try:
        for path, mode in before.items():
            path.chmod(mode | 0o777 if path.is_socket() else mode | 0o711)
        yield
    finally:
        for path, mode in before.items():
            path.chmod(mode)
