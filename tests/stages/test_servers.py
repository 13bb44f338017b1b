"""Syslog and access logs."""

from __future__ import annotations

from typing import Any

import pytest

from tailrace.stages._servers import combined, syslog

NEW = {
    "timestamp": "2026-11-03T10:00:00.003Z",
    "level": "critical",
    "facility": "auth",
    "host": "web1",
    "program": "su",
}
OLD = {"timestamp": "Nov  3 10:00:00", "host": "web1", "program": "su"}


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        pytest.param(
            "<34>1 2026-11-03T10:00:00.003Z web1 su - ID47 - \ufefffailed for é",
            NEW | {"msgid": "ID47", "message": "failed for é"},
            id="5424",
        ),
        pytest.param(
            r'<34>1 2026-11-03T10:00:00.003Z web1 su 7 - [ex@32473 iut="3" src="a\"] b"][o p="\\"] An event',
            NEW
            | {"pid": "7", "message": "An event"}
            | {"structured_data": {"ex@32473": {"iut": "3", "src": 'a"] b'}, "o": {"p": "\\"}}},
            id="5424 with structured data",
        ),
        pytest.param("<34>1 - - - - - -", {"level": "critical", "facility": "auth", "message": ""}, id="5424, all nil"),
        pytest.param("<999>1 - - - - - - x", {"message": "x"}, id="5424, no such priority"),
        pytest.param(
            "<35>Nov  3 10:00:00 web1 su: failed",
            OLD | {"level": "error", "facility": "auth", "message": "failed"},
            id="3164",
        ),
        pytest.param("Nov  3 10:00:00 web1 su[7]: x: y", OLD | {"pid": "7", "message": "x: y"}, id="a file"),
        pytest.param(
            "Nov  3 10:00:00 su: x", {"timestamp": "Nov  3 10:00:00", "program": "su", "message": "x"}, id="no host"
        ),
        pytest.param(
            "2026-11-03T10:00:00.123456+01:00 web1 su[7]: x",
            OLD | {"timestamp": "2026-11-03T10:00:00.123456+01:00", "pid": "7", "message": "x"},
            id="a file with ISO times",
        ),
        pytest.param(
            "<13>Nov  3 10:00:00 no tag",
            {"timestamp": "Nov  3 10:00:00", "level": "notice", "facility": "user", "message": "no tag"},
            id="a priority and no tag",
        ),
        pytest.param("Nov  3 10:00:00 web1 su: a\n  b", OLD | {"message": "a\n  b"}, id="several lines"),
        pytest.param("Nov  3 10:00:00 just text", None, id="a time alone"),
        pytest.param("2026-11-03T10:00:00Z INFO app: x", None, id="Python's logging"),
        pytest.param("", None, id="empty"),
    ],
)
def test_syslog(line: str, fields: dict[str, Any] | None) -> None:
    assert syslog([b"x", line.encode()]) == [None, fields]


ACCESS = {
    "timestamp": "03/Nov/2026:10:00:00 +0000",
    "remote_addr": "127.0.0.1",
    "status": 200,
    "bytes": 2326,
    "method": "GET",
    "path": "/a?b=c",
    "protocol": "HTTP/1.1",
    "message": "GET /a?b=c HTTP/1.1",
}
HEAD = "127.0.0.1 - - [03/Nov/2026:10:00:00 +0000]"


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        pytest.param(f'{HEAD} "GET /a?b=c HTTP/1.1" 200 2326', ACCESS, id="common"),
        pytest.param(f'{HEAD} "GET /a?b=c HTTP/1.1" 304 -', ACCESS | {"status": 304, "bytes": 0}, id="no body"),
        pytest.param(
            f'{HEAD} "GET /a?b=c HTTP/1.1" 200 2326 "http://x/" "Mozilla (\\"y\\")"',
            ACCESS | {"referer": "http://x/", "user_agent": 'Mozilla (\\"y\\")'},
            id="combined",
        ),
        pytest.param(
            f'{HEAD} "GET /a?b=c HTTP/1.1" 200 2326 "-" "-" "10.0.0.1" 0.003',
            ACCESS | {"forwarded_for": "10.0.0.1"},
            id="nginx",
        ),
        pytest.param(
            HEAD.replace("- -", "- ann lee") + ' "GET /a?b=c HTTP/1.1" 200 2326',
            ACCESS | {"user": "ann lee"},
            id="user",
        ),
        pytest.param(
            f'{HEAD} "\\x16\\x03" 400 0',
            {**{name: ACCESS[name] for name in ("timestamp", "remote_addr")}, "status": 400, "bytes": 0}
            | {"message": "\\x16\\x03"},
            id="no request",
        ),
        pytest.param(f'{HEAD} "GET / HTTP/1.1" 20 1', None, id="no status"),
        pytest.param(f'INFO:app:x {HEAD} "GET / HTTP/1.1" 200 1', None, id="Python's logging"),
    ],
)
def test_combined(line: str, fields: dict[str, Any] | None) -> None:
    assert combined([b"x", line.encode()]) == [None, fields]
