"""When raw clients may begin: nobody repeats for them what comes too early."""

from tests.conformance.raw_client import RawClient
from tests.instance import RunningInstance
from tests.waiting import wait_until


def wait_for_workers(instance: RunningInstance) -> None:
    """Return when the KeyIso service reaches every worker that is not started on demand."""
    services = [entry.service for entry in instance.status().processes]
    workers = sum(service.startswith("software-") for service in services)

    def all_answer() -> bool:
        with RawClient.bound(instance.instance.control_socket) as client:
            return len(client.call(client.harmless).workers) == workers

    wait_until(all_answer, "the start of all workers")
