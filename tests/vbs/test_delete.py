"""``keyiso key delete`` of a key whose boot is over."""

from keyiso import Key, Protection
from tests.cli.command import keyiso
from tests.instance import RunningInstance


def test_a_lost_key_is_deleted_by_its_name(vbs_instance: RunningInstance) -> None:
    """Without a TPM a boot is over, for vbs keys, when all pairs have died."""
    Key.create("lost", "ECDSA_P256", protection=Protection.REQUIRE_VBS, per_boot=True).close()
    vbs_instance.kill(*(name for name in vbs_instance.pids() if name.startswith("vbs-")))

    ended = keyiso("key", "delete", "lost", "--yes")

    assert (ended.code, ended.text) == (0, "Deleted the lost key 'lost'.\n")
    assert "The key 'lost' is lost: the per-boot key was made in an earlier boot." in ended.errors
    assert not Key.exists("lost")
