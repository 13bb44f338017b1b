"""Stack traces of .NET, written by hand (no package brings it); real ones of Mono stand in `test_tracebacks.py`."""

from __future__ import annotations

import pytest

from tailrace.stages._tracebacks.csharp import parse

from ._described import described


@pytest.mark.parametrize(
    ("text", "chain", "where"),
    [
        pytest.param(
            "System.ArgumentException: bad\n   at System.Int32.Parse(String s)\n   at Acme.A.B() in /src/A.cs:line 3\n",
            [("System.ArgumentException", "bad")],
            "/src/A.cs:Acme.A.B",
            id="frames of the framework are not the application's",
        ),
        pytest.param(
            "System.AggregateException: One or more errors occurred. (no)\n"
            " ---> Acme.NoException: no\n"
            "   at Acme.A.B()\n"
            "   --- End of inner exception stack trace ---\n"
            "   at Acme.C.D()\n",
            [("System.AggregateException", "One or more errors occurred. (no)"), ("Acme.NoException", "no")],
            "Acme.C:Acme.C.D",
            id="an aggregate",
        ),
    ],
)
def test_a_trace_says_what_was_raised_and_where(text: str, chain: list[tuple[str, str]], where: str) -> None:
    assert described(text) == ("csharp", chain, where)


def test_lines_without_a_trace_are_none() -> None:
    assert parse(["all is well", "at home"]) is None
