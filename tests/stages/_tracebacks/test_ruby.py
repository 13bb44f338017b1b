"""Ruby's backtraces; what real programs wrote stands in `test_tracebacks.py`."""

from __future__ import annotations

import pytest

from tailrace.stages._tracebacks.ruby import parse

from ._described import described


@pytest.mark.parametrize(
    ("text", "chain", "where"),
    [
        pytest.param(
            "/usr/gems/rack/a.rb:4:in `call': boom (RuntimeError)\n\tfrom app/b.rb:9:in `go'\n",
            [("RuntimeError", "boom")],
            "app/b.rb:go",
            id="a gem's frames are not the application's",
        ),
    ],
)
def test_a_trace_says_what_was_raised_and_where(text: str, chain: list[tuple[str, str]], where: str) -> None:
    assert described(text) == ("ruby", chain, where)


def test_lines_without_a_trace_are_none() -> None:
    assert parse(["all is well", "at home"]) is None
