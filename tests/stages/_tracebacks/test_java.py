"""Java's stack traces; what real programs wrote stands in `test_tracebacks.py`."""

from __future__ import annotations

import pytest

from tailrace.stages._tracebacks.java import parse

from ._described import described


@pytest.mark.parametrize(
    ("text", "chain", "where"),
    [
        pytest.param(
            'Exception in thread "main" java.lang.IllegalStateException: a\n'
            "\tat com.acme.A.b(A.java:1)\n"
            "\tSuppressed: java.io.IOException: c\n"
            "\t\tat com.acme.C.d(C.java:2)\n"
            "Caused by: java.lang.Error: e\n"
            "\tat com.acme.E.f(E.java:3)\n"
            "\t... 1 more\n",
            [("java.lang.IllegalStateException", "a"), ("java.lang.Error", "e")],
            "A.java:com.acme.A.b",
            id="suppressed ones are no causes",
        ),
        pytest.param(
            "kotlin.UninitializedPropertyAccessException: x\n"
            "\tat kotlin.Foo.bar(Foo.kt:1)\n"
            "\tat com.acme.JobKt.main(Job.kt:7)\n",
            [("kotlin.UninitializedPropertyAccessException", "x")],
            "Job.kt:com.acme.JobKt.main",
            id="Kotlin",
        ),
    ],
)
def test_a_trace_says_what_was_raised_and_where(text: str, chain: list[tuple[str, str]], where: str) -> None:
    assert described(text) == ("java", chain, where)


def test_lines_without_a_trace_are_none() -> None:
    assert parse(["all is well", "at home"]) is None
