"""Several workers, every line once: through rotation, the death of a worker or of all, and changes of their number."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from ..services.loki import Loki
from . import numbered
from .shipper import Shipper, new_app

FILES = "abcdefgh"
LINES = 2_500
"""That are written to each log at once."""
CONFIG = """
workers: 1
sources:
  app: {{ use: file, include: ["logs/*"], rotate_wait: 1s }}
stages:
  - {{ use: parse, format: json }}
sinks:
  loki: {{ use: loki, url: "{url}", labels: {{ app: {app}, file: "{{file}}" }}, batch_bytes: 128KiB }}
  archive: {{ use: jsonl, path: "archive/{{date}}.jsonl.zst" }}
exporter: {{ listen: "127.0.0.1:@PORT@" }}
state: state
"""


@pytest.fixture
def app() -> str:
    return new_app()


@pytest.fixture
def shipper(tmp_path: Path, loki: Loki, app: str) -> Iterator[Shipper]:
    with Shipper(tmp_path, CONFIG.format(url=loki.url, app=app)) as shipper:
        (tmp_path / "logs").mkdir()
        yield shipper


class Logs:
    """Eight logs that are written to in turn; each line has a number of its own."""

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / f"{name}.log" for name in FILES]
        self._generations = count(1)
        self.written = 0

    def grow(self) -> None:
        """Append to each."""
        for path in self._paths:
            numbered.write(path, range(self.written, self.written + LINES))
            self.written += LINES

    def rotate(self) -> None:
        """Two are renamed, two copied and cut, two renamed and packed; two go on."""
        number = next(self._generations)
        for place, path in enumerate(self._paths[:6]):
            old = path.with_name(f"{path.name}-20261123{number:02d}")
            if place < 2:
                path.rename(old)
            elif place < 4:
                shutil.copy(path, old)
                os.truncate(path, 0)
            else:
                path.rename(old)
                packed = path.with_name(f"{old.name}.gz")
                packed.write_bytes(gzip.compress(old.read_bytes(), 1))
                old.unlink()


def start(shipper: Shipper, workers: int, *flags: str) -> None:
    config = shipper.folder / "tailrace.yaml"
    config.write_text(re.sub(r"workers: \d+", f"workers: {workers}", config.read_text()))
    shipper.start(*flags)


def some_arrived(shipper: Shipper) -> Callable[[], bool]:
    """The archives are longer than now."""

    def size() -> int:
        return sum(path.stat().st_size for path in shipper.folder.glob("archive/*"))

    before = size()
    return lambda: size() > before


def kill_a_worker(shipper: Shipper, place: int) -> None:
    assert shipper._process
    pid = shipper._process.pid
    os.kill(int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[place]), signal.SIGKILL)


def test_every_line_arrives_once_whoever_dies_and_however_many_there_are(
    loki: Loki, app: str, shipper: Shipper
) -> None:
    logs = Logs(shipper.folder / "logs")
    logs.grow()
    for turn, workers in enumerate((2, 2, 3, 1, 2)):
        start(shipper, workers)
        shipper.until(some_arrived(shipper))
        logs.grow()
        logs.rotate()
        logs.grow()
        if workers > 1:
            kill_a_worker(shipper, turn % workers)
            shipper.until(some_arrived(shipper))
            logs.rotate()
            logs.grow()
        shipper.kill()
    start(shipper, 2, "--once")
    ended = shipper.wait()
    assert (ended.code, ended.stderr.count("all delivered")) == (0, 2), ended.stderr
    numbered.each_once(numbered.in_archive(shipper.folder / "archive"), logs.written)
    end = numbered.BEGAN_NS + logs.written * 1000
    found = loki.query(f'{{app="{app}"}}', numbered.BEGAN_NS, end, page=50_000)
    numbers = [int(re.search(r'"id":(\d+)', entry.line)[1]) for entry in found]  # type: ignore[index]
    assert [entry.line.encode() for entry in found] == [numbered.line(number) for number in numbers]
    numbered.each_once(numbers, logs.written)


def test_the_books_of_all_workers_are_closed_and_their_page_is_one(shipper: Shipper) -> None:
    logs = Logs(shipper.folder / "logs")
    logs.grow()
    start(shipper, 2)
    wanted = logs.written
    shipper.until(lambda: shipper.value("tailrace_events_out_total", kind="sink", component="loki") == wanted)
    assert shipper.value("tailrace_books_residual_events") == 0
    assert all(shipper.value("tailrace_events_in_total", kind="source", worker=str(n)) > 0 for n in range(2))
    assert shipper.get("/-/ready").status == 200
    assert shipper.stop().code == 0
