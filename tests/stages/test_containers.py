"""Lines in what container runtimes put around them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tailrace.stages._formats import FORMATS

T = "2026-11-03T10:00:00.123456789Z"
OUTER = {"timestamp": T, "stream": "stdout"}


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        pytest.param(f"{T} stdout F hello", OUTER | {"message": "hello"}, id="text"),
        pytest.param(f"{T} stdout F", OUTER | {"message": ""}, id="empty"),
        pytest.param(f"{T} stderr F x\r", OUTER | {"stream": "stderr", "message": "x"}, id="CRLF"),
        pytest.param(f"{T} stdout P one \n{T} stdout F two", OUTER | {"message": "one two"}, id="parts are joined"),
        pytest.param(f"{T} stdout F one\n{T} stdout F  two", OUTER | {"message": "one\n two"}, id="lines stay lines"),
        pytest.param(
            f'{T} stdout F {{"level":"warn","msg":"m","timestamp":"2020"}}',
            OUTER | {"level": "warn", "msg": "m"},
            id="JSON inside, the runtime's time",
        ),
        pytest.param(f'{T} stdout F {{"stream":true}}', OUTER | {"stream": True}, id="the program's own field"),
        pytest.param(
            f"{T} stdout F 2026-11-03 10:00:00,123 WARN app: slow",
            OUTER | {"level": "warning", "logger": "app", "message": "slow"},
            id="logging inside",
        ),
        pytest.param(f"{T} stdout F a=1 b=2", OUTER | {"a": "1", "b": "2"}, id="logfmt inside"),
        pytest.param(f"{T} stdout X hello", None, id="no flag"),
        pytest.param(f"{T} stdout F one\ntwo", None, id="a line without"),
        pytest.param("stdout F hello", None, id="no time"),
    ],
)
def test_cri(line: str, fields: dict[str, Any] | None) -> None:
    assert FORMATS["cri"]([b"x", line.encode()]) == [None, fields]


def docker(*logs: str, **more: Any) -> bytes:
    lines = [json.dumps({"log": log, "stream": "stdout", **more, "time": T}, separators=(",", ":")) for log in logs]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        pytest.param(docker("hello\n"), OUTER | {"message": "hello"}, id="text"),
        pytest.param(docker("hello\r\n"), OUTER | {"message": "hello"}, id="CRLF"),
        pytest.param(
            docker("x\n", attrs={"tag": "a"}), OUTER | {"attrs": {"tag": "a"}, "message": "x"}, id="attributes"
        ),
        pytest.param(docker("one ", "two\n"), OUTER | {"message": "one two"}, id="parts are joined"),
        pytest.param(docker('{"level":"info"}\n'), OUTER | {"level": "info"}, id="JSON inside"),
        pytest.param(docker("\ud800\n"), None, id="a lone surrogate"),
        pytest.param(b'{"log":"x"}', None, id="no time"),
        pytest.param(b'{"log":1,"stream":"stdout","time":"x"}', None, id="no text"),
        pytest.param(b'{"log":"x"', None, id="cut off"),
    ],
)
def test_docker(line: bytes, fields: dict[str, Any] | None) -> None:
    assert FORMATS["docker"]([b"x", line]) == [None, fields]
