from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tailrace.query import loki as module
from tailrace.query.loki import Loki, Refused
from tailrace.query.metrics import Moments

NS = 10**9


class Server(ThreadingHTTPServer):
    """Answers as Loki does, from a list of entries (time, line)."""

    daemon_threads = True
    entries: list[tuple[int, str]]
    status = 200
    result: dict[str, Any] | None = None
    asked: list[dict[str, str]]
    headers: list[dict[str, str]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self.server.asked.append(asked)
        self.server.headers.append(dict(self.headers))
        body = self.server.result or self.page(asked)
        text = json.dumps({"data": body}).encode() if self.server.status == 200 else b"parse error at line 1, col 5: no"
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def page(self, asked: dict[str, str]) -> dict[str, Any]:
        back = asked["direction"] == "backward"
        inside = [e for e in self.server.entries if int(asked["start"]) <= e[0] < int(asked["end"])]
        chosen = sorted(inside, key=lambda e: e[0], reverse=back)[: int(asked["limit"])]
        values = [[str(time_ns), line] for time_ns, line in chosen]
        return {"resultType": "streams", "result": [{"stream": {"app": "a"}, "values": values}]}

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.entries, server.asked, server.headers = [], [], []
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("page", [2, 3, 4, 100])
def test_pages_join_without_gap_or_repeat(server: Server, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(module, "PAGE", page)
    server.entries = [
        (time_ns, f"{time_ns}-{n}") for time_ns in range(10) for n in range(1 + (page > 2) * (time_ns % 2))
    ]
    lines = [line for _, line in server.entries]
    with closing(Loki(server.url)) as loki:
        assert sorted(entry.line for entry in loki.logs("{}", 0, 100)) == sorted(lines)
        assert sorted(entry.line for entry in loki.logs("{}", 0, 100, direction="backward")) == sorted(lines)
        assert [entry.line for entry in loki.logs("{}", 2, 6, 2)] == lines[lines.index("2-0") :][:2]


def test_more_equal_times_than_a_page_has_are_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    server.entries = [(1, "a"), (1, "b"), (1, "c"), (2, "d")]
    told: list[str] = []
    with closing(Loki(server.url)) as loki:
        assert [entry.line for entry in loki.logs("{}", 0, 9, warn=told.append)] == ["a", "b", "d"]
    assert len(told) == 1


def test_who_follows_gets_each_entry_once(server: Server) -> None:
    server.entries = [(5 * NS, "old")]
    clock = iter([10 * NS, 10 * NS, 20 * NS, 60 * NS])
    with closing(Loki(server.url)) as loki:
        turns = loki.follow("{}", lambda: next(clock))
        assert next(turns) == []
        server.entries += [(11 * NS, "one"), (11 * NS, "one")]
        assert [entry.line for entry in next(turns)] == ["one", "one"]
        server.entries += [(59 * NS, "two")]
        assert [entry.line for entry in next(turns)] == ["two"]


def test_numbers_are_asked_for_one_moment_or_many(server: Server) -> None:
    server.result = {"resultType": "vector", "result": [{"metric": {"m": "a"}, "value": [5, "1.5"]}]}
    with closing(Loki(server.url)) as loki:
        assert loki.series("rate({}[1m])", Moments.one(5 * NS)) == [({"m": "a"}, [(5 * NS, 1.5)])]
        server.result = {"resultType": "matrix", "result": [{"metric": {}, "values": [[5, "1"], [5.5, "NaN"]]}]}
        (series,) = loki.series("rate({}[1m])", Moments(5 * NS, NS // 2, 2))
    assert [time_ns for time_ns, _ in series.points] == [5 * NS, 5 * NS + NS // 2]
    assert server.asked[1]["step"] == "0.5"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"LOKI_ORG_ID": "t", "LOKI_BEARER_TOKEN": "secret"}, {"X-Scope-OrgID": "t", "Authorization": "Bearer secret"}),
        ({"LOKI_USERNAME": "u", "LOKI_PASSWORD": "p"}, {"Authorization": "Basic dTpw"}),
    ],
)
def test_who_one_is_comes_from_the_environment(
    server: Server, environment: dict[str, str], expected: dict[str, str]
) -> None:
    with closing(Loki(server.url, environment=environment)) as loki:
        assert list(loki.logs("{}", 0, 1)) == []
    assert {name: server.headers[0].get(name) for name in expected} == expected


def test_what_loki_refuses_has_its_column(server: Server) -> None:
    server.status = 400
    with closing(Loki(server.url)) as loki, pytest.raises(Refused) as refused:
        list(loki.logs("{}", 0, 1))
    assert refused.value.column == 5


def test_another_answer_is_an_error_with_what_would_do(server: Server) -> None:
    server.status = 401
    with closing(Loki(server.url)) as loki, pytest.raises(OSError, match="set LOKI_USERNAME"):
        list(loki.logs("{}", 0, 1))


@pytest.mark.parametrize("url", ["localhost:3100", "ftp://x", "http://u:p@x"])
def test_a_url_that_cannot_be_used_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(ValueError, match=r"write a URL|no login in the URL") as refused:
        Loki(url)
    assert ":p@" not in str(refused.value)
