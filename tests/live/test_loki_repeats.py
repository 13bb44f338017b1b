"""What is pushed again is asked for first: the real Loki then counts every line once, whatever the network does."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import NamedTuple

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from tailrace.pipeline.options import Duration

from ..services.loki import Loki as Server
from .shipper import new_app
from .test_loki_refusals import Row, batch, deliver, sink_at, stored

LINES = 4000
"""They fill a chunk, so that a repeat would come to lie in the next one, and both would be counted."""


@pytest.fixture
def app() -> str:
    return new_app()


def rows(streams: int = 1, lines: int = LINES) -> list[Row]:
    """Of the last moments."""
    now, chance = time.time_ns(), random.Random(4)
    return [
        (now + place - lines, f"{place} ünï\t {chance.randbytes(400).hex()}", {"shard": f"s{place % streams}"})
        for place in range(lines)
    ]


def counted(server: Server, app: str) -> int:
    """By a metric query."""
    answer = server.get("/loki/api/v1/query", {"query": f'sum(count_over_time({{app="{app}"}}[3h]))'})
    return int(json.loads(answer)["data"]["result"][0]["value"][1])


# ---- a bad network -----------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """What a proxy was asked for."""

    url: str
    pushes: list[int]
    """The status that Loki gave each push which reached it, or 0."""
    queries: list[int]
    """The status that went to who asked."""


PASSED_ON = ("Content-Type", "X-Loki-Response-Encoding-Flags")
Spoil = Callable[[int], str]
"""From the number of a push, or of a query, to what is done to it."""


def first(what: str, count: int = 1) -> Spoil:
    return lambda number: what if number < count else ""


def untouched(number: int) -> str:
    return ""


@asynccontextmanager
async def proxy_to(server: Server, push: Spoil, query: Spoil = untouched) -> AsyncIterator[Seen]:
    """A proxy that passes on, and spoils."""

    async def pass_on(request: web.Request, body: bytes, seconds: float = 0) -> tuple[int, bytes, str]:
        """At once, or after so many seconds."""
        await asyncio.sleep(seconds)
        headers = {name: request.headers[name] for name in request.headers if name in PASSED_ON}
        async with (
            ClientSession() as session,
            session.request(
                request.method, f"{server.url}{request.path_qs}", data=BytesIO(body) if body else None, headers=headers
            ) as answer,
        ):
            if request.method == "POST":
                seen.pushes.append(answer.status)
            return answer.status, await answer.read(), answer.content_type

    async def answer(request: web.Request) -> web.StreamResponse:
        body, asks = await request.read(), request.method == "GET"
        what = query(len(seen.queries)) if asks else push(len(seen.pushes))
        assert request.transport
        if what in ("refused", "late"):
            if what == "late":
                late.create_task(pass_on(request, body, 0.4))
                request.transport.abort()
            (seen.queries if asks else seen.pushes).append(503 if asks else 0)
            return web.Response(status=503)
        status, text, kind = await pass_on(request, body)
        if asks:
            seen.queries.append(status)
        match what:
            case "reset":
                request.transport.abort()
            case "cut":
                request.transport.write(b"HTTP/1.1 204 No Con")
                request.transport.close()
            case "no answer in time":
                await asyncio.sleep(2)
            case "502":
                return web.Response(status=502, text="nobody knows")
        return web.Response(status=status, body=text, content_type=kind)

    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as running, asyncio.TaskGroup() as late:
        seen = Seen(str(running.make_url("")).rstrip("/"), [], [])
        yield seen


@pytest.fixture(scope="module", params=[False, True], ids=["as one", "in shards"])
def loki(request: pytest.FixtureRequest, loki: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Also one that, as by default, cuts a fast stream into shards, each push anew, and then knows no repeat again."""
    if not request.param:
        yield loki
        return
    flags = ("-shard-streams.enabled=true", "-shard-streams.desired-rate=100KB")
    with Server(tmp_path_factory.mktemp("sharding"), *flags) as server:
        yield server


@pytest.mark.parametrize("lost", ["reset", "cut", "no answer in time", "502"])
async def test_a_push_whose_answer_is_lost_is_counted_once(loki: Server, app: str, lost: str) -> None:
    async with proxy_to(loki, first(lost, 3)) as seen, sink_at(seen.url, timeout=Duration(1.0)) as sink:
        dead = await deliver(sink, batch(app, rows(2)), batch(app, [(time.time_ns(), f"{LINES} last", {"shard": "s"})]))
    assert dead == []
    assert stored(loki, app) == list(range(LINES + 1))
    assert counted(loki, app) == LINES + 1
    assert seen.pushes == [204] * 3  # each of the streams once


async def test_a_push_that_arrives_late_is_counted_once(loki: Server, app: str) -> None:
    """Its connection was lost, and something between held on to it."""
    async with proxy_to(loki, first("late")) as seen, sink_at(seen.url) as sink:
        assert await deliver(sink, batch(app, rows())) == []
    assert stored(loki, app) == list(range(LINES))
    assert counted(loki, app) == LINES
    assert seen.pushes == [0, 204]


async def test_while_loki_cannot_be_asked_nothing_is_pushed_again(loki: Server, app: str) -> None:
    async with proxy_to(loki, first("reset"), first("refused", 6)) as seen, sink_at(seen.url) as sink:
        assert await deliver(sink, batch(app, rows())) == []
    assert counted(loki, app) == LINES
    assert seen.pushes == [204]
    assert len(seen.queries) > 6


async def test_where_nothing_fails_nothing_is_asked(loki: Server, app: str) -> None:
    async with proxy_to(loki, untouched) as seen, sink_at(seen.url) as sink:
        assert await deliver(sink, *[batch(app, rows(2, 100)) for _ in range(3)]) == []
    assert (seen.pushes, seen.queries) == ([204] * 2, [])


# ---- taken in part -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharding", ["false", "true"])
async def test_of_a_push_too_fast_for_its_stream_what_was_taken_is_counted_once(
    app: str, tmp_path_factory: pytest.TempPathFactory, sharding: str
) -> None:
    flags = (
        "-ingester.per-stream-rate-limit=1MB",
        "-ingester.per-stream-rate-limit-burst=2MB",
        f"-shard-streams.enabled={sharding}",
        "-shard-streams.desired-rate=500KB",
    )
    with Server(tmp_path_factory.mktemp("slow"), *flags) as server:
        async with proxy_to(server, untouched) as seen, sink_at(seen.url) as sink:
            dead = await deliver(sink, batch(app, rows()[:3000]), pause=0.5)
        assert dead == []
        assert any(status != 204 for status in seen.pushes)
        assert stored(server, app) == list(range(3000))
        assert counted(server, app) == 3000


async def test_beside_refused_lines_what_was_taken_is_counted_once(loki: Server, app: str) -> None:
    """What is too far behind hides in Loki's answer what is too large: a second push has to tell."""
    now = time.time_ns()
    step = 3_605 * 10**9 // LINES
    made = [(now - (LINES - place) * step, line, fields) for place, (_, line, fields) in enumerate(rows())]
    made[2000] = (made[2000][0], made[2000][1], {**made[2000][2], "large": "x" * 70_000})
    async with proxy_to(loki, untouched) as seen, sink_at(seen.url, metadata=["large"]) as sink:
        await sink.send([batch(app, [(now, f"{LINES} newest", {"shard": "s0"})])])
        dead = [int(one.record.line.split()[0]) for one in await deliver(sink, batch(app, made))]
    assert dead == [*range(len(dead) - 1), 2000]
    assert len(dead) > 2
    assert seen.pushes[:2] == [204, 400]
    assert counted(loki, app) == LINES + 1 - len(dead)


# ---- which one it is ---------------------------------------------------------------------------------------------


async def test_only_the_very_same_entry_is_the_one(loki: Server, app: str) -> None:
    """Equal but for metadata, or for bytes that no answer can show: what Loki has of these is another one."""
    now = time.time_ns()
    lines = [b"0 caf\xe9", b"0 caf\xe8", "0 caf\ufffd".encode(), b"1 same", b"1 same", b"1 same"]
    metadata = ["x", "x", "x", "a\ufffd", "b", ""]
    made = batch(app, [(now, "", {"shard": "s", "id": one}) for one in metadata])
    for record, line in zip(made.records, lines, strict=True):
        record.line = line
    for there in ([0, 3], [1, 4], range(6)):  # after each, something more is missing
        made.repeated = True
        async with sink_at(loki.url, metadata=["id"]) as sink:
            await sink.send([made.with_records([made.records[place] for place in there])])
        found = loki.query(f'{{app="{app}"}} | line_format "{{{{__line__ | b64enc}}}}"', now, now + 1)
    assert len({(entry.line, *entry.metadata.items()) for entry in found}) == len(found) == 6
