"""Promises, and coroutines that wait for them."""

from collections.abc import Callable

import pytest

from keyiso.server.promise import Promise, run_coroutine


class Outcome:
    """What `run_coroutine` reports, and how often."""

    def __init__(self) -> None:
        self.reported: list[Callable[[], object]] = []

    def __call__(self, outcome: Callable[[], object]) -> None:
        self.reported.append(outcome)

    @property
    def value(self) -> object:
        (outcome,) = self.reported
        return outcome()


async def sum_of(*promises: Promise[int]) -> int:
    return sum([await promise for promise in promises])


def test_a_kept_promise_has_its_value() -> None:
    promise: Promise[str] = Promise()
    before = promise.kept
    promise.keep("value")

    assert (before, promise.kept) == (False, True)
    assert promise.result() == "value"


def test_a_broken_promise_raises_its_error() -> None:
    promise: Promise[str] = Promise()
    promise.break_with(KeyError("why"))

    assert promise.kept
    with pytest.raises(KeyError, match="why"):
        promise.result()


@pytest.mark.parametrize("later", [lambda p: p.keep("second"), lambda p: p.break_with(OSError())])
def test_the_first_outcome_stands(later: Callable[[Promise[str]], None]) -> None:
    kept: Promise[str] = Promise()
    broken: Promise[str] = Promise()
    kept.keep("first")
    broken.break_with(KeyError("first"))
    later(kept)
    later(broken)

    assert kept.result() == "first"
    with pytest.raises(KeyError):
        broken.result()


@pytest.mark.parametrize("value", [None, 0, "", ()])
def test_a_promise_may_be_kept_with_what_is_false(value: object) -> None:
    promise: Promise[object] = Promise()
    promise.keep(value)

    assert promise.kept
    assert promise.result() == value


def test_those_who_wait_are_called_once_and_in_their_order() -> None:
    promise: Promise[int] = Promise()
    called: list[str] = []
    promise.when_kept(lambda: called.append("first"))
    promise.when_kept(lambda: called.append("second"))
    assert called == []
    promise.keep(1)
    promise.keep(2)
    promise.when_kept(lambda: called.append("late"))

    assert called == ["first", "second", "late"]


def test_a_coroutine_that_waits_for_nothing_is_done_at_once() -> None:
    outcome = Outcome()
    kept: Promise[int] = Promise()
    kept.keep(4)
    run_coroutine(sum_of(kept, kept), outcome)

    assert outcome.value == 8


def test_a_coroutine_goes_on_when_its_promise_is_kept() -> None:
    outcome = Outcome()
    first: Promise[int] = Promise()
    second: Promise[int] = Promise()
    run_coroutine(sum_of(first, second), outcome)
    assert outcome.reported == []
    second.keep(2)
    assert outcome.reported == []
    first.keep(1)

    assert outcome.value == 3


def test_a_broken_promise_is_an_exception_where_it_is_awaited() -> None:
    outcome = Outcome()
    promise: Promise[int] = Promise()

    async def careful() -> str:
        try:
            await promise
        except KeyError as error:
            return f"caught {error.args[0]}"
        return "nothing came"

    run_coroutine(careful(), outcome)
    promise.break_with(KeyError("it"))

    assert outcome.value == "caught it"


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3), KeyboardInterrupt()])
def test_what_a_coroutine_raises_is_reported_and_not_raised_here(error: BaseException) -> None:
    outcome = Outcome()
    promise: Promise[int] = Promise()

    async def fails() -> None:
        await promise
        raise error

    run_coroutine(fails(), outcome)
    promise.keep(1)

    with pytest.raises(type(error)) as caught:
        assert outcome.value
    assert caught.value is error


def test_many_coroutines_may_wait_for_one_promise() -> None:
    promise: Promise[int] = Promise()
    outcomes = [Outcome() for _ in range(5)]
    for outcome in outcomes:
        run_coroutine(sum_of(promise, promise), outcome)
    promise.keep(21)

    assert [outcome.value for outcome in outcomes] == [42] * 5


def test_a_long_row_of_kept_promises_needs_no_deep_stack() -> None:
    outcome = Outcome()
    promises: list[Promise[int]] = [Promise() for _ in range(5_000)]
    run_coroutine(sum_of(*promises), outcome)
    for promise in reversed(promises):
        promise.keep(1)

    assert outcome.value == 5_000


def test_coroutines_may_await_each_other() -> None:
    outcome = Outcome()
    promise: Promise[int] = Promise()

    async def outer() -> int:
        return await sum_of(promise) + 1

    run_coroutine(outer(), outcome)
    promise.keep(1)

    assert outcome.value == 2
