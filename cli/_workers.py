"""The worker processes of one run: started, watched, stopped and started again by a parent that ships nothing."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from ..pipeline.log import log
from ..pipeline.runner import SAME_SIGNAL_SECONDS

PR_SET_PDEATHSIG = 1
STOP = b"s"
"""On its line: stop reading, deliver what was read, and end."""
BACKOFF_FIRST = 0.5
"""Seconds before a worker that died is started again; doubled each time …"""
BACKOFF_MOST = 30.0
QUIET = 60.0
"""… unless it ran for so long."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)

Work = Callable[[int, int, bool], int]
"""Does the work of a worker, and returns its exit code: its number, the end of its line to the parent (which tells it
to stop, or that the parent is gone), and whether it was started before."""


def in_child(work: Callable[[], int]) -> int:
    """Do this in a process of its own. Returns its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = work()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return abs(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


class Worker:
    """One of them, as the parent sees it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 0
        self.line = -1
        """Written to to stop it; closed when the parent ends, however it does."""
        self.began = 0.0
        self.due = 0.0
        """Monotonic time at which it is to be started; 0: it runs, or has ended for good."""
        self.backoff = BACKOFF_FIRST
        self.again = False


class Workers:
    """`run` returns the worst of their exit codes when all have ended. Signals that stop the parent stop them."""

    def __init__(self, count: int, work: Work) -> None:
        self._workers = [Worker(number) for number in range(count)]
        self._work = work
        self._stopped_at = float("inf")
        self._stopping = False
        self._code = 0
        self._woken, self._wake = -1, -1

    def run(self) -> int:
        """Start all, and be there for them."""
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        handlers = {number: signal.signal(number, lambda *_: None) for number in (*SIGNALS, signal.SIGCHLD)}
        before = signal.set_wakeup_fd(self._wake)
        try:
            for worker in self._workers:
                self._start(worker)
            while any(worker.pid or worker.due for worker in self._workers):
                self._turn()
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            os.close(self._woken)
            os.close(self._wake)
        return self._code

    def _turn(self) -> None:
        """Wait until a signal has come, or a worker is due."""
        due = [worker.due for worker in self._workers if worker.due]
        select.select([self._woken], [], [], max(0.0, min(due) - time.monotonic()) if due else None)
        with suppress(BlockingIOError):
            for number in os.read(self._woken, 512):
                if number in SIGNALS:
                    self._on_signal()
        self._collect()
        for worker in self._workers:
            if worker.due and worker.due <= time.monotonic():
                self._start(worker)

    def _on_signal(self) -> None:
        if not self._stopping:
            log.info("stopping: delivering what was read")
            self._stopped_at = time.monotonic()
            self._stop()
        elif time.monotonic() - self._stopped_at > SAME_SIGNAL_SECONDS:
            log.warning("second signal: leaving at once; what is not delivered is read again at the next start")
            self._code = 1
            for worker in self._workers:
                if worker.pid:
                    os.kill(worker.pid, signal.SIGKILL)

    def _stop(self) -> None:
        self._stopping = True
        for worker in self._workers:
            worker.due = 0.0
            if worker.pid:
                with suppress(BrokenPipeError):  # it has just ended
                    os.write(worker.line, STOP)

    def _start(self, worker: Worker) -> None:
        theirs, ours = os.pipe()
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until it has none of the parent's handlers
        try:
            worker.pid = os.fork()
            if worker.pid == 0:
                os.close(ours)
                self._be(worker, theirs, parent)
        except OSError as error:
            os.close(ours)
            log.error(f"cannot start worker {worker.number}, trying again", error=error.strerror)
            self._later(worker)
            return
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            os.close(theirs)
        worker.line, worker.began, worker.due, worker.again = ours, time.monotonic(), 0.0, True

    def _be(self, worker: Worker, line: int, parent: int) -> NoReturn:
        """In the new process. Signals stay blocked: what stops the parent may reach all, and only its word counts."""
        code = 1
        try:
            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            signal.set_wakeup_fd(-1)
            for number in (*SIGNALS, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for other in (self._woken, self._wake, *(one.line for one in self._workers)):
                if other >= 0:
                    os.close(other)
            log.always["worker"] = worker.number
            code = self._work(worker.number, line, worker.again)
        except BaseException as error:
            log.error("stopped by an error", error=f"{type(error).__name__}: {error}")
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _collect(self) -> None:
        """What became of those that have ended; as PID 1 also of processes that it did not start."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for worker in self._workers:
                if worker.pid == pid:
                    self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: Worker, code: int) -> None:
        os.close(worker.line)
        worker.pid, worker.line = 0, -1
        if code >= 0:
            self._code = max(self._code, code)
            if code and not self._stopping:
                log.error(f"worker {worker.number} ended by an error, stopping the others", code=code)
                self._stop()
        elif self._stopping:
            self._code = max(self._code, 1)
        else:
            if time.monotonic() - worker.began > QUIET:
                worker.backoff = BACKOFF_FIRST
            name = signal.Signals(-code).name
            log.error(f"worker {worker.number} was killed, starting it again", by=name, wait_s=worker.backoff)
            self._later(worker)

    def _later(self, worker: Worker) -> None:
        worker.due = time.monotonic() + worker.backoff
        worker.backoff = min(BACKOFF_MOST, worker.backoff * 2)
