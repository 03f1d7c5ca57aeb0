"""What the level of a key allows."""

import pytest

from keyiso.crypto.levels import check_export_policy, check_not_lowered
from keyiso.errors import NCryptError
from keyiso.status import Status


@pytest.mark.parametrize("policy", [1, 2, 4, 8, 0x10, 0x1F])
def test_what_is_isolated_never_leaves(policy: int) -> None:
    check_export_policy("software", policy)
    check_export_policy("vbs", 0)
    with pytest.raises(NCryptError) as caught:
        check_export_policy("vbs", policy)
    assert caught.value.status == Status.NTE_NOT_SUPPORTED


def test_a_level_is_kept_or_raised() -> None:
    check_not_lowered("software", "software")
    check_not_lowered("software", "vbs")
    check_not_lowered("vbs", "vbs")
    with pytest.raises(NCryptError) as caught:
        check_not_lowered("vbs", "software")
    assert caught.value.status == Status.NTE_PERM
