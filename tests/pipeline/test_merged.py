"""The pages of several workers as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tailrace.pipeline.component import ProbeError
from tailrace.pipeline.http_client import Client
from tailrace.pipeline.merged import PORT, Merged, merge
from tailrace.pipeline.pages import Make, Page, Pages
from tailrace.pipeline.status import PartitionStatus, SinkStatus, Status

PAGE = """\
# HELP calls_total Calls.
# TYPE calls_total counter
calls_total{model="a, worker"} 3.0
calls_total 1.0
# HELP seconds Time.
# TYPE seconds histogram
seconds_bucket{le="+Inf",worker="own"} 2.0
seconds_count{worker="own"} 2.0
"""


def test_each_sample_says_whose_it_is_and_each_family_is_there_once() -> None:
    page = merge([PAGE, "", PAGE])
    assert page.splitlines()[:6] == [
        "# HELP calls_total Calls.",
        "# TYPE calls_total counter",
        'calls_total{worker="0",model="a, worker"} 3.0',
        'calls_total{worker="0"} 1.0',
        'calls_total{worker="2",model="a, worker"} 3.0',
        'calls_total{worker="2"} 1.0',
    ]
    families = {family.name: family for family in text_string_to_metric_families(page)}
    assert [len(families[name].samples) for name in ("calls", "seconds")] == [4, 4]
    assert families["seconds"].samples[0].labels == {"worker": "0", "le": "+Inf", "exported_worker": "own"}


def test_openmetrics_ends_once_and_keeps_its_exemplars() -> None:
    about = "# HELP calls Calls.\n# TYPE calls counter\n"
    page = merge([f'{about}calls_total{{model="{model}"}} 3.0 # {{trace_id="7"}} 1.0\n# EOF\n' for model in "ab"])
    assert page == (
        f'{about}calls_total{{worker="0",model="a"}} 3.0 # {{trace_id="7"}} 1.0\n'
        'calls_total{worker="1",model="b"} 3.0 # {trace_id="7"} 1.0\n# EOF\n'
    )


def told(number: int) -> Status:
    return Status(
        state="x",
        version="1",
        checkpoint_age=float(number),
        partitions=[PartitionStatus("app", f"{number}.log", 5)],
        sinks=[SinkStatus("loki", up=number == 0, error="" if number == 0 else "down", delivered=10 + number)],
    )


@asynccontextmanager
async def serving(folder: Path, healthy: bool = True) -> AsyncIterator[int]:
    """Two workers, and the page of both: its port."""
    folders, servers = [folder / f"worker-{number}" for number in range(2)], []
    for number, own in enumerate(folders):
        servers.append(Pages(pages(number, healthy=healthy or number == 0)))
        own.mkdir(exist_ok=True)
        (own / PORT).write_text(str(await servers[-1].open("127.0.0.1", 0)))
    merged = Merged("127.0.0.1:0", folder, folders, 4711)
    await merged.open()
    try:
        yield merged.port
    finally:
        await merged.close()
        for server in servers:
            await server.close()


def pages(number: int, *, healthy: bool) -> dict[str, Make]:
    async def metrics(headers: Mapping[str, str]) -> Page:
        return Page(PAGE.encode(), headers["accept"])

    async def status(headers: Mapping[str, str]) -> Page:
        assert headers["prefer"] == ""
        return Page(msgspec.json.encode(told(number)))

    async def verdict(headers: Mapping[str, str]) -> Page:
        return Page(b"ok\n") if healthy else Page(b"loki: down\n", status=HTTPStatus.SERVICE_UNAVAILABLE)

    return {"/metrics": metrics, "/-/status": status, "/-/ready": verdict, "/-/healthy": verdict}


async def get(port: int, page: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{port}"
    answer = await Client(url, headers={"Accept": "text/x"}, timeout=10).request("GET", url + page)
    assert page != "/metrics" or answer.headers["Content-Type"] == "text/x"
    return answer.status, answer.body.decode()


async def test_one_page_has_the_metrics_of_all(tmp_path: Path) -> None:
    async with serving(tmp_path) as port:
        assert await get(port, "/metrics") == (200, merge([PAGE, PAGE]))
        assert await get(port, "/-/ready") == (200, "ok\n")


async def test_one_that_is_not_ready_makes_all_unready_and_is_named(tmp_path: Path) -> None:
    async with serving(tmp_path, healthy=False) as port:
        assert await get(port, "/-/ready") == (503, "worker 1: loki: down\n")


async def test_one_that_does_not_answer_is_told_and_the_others_are_served(tmp_path: Path) -> None:
    async with serving(tmp_path) as port:
        (tmp_path / "worker-0" / PORT).unlink()
        assert await get(port, "/metrics") == (200, merge(["", PAGE]))
        status, text = await get(port, "/-/healthy")
        assert (status, text.startswith("worker 0: does not answer")) == (503, True)
        assert (await get(port, "/-/status"))[0] == 503


async def test_the_status_is_that_of_all(tmp_path: Path) -> None:
    async with serving(tmp_path) as port:
        assert "<title>tailrace</title>" in (await get(port, "/"))[1]
        status = msgspec.json.decode((await get(port, "/-/status"))[1], type=Status)
    assert (status.running, status.pid, status.version, status.checkpoint_age) == (True, 4711, "1", 1.0)
    assert [(one.partition, one.worker) for one in status.partitions] == [("0.log", 0), ("1.log", 1)]
    (sink,) = status.sinks
    assert (sink.up, sink.error, sink.delivered, sink.dead) == (False, "down", 21, None)


async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(ProbeError, match=f"cannot listen on 127.0.0.1:{port}"):
            await Merged(f"127.0.0.1:{port}", tmp_path, [tmp_path], 1).open()
