"""Python's tracebacks; what real programs wrote stands in `test_tracebacks.py`."""

from __future__ import annotations

from typing import Any

import pytest

from tailrace.stages._tracebacks import Raised
from tailrace.stages._tracebacks.python import of_objects, parse

from ._described import described

HEAD = 'Traceback (most recent call last):\n  File "/srv/a.py", line 1, in f\n    f()\n'


@pytest.mark.parametrize(
    ("line", "raised"),
    [
        ("ValueError: bad", ("ValueError", "bad")),
        ("ValueError", ("ValueError", "")),
        ("app.errors.Bad: a: b", ("app.errors.Bad", "a: b")),
        ("__main__.Bad:", ("Bad", "")),
        ("no exception at all", ("", "")),
        ("\x1b[1;35mValueError\x1b[0m: \x1b[35mbad\x1b[0m", ("ValueError", "bad")),
    ],
)
def test_the_line_under_the_frames_names_the_exception(line: str, raised: tuple[str, str]) -> None:
    assert described(HEAD + line) == ("python", [raised], "/srv/a.py:f")


def test_lines_without_a_traceback_are_none() -> None:
    assert parse(["ValueError: bad", "at home"]) is None


@pytest.mark.parametrize("value", [None, "text", [], [1], [{"type": "x"}], {"exc_type": "x"}])
def test_other_objects_than_structlogs_are_no_traceback(value: Any) -> None:
    assert of_objects(value) is None


def test_structlogs_group_has_its_members() -> None:
    member = [{"exc_type": "OSError", "exc_value": "a", "frames": None}]
    raised = of_objects([{"exc_type": "ExceptionGroup", "exc_value": "g", "exceptions": [member, "odd"]}])
    assert raised == Raised("ExceptionGroup", "g", children=[Raised("OSError", "a")])
