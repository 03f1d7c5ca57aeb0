"""Who is next, when there are fewer places than there is work."""

from collections.abc import Callable

import pytest

from keyiso.errors import NCryptError
from keyiso.keyiso_service.turns import NamedTurns, Turns
from keyiso.quotas import Limit
from keyiso.server.promise import run_coroutine
from keyiso.status import Status


class Waiting:
    """Requests that take a turn, and what became of them."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.served: list[str] = []
        self.refused: list[tuple[str, int]] = []

    def ask(self, uid: int, name: str, wanted: Callable[[], bool] = lambda: True) -> None:
        def done(outcome: Callable[[], None]) -> None:
            try:
                outcome()
            except NCryptError as error:
                self.refused.append((name, error.status))
            else:
                self.served.append(name)

        run_coroutine(self.turns.take(uid, wanted), done)


@pytest.fixture
def one() -> Waiting:
    return Waiting(Turns(1))


def test_who_finds_a_place_has_it_at_once() -> None:
    waiting = Waiting(Turns(2))
    for name in "abc":
        waiting.ask(1, name)

    assert waiting.served == ["a", "b"]


def test_users_take_turns(one: Waiting) -> None:
    """Whoever asks for a hundred things waits behind who asks for one."""
    one.ask(1, "first")
    for number in range(3):
        one.ask(1, f"greedy {number}")
    one.ask(2, "modest")
    for number in range(2):
        one.ask(3, f"third {number}")
    for _ in range(6):
        one.turns.give_back()

    assert one.served == [
        "first",
        "greedy 0",
        "modest",
        "third 0",
        "greedy 1",
        "third 1",
        "greedy 2",
    ]


def test_nobody_jumps_the_queue(one: Waiting) -> None:
    one.ask(1, "first")
    one.ask(1, "second")
    one.turns.give_back()
    one.ask(2, "third")

    assert one.served == ["first", "second"]


def test_what_nobody_wants_any_more_is_not_begun(one: Waiting) -> None:
    one.ask(1, "first")
    one.ask(1, "gone", lambda: False)
    one.ask(1, "here")
    one.turns.give_back()

    assert one.served == ["first", "here"]
    assert one.refused == [("gone", Status.KEYISO_E_STALE)]


def test_a_place_is_not_lost_to_who_has_gone(one: Waiting) -> None:
    one.ask(1, "first")
    one.ask(1, "gone", lambda: False)
    one.turns.give_back()
    assert one.turns.idle

    one.ask(2, "next")
    assert one.served == ["first", "next"]


def test_only_so_many_of_a_user_wait() -> None:
    waiting = Waiting(Turns(1, Limit("WAITING", 2)))
    for name in ("works", "waits", "waits too", "refused"):
        waiting.ask(1, name)
    waiting.ask(2, "another user")
    for _ in range(4):
        waiting.turns.give_back()

    assert waiting.served == ["works", "waits", "another user", "waits too"]
    assert waiting.refused == [("refused", Status.KEYISO_E_LIMIT)]


def test_who_has_gone_does_not_count_among_those_who_wait() -> None:
    waiting = Waiting(Turns(1, Limit("WAITING", 2)))
    waiting.ask(1, "works")
    waiting.ask(1, "gone", lambda: False)
    waiting.ask(1, "waits")
    waiting.ask(1, "waits too")

    assert waiting.refused == [("gone", Status.KEYISO_E_STALE)]
    waiting.turns.give_back()
    waiting.turns.give_back()
    assert waiting.served == ["works", "waits", "waits too"]


def test_a_long_queue_needs_no_deep_stack() -> None:
    """Who has a place and fails at once gives it back inside the hand-over."""
    turns = Turns(1)
    count, served = 20_000, 0

    async def work() -> None:
        nonlocal served
        await turns.take(1, lambda: True)
        served += 1
        turns.give_back()

    run_coroutine(turns.take(1, lambda: True), lambda outcome: outcome())
    for _ in range(count):
        run_coroutine(work(), lambda outcome: outcome())
    turns.give_back()

    assert served == count
    assert turns.idle


def test_a_name_has_one_turn_at_a_time_and_others_do_not_wait_for_it() -> None:
    turns, order = NamedTurns(), []

    def ask(what: str, who: str) -> None:
        run_coroutine(turns.take(what, 1, lambda: True), lambda outcome: order.append(who))

    ask("a", "a1")
    ask("a", "a2")
    ask("b", "b1")
    assert order == ["a1", "b1"]

    turns.give_back("a")
    turns.give_back("b")
    assert order == ["a1", "b1", "a2"]

    turns.give_back("a")
    ask("a", "a3")
    assert order[-1] == "a3"
