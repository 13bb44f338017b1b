"""Processes of a measurement: pinned to a core, metered, and never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
LOOKS_PER_SCAN = 20
PR_SET_PDEATHSIG = 1

_prctl = ctypes.CDLL(None).prctl


@contextlib.contextmanager
def running(
    command: list[str],
    *,
    core: int | None,
    nice: int = 0,
    output: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own; it ends with the block, or when the benchmark is killed. None: on any core."""

    def before_exec() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if core is not None:
            os.sched_setaffinity(0, {core})
        os.nice(nice)

    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=env,
        cwd=cwd,
        start_new_session=True,  # Ctrl-C is for the benchmark, which then stops it
        preexec_fn=before_exec,
    )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], grace: float = 15) -> None:
    """Ask it to end, then end what is left of its group. Stopping twice is fine."""
    if process.returncode is not None:
        return
    os.kill(process.pid, signal.SIGTERM)  # `terminate` would first collect one that has ended, see `has_ended`
    deadline = time.monotonic() + grace
    while not has_ended(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """True when it is over; unlike `poll` this keeps its id, and with it that of its group, from being used again."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class Meter:
    """CPU time and memory of a process and its descendants."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._pids = [root]
        self._looks = 0

    def cpu(self) -> float:
        """Seconds of CPU time so far, user and system, of children that have ended too."""
        if self._looks % LOOKS_PER_SCAN == 0:
            self._pids = tree(self._root)
        self._looks += 1
        ticks = 0
        for pid in self._pids:
            with contextlib.suppress(OSError):
                ticks += sum(map(int, _stat(pid)[11:15]))
        return ticks / TICKS_PER_SECOND

    def peak_mb(self) -> float:
        """Peak resident memory in MiB, summed over the processes that are alive."""
        return self._memory_mb("VmHWM:")

    def resident_mb(self) -> float:
        """Resident memory now, in MiB."""
        return self._memory_mb("VmRSS:")

    def _memory_mb(self, figure: str) -> float:
        kib = 0
        for pid in tree(self._root):
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                kib += sum(int(line.split()[1]) for line in lines if line.startswith(figure))
        return round(kib / 1024, 1)


def tree(root: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the program's name, which may hold spaces: state, parent, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
