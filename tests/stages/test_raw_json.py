"""JSON one level at a time."""

from __future__ import annotations

import msgspec
import pytest

from tailrace.stages._raw_json import items, members, plain


def test_values_keep_their_bytes() -> None:
    assert {name: bytes(raw) for name, raw in members(b'{"a": 1.50, "b": [1, 2]}').items()} == {
        "a": b"1.50",
        "b": b"[1, 2]",
    }
    assert [bytes(raw) for raw in items(b'[1e3, {"x": 1}]')] == [b"1e3", b'{"x": 1}']


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert list(members(b'{"a\xff": 1}')) == ["a\ufffd"]
    assert plain(msgspec.Raw(b'"\xff"')) == "\ufffd"


def test_what_is_no_object_is_refused_without_its_data() -> None:
    with pytest.raises(ValueError, match="cannot be decoded") as error:
        members(b'{"password": "hunter2"')
    assert "hunter2" not in str(error.value)


def test_depth_has_an_end() -> None:
    assert members(b"{}", 64) == {}
    with pytest.raises(ValueError, match="deeper than 64"):
        items(b"[]", 65)
