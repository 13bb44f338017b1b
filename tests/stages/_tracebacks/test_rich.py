"""Tracebacks drawn by rich; what it drew itself stands in `test_tracebacks.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.stages._tracebacks import find
from tailrace.stages._tracebacks.rich import parse

from ._described import described

REAL = Path(__file__).parent.parent / "tracebacks"
FOLDED = """\
╭── Traceback (most recent call last) ──╮
│ /srv/shop/a/very/long/path/that/has/n │
│ o/end.py:12 in handle                 │
│                                       │
│ ❱ 12 │   raise                        │
│                                       │
│ /srv/shop/another/long/path.py:7 in   │
│ serve                                 │
╰───────────────────────────────────────╯
ValueError: bad
"""


def test_a_path_that_is_folded_over_lines_is_put_together() -> None:
    trace = find(FOLDED)
    assert trace is not None
    assert [(frame.file, frame.function) for frame in trace.raised.frames] == [
        ("/srv/shop/another/long/path.py", "serve"),
        ("/srv/shop/a/very/long/path/that/has/no/end.py", "handle"),
    ]


def test_a_box_beside_a_column_of_times_is_read_as_one_without() -> None:
    indented = "[11/23/26 10:00:00] ERROR    failed   a.py:3\n" + "".join(
        " " * 20 + line for line in FOLDED.splitlines(keepends=True)
    )
    assert described(indented) == described(FOLDED)


def test_groups_are_nested_boxes() -> None:
    trace = find((REAL / "rich_group.txt").read_text())
    assert trace is not None
    one, inner = trace.raised.children
    assert (one.type, one.message, one.frames[0].function) == ("ValueError", "one", "fail")
    assert (inner.type, [child.type for child in inner.children]) == ("ExceptionGroup", ["OSError"])


@pytest.mark.parametrize("place", range(1, 10))
def test_a_box_that_was_cut_off_is_no_error(place: int) -> None:
    lines = FOLDED.splitlines()[:place]
    raised = parse(lines)
    assert raised is None or raised.type == ""


def test_other_boxes_are_no_traceback() -> None:
    assert parse(["╭── Settings ──╮", "│ a.py:1 in f  │", "╰──────────────╯"]) is None
