"""What ``keyiso status`` says of pairs."""

from pathlib import Path

from keyiso import Key, Protection
from tests.cli.command import keyiso
from tests.instance import RunningInstance

DATA = b"data"


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def test_a_pair_says_what_its_worker_holds(vbs_instance: RunningInstance) -> None:
    """The supervisor's child is the guardian; what it guards has a pid of its own."""
    with Key.create(None, "ECDSA_P256", protection=Protection.REQUIRE_VBS) as key:
        key.verify(key.sign(DATA), DATA)
        report = keyiso("status", "--json").json
        text = keyiso("status").text

    known = {one.service: one for one in vbs_instance.status().processes}
    pairs = [one for one in report["processes"] if one["service"].startswith("vbs-")]
    armed = [one for one in pairs if one["worker_pid"]]
    assert armed
    for pair in armed:
        assert pair["pid"] == known[pair["service"]].pid
        assert pair["worker_pid"] == known[pair["service"]].worker_pid
        assert len(bytes.fromhex(pair["instance_id"])) == 16
        assert pair["memory_bytes"] > resident_bytes(pair["pid"])
        assert pair["instance_id"][:8] in text
    assert sum(pair["loaded_keys"] for pair in armed) == 1
    assert sum(pair["channels"] for pair in armed) == 1
    assert sum(pair["operations"] for pair in armed) >= 1
    others = [one for one in report["processes"] if one not in pairs]
    assert {one["worker_pid"] for one in others} == {None}
