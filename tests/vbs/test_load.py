"""Armed workers with several clients, one of which dies."""

import random
from pathlib import Path

from keyiso.client.binding import bind_process
from keyiso.wire.control import GetServiceStatus
from tests.instance import RunningInstance
from tests.restart.kills import clients_at_work, report_of, wait_for_operations
from tests.restart.seed import SEED
from tests.restart.victims import wait_until


def channels(instance: RunningInstance) -> int:
    """Connections of clients to the armed workers."""
    workers = bind_process(instance.environ).control(GetServiceStatus()).workers
    return sum(one.channels for one in workers if one.service.startswith("vbs-"))


def test_a_client_that_dies_is_nobody_elses_trouble(
    vbs_instance: RunningInstance, tmp_path: Path
) -> None:
    before = channels(vbs_instance)
    chance = random.Random(SEED)
    with clients_at_work(vbs_instance.environ, tmp_path, chance, "vbs") as (board, clients):
        wait_for_operations(board, 100)
        with_all = channels(vbs_instance)
        first, *others = clients
        first.kill()
        first.wait()
        wait_until(lambda: channels(vbs_instance) < with_all, "its channel is kept")
        wait_for_operations(board, board.operations() + 100)
        board.stop()
        reports = [report_of(client) for client in others]

    assert [report["failures"] for report in reports] == [[]] * len(others)
    assert [report["wrong_keys"] for report in reports] == [0] * len(others)
    wait_until(lambda: channels(vbs_instance) == before, "channels of clients that ended are kept")
