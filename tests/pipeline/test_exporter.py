"""tailrace's own numbers, and whether it is ready and healthy, over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import socket
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from tailrace.pipeline import exporter as module
from tailrace.pipeline import status as status_module
from tailrace.pipeline.batch import Batch
from tailrace.pipeline.component import Lag, ProbeError, RetryAfter, Stage
from tailrace.pipeline.exporter import Exporter
from tailrace.pipeline.http_client import Client
from tailrace.pipeline.options import Duration
from tailrace.pipeline.runner import Runner
from tailrace.testing import ListSink, ListSource


class Lagging(ListSource):
    def lag(self) -> Iterable[Lag]:
        return [Lag("/var/log/a.log", 512, 1.5)]


class Drop(Stage):
    def process(self, batch: Batch) -> Batch:
        return batch.with_records(batch.records[1:])

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily("llm_calls", "Calls.", labels=["model"])
        family.add_metric(["gpt"], 7)
        return [family]


class Down(ListSink):
    async def send(self, batches: Sequence[Batch]) -> None:
        raise RetryAfter("down", 0.0)


def runner_of(state: Path, sink: ListSink) -> Runner:
    source, stage = Lagging(name="app", lines=[[b"one", b"two", b"three"]]), Drop(name="drop")
    sink.name, sink.batch_wait = "sink", Duration(0)
    return Runner({"app": source}, [stage], {"sink": sink}, wanted=[None], state=state, drain=0.0)


@asynccontextmanager
async def serving(runner: Runner) -> AsyncIterator[tuple[Exporter, aiohttp.ClientSession]]:
    exporter = Exporter(runner, "127.0.0.1:0", "1.2.3")
    await exporter.open()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{exporter.port}") as client:
            yield exporter, client
    finally:
        await exporter.close()


async def scrape(client: aiohttp.ClientSession) -> dict[tuple[str, str], float]:
    """Values by the sample's name and its label values."""
    async with client.get("/metrics") as response:
        assert response.status == 200
        text = await response.text()
    return {
        (sample.name, ",".join(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_every_component_has_its_numbers(tmp_path: Path) -> None:
    sink = ListSink(reject="two")
    runner = runner_of(tmp_path, sink)
    assert await runner.run(once=True) == 0
    async with serving(runner) as (_, client):
        numbers = await scrape(client)
    expected = {
        ("tailrace_build_info", "1.2.3"): 1,
        ("tailrace_events_in_total", "app,source"): 3,
        ("tailrace_bytes_in_total", "app,source"): 14,
        ("tailrace_events_in_total", "drop,stage"): 3,
        ("tailrace_events_out_total", "drop,stage"): 2,
        ("tailrace_bytes_out_total", "drop,stage"): 8,
        ("tailrace_events_dropped_total", "drop,stage,dropped"): 1,
        ("tailrace_events_in_total", "sink,sink"): 2,
        ("tailrace_events_out_total", "sink,sink"): 1,
        ("tailrace_events_dead_lettered_total", "sink,sink"): 1,
        ("tailrace_retries_total", "sink,sink"): 0,
        ("tailrace_batch_seconds_count", "drop,stage"): 1,
        ("tailrace_dead_letters_total", ""): 1,
        ("tailrace_in_flight_events", "sink"): 0,
        ("tailrace_queue_bytes", "sink"): 0,
        ("tailrace_sink_up", "sink"): 1,
        ("tailrace_dead_letters_dropped_total", ""): 0,
        ("tailrace_books_residual_events", "sink,app"): 0,
        ("tailrace_lag_bytes", "/var/log/a.log,app"): 512,
        ("tailrace_lag_seconds", "/var/log/a.log,app"): 1.5,
        ("llm_calls_total", "gpt"): 7,
    }
    assert {key: numbers.get(key) for key in expected} == expected
    assert runner.residual(runner.deliveries[0]) == 0
    assert 0 <= numbers["tailrace_checkpoint_age_seconds", ""] < 60


async def test_the_buckets_of_the_batch_time_add_up(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, ListSink())
    for seconds in (0.0002, 0.02, 99.0):
        runner.chain.meters[0].count_out(1, 1, seconds)
    families = {family.name: family for family in Exporter(runner, "127.0.0.1:0", "1").collect()}
    samples = families["tailrace_batch_seconds"].samples
    buckets = [s.value for s in samples if s.name.endswith("_bucket") and s.labels["component"] == "drop"]
    assert buckets == [0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3]
    assert [s.value for s in samples if s.name.endswith("_sum") and s.labels["component"] == "drop"] == [99.0202]


async def test_while_a_sink_fails_it_is_not_ready_and_later_not_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = runner_of(tmp_path, Down())
    async with serving(runner) as (exporter, client):
        running = asyncio.ensure_future(runner.run())
        while not runner.deliveries[0].failing:  # noqa: ASYNC110  # what it waits for is plain state
            await asyncio.sleep(0)
        async with client.get("/-/ready") as response:
            assert (response.status, await response.text()) == (503, "sink: RetryAfter: down\n")
        async with client.get("/-/healthy") as response:
            assert (response.status, await response.text()) == (200, "ok\n")
        numbers = await scrape(client)
        assert (numbers["tailrace_sink_up", "sink"], numbers["tailrace_in_flight_events", "sink"]) == (0, 2)
        assert numbers["tailrace_queue_bytes", "sink"] == 8
        assert numbers["tailrace_books_residual_events", "sink,app"] == 0
        monkeypatch.setattr(module, "STALLED_SECONDS", -1.0)
        async with client.get("/-/healthy") as response:
            assert response.status == 503
            assert (await response.text()).startswith("sink: 2 records wait, nothing delivered for 0 s")
        assert exporter.unready()
        runner.stop()
        assert await running == 1
    assert runner.residual(runner.deliveries[0]) == 0


async def test_with_nothing_to_do_it_is_ready_and_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALLED_SECONDS", -1.0)
    async with serving(runner_of(tmp_path, ListSink())) as (_, client):
        for path in ("/-/ready", "/-/healthy"):
            async with client.get(path) as response:
                assert (response.status, await response.text()) == (200, "ok\n")


async def test_openmetrics_is_spoken_to_those_who_ask_for_it(tmp_path: Path) -> None:
    async with serving(runner_of(tmp_path, ListSink())) as (_, client):
        async with client.get(
            "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
        ) as response:
            assert response.content_type == "application/openmetrics-text"
            assert (await response.text()).endswith("# EOF\n")
        async with client.get("/nothing") as response:
            assert response.status == 404


async def test_the_page_is_packed_for_those_who_unpack_it(tmp_path: Path) -> None:
    exporter = Exporter(runner_of(tmp_path, ListSink()), "127.0.0.1:0", "1.2.3")
    await exporter.open()
    client = Client(f"http://127.0.0.1:{exporter.port}", headers={}, timeout=30)
    plain = await client.request("GET", "/metrics")
    packed = await client.request("GET", "/metrics", headers={"Accept-Encoding": "deflate, gzip;q=0.5"})
    await client.close()
    await exporter.close()
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert b'tailrace_build_info{version="1.2.3"} 1.0\n' in plain.body
    assert gzip.decompress(packed.body).splitlines()[:3] == plain.body.splitlines()[:3]


async def test_numbers_are_gathered_where_they_are_changed(tmp_path: Path) -> None:
    threads = []

    class Told(ListSink):
        def collect(self) -> Iterable[Metric]:
            threads.append(threading.current_thread())
            return []

    async with serving(runner_of(tmp_path, Told())) as (_, client):
        await scrape(client)
    assert threads == [threading.current_thread()]


async def test_a_component_that_cannot_tell_its_numbers_keeps_no_other_page_back(tmp_path: Path) -> None:
    class Broken(ListSink):
        def collect(self) -> Iterable[Metric]:
            raise LookupError("x")

    async with serving(runner_of(tmp_path, Broken())) as (_, client):
        for path, status in {"/metrics": 500, "/-/healthy": 200}.items():
            async with client.get(path) as response:
                assert response.status == status


async def test_a_port_that_is_taken_is_told_before_anything_is_read(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        exporter = Exporter(runner_of(tmp_path, ListSink()), f"127.0.0.1:{taken.getsockname()[1]}", "1")
        with pytest.raises(ProbeError, match=r"cannot listen on 127\.0\.0\.1:\d+: .*in use") as caught:
            await exporter.open()
        assert caught.value.option == "listen"
        await exporter.close()


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("127.0.0.1:9464", "127.0.0.1", 9464),
        (":9464", "127.0.0.1", 9464),
        ("[::1]:1", "::1", 1),
        ("0.0.0.0:0", "0.0.0.0", 0),
    ],
)
def test_where_it_listens(tmp_path: Path, listen: str, host: str, port: int) -> None:
    exporter = Exporter(runner_of(tmp_path, ListSink()), listen, "1")
    assert (exporter.host, exporter.port) == (host, port)


async def test_closing_what_was_never_opened_does_nothing(tmp_path: Path) -> None:
    exporter = Exporter(runner_of(tmp_path, ListSink()), "127.0.0.1:0", "1")
    await exporter.close()
    assert exporter.port == 0


def test_no_two_families_share_a_name(tmp_path: Path) -> None:
    names = [family.name for family in Exporter(runner_of(tmp_path, ListSink()), "127.0.0.1:0", "1").collect()]
    assert not [name for name, same in itertools.groupby(sorted(names)) if len(list(same)) > 1]


async def test_the_status_is_served_as_json(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, ListSink(reject="two"))
    assert await runner.run(once=True) == 0
    async with serving(runner) as (_, client), client.get("/-/status") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        told = await response.json()
    assert (told["running"], told["version"], told["state"]) == (True, "1.2.3", str(tmp_path))
    assert told["partitions"][0]["books"]["sink"] == {
        "delivered": 1,
        "dropped": 1,
        "dead": 1,
        "in_flight": 0,
        "residual": 0,
    }
    (sink,) = told["sinks"]
    assert sink | {"up": True, "delivered": 1, "dead": 1, "in_flight": 0, "residual": 0, "queue_bytes": 0} == sink


async def test_who_prefers_it_is_told_of_few_partitions_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "FOREMOST", 0)
    runner = runner_of(tmp_path, ListSink())
    assert await runner.run(once=True) == 0
    async with serving(runner) as (_, client):
        for headers, count in (({}, 1), ({"Prefer": "return=minimal"}, 0)):
            async with client.get("/-/status", headers=headers) as response:
                told = await response.json()
                assert (len(told["partitions"]), told["sources"][0]["partitions"]) == (count, 1)


async def test_people_get_a_page_that_shows_the_status(tmp_path: Path) -> None:
    async with serving(runner_of(tmp_path, ListSink())) as (_, client), client.get("/") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'sha256-")
        assert "<title>tailrace</title>" in await response.text()


async def test_a_dead_letter_that_is_full_makes_it_unready(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, ListSink())
    runner.dead_letter.problem = "full"
    async with serving(runner) as (_, client), client.get("/-/ready") as response:
        assert (response.status, await response.text()) == (503, "dead letter: full\n")
