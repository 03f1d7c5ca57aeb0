"""Having a stopped thread make system calls, by its registers alone.

Nothing of the tracee's memory is written: its registers are set as if it were about to make a
call by an instruction that it has anyway, it runs up to the end of that call, and gets its own
registers back.
"""

from types import TracebackType
from typing import Self

from keyiso.trustlet.arming.kernel import cannot_arm, os_error, this_machine
from keyiso.trustlet.arming.ptrace import (
    interrupt,
    registers_of,
    resume,
    resume_to_system_call,
    set_registers,
    wait_for,
)


class Injector:
    """Makes system calls in a thread that this one has seized and interrupted.

    ``instruction`` is the address of a system call instruction in it. As a context manager:
    at the end the thread is stopped as it was found.
    """

    def __init__(self, thread: int, instruction: int) -> None:
        self._thread = thread
        self._instruction = instruction

    def __enter__(self) -> Self:
        self._saved = registers_of(self._thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._stop_where_signals_are_handled()
            set_registers(self._thread, self._saved)

    def call(self, name: str, *arguments: int) -> int:
        """What a system call returns there. Raises the `OSError` of its errno."""
        number = this_machine().numbers[name]
        set_registers(self._thread, self._saved.calling(self._instruction, number, arguments))
        self._run_to_system_call()  # where it begins
        self._run_to_system_call()  # where it has ended
        result = registers_of(self._thread).result
        if result < 0:
            raise os_error(-result, f"{name} in the worker")
        return result

    def _run_to_system_call(self) -> None:
        while True:
            resume_to_system_call(self._thread)
            status = wait_for(self._thread)
            if status.at_system_call:
                return
            if not status.harmless:
                raise cannot_arm(f"the worker {status} while its memory was moved")

    def _stop_where_signals_are_handled(self) -> None:
        """The thread was found in the midst of a system call of its own, which the kernel takes up
        again only where it has looked for signals: the place of an interruption, not the end of
        another call.
        """
        interrupt(self._thread)
        while True:
            resume(self._thread)
            status = wait_for(self._thread)
            if status.interrupted:
                return
            if not status.harmless:
                raise cannot_arm(f"the worker {status} while its memory was moved")
