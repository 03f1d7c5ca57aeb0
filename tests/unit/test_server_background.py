"""Work beside the loop."""

import threading
from collections.abc import Iterator

import pytest

from keyiso.clock import SystemClock
from keyiso.server.background import Background
from keyiso.server.loop import Loop
from keyiso.server.promise import Promise

GUARD_SECONDS = 60


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop(SystemClock())
    made.call_later(GUARD_SECONDS, lambda: pytest.fail("the work was never done"))
    yield made
    made.close()


def test_work_is_done_in_another_thread_and_told_in_the_loops(loop: Loop) -> None:
    threads: list[threading.Thread] = []
    promise = Background(loop).run(lambda: threads.append(threading.current_thread()))
    promise.when_kept(lambda: threads.append(threading.current_thread()))
    promise.when_kept(loop.stop)
    loop.run()

    assert threads[0] is not threading.current_thread()
    assert threads[1] is threading.current_thread()


def test_works_are_done_one_after_the_other_with_their_values(loop: Loop) -> None:
    background = Background(loop)
    order: list[int] = []

    def work(number: int) -> int:
        order.append(number)
        return number * number

    promises: list[Promise[int]] = [
        background.run(lambda number=number: work(number))  # type: ignore[misc]
        for number in range(50)
    ]
    promises[-1].when_kept(loop.stop)
    loop.run()

    assert order == list(range(50))
    assert [promise.result() for promise in promises] == [number**2 for number in range(50)]


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3)])
def test_work_that_fails_breaks_its_promise_and_no_other(loop: Loop, error: BaseException) -> None:
    background = Background(loop)

    def fail() -> None:
        raise error

    failed = background.run(fail)
    good = background.run(lambda: "good")
    good.when_kept(loop.stop)
    loop.run()

    with pytest.raises(type(error)):
        failed.result()
    assert good.result() == "good"


def test_the_loop_goes_on_meanwhile(loop: Loop) -> None:
    """The work waits for the loop here, which would be for ever if the loop waited for it."""
    gone_on = threading.Event()
    loop.call_soon(gone_on.set)
    promise = Background(loop).run(lambda: gone_on.wait(GUARD_SECONDS))
    promise.when_kept(loop.stop)
    loop.run()

    assert promise.result()
