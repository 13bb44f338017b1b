"""JavaScript's stack traces; what real programs wrote stands in `test_tracebacks.py`."""

from __future__ import annotations

import pytest

from tailrace.stages._tracebacks.javascript import parse

from ._described import described


@pytest.mark.parametrize(
    ("text", "chain", "where"),
    [
        pytest.param(
            "Error: outer\n"
            "    at run (/srv/a.js:1:1) {\n"
            "  [cause]: TypeError: inner\n"
            "      at load (/srv/b.js:2:2)\n"
            "}\n",
            [("Error", "outer"), ("TypeError", "inner")],
            "/srv/a.js:run",
            id="rethrown with a cause",
        ),
        pytest.param(
            "RangeError: x\n    at f (/srv/node_modules/lib/i.js:1:1)\n    at node:internal/main:1:1\n",
            [("RangeError", "x")],
            "/srv/node_modules/lib/i.js:f",
            id="only a library",
        ),
    ],
)
def test_a_trace_says_what_was_raised_and_where(text: str, chain: list[tuple[str, str]], where: str) -> None:
    assert described(text) == ("javascript", chain, where)


def test_lines_without_a_trace_are_none() -> None:
    assert parse(["all is well", "at home"]) is None
