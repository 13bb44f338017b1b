"""Which streams are the same; Loki's answers: tests/live/test_replay.py."""

from __future__ import annotations

import pytest

from tailrace.replay.newest import is_own, pairs


def test_labels_are_read_as_loki_writes_them() -> None:
    assert pairs('{a="x\\"y, z=\\"1\\"", b="é"}') == [("a", 'x"y, z="1"'), ("b", "é")]


@pytest.mark.parametrize(
    ("series", "own"),
    [
        ({"a": "x"}, True),
        ({"a": "x", "service_name": "a", "__stream_shard__": "1"}, True),
        ({"a": "x", "b": "y"}, False),
        ({"a": "z"}, False),
    ],
)
def test_a_stream_with_more_labels_is_another_one(series: dict[str, str], own: bool) -> None:
    assert is_own({"a": "x"}, series) is own
