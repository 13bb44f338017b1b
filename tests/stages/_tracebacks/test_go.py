"""Go's panics; what real programs wrote stands in `test_tracebacks.py`."""

from __future__ import annotations

import pytest

from tailrace.stages._tracebacks.go import parse

from ._described import described


@pytest.mark.parametrize(
    ("text", "chain", "where"),
    [
        pytest.param(
            "panic: first\n\tpanic: second\n\ngoroutine 1 [running]:\nmain.f(...)\n\t/srv/a.go:3 +0x1\n",
            [("panic", "second"), ("panic", "first")],
            "/srv/a.go:main.f",
            id="a panic while panicking",
        ),
        pytest.param(
            "panic: main.Code{N:3}\n\ngoroutine 1 [running]:\nmain.main()\n\t/srv/a.go:3\n",
            [("main.Code", "main.Code{N:3}")],
            "/srv/a.go:main.main",
            id="a typed value",
        ),
    ],
)
def test_a_trace_says_what_was_raised_and_where(text: str, chain: list[tuple[str, str]], where: str) -> None:
    assert described(text) == ("go", chain, where)


def test_lines_without_a_trace_are_none() -> None:
    assert parse(["all is well", "at home"]) is None
