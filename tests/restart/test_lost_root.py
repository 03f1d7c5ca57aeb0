"""A machine root that is lost while keys need it is not made anew."""

import pytest

from keyiso import Key
from keyiso.client.binding import bind_process
from keyiso.errors import NCryptError
from keyiso.status import Status
from keyiso.wire.control import GetServiceStatus
from tests.instance import RunningInstance
from tests.restart.victims import Victims, wait_until


def test_no_worker_makes_a_new_root_over_keys(instance: RunningInstance) -> None:
    Key.create("web", "ECDSA_P256").close()
    Victims(instance).settle()  # a worker that has not started yet may make the first root
    root = instance.instance.software_machine_root
    kept = root.read_bytes()
    root.unlink()
    replace_workers(instance)

    with pytest.raises(NCryptError) as caught:
        Key.open("web")
    assert caught.value.status == Status.KEYISO_E_ROOT_MISSING
    assert not root.exists()

    root.write_bytes(kept)
    replace_workers(instance)
    with Key.open("web") as key:
        key.verify(key.sign(b"data"), b"data")


def replace_workers(instance: RunningInstance) -> None:
    """Kill them, and wait until the KeyIso service reaches the next ones."""
    observer = bind_process(instance.environ)

    def workers() -> dict[str, bytes]:
        return {
            one.service: one.instance_id for one in observer.control(GetServiceStatus()).workers
        }

    wait_until(lambda: len(workers()) == len(software(instance)), "not all workers serve")
    before = workers()
    instance.kill(*software(instance))
    wait_until(
        lambda: (
            len(new := workers()) == len(before) and not set(new.values()) & set(before.values())
        ),
        "the workers are not replaced",
    )


def software(instance: RunningInstance) -> list[str]:
    return [name for name in instance.pids() if name.startswith("software-")]
