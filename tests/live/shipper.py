"""`tailrace run` as a process of its own, as often as a test likes, in one folder; and what it archived there."""

from __future__ import annotations

import gzip
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

import cramjam

from ..services._server import free_ports

T = TypeVar("T")

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy of the environment


class Ended(NamedTuple):
    """How a run ended."""

    code: int
    """Exit code; -9 when it was killed."""
    stderr: str
    """What this run said, not the ones before it."""


class Shipper:
    """One config in one folder. `@PORT@` in it is a free port. Leaving the `with` kills what still runs."""

    def __init__(self, folder: Path, config: str, **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        (self.port,) = free_ports(1)
        self.peak_rss = 0
        """The most resident memory in bytes that `running` ever saw."""
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        (folder / "tailrace.yaml").write_text(config.replace("@PORT@", str(self.port)))

    def start(self, *flags: str) -> Self:
        """Start it; its stderr goes to a file of this start."""
        assert self._process is None, "it runs already"
        self._starts += 1
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tailrace.cli", "run", "tailrace.yaml", *flags],
                cwd=self.folder,
                env=os.environ | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        return self

    def running(self) -> bool:
        """False once it has ended by itself."""
        assert self._process is not None
        if self._process.poll() is not None:
            return False
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        if found := re.search(r"VmRSS:\s+(\d+) kB", status):  # missing between its end and our `poll`
            self.peak_rss = max(self.peak_rss, int(found[1]) * 1024)
        return True

    def send(self, *signals: signal.Signals) -> None:
        """Send it these signals, one right after the other."""
        assert self._process is not None
        for number in signals:
            self._process.send_signal(number)

    def wait(self, seconds: float = 60) -> Ended:
        """Wait until it has ended. Raises TimeoutError with what it said, and then it is killed."""
        assert self._process is not None
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"still running after {seconds:g} s; it said:\n{self.stderr}") from None
        self._process = None
        return Ended(code, self.stderr)

    def once(self, seconds: float = 60) -> Ended:
        """A whole run with `--once`."""
        return self.start("--once").wait(seconds)

    def stop(self, seconds: float = 60) -> Ended:
        """SIGTERM, and wait."""
        self.send(signal.SIGTERM)
        return self.wait(seconds)

    def insist(self, number: signal.Signals, seconds: float = 10) -> Ended:
        """Send the signal again and again until it has ended: two within a moment count as one to tailrace."""
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline:
            self.send(number)
            time.sleep(0.1)
        return self.wait(0)

    def kill(self) -> None:
        """SIGKILL; nothing happens when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def stderr(self) -> str:
        """What the last start has said so far."""
        return self._log.read_text(errors="replace")

    @property
    def _log(self) -> Path:
        return self.folder / f"stderr.{self._starts}"

    def get(self, path: str, accept: str = "*/*") -> Page:
        """A page of the exporter. Raises OSError when it does not listen."""
        return get(f"http://127.0.0.1:{self.port}{path}", accept)

    def until(self, condition: Callable[[], T], seconds: float = 30, every: float = 0.02) -> T:
        """Ask until the condition holds. Raises AssertionError when the run ends first, or it takes too long."""
        deadline = time.monotonic() + seconds
        while True:
            running = self.running()
            if found := condition():
                return found
            assert running, f"the run ended first; it said:\n{self.stderr}"
            assert time.monotonic() < deadline, f"not within {seconds:g} s; it said:\n{self.stderr}"
            time.sleep(every)

    def value(self, metric: str, **labels: str) -> float:
        """The sum of a metric over the series with these labels; 0 while the exporter does not listen."""
        try:
            return total(self.get("/metrics").text, metric, **labels)
        except OSError:
            return 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()


class Page(NamedTuple):
    """An answer over HTTP, whatever its status."""

    status: int
    type: str
    text: str


def get(url: str, accept: str = "*/*") -> Page:
    """GET. Raises OSError when nobody answers."""
    try:
        with _direct.open(urllib.request.Request(url, headers={"Accept": accept}), timeout=10) as answer:
            return Page(answer.status, answer.headers["Content-Type"], answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Page(error.code, error.headers["Content-Type"], error.read().decode())


def total(page: str, metric: str, **labels: str) -> float:
    """The sum of a metric over its series with these labels, from a page in the text format."""
    series = re.findall(rf"^{metric}(?:\{{(.*)\}})? (\S+)$", page, re.MULTILINE)
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    return sum(float(value) for names, value in series if all(label in names for label in wanted))


def archived(folder: Path) -> list[bytes]:
    """The lines of all archive files under a folder, decompressed by the ending of their names."""
    return [line for path in sorted(folder.rglob("*.jsonl*")) for line in unpacked(path).split(b"\n")[:-1]]


def unpacked(path: Path) -> bytes:
    """The content of an archive file."""
    data = path.read_bytes()
    if path.suffix == ".zst":
        return bytes(cramjam.zstd.decompress(data))
    return gzip.decompress(data) if path.suffix == ".gz" else data


def new_app() -> str:
    """A value for the label `app` that no other test uses."""
    return f"app-{uuid.uuid4().hex[:6]}"
