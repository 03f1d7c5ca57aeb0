"""What one user may take of a service."""

import pytest

from keyiso.errors import NCryptError
from keyiso.quotas import Limit
from keyiso.server.shares import Share
from keyiso.status import Status


def refused(share: Share, uid: int, amount: int = 1) -> bool:
    try:
        share.take(uid, amount)
    except NCryptError as error:
        assert error.status == Status.KEYISO_E_LIMIT
        return True
    return False


@pytest.fixture
def share() -> Share:
    """Five in all, three for a user."""
    return Share(Limit("EACH", 3), together=Limit("TOGETHER", 5))


def test_a_user_has_a_share(share: Share) -> None:
    assert [refused(share, 1000) for _ in range(4)] == [False, False, False, True]
    assert not refused(share, 1001)


def test_all_users_together_have_no_more_than_there_is(share: Share) -> None:
    assert [refused(share, uid) for uid in (1, 2, 3, 4, 5, 6)] == [False] * 5 + [True]


def test_who_gives_back_makes_room(share: Share) -> None:
    for _ in range(20):
        for _ in range(3):
            share.take(1000)
        for _ in range(3):
            share.give_back(1000)

    assert [refused(share, uid) for uid in (1, 2, 3, 4, 5)] == [False] * 5


def test_who_was_refused_has_nothing_of_it(share: Share) -> None:
    assert sum(refused(share, 1000) for _ in range(100)) == 97
    share.give_back(1000)

    assert not refused(share, 1000)


def test_much_at_once_fits_or_does_not(share: Share) -> None:
    assert refused(share, 1000, 4)
    assert not refused(share, 1000, 3)
    assert refused(share, 1001, 3)
    assert not refused(share, 1001, 2)


def test_the_refusal_says_who_is_full_of_what(share: Share) -> None:
    with pytest.raises(NCryptError, match=r"uid 1000 has reached EACH \(3\)"):
        share.take(1000, 4)
    share.take(1000, 3)
    with pytest.raises(NCryptError, match=r"the service has reached TOGETHER \(5\)"):
        share.take(1001, 3)


def test_there_may_be_no_bound_for_all_together() -> None:
    share = Share(Limit("EACH", 3))

    assert not any(refused(share, uid, 3) for uid in range(1000))
