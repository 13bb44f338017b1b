from __future__ import annotations

import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, start_http_server

from ..services._server import HttpError, free_ports
from ..services.loki import Entry, Loki
from ..services.prometheus import Prometheus

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def app() -> str:
    """A label value that no other test uses."""
    return f"app-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def target() -> Iterator[str]:
    """A small exporter with one counter at 3, with an exemplar."""
    registry = CollectorRegistry()
    counter = Counter("lines", "Lines seen.", ["stage"], registry=registry)
    counter.labels("parse").inc(3, {"trace_id": TRACE})
    (port,) = free_ports(1)
    server, thread = start_http_server(port, "127.0.0.1", registry)
    yield f"127.0.0.1:{port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_loki_gives_back_an_entry_as_it_was_pushed(loki: Loki, app: str) -> None:
    now = time.time_ns()
    line = '{"event":"llm_call","text":"tab\\t ünïcode 🦊"}'
    loki.push({"app": app, "level": "info"}, (now, line, {"trace_id": TRACE, "session_key": "s-1"}))
    assert loki.query(f'{{app="{app}"}}') == [
        Entry({"app": app, "level": "info"}, now, line, {"trace_id": TRACE, "session_key": "s-1"})
    ]


def test_loki_finds_old_lines_at_once(loki: Loki, app: str) -> None:
    old = 1_500_000_000_123_456_789
    loki.push({"app": app}, (old, "from 2017"))
    assert loki.query(f'{{app="{app}"}}', start=old) == [Entry({"app": app}, old, "from 2017", {})]


def test_a_query_pages_through_everything_even_where_times_are_equal(loki: Loki, app: str) -> None:
    now = time.time_ns()
    times = [now + step for step in (0, 1, 1, 1, 1, 2, 3, 3, 4)]
    for place, time_ns in enumerate(times):
        loki.push({"app": app, "k": str(place % 3)}, (time_ns, f"line {place}"))
    logql = f'{{app="{app}"}}'
    assert sorted(e.line for e in loki.query(logql, page=2)) == [f"line {place}" for place in range(9)]
    assert [e.time_ns for e in loki.query(logql, page=3)] == times
    assert [e.time_ns for e in loki.query(logql, limit=7, page=3)] == times[:7]
    assert [e.time_ns for e in loki.query(logql, start=now + 2, end=now + 4)] == times[5:8]


def test_a_repeat_is_one_entry_for_a_log_query(loki: Loki, app: str) -> None:
    now = time.time_ns()
    for _ in range(2):
        loki.push({"app": app}, (now, "once", {"k": "v"}))
    assert [e.line for e in loki.query(f'{{app="{app}"}}')] == ["once"]


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_loki_keeps_its_url_and_its_lines_over_an_outage(loki: Loki, tmp_path: Path, app: str, kill: bool) -> None:
    with Loki(tmp_path) as own:  # of its own: the others' holds a million lines by now, which it reads again first
        url, now = own.url, time.time_ns()
        own.push({"app": app}, (now, "before"))
        own.stop(kill=kill)
        with pytest.raises(OSError, match="refused"):
            own.push({"app": app}, (now + 1, "during"))
        own.start()
        own.push({"app": app}, (now + 2, "after"))
        assert own.url == url
        assert [e.line for e in own.query(f'{{app="{app}"}}')] == ["before", "after"]


def test_a_refused_push_says_why(loki: Loki, app: str) -> None:
    with pytest.raises(HttpError, match="timestamp too new") as refused:
        loki.push({"app": app}, (time.time_ns() + 48 * 3600 * 10**9, "from the day after tomorrow"))
    assert refused.value.status == 400


def test_prometheus_scrapes_a_target_and_answers_promql(prometheus: Prometheus, target: str) -> None:
    prometheus.scrape(target)
    (sample,) = prometheus.query(f'sum by (stage) (lines_total{{instance="{target}"}})')
    assert sample == ({"stage": "parse"}, 3.0)


def test_prometheus_keeps_exemplars(prometheus: Prometheus, target: str) -> None:
    prometheus.scrape(target)
    (exemplar,) = prometheus.exemplars(f'lines_total{{instance="{target}"}}')
    assert (exemplar.labels, exemplar.value, exemplar.series["stage"]) == ({"trace_id": TRACE}, 3.0, "parse")


def test_promtool_finds_nothing_wrong_with_a_good_page(prometheus: Prometheus, target: str) -> None:
    with urllib.request.urlopen(f"http://{target}/metrics") as answer:
        page = answer.read().decode()
    assert 'lines_total{stage="parse"} 3.0' in page
    assert prometheus.problems(page) == []


def test_promtool_names_what_is_wrong_with_a_bad_page(prometheus: Prometheus) -> None:
    (problem,) = prometheus.problems("# TYPE bad counter\nbad 1\n")[:1]
    assert "bad" in problem
