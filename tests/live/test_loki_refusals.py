"""What the real Loki refuses of a push, and that exactly this reaches the dead letter: every entry is in one place."""

from __future__ import annotations

import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from tailrace.pipeline.batch import Batch, Dead
from tailrace.pipeline.delivery import Delivery
from tailrace.pipeline.options import Duration, Template
from tailrace.pipeline.sinks.loki import Loki
from tailrace.testing import batch_of

from ..services.loki import Loki as Server
from .shipper import new_app

SECOND = 1_000_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND


@pytest.fixture(scope="module")
def limited(loki: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Loki with its default limits on age and size, and what it adds by itself."""
    flags = (
        "-validation.reject-old-samples=true",
        "-validation.create-grace-period=10m",
        "-validation.discover-service-name=app",
        "-validation.discover-log-levels=true",
    )
    with Server(tmp_path_factory.mktemp("limited"), *flags) as server:
        yield server


@pytest.fixture
def app() -> str:
    return new_app()


@asynccontextmanager
async def sink_at(url: str, **options: Any) -> AsyncIterator[Loki]:
    labels = {"app": Template("{app}"), "shard": Template("{shard}")}
    sink = Loki(name="loki", url=url, labels=labels, batch_wait=Duration(0), max_line=None, **options)
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()


Row = tuple[int, str, dict[str, Any]]
"""Time in ns, line, fields."""


def batch(app: str, rows: Sequence[Row]) -> Batch:
    """Records with these times, lines and fields; each line begins with a number of its own."""
    made = batch_of(*[line.encode() for _, line, _ in rows])
    for record, (time_ns, _, fields) in zip(made.records, rows, strict=True):
        record.time_ns, record.parsed = time_ns, {"app": app, **fields}
    made.size = made.measure()
    return made


def numbered(times: Sequence[int], start: int = 0, text: str = "", **fields: Any) -> list[Row]:
    return [(at, f"{number} {text}", fields) for number, at in enumerate(times, start)]


async def deliver(sink: Loki, *batches: Batch, pause: float = 0.02) -> list[Dead]:
    """All of it, as a run does; what went to the dead letter. `pause`: the most seconds between two attempts."""
    dead: list[Dead] = []

    async def keep(batch: Batch, more: list[Dead]) -> None:
        dead.extend(more)

    delivery = Delivery(sink, keep, jitter=lambda most: min(most, pause))
    for one in batches:
        delivery.put(one)
    delivery.close()
    await delivery.run()
    assert delivery.meter.events_out + len(dead) == sum(len(one.records) for one in batches)
    return dead


def number_of(line: str | bytes) -> int:
    return int(line.split()[0])


def stored(server: Server, app: str) -> list[int]:
    """The numbers of the lines that Loki holds of an app, in order."""
    return sorted(number_of(entry.line) for entry in server.query(f'{{app="{app}"}}', page=5000))


def each_in_one_place(server: Server, app: str, dead: list[Dead], refused: set[int], count: int) -> None:
    assert sorted(number_of(one.record.line) for one in dead) == sorted(refused)
    assert stored(server, app) == sorted(set(range(count)) - refused)


Make = Callable[[int], tuple[list[Row], set[int]]]
"""From the time now: rows, and which of them Loki will refuse."""


def long_lines(now: int) -> tuple[list[Row], set[int]]:
    refused = {7, 8, 1000, 2999}
    sizes = [262_144 + place % 3 if place in refused else 20 for place in range(3000)]
    return [(now + place, f"{place} " + "x" * size, {"shard": "s"}) for place, size in enumerate(sizes)], refused


def from_the_future(now: int) -> tuple[list[Row], set[int]]:
    refused = set(range(3, 3000, 50))
    return numbered([now + place + HOUR * (place in refused) for place in range(3000)], shard="s"), refused


def large_metadata(now: int) -> tuple[list[Row], set[int]]:
    refused = {5, 6, 500}
    notes = ["é" * 40_000 if place in refused else "é" for place in range(1000)]
    return [(now + place, f"{place} ", {"shard": "s", "note": note}) for place, note in enumerate(notes)], refused


def everything(now: int) -> tuple[list[Row], set[int]]:
    """Several limits in several streams at once."""
    rows: list[Row] = []
    refused: set[int] = set()
    for place in range(3000):
        at, line, fields = now + place * 1000, f"{place} fine", {"shard": f"s{place % 3}"}
        if place % 100 == 10:
            at = now - 8 * DAY + place
        elif place % 100 == 20:
            at = now + DAY
        elif place % 500 == 30:
            line += "x" * 262_144
        elif place % 500 == 40:
            fields["note"] = "n" * 70_000
        if place % 100 in (10, 20) or place % 500 in (30, 40):
            refused.add(place)
        rows.append((at, line, fields))
    return rows, refused


@pytest.mark.parametrize(
    "make", [long_lines, from_the_future, large_metadata, everything], ids=lambda make: make.__name__
)
async def test_exactly_what_is_over_a_limit_is_dead(limited: Server, app: str, make: Make) -> None:
    rows, refused = make(time.time_ns())
    async with sink_at(limited.url, metadata=["note"]) as sink:
        dead = await deliver(sink, batch(app, rows[:1000]), batch(app, rows[1000:]))
    each_in_one_place(limited, app, dead, refused, len(rows))
    assert all(one.hint for one in dead)


async def test_the_limit_on_age_may_lie_within_a_push(limited: Server, app: str) -> None:
    now = time.time_ns()
    rows = numbered([now - 7 * DAY - 5 * MINUTE + place * SECOND // 4 for place in range(2000)], shard="s")
    random.Random(1).shuffle(rows)
    async with sink_at(limited.url) as sink:
        dead = await deliver(sink, batch(app, rows))
    refused = {number_of(one.record.line) for one in dead}
    assert 1000 < len(refused) < 1300
    assert refused == set(range(len(refused)))
    each_in_one_place(limited, app, dead, refused, len(rows))
    assert "reject_old_samples_max_age" in dead[0].hint


# ---- too far behind ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.05, 0.35, 0.65, 0.95])
async def test_what_is_too_far_behind_is_dead_and_nothing_else(limited: Server, app: str, fraction: float) -> None:
    """The limit lies between two of them, told only to the second; ten of a thousand are named."""
    now = time.time_ns() // SECOND * SECOND + int(fraction * SECOND)
    limited.push({"app": app, "shard": "s"}, (now + 1, "2000 newest"))
    rows = numbered([now - 65 * MINUTE + place * 300_000_000 for place in range(2000)], shard="s")
    rows[1500] = (rows[1500][0], "1500 " + "x" * 300_000, {"shard": "s"})  # which the answer hides
    rows[3] = (rows[3][0], "3 " + "x" * 300_000, {"shard": "s"})
    async with sink_at(limited.url) as sink:
        dead = await deliver(sink, batch(app, rows))
    refused = {place for place, (at, _, _) in enumerate(rows) if at < now + 1 - HOUR} | {1500}
    assert len(refused) == 1002
    each_in_one_place(limited, app, dead, refused, 2001)
    assert "max_chunk_age" in dead[0].hint


async def test_loki_says_204_about_a_stream_before_the_last_and_we_know_better(limited: Server, app: str) -> None:
    """Four streams in one send, two of which refuse everything."""
    now = time.time_ns()
    for shard in ("s0", "s2"):
        limited.push({"app": app, "shard": shard}, (now, "4000 newest"))
    old = now - 2 * HOUR
    rows = [(old + place, f"{place} ", {"shard": f"s{place % 4}"}) for place in range(4000)]
    limited.push({"app": app, "shard": "s3"}, (old, "4001 not the newest"))
    async with sink_at(limited.url) as sink:
        dead = await deliver(sink, batch(app, rows))
    refused = set(range(0, 4000, 2))
    assert {number_of(one.record.line) for one in dead} == refused
    assert set(stored(limited, app)) == set(range(4002)) - refused


@pytest.mark.parametrize("seed", range(3))
async def test_old_logs_over_many_hours_with_a_bad_line_lose_only_that(limited: Server, app: str, seed: int) -> None:
    """No entry is too far behind because of one that came in the same send."""
    now, chance = time.time_ns(), random.Random(seed)
    rows = numbered([now - 90 * HOUR + place * 107 * SECOND for place in range(3000)])
    rows = [(at, line, {"shard": chance.choice(["s0", "s0", "s1", "s2"])}) for at, line, _ in rows]
    bad = chance.randrange(3000)
    rows[bad] = (rows[bad][0], f"{bad} " + "x" * 300_000, rows[bad][2])
    parts = [rows[:1500], rows[1500:]]
    for part in parts:
        chance.shuffle(part)
    async with sink_at(limited.url) as sink:
        dead = await deliver(sink, *[batch(app, part) for part in parts])
    each_in_one_place(limited, app, dead, {bad}, 3000)


# ---- weather -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def losing_answers(server: Server, chance: random.Random) -> AsyncIterator[tuple[str, list[int]]]:
    """The address of a proxy that passes pushes on and loses half the answers, and the pushes it has seen."""
    seen: list[int] = []

    async def forward(request: web.Request) -> web.Response:
        body = await request.read()
        kind = {"Content-Type": request.headers["Content-Type"]}
        async with (
            ClientSession() as session,
            session.post(server.url + request.path, data=body, headers=kind) as answer,
        ):
            text = await answer.read()
        seen.append(answer.status)
        lost = chance.random()
        if lost < 0.3:
            assert request.transport
            request.transport.abort()
        if lost < 0.5:
            return web.Response(status=502, text="the answer is lost")
        return web.Response(status=answer.status, body=text)

    proxy = web.Application(client_max_size=1 << 26)
    proxy.router.add_post("/{path:.*}", forward)
    async with TestServer(proxy) as running:
        yield str(running.make_url("")).rstrip("/"), seen


@pytest.mark.parametrize("seed", range(3))
async def test_where_answers_are_lost_nothing_else_is(limited: Server, app: str, seed: int) -> None:
    """Old logs of 20 hours: what was stored is pushed again, and may not be too far behind by then."""
    now, chance = time.time_ns(), random.Random(seed)
    rows = numbered([now - 30 * HOUR + place * 24 * SECOND for place in range(3000)])
    rows = [(at, line, {"shard": chance.choice(["s0", "s0", "s1"])}) for at, line, _ in rows]
    rows[77] = (rows[77][0], "77 " + "x" * 300_000, rows[77][2])
    async with losing_answers(limited, chance) as (url, seen), sink_at(url) as sink:
        dead = await deliver(sink, batch(app, rows[:2000]), batch(app, rows[2000:]))
    assert len(seen) > 50
    each_in_one_place(limited, app, dead, {77}, 3000)


@pytest.mark.parametrize("sharding", ["true", "false"])
async def test_a_rate_limit_of_a_stream_is_waited_for(tmp_path_factory: pytest.TempPathFactory, sharding: str) -> None:
    """With sharding Loki takes a stream whole or not at all, without it entry by entry; neither is a refusal."""
    flags = (
        "-ingester.per-stream-rate-limit=200KB",
        "-ingester.per-stream-rate-limit-burst=200KB",
        f"-shard-streams.enabled={sharding}",
        "-shard-streams.desired-rate=1GB",
    )
    now, app = time.time_ns(), new_app()
    limited = [(now + place, f"{place} " + "x" * 1000, {"shard": f"s{place % 4}"}) for place in range(2000)]
    with Server(tmp_path_factory.mktemp("rate"), *flags) as server:
        server.push({"app": app, "shard": "s0"}, (now, "2000 newest"))
        limited[4] = (now - 2 * HOUR, "4 ", {"shard": "s0"})
        async with sink_at(server.url) as sink:
            dead = await deliver(sink, batch(app, limited[:1000]), batch(app, limited[1000:]), pause=1.0)
        each_in_one_place(server, app, dead, {4}, 2001)


async def test_a_stream_too_many_is_told_and_waited_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Loki says 204 where another stream comes after it in the push."""
    now, app = time.time_ns(), new_app()
    rows = numbered([now + place for place in range(10)])
    rows = [(at, line, {"shard": f"s{place % 5}"}) for place, (at, line, _) in enumerate(rows)]
    with Server(tmp_path_factory.mktemp("streams"), "-ingester.max-global-streams-per-user=3") as server:
        async with sink_at(server.url) as sink:
            with pytest.raises(OSError, match="429: maximum active stream limit exceeded"):
                await sink.send([batch(app, rows)])
        assert len(stored(server, app)) == 6


async def test_a_push_over_the_limit_between_lokis_components_is_split(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    flags = ("-server.grpc-max-recv-msg-size-bytes=1000000", "-server.grpc-max-send-msg-size-bytes=1000000")
    now, app = time.time_ns(), new_app()
    rows = numbered([now + place for place in range(3000)], text="x" * 1000, shard="s")
    with Server(tmp_path_factory.mktemp("large"), *flags, "-distributor.max-recv-msg-size=2000000") as server:
        async with sink_at(server.url) as sink:
            dead = await deliver(sink, batch(app, rows))
        found = {number_of(line) for place in range(3) for line in part_of(server, app, now + 1000 * place)}
    assert dead == []
    assert found == set(range(3000))


def part_of(server: Server, app: str, start: int) -> list[str]:
    """Few lines a page: the answers must pass between Loki's components too."""
    return [entry.line for entry in server.query(f'{{app="{app}"}}', start, start + 1000, page=200)]


# ---- reconcile ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "reconcile", "most"),
    [
        pytest.param(4000, True, 4001, id="all of it is there"),
        pytest.param(1500, True, 4001, id="part of it is there"),
        pytest.param(0, True, 4001, id="nothing is there"),
        pytest.param(4000, False, 8001, id="without asking, counts are wrong at first"),
    ],
)
async def test_what_loki_has_after_a_crash_is_not_pushed_again(
    loki: Server, app: str, there: int, reconcile: bool, most: int
) -> None:
    """The lines fill a chunk, so a repeat would come to lie in the next one, and both would be counted."""
    now, chance = time.time_ns(), random.Random(4)
    rows = [
        (
            now + place - 4000,
            f"{place} ünï\t {chance.randbytes(400).hex()}",
            {"shard": f"s{place % 2}", "id": str(place)},
        )
        for place in range(4000)
    ]
    async with sink_at(loki.url, metadata=["id"]) as sink:
        await sink.send([batch(app, rows[:there])])
    repeated = batch(app, rows)
    repeated.repeated = True
    later = batch(app, [(now + 1, "4000 later", {"shard": "s0", "id": "x"})])
    async with sink_at(loki.url, metadata=["id"], reconcile=reconcile) as sink:
        await sink.send([repeated, later])
    assert stored(loki, app) == list(range(4001))
    assert counted(loki, app) == 4001 if reconcile else 4001 < counted(loki, app) <= most


def counted(server: Server, app: str) -> int:
    answer = server.get("/loki/api/v1/query", {"query": f'sum(count_over_time({{app="{app}"}}[1h]))'})
    return int(json.loads(answer)["data"]["result"][0]["value"][1])
