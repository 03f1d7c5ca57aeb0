"""Work beside the loop."""

import threading
from collections.abc import Iterator

import pytest

from keyiso.clock import SystemClock
from keyiso.errors import NCryptError
from keyiso.server.background import Background
from keyiso.server.loop import Loop
from keyiso.server.promise import Promise
from keyiso.status import Status

GUARD_SECONDS = 60


def wanted() -> bool:
    return True


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop(SystemClock())
    made.call_later(GUARD_SECONDS, lambda: pytest.fail("the work was never done"))
    yield made
    made.close()


def test_work_is_done_in_another_thread_and_told_in_the_loops(loop: Loop) -> None:
    threads: list[threading.Thread] = []
    promise = Background(loop).run(lambda: threads.append(threading.current_thread()), wanted)
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
        background.run(lambda number=number: work(number), wanted)  # type: ignore[misc]
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

    failed = background.run(fail, wanted)
    good = background.run(lambda: "good", wanted)
    good.when_kept(loop.stop)
    loop.run()

    with pytest.raises(type(error)):
        failed.result()
    assert good.result() == "good"


def test_the_loop_goes_on_meanwhile(loop: Loop) -> None:
    """The work waits for the loop here, which would be for ever if the loop waited for it."""
    gone_on = threading.Event()
    loop.call_soon(gone_on.set)
    promise = Background(loop).run(lambda: gone_on.wait(GUARD_SECONDS), wanted)
    promise.when_kept(loop.stop)
    loop.run()

    assert promise.result()


def test_what_nobody_wants_any_more_is_not_begun(loop: Loop) -> None:
    background = Background(loop)
    done: list[str] = []
    unwanted = background.run(lambda: done.append("unwanted"), lambda: False)
    background.run(lambda: done.append("wanted"), wanted).when_kept(loop.stop)
    loop.run()

    assert done == ["wanted"]
    with pytest.raises(NCryptError) as caught:
        unwanted.result()
    assert caught.value.status == Status.KEYISO_E_STALE
