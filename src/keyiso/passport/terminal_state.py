"""A terminal is given back as it was, also by a process that a signal ends or stops."""

import os
import signal
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_LOCAL_MODES: Final = 3
"""Where tcgetattr has c_lflag."""
ENDING: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
STOPPING: Final = (signal.SIGTSTP,)


@contextmanager
def no_echo(terminal: int, again: Callable[[], object]) -> Iterator[None]:
    """What is typed is not shown until the block ends; what was typed before is dropped.

    ``again`` is called when a stopped process goes on: the screen may show something else.
    Signals are seen to in the main thread only, where Python takes them.
    """
    before = termios.tcgetattr(terminal)
    hidden = termios.tcgetattr(terminal)
    hidden[_LOCAL_MODES] &= ~termios.ECHO
    hidden[_LOCAL_MODES] |= termios.ICANON | termios.ISIG | termios.ECHONL

    def hide() -> None:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, hidden)

    def show() -> None:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)

    def hide_again() -> None:
        hide()
        again()

    with around_signals((*ENDING, *STOPPING), show, hide_again):
        try:
            hide()
            yield
        finally:
            show()


@contextmanager
def kept(terminal: int, end: Callable[[], object]) -> Iterator[None]:
    """Another program, which is stopped and goes on together with this one, hides what is typed.

    After the block, and before a signal ends this process, ``end`` is called and the terminal is
    as it was.
    """
    before = termios.tcgetattr(terminal)

    def show() -> None:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)

    def end_and_show() -> None:
        end()
        show()

    def hide_again() -> None:
        now = termios.tcgetattr(terminal)
        if now[_LOCAL_MODES] & termios.ECHO:  # not every program does it by itself
            now[_LOCAL_MODES] &= ~termios.ECHO
            termios.tcsetattr(terminal, termios.TCSADRAIN, now)

    with (
        around_signals(ENDING, end_and_show, lambda: None),
        around_signals(STOPPING, show, hide_again),
    ):
        try:
            yield
        finally:
            end_and_show()


@contextmanager
def around_signals(
    numbers: tuple[signal.Signals, ...], before: Callable[[], object], after: Callable[[], object]
) -> Iterator[None]:
    """Each of the signals does what it did without the block, between ``before`` and ``after``."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.getsignal(number) for number in numbers}
    installed = [
        number for number, handler in earlier.items() if handler not in (signal.SIG_IGN, None)
    ]

    def handle(number: int, frame: FrameType | None) -> None:
        before()
        signal.signal(number, earlier[signal.Signals(number)])
        try:
            os.kill(os.getpid(), number)  # the whole process, as the terminal or a user does it
        finally:
            signal.signal(number, handle)
        after()

    for number in installed:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in installed:
            signal.signal(number, earlier[number])
