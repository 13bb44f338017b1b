"""What loguru and structlog write to a console."""

from __future__ import annotations

from typing import Any

import pytest

from tailrace.stages._consoles import loguru, structlog

T = "2026-11-03 10:00:00.123"
COLOURED = (
    "\x1b[2m2026-11-03 10:00:00\x1b[0m [\x1b[32m\x1b[1minfo     \x1b[0m] \x1b[1morder placed                  \x1b[0m "
    "\x1b[36morder_id\x1b[0m=\x1b[35m'a 17'\x1b[0m \x1b[36mtotal\x1b[0m=\x1b[35m3.5\x1b[0m"
)


def record(level: str, message: str, **more: Any) -> dict[str, Any]:
    return {"timestamp": T, "level": level, "message": message, **more}


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (
            f"{T} | INFO     | app.db:connect:42 - ready",
            record("info", "ready", logger="app.db", function="connect", line=42),
        ),
        (
            f"\x1b[32m{T}\x1b[0m | \x1b[33m\x1b[1mWARNING \x1b[0m | \x1b[36mm\x1b[0m:\x1b[36m<module>\x1b[0m:"
            "\x1b[36m4\x1b[0m - \x1b[1mslow - a | b\x1b[0m",
            record("warning", "slow - a | b", logger="m", function="<module>", line=4),
        ),
        (f"{T} | SUCCESS  | a:b:1 - x\ny", record("success", "x\ny", logger="a", function="b", line=1)),
        (f"{T} | HIGH | a:b:1 - x", None),
        (f"{T} INFO a: x", None),
    ],
    ids=["plain", "colours", "several lines", "a level of one's own", "logging"],
)
def test_loguru(line: str, fields: dict[str, Any] | None) -> None:
    assert loguru([b"x", line.encode()]) == [None, fields]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (COLOURED, record("info", "order placed", order_id="a 17", total=3.5) | {"timestamp": "2026-11-03 10:00:00"}),
        (f"{T} [warning  ] nothing                       ", record("warning", "nothing")),
        (
            f"{T} [debug    ] with logger                    [app.x] a=1",
            record("debug", "with logger", logger="app.x", a=1),
        ),
        (f"{T} [critical ] alone                          [app.x]", record("critical", "alone", logger="app.x")),
        (f"{T} [error    ] failed\nTraceback", record("error", "failed\nTraceback")),
        (f"{T} [info     ] x level='own' timestamp=3", record("info", "x")),
        ("[info     ] no time                        a=True", {"level": "info", "message": "no time", "a": True}),
        ("[info] nginx?", None),
        (f"{T} [INFO] app: x", None),
    ],
    ids=[
        "colours",
        "no pairs",
        "logger",
        "logger alone",
        "several lines",
        "its own names",
        "no time",
        "short",
        "logging",
    ],
)
def test_structlog(line: str, fields: dict[str, Any] | None) -> None:
    assert structlog([b"x", line.encode()]) == [None, fields]
