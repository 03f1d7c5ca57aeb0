"""One service that is kept running."""

import os
import signal
import sys
from collections.abc import Callable, Sequence

from keyiso.server.loop import READ, Loop, Timer
from keyiso.supervisor.backoff import Backoff
from keyiso.supervisor.patience import LONGEST_STARTING_SECONDS, Patience
from keyiso.supervisor.spawn import ServiceSpec, spawn
from keyiso.supervisor.watchdog import TIMEOUT_SECONDS, parent_of
from keyiso.wire.supervision import ProcessStatus

Admission = Callable[[str], Sequence[str] | None]
"""Asked with its name before a service is started: more arguments, or None to wait."""


def _nothing_more(service: str) -> Sequence[str]:
    return ()


class Child:
    """Starts a service, notices its end by its pidfd, and starts it again."""

    def __init__(
        self,
        loop: Loop,
        spec: ServiceSpec,
        ended: Callable[["Child"], None],
        admission: Admission = _nothing_more,
        patience: Patience | None = None,
    ) -> None:
        self.pid = 0
        """0 while it is not running."""
        self.worker_pid = 0
        """Of the worker that a guardian has started; 0 until it is armed and has its roots."""
        self.waits = False
        """It may not start yet; who lets it calls `start` again."""
        self.is_held = False
        """Somebody has stopped it: it does not start."""
        self._admission = admission
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
        self._patience = patience or Patience()
        self._starts = False
        self._restart = Timer(None)
        self._demand: int | None = None
        """The listening socket whose first client starts it, while that is waited for."""

    @property
    def service(self) -> str:
        return self._spec.service

    @property
    def is_pair(self) -> bool:
        return self._spec.is_pair

    def replace(self) -> None:
        """Have the service end and be started again; one that is starting already is left to."""
        self._backoff = Backoff()
        self._signal(signal.SIGTERM)

    def begin(self) -> None:
        """Start, now or when somebody first asks for the service."""
        if not self._spec.on_demand:
            self.start()
            return
        self._demand = next(iter(self._spec.sockets.values()))
        self._loop.watch(self._demand, READ, lambda events: self.start())

    def start(self) -> None:
        """Start, as soon as it is admitted, if it does not run."""
        self._restart.cancel()
        if self._demand is not None:
            self._loop.forget(self._demand)
            self._demand = None
        if self.pid:
            return
        more = None if self._stopping or self.is_held else self._admission(self.service)
        self.waits = more is None
        if more is not None:
            self._start(more)

    def _start(self, more: Sequence[str]) -> None:
        self._restarts += 1
        self._started = self._loop.clock.monotonic()
        self._started_at = self._loop.clock.time()
        try:
            self.pid = spawn(self._spec, *more)
        except OSError as error:  # no process or memory to be had just now
            self._start_again(f"cannot be started ({error.strerror})")
            return
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.watch(self._pidfd, READ, self._reap)
        self._starts = True
        self._listen_for(self._patience.seconds)

    def hold(self) -> None:
        """Ask the service to end, and do not start it before `release`."""
        self.is_held = True
        self._signal(signal.SIGTERM)

    def release(self) -> None:
        """Let a service start that was held."""
        self.is_held = False
        self._backoff = Backoff()
        self.start()

    def stop(self) -> None:
        """Ask the service to end, and start it no more."""
        self._stopping = True
        self._signal(signal.SIGTERM)

    def beat(self) -> None:
        """The service's loop goes round."""
        if self._starts:
            self._patience.kept(self._loop.clock.monotonic() - self._started)
        self._starts = False
        self._listen_for(TIMEOUT_SECONDS)

    def extend(self, seconds: float) -> None:
        """The service lives, and its start takes so much longer, by its own word."""
        self._listen_for(min(seconds, LONGEST_STARTING_SECONDS))

    def is_of(self, pid: int) -> bool:
        """A sign of life came from this service: from it, or from the worker that it guards."""
        if pid in (self.pid, self.worker_pid):
            return pid != 0
        return self._spec.is_pair and bool(self.pid) and parent_of(pid) == self.pid

    def ready(self, pid: int) -> None:
        """The service serves from now on, by word of itself or of the worker that it guards."""
        if pid != self.pid:
            self.worker_pid = pid

    def _listen_for(self, seconds: float) -> None:
        self._silence.cancel()
        self._silence = self._loop.call_later(seconds, lambda: self._hung(seconds))

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
            self.worker_pid,
            self.is_held,
        )

    def _hung(self, seconds: float) -> None:
        """Replace a service that serves nobody. SIGKILL also ends one that was stopped."""
        if self._starts:
            left = self._started + self._patience.seconds - self._loop.clock.monotonic()
            if left > 0:  # since it was started, others have shown how slow the machine is
                self._listen_for(left)
                return
            self._patience.lost()
        print(
            f"keyiso: {self._spec.service} gave no sign of life for {round(seconds, 1):g} s",
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
        self.pid = self.worker_pid = 0
        self._ended(self)
        if not (self._stopping or self.is_held):
            self._start_again(f"ended ({_how(status)})")

    def _start_again(self, why: str) -> None:
        lifetime = self._loop.clock.monotonic() - self._started
        self._backoff = self._backoff.after(lifetime)
        print(
            f"keyiso: {self._spec.service} {why} after {lifetime:.1f} s;"
            f" restart in {self._backoff.seconds:.2f} s",
            file=sys.stderr,
            flush=True,
        )
        self._restart = self._loop.call_later(self._backoff.seconds, self.start)


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit {os.waitstatus_to_exitcode(status)}"
