from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from ..services._server import free_ports
from ..services.loki import Loki
from . import numbered
from .shipper import Ended, Shipper, archived, new_app

MIB = 1 << 20


@pytest.fixture
def app() -> str:
    return new_app()


@pytest.fixture
def shipper(tmp_path: Path, loki: Loki, app: str) -> Iterator[Shipper]:
    with Shipper(tmp_path, numbered.config(loki, app)) as shipper:
        (tmp_path / "logs").mkdir()
        yield shipper


def delivered(shipper: Shipper, sink: str) -> float:
    """Events that this run has delivered to a sink so far."""
    return shipper.value("tailrace_events_out_total", kind="sink", component=sink)


def begun(shipper: Shipper) -> bool:
    """The archive has its first lines."""
    return any(path.stat().st_size for path in shipper.folder.glob("archive/*"))


def read_up_to(folder: Path) -> int:
    """Bytes that the checkpoint says are done with."""
    path = folder / "state" / "checkpoint.json"
    if not path.exists():
        return 0
    partitions = json.loads(path.read_bytes())["sources"].get("app", {})
    return sum(partition["position"]["offset"] for partition in partitions.values())


def test_a_million_lines_arrive_once_through_a_rotation(loki: Loki, app: str, shipper: Shipper) -> None:
    count = 1_000_000
    logs = shipper.folder / "logs"
    clock = Stopwatch()
    for shard in range(numbered.SHARDS):
        # Of the first file only a half: the rest is written after its rotation.
        numbered.write(logs / f"{shard}.log", range(shard, count // (1 if shard else 2), numbered.SHARDS))
    clock.lap("write")
    shipper.start()
    shipper.until(lambda: delivered(shipper, "archive") > 0)
    (logs / "0.log").rename(logs / "0.log.1")
    numbered.write(logs / "0.log", range(count // 2, count, numbered.SHARDS))
    assert delivered(shipper, "archive") < count, "the rotation came too late to be in the middle"
    shipper.until(lambda: min(delivered(shipper, "loki"), delivered(shipper, "archive")) >= count, 90)
    assert shipper.value("tailrace_books_residual_events") == 0
    assert shipper.stop().code == 0
    clock.lap("ship")
    numbered.each_once(numbered.in_archive(shipper.folder / "archive"), count)
    clock.lap("read the archive")
    numbered.each_once(numbered.in_loki(loki, app, count), count)
    clock.lap("query Loki")
    print(f"{clock}; memory at most {shipper.peak_rss / MIB:.0f} MiB")
    assert shipper.peak_rss < 150 * MIB


def test_what_loki_took_is_there_after_loki_was_killed(tmp_path: Path, loki: Loki, app: str) -> None:
    """Several sinks, for what Loki lost was lost when streams were new."""
    count = 30_000
    apps = [f"{app}-{place}" for place in range(10)]
    with Shipper(tmp_path, numbered.config(loki, *apps)) as shipper:
        (tmp_path / "logs").mkdir()
        numbered.write(tmp_path / "logs" / "a.log", range(count))
        assert shipper.once().code == 0
    loki.stop(kill=True)
    loki.start()
    for name in apps:
        numbered.each_once(numbered.in_loki(loki, name, count), count)


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_while_loki_is_away_the_run_waits_and_then_goes_on(loki: Loki, app: str, shipper: Shipper, kill: bool) -> None:
    count = 200_000
    numbered.write(shipper.folder / "logs" / "a.log", range(count // 2))
    shipper.start()
    shipper.until(lambda: delivered(shipper, "loki") > 0)
    assert shipper.get("/-/ready").status == 200
    loki.stop(kill=kill)
    try:
        numbered.write(shipper.folder / "logs" / "b.log", range(count // 2, count))
        waiting = shipper.until(lambda: unready(shipper))
        assert waiting.startswith("loki: ")
        before = shipper.until(lambda: settled_down(shipper))
        retries = shipper.value("tailrace_retries_total", component="loki")
        shipper.until(lambda: shipper.value("tailrace_retries_total", component="loki") >= retries + 2)
        assert delivered(shipper, "loki") == before < count
        assert shipper.value("tailrace_sink_up", sink="loki") == 0
        assert shipper.get("/-/healthy").status == 200
    finally:
        loki.start()
    shipper.until(lambda: min(delivered(shipper, "loki"), delivered(shipper, "archive")) >= count, 60)
    assert shipper.get("/-/ready").status == 200
    assert shipper.value("tailrace_books_residual_events") == 0
    ended = shipper.stop()
    assert ended.code == 0
    assert "delivery works again" in ended.stderr
    assert shipper.peak_rss < 150 * MIB
    numbered.each_once(numbered.in_archive(shipper.folder / "archive"), count)
    numbered.each_once(numbered.in_loki(loki, app, count), count)


def unready(shipper: Shipper) -> str:
    """Why it is not ready; empty while it is."""
    page = shipper.get("/-/ready")
    return page.text if page.status == 503 else ""


def settled_down(shipper: Shipper) -> float:
    """What Loki got, once the sources are held by what waits for it."""
    full = shipper.value("tailrace_queue_bytes", sink="loki") > 2 * MIB
    return delivered(shipper, "loki") if full else 0


@pytest.mark.parametrize("signals", [(signal.SIGTERM,), (signal.SIGINT, signal.SIGTERM)], ids=["one", "doubled"])
def test_a_stopped_run_delivers_what_it_read_and_the_next_one_goes_on(
    loki: Loki, app: str, shipper: Shipper, signals: tuple[signal.Signals, ...]
) -> None:
    count = 250_000
    numbered.write(shipper.folder / "logs" / "a.log", range(count))
    shipper.start("--once").until(lambda: begun(shipper), every=0.002)
    shipper.send(*signals)
    ended = shipper.wait()
    assert ended.code == 0
    assert "stopped, all delivered" in ended.stderr
    first = numbered.in_archive(shipper.folder / "archive")
    assert 0 < len(first) < count, "the signal did not come in the middle"
    assert sorted(numbered.in_loki(loki, app, count)) == first
    assert shipper.once().code == 0
    numbered.each_once(numbered.in_archive(shipper.folder / "archive"), count)
    numbered.each_once(numbered.in_loki(loki, app, count), count)


def test_a_run_that_is_killed_three_times_delivers_each_line_once(loki: Loki, app: str, shipper: Shipper) -> None:
    """At once, and twice just after a checkpoint."""
    count = 400_000
    numbered.write(shipper.folder / "logs" / "a.log", range(count))
    size = (shipper.folder / "logs" / "a.log").stat().st_size
    for part in range(3):
        shipper.start("--once")
        done = read_up_to(shipper.folder)
        if part:
            shipper.until(lambda done=done: read_up_to(shipper.folder) > done, every=0.002)  # type: ignore[misc]
        else:
            shipper.until(lambda: begun(shipper), every=0.002)
        shipper.send(signal.SIGKILL)
        assert shipper.wait(5).code == -9
    assert read_up_to(shipper.folder) < size, "the kills did not come in the middle"
    assert shipper.once().code == 0
    numbered.each_once(numbered.in_archive(shipper.folder / "archive"), count)
    numbered.each_once(numbered.in_loki(loki, app, count), count)


def test_lines_without_a_time_arrive_once_through_kill_9(tmp_path: Path, loki: Loki, app: str) -> None:
    count = 200_000
    config = f"""
sources: {{ app: {{ use: file, include: ["logs/*.log"] }} }}
sinks:
  loki: {{ use: loki, url: "{loki.url}", labels: {{ app: {app} }} }}
  archive: {{ use: jsonl, path: "archive/a.jsonl" }}
"""
    began = time.time_ns()
    with Shipper(tmp_path, config) as shipper:
        (tmp_path / "logs").mkdir()
        lines = [f"line {n} of a program" for n in range(count // 2)]
        for name in ("a.log", "b.log"):  # both hold the same
            (tmp_path / "logs" / name).write_text("\n".join([*lines, ""]))
        for _ in range(2):
            archive = sum(path.stat().st_size for path in tmp_path.glob("archive/*"))
            shipper.start("--once")
            shipper.until(lambda before=archive: archive_grew(tmp_path, before), every=0.002)  # type: ignore[misc]
            shipper.send(signal.SIGKILL)
            assert shipper.wait(5).code == -9
        assert shipper.once().code == 0
    wanted = Counter(lines * 2)
    assert Counter(json.loads(line)["message"] for line in archived(tmp_path / "archive")) == wanted
    entries = loki.query(f'{{app="{app}"}}', began, time.time_ns(), page=50_000)
    assert Counter(entry.line for entry in entries) == wanted


def archive_grew(folder: Path, size: int) -> bool:
    return sum(path.stat().st_size for path in folder.glob("archive/*")) > size + MIB


def test_a_second_signal_ends_a_run_that_cannot_deliver(loki: Loki, app: str, shipper: Shipper) -> None:
    count = 100_000
    numbered.write(shipper.folder / "logs" / "a.log", range(count // 2))
    shipper.start().until(lambda: delivered(shipper, "loki") > 0)
    loki.stop(kill=True)
    try:
        numbered.write(shipper.folder / "logs" / "b.log", range(count // 2, count))
        shipper.until(lambda: unready(shipper))
        shipper.send(signal.SIGTERM)
        shipper.until(lambda: "stopping: delivering what was read" in shipper.stderr)
        assert shipper.running()
        ended = shipper.insist(signal.SIGTERM)
        assert ended.code == 1
        assert "second signal" in ended.stderr
    finally:
        loki.start()
    assert shipper.once().code == 0
    numbered.each_once(numbered.in_archive(shipper.folder / "archive"), count)
    numbered.each_once(numbered.in_loki(loki, app, count), count)


# ---- a wrong start -----------------------------------------------------------------------------------------------

TOKEN = "t0ken-of-the-test"
WRONG = """
sources:
  app: { use: file, include: ["logs/*.log"] }
sinks:
  loki: { use: loki, url: "@URL@", labels: { app: @APP@ }@MORE@ }
  archive: { use: jsonl, path: "archive/a.jsonl" }
exporter: { listen: "127.0.0.1:@PORT@" }
state: state
"""


@pytest_asyncio.fixture
async def guarded(loki: Loki) -> AsyncIterator[str]:
    """The address of a proxy that lets only those to Loki who know the token."""

    async def forward(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401, text="who are you?")
        body = await request.read()
        kind = {"Content-Type": request.headers["Content-Type"]}
        async with ClientSession() as session, session.post(loki.url + request.path, data=body, headers=kind) as answer:
            return web.Response(status=answer.status, body=await answer.read())

    proxy = web.Application()
    proxy.router.add_route("*", "/{path:.*}", forward)
    async with TestServer(proxy) as server:
        yield str(server.make_url("")).rstrip("/")


def wrong(folder: Path, app: str, url: str, more: str = "") -> Shipper:
    text = WRONG.replace("@URL@", url).replace("@APP@", app).replace("@MORE@", more)
    shipper = Shipper(folder, text, LOKI_TOKEN=TOKEN, WRONG_TOKEN="wr0ng-t0ken")
    (folder / "logs").mkdir()
    (folder / "logs" / "a.log").write_text("one\ntwo\n")
    return shipper


def refused(shipper: Shipper, ended: Ended, *words: str) -> None:
    """It ended with 78, said these words and no secret, and touched nothing."""
    assert ended.code == 78
    for word in words:
        assert word in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "t0ken" not in ended.stderr
    assert not list(shipper.folder.glob("state/checkpoint*"))
    assert not [path for path in shipper.folder.glob("archive/**/*") if path.is_file()]


def place_of(shipper: Shipper, value: str) -> str:
    """Where this stands in the config, as a message names it."""
    lines = (shipper.folder / "tailrace.yaml").read_text().split("\n")
    row = next(row for row, line in enumerate(lines) if value in line)
    return f"tailrace.yaml:{row + 1}:{lines[row].index(value) + 1}: error: "


def test_a_loki_that_is_not_there_is_told_before_the_first_byte(tmp_path: Path, app: str) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    with wrong(tmp_path, app, url) as shipper:
        refused(shipper, shipper.once(), f"{place_of(shipper, chr(34) + url)}cannot reach Loki")


def test_a_wrong_path_is_told_before_the_first_byte(tmp_path: Path, loki: Loki, app: str) -> None:
    url = loki.url + "/loki/push"
    with wrong(tmp_path, app, url) as shipper:
        refused(shipper, shipper.once(), f"{place_of(shipper, chr(34) + url)}{url} answers 404: there is no Loki")


async def test_a_wrong_token_is_told_before_the_first_byte(tmp_path: Path, guarded: str, loki: Loki, app: str) -> None:
    with wrong(tmp_path, app, guarded, ", bearer: { env: WRONG_TOKEN }") as shipper:
        ended = await asyncio.to_thread(shipper.once)
        refused(shipper, ended, f"{place_of(shipper, '{ env:')}Loki answers 401 who are you?; check the token")
    assert entries_of(loki, app) == []


async def test_no_token_is_told_before_the_first_byte(tmp_path: Path, guarded: str, app: str) -> None:
    with wrong(tmp_path, app, guarded) as shipper:
        refused(shipper, await asyncio.to_thread(shipper.once), "Loki answers 401")


async def test_the_right_token_lets_everything_through(tmp_path: Path, guarded: str, loki: Loki, app: str) -> None:
    with wrong(tmp_path, app, guarded, ", bearer: { env: LOKI_TOKEN }") as shipper:
        ended = await asyncio.to_thread(shipper.once)
    assert ended.code == 0
    assert "t0ken" not in ended.stderr
    assert entries_of(loki, app) == ["one", "two"]


def test_an_archive_that_cannot_be_written_is_told_before_the_first_byte(tmp_path: Path, loki: Loki, app: str) -> None:
    (tmp_path / "archive").write_text("a file where the folder should be")
    with wrong(tmp_path, app, loki.url) as shipper:
        refused(shipper, shipper.once(), f"{place_of(shipper, chr(34) + 'archive/a.jsonl')}cannot write into")
    assert entries_of(loki, app) == []


def test_a_port_that_is_taken_is_told_before_the_first_byte(tmp_path: Path, loki: Loki, app: str) -> None:
    with wrong(tmp_path, app, loki.url) as shipper, socket.create_server(("127.0.0.1", shipper.port)):
        taken = f"{place_of(shipper, f'{chr(34)}127.0.0.1:{shipper.port}')}cannot listen on 127.0.0.1:{shipper.port}"
        refused(shipper, shipper.once(), taken)
    assert entries_of(loki, app) == []


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path, app: str) -> None:
    (tmp_path / "archive").write_text("a file where the folder should be")
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    with wrong(tmp_path, app, url) as shipper, socket.create_server(("127.0.0.1", shipper.port)):
        refused(
            shipper,
            shipper.once(),
            "cannot reach Loki",
            "cannot write into",
            "cannot listen on",
            "3 errors, 0 warnings",
        )


def entries_of(loki: Loki, app: str) -> list[str]:
    """The lines that Loki holds of an app, of the last hour."""
    return [entry.line for entry in loki.query(f'{{app="{app}"}}', time.time_ns() - 3600 * 10**9)]


class Stopwatch:
    """Laps of a test, for its report."""

    def __init__(self) -> None:
        self._laps: dict[str, float] = {}
        self._at = time.monotonic()

    def lap(self, name: str) -> None:
        """The time since the last lap is this one's."""
        now = time.monotonic()
        self._laps[name], self._at = now - self._at, now

    def __str__(self) -> str:
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self._laps.items())
