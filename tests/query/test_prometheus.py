from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tailrace.query import prometheus as module
from tailrace.query.metrics import Moments, Series
from tailrace.query.prometheus import Prometheus, Refused, reach

NS = 10**9
HOUR = 3600 * NS


class Server(ThreadingHTTPServer):
    """Answers what it is told to."""

    daemon_threads = True
    status = 200
    body: Any
    asked: list[tuple[str, dict[str, str], dict[str, str]]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.server.asked.append((parts.path, asked, dict(self.headers)))
        text = self.server.body if isinstance(self.server.body, bytes) else json.dumps(self.server.body).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(text)))
        if self.server.status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def prometheus(server: Server) -> Iterator[Prometheus]:
    url = f"http://127.0.0.1:{server.server_port}/"
    with closing(Prometheus(url, token="sesame", tenant="one", timeout=5)) as prometheus:
        yield prometheus


def test_a_moment_is_asked_for_with_the_login(server: Server, prometheus: Prometheus) -> None:
    server.body = {"data": {"resultType": "vector", "result": [{"metric": {"a": "b"}, "value": [1.5, "2"]}]}}
    assert prometheus.series("x & y#", Moments.one(1_500_000_001)) == [Series({"a": "b"}, [(1_500_000_000, 2.0)])]
    ((path, asked, headers),) = server.asked
    assert path == "/api/v1/query"
    assert asked == {"query": "x & y#", "time": "1.500000001", "timeout": "5000ms"}
    assert headers["Authorization"] == "Bearer sesame"
    assert headers["X-Scope-OrgID"] == "one"


def test_a_range_is_asked_for_in_steps(server: Server, prometheus: Prometheus) -> None:
    server.body = {"data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[0, "1"], [60, "NaN"]]}]}}
    ((_, points),) = prometheus.series("x", Moments(0, 60 * NS, 2))
    assert [time_ns for time_ns, _ in points] == [0, 60 * NS]
    assert server.asked[0][1]["step"] == "60.000000000"


def test_exemplars_come_with_their_series(server: Server, prometheus: Prometheus) -> None:
    one = {"labels": {"trace_id": "t1"}, "value": "3", "timestamp": 7.25}
    server.body = {"data": [{"seriesLabels": {"a": "b"}, "exemplars": [one, one | {"timestamp": 5}]}]}
    found = prometheus.exemplars("x", 0, 10 * NS)
    assert [(e.time_ns, e.series, e.labels, e.value) for e in found] == [
        (5 * NS, {"a": "b"}, {"trace_id": "t1"}, 3.0),
        (7_250_000_000, {"a": "b"}, {"trace_id": "t1"}, 3.0),
    ]


def test_a_scalar_is_a_series_and_a_text_is_none(server: Server, prometheus: Prometheus) -> None:
    server.body = {"data": {"resultType": "scalar", "result": [1, "42"]}}
    assert prometheus.series("42", Moments.one(NS)) == [Series({}, [(NS, 42.0)])]
    server.body = {"data": {"resultType": "string", "result": [1, "x"]}}
    with pytest.raises(Refused, match="a text"):
        prometheus.series('"x"', Moments.one(NS))


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, {"error": "parse error"}, Refused, "refuses it: parse error"),
        (422, {"error": "too many samples"}, Refused, "too many samples"),
        (503, {"error": "timeout"}, OSError, "answers 503: timeout"),
        (200, b"<html>", OSError, "not as Prometheus does"),
        (302, b"", OSError, "answers 302"),
        (401, b"no", OSError, "answers 401"),
    ],
    ids=["bad query", "too much", "away", "no Prometheus", "redirect", "login"],
)
def test_what_is_no_answer_is_told(
    server: Server, prometheus: Prometheus, status: int, body: Any, kind: type[Exception], words: str
) -> None:
    server.status, server.body = status, body
    with pytest.raises(kind, match=words):
        prometheus.series("x", Moments.one(NS))
    assert len(server.asked) == 1


def test_an_answer_that_is_too_large_is_refused(
    server: Server, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    server.body = {"data": "x" * 1000}
    with pytest.raises(Refused, match="too large"):
        prometheus.series("x", Moments.one(NS))


@pytest.mark.parametrize(
    ("query", "hours"),
    [
        ("up", 0),
        ("rate(x[1h])", 1),
        ("rate(x[30m30m])", 1),
        ("max_over_time(rate(x[1h])[2h:5m])", 3),
        ("max_over_time(x[2h:])", 2),
        ("x offset 3h", 3),
        ("x offset -3h + rate(y[1h])", 4),
        ('x{a="[99w] offset 9w @ 5"}', 0),
        ("x # [99w] @", 0),
        ("x{a='\\'[99w]'}", 0),
    ],
)
def test_it_is_known_how_far_back_a_query_looks(query: str, hours: int) -> None:
    assert reach(query) == hours * HOUR


@pytest.mark.parametrize("query", ["x[1h", "x[[1h]]", "x[1h+1h]", "x[]", "x @ 17", "x offset (1h)", "x[5m:1h:2h]"])
def test_what_cannot_be_known_is_refused(query: str) -> None:
    with pytest.raises(Refused):
        reach(query)
