"""The torture itself: what it writes it does not lose, what it counts it counts right, and it finds what is wrong."""

import asyncio
import gzip
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from backports import zstd

from tailrace.torture import _log, _proxy
from tailrace.torture._lines import Kind, Missed, lines, mark, missed, such_as
from tailrace.torture._lines import count as numbers_in
from tailrace.torture._log import Log
from tailrace.torture._proxy import FAULTS, Proxy
from tailrace.torture._tally import by_metric, events_in_archive, in_archive, in_loki
from tailrace.torture.trial import Outcome, Plan, trial

BEGAN_MS = 1_790_000_000_000


# ---- the lines


@pytest.mark.parametrize("kind", ["json", "text", "traceback"])
def test_every_line_says_which_it_is(kind: Kind) -> None:
    written = lines(kind, 100, 40, BEGAN_MS)
    assert numbers_in(written) == Counter(range(100, 140))
    assert all(line.endswith(b"\n") for line in written)


def test_a_torn_line_is_not_counted() -> None:
    whole = mark(12345)
    assert numbers_in([whole[:-1], whole[:-2] + b";", b"id=1"]) == Counter()


def test_json_lines_have_equal_times() -> None:
    times = [line[14:37] for line in lines("json", 0, 6, BEGAN_MS)]
    assert times[0] == times[1] == times[2] < times[3] == times[4] == times[5]


def test_what_is_lost_and_what_came_twice_is_counted() -> None:
    written, arrived = Counter({1: 1, 2: 2, 3: 1}), Counter({1: 2, 2: 1, 9: 1})
    assert missed(written, arrived) == Missed(lost=2, twice=2)
    assert such_as(written, arrived) == '{"lost": [2, 3, 2, 3], "twice": [1, 9, 1, 9]}'


# ---- the log


def a_log(folder: Path, **options: Any) -> Log:
    given: dict[str, Any] = {
        "kind": "text",
        "names": "numbers",
        "link": False,
        "banner": True,
        "numbers": count(),
        "began_ms": BEGAN_MS,
        "random": random.Random(1),
        "shipped": lambda path, whole: False,
        "done": Counter[str](),
    }
    return Log(folder / "app.log", **{**given, **options})


def content(folder: Path) -> Counter[int]:
    """What all generations hold, the packed ones and those under a name of their own."""
    unpack: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.decompress, ".zst": zstd.decompress}
    return numbers_in(
        unpack.get(path.suffix, bytes)(path.read_bytes()) for path in folder.iterdir() if not path.is_symlink()
    )


ROTATIONS = ["_rename", "_rename_twice", "_copy_and_cut", "_pack"]


@pytest.mark.parametrize(("kind", "names"), [("json", "numbers"), ("text", "dates"), ("traceback", "numbers")])
async def test_rotation_itself_loses_nothing(tmp_path: Path, kind: Kind, names: str) -> None:
    log = a_log(tmp_path, names=names, kind=kind)
    loop = asyncio.get_running_loop()
    until = loop.time() + 1.2

    async def rotate() -> Counter[str]:
        done: Counter[str] = Counter()
        while loop.time() < until:
            for name in ROTATIONS:
                done[await getattr(log, name)()] += 1
                await asyncio.sleep(0.03)  # no tool is faster: the writer has opened its new file by then
        return done

    _, done = await asyncio.gather(log.write(until, 50), rotate())
    assert {"copy and cut", "rename"} <= done.keys()
    assert log.written.total() > 0
    assert content(tmp_path) == log.written


async def test_a_link_is_switched_and_its_old_targets_are_packed(tmp_path: Path) -> None:
    log = a_log(tmp_path, link=True)
    until = asyncio.get_running_loop().time() + 0.3

    async def rotate() -> None:
        while asyncio.get_running_loop().time() < until:
            await log._switch()
            await asyncio.sleep(0.03)
            await log._pack()

    await asyncio.gather(log.write(until, 50), rotate())
    assert (tmp_path / "app.log").is_symlink()
    assert content(tmp_path) == log.written


async def test_nothing_is_taken_away_that_was_not_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_log, "PATIENCE", 0.05)
    log = a_log(tmp_path)
    (tmp_path / "app.log.1").write_bytes(b"old")
    assert await log._delete() == ""
    assert await log._write_anew() == ""
    shipped = a_log(tmp_path, shipped=lambda path, whole: True)
    assert await shipped._delete() == "shipped file deleted"
    assert not (tmp_path / "app.log.1").exists()


# ---- the proxy


@pytest_asyncio.fixture
async def pushes() -> AsyncIterator[tuple[list[bytes], str]]:
    """Bodies of the pushes that came through to the server, and its address."""
    bodies: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    async with TestServer(app) as server:
        yield bodies, str(server.make_url("")).rstrip("/")


@pytest.mark.parametrize(
    ("fault", "status", "stored"),
    [
        ("", 204, 1),
        ("slow answer", 204, 1),
        ("connection reset", 0, 0),
        ("reset inside the request", 0, 0),
        ("answer lost", 0, 1),
        ("answer cut short", 0, 1),
        ("half-closed", 0, 0),
        ("no answer in time", 0, 1),
        ("429", 429, 0),
        ("429 with Retry-After", 429, 0),
        ("500 storm", 500, 0),
    ],
    ids=lambda value: str(value) or "none",
)
async def test_the_proxy_fails_as_it_is_told(
    monkeypatch: pytest.MonkeyPatch, pushes: tuple[list[bytes], str], fault: str, status: int, stored: int
) -> None:
    bodies, url = pushes
    monkeypatch.setattr(_proxy, "FAULTS", {fault: 1})
    done: Counter[str] = Counter()
    async with Proxy(url, random.Random(1), done) as proxy, aiohttp.ClientSession() as session:
        timeout = aiohttp.ClientTimeout(total=1)
        try:
            async with session.post(f"{proxy.url}/loki/api/v1/push", data=b"x" * 100_000, timeout=timeout) as answer:
                assert answer.status // 100 * 100 == status // 100 * 100
                assert ("Retry-After" in answer.headers) == (fault == "429 with Retry-After")
        except (aiohttp.ClientError, TimeoutError):
            assert status == 0
        assert len(bodies) == stored
        assert done == ({fault: 1} if fault else {})
        proxy.calm = True
        async with session.post(f"{proxy.url}/loki/api/v1/push", data=b"y") as answer:
            assert answer.status == 204
    assert bodies[-1] == b"y"


async def test_a_proxy_whose_server_is_away_says_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with Proxy(url, random.Random(1), Counter()) as proxy, aiohttp.ClientSession() as session:
        proxy.calm = True
        async with session.post(proxy.url, data=b"y") as answer:
            assert answer.status == 502


def test_every_fault_has_a_share() -> None:
    assert min(FAULTS.values()) > 0


# ---- the count


async def test_entries_are_counted_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.torture._tally.PAGE", 3)
    entries = [(at, mark(number).decode()) for at, number in [(1, 1), (2, 2), (2, 3), (3, 4), (9, 4)]]

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("query"):
            return web.json_response({"data": {"result": [{"value": [0, "5"]}]}})
        start, limit = int(request.query["start"]), int(request.query["limit"])
        page = [[str(at), line] for at, line in entries if at >= start][:limit]
        return web.json_response({"data": {"result": [{"values": page}]}})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        url = str(server.make_url("")).rstrip("/")
        assert await in_loki(session, url, "{}", 0, 10) == Counter([1, 2, 3, 4, 4])
        assert await by_metric(session, url, "{}", 10) == 5


def test_the_archive_is_counted_in_every_form(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(mark(1) + b"\n")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(mark(2) + b"\n"))
    (tmp_path / "c.jsonl.zst").write_bytes(zstd.compress(mark(2) + b"\n") + zstd.compress(mark(3) + b"\n"))
    assert in_archive(tmp_path) == Counter([1, 2, 2, 3])
    assert events_in_archive(tmp_path) == 4


# ---- all of it


def test_a_seed_is_a_plan() -> None:
    assert Plan.of(7) == Plan.of(7)
    assert len({str(Plan.of(seed)) for seed in range(20)}) == 20


@pytest.mark.parametrize(
    "wrong", ["loki_lost", "loki_twice", "archive_lost", "archive_twice", "residual", "dead", "problems"]
)
def test_anything_wrong_is_not_exact(wrong: str) -> None:
    outcome = Outcome(Plan.of(1))
    assert outcome.exact
    setattr(outcome, wrong, ["something"] if wrong == "problems" else 1)
    assert not outcome.exact


async def test_a_short_trial_without_loki_is_exact(tmp_path: Path) -> None:
    outcome = await trial(4, 2.0, tmp_path)
    assert outcome.problems == []
    assert outcome.exact
    assert outcome.lines > 0
    assert outcome.counted_too_many is None
    assert outcome.done


async def test_what_an_archive_lost_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.torture.trial.in_archive", lambda folder: Counter({0: 2}))
    outcome = await trial(4, 1.0, tmp_path)
    assert (outcome.archive_lost, outcome.archive_twice) == (outcome.lines - 1, 1)
    assert not outcome.exact
