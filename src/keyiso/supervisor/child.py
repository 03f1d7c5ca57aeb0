"""One service that is kept running."""

import os
import signal
import sys
from collections.abc import Callable

from keyiso.server.loop import READ, Loop, Timer
from keyiso.supervisor.backoff import Backoff
from keyiso.supervisor.spawn import ServiceSpec, spawn
from keyiso.supervisor.watchdog import TIMEOUT_SECONDS
from keyiso.wire.operations import ProcessStatus


class Child:
    """Starts a service, notices its end by its pidfd, and starts it again."""

    def __init__(self, loop: Loop, spec: ServiceSpec, ended: Callable[[], None]) -> None:
        self.pid = 0
        """0 while it is not running."""
        self._loop = loop
        self._spec = spec
        self._ended = ended
        self._backoff = Backoff()
        self._restarts = -1
        self._started = 0.0
        self._started_at = 0.0
        self._pidfd = -1
        self._stopping = False
        self._silence = Timer(lambda: None)

    def start(self) -> None:
        if self._stopping:
            return
        self._restarts += 1
        self._started = self._loop.clock.monotonic()
        self._started_at = self._loop.clock.time()
        try:
            self.pid = spawn(self._spec)
        except OSError as error:  # no process or memory to be had just now
            self._start_again(f"cannot be started ({error.strerror})")
            return
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.watch(self._pidfd, READ, self._reap)
        self.beat()

    def stop(self) -> None:
        """Ask the service to end, and start it no more."""
        self._stopping = True
        self._signal(signal.SIGTERM)

    def beat(self) -> None:
        """The service's loop goes round."""
        self._silence.cancel()
        self._silence = self._loop.call_later(TIMEOUT_SECONDS, self._hung)

    def kill(self) -> None:
        """End a service that did not end when it was asked."""
        self._signal(signal.SIGKILL)

    def status(self) -> ProcessStatus:
        user = self._spec.user
        return ProcessStatus(
            self._spec.service,
            self.pid,
            os.getuid() if user is None else user.uid,
            max(0, self._restarts),
            self._started_at,
        )

    def _hung(self) -> None:
        """Replace a service that serves nobody. SIGKILL also ends one that was stopped."""
        print(
            f"keyiso: {self._spec.service} gave no sign of life for {TIMEOUT_SECONDS:g} s",
            file=sys.stderr,
            flush=True,
        )
        self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self.pid:
            signal.pidfd_send_signal(self._pidfd, number)

    def _reap(self, events: int) -> None:
        _, status = os.waitpid(self.pid, 0)
        self._silence.cancel()
        self._loop.forget(self._pidfd)
        os.close(self._pidfd)
        self.pid = 0
        if not self._stopping:
            self._start_again(f"ended ({_how(status)})")
        self._ended()

    def _start_again(self, why: str) -> None:
        lifetime = self._loop.clock.monotonic() - self._started
        self._backoff = self._backoff.after(lifetime)
        print(
            f"keyiso: {self._spec.service} {why} after {lifetime:.1f} s;"
            f" restart in {self._backoff.seconds:.2f} s",
            file=sys.stderr,
            flush=True,
        )
        self._loop.call_later(self._backoff.seconds, self.start)


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit {os.waitstatus_to_exitcode(status)}"
