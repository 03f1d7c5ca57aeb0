"""A KeyIso service that dies between the commit of a deletion and the revocation that follows."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyiso import Key, KeyNotFoundError, NCryptError
from keyiso.client.binding import bind_process
from keyiso.client.retry import RetryPolicy
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER
from keyiso.names import encode_name
from keyiso.wire.control import DeleteKey
from tests.crash.strace import killing, needs_strace, wait_for_end
from tests.instance import RunningInstance
from tests.restart.victims import Victims

pytestmark = needs_strace

MOST_TRIES = 20
"""A heartbeat may be what the service is killed at; then nothing was committed."""


def works(key: Key) -> None:
    key.verify(key.sign(b"data"), b"data")


@contextmanager
def nobody_restarts(instance: RunningInstance) -> Iterator[None]:
    """The supervisor is stopped, so that there is time to look at what a killed service left."""
    supervisor = instance.pid_of("supervisor")
    os.kill(supervisor, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(supervisor, signal.SIGCONT)


def test_no_worker_serves_a_key_whose_revocation_was_not_told(
    instance: RunningInstance, tmp_path: Path
) -> None:
    patient = bind_process(instance.environ)
    victims = Victims(instance)
    key = Key.create("web", "ECDSA_P256")
    delete = DeleteKey(
        patient.operation_id(),
        MS_KEY_STORAGE_PROVIDER,
        "user",
        encode_name("web"),
        bytes.fromhex(key.unique_name),
    )
    for _ in range(MOST_TRIES):
        works(key)
        victims.settle()
        keyiso = instance.pid_of("keyiso")
        fragile = bind_process(instance.environ, policy=RetryPolicy(deadline=0))
        fragile.uid()  # bound, so that the deletion is the next that is sent
        with nobody_restarts(instance), killing(keyiso, tmp_path, "sendto", 1) as pidfd:
            # The writer's thread tells the loop of the commit; the loop would tell the workers.
            with pytest.raises(NCryptError, match="KEYISO_E_SERVICE_UNAVAILABLE"):
                fragile.control(delete)
            wait_for_end(pidfd)
            works(key)  # the worker was told nothing
        victims.settle()
        if not Key.exists("web"):
            break
    else:
        pytest.fail("the service was never killed after the commit")

    assert sum(victims.loaded_keys()) == 0
    with pytest.raises(KeyNotFoundError):
        works(key)
    patient.control(delete)  # the same operation id: success, once more
