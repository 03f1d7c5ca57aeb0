"""What one user may take of a service."""

import pytest

from keyiso import limits
from keyiso.errors import NCryptError
from keyiso.server.shares import Shares
from keyiso.status import Status


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five connections in all, three of a user, a hundred bytes of a user."""
    monkeypatch.setattr(limits, "CONNECTIONS", 5)
    monkeypatch.setattr(limits, "CONNECTIONS_PER_USER", 3)
    monkeypatch.setattr(limits, "HALF_SENT_BYTES_PER_USER", 100)


def refused(shares: Shares, uid: int) -> bool:
    try:
        shares.admit(uid)
    except NCryptError as error:
        assert error.status == Status.KEYISO_E_LIMIT
        return True
    return False


@pytest.mark.usefixtures("few")
def test_a_user_has_a_share_of_the_connections() -> None:
    shares = Shares()

    assert [refused(shares, 1000) for _ in range(4)] == [False, False, False, True]
    assert not refused(shares, 1001)


@pytest.mark.usefixtures("few")
def test_all_users_together_have_no_more_than_there_are() -> None:
    shares = Shares()

    assert [refused(shares, uid) for uid in (1, 2, 3, 4, 5, 6)] == [False] * 5 + [True]


@pytest.mark.usefixtures("few")
def test_who_leaves_makes_room() -> None:
    shares = Shares()
    for _ in range(20):
        for _ in range(3):
            shares.admit(1000)
        for _ in range(3):
            shares.leave(1000)

    assert [refused(shares, uid) for uid in (1, 2, 3, 4, 5)] == [False] * 5


@pytest.mark.usefixtures("few")
def test_who_was_refused_takes_nothing() -> None:
    shares = Shares()
    assert sum(refused(shares, 1000) for _ in range(100)) == 97
    shares.leave(1000)

    assert not refused(shares, 1000)


@pytest.mark.usefixtures("few")
def test_a_user_has_a_share_of_what_waits_for_the_rest_of_its_frame() -> None:
    shares = Shares()
    shares.hold(1000, 60)
    shares.hold(1000, 40)
    shares.hold(1001, 100)

    with pytest.raises(
        NCryptError, match="uid 1000 has reached HALF_SENT_BYTES_PER_USER"
    ) as caught:
        shares.hold(1000, 1)
    assert caught.value.status == Status.KEYISO_E_LIMIT


@pytest.mark.usefixtures("few")
def test_what_was_refused_is_held_until_it_is_given_back() -> None:
    """The connection that has it is ended, and gives it all back."""
    shares = Shares()
    shares.hold(1000, 90)
    with pytest.raises(NCryptError):
        shares.hold(1000, 50)
    with pytest.raises(NCryptError):
        shares.hold(1000, -20)
    shares.hold(1000, -30)
    shares.hold(1000, 10)

    with pytest.raises(NCryptError):
        shares.hold(1000, 1)
