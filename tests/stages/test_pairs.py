"""Pairs: `key=value` in a text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.stages._pairs import pairs, unescape


@pytest.mark.parametrize(
    ("text", "fields", "begin"),
    [
        pytest.param("resumed key=4d status=200", {"key": "4d", "status": "200"}, 8, id="a tail"),
        pytest.param("a=\"x y\" b='z w' c=", {"a": "x y", "b": "z w", "c": ""}, 0, id="quotes"),
        pytest.param(r'a="say \"hi\"\n"', {"a": 'say "hi"\n'}, 0, id="escapes"),
        pytest.param('a="open b=1', {"a": '"open', "b": "1"}, 0, id="an open quote"),
        pytest.param('patch={"a": [1, 2]} n=1', {"patch": {"a": [1, 2]}, "n": "1"}, 0, id="JSON"),
        pytest.param("l=[a, b] t=(1, 2)", {"l": "[a, b]", "t": "(1, 2)"}, 0, id="brackets"),
        pytest.param("l=[a b=1 m={c d=2", {"l": "[a", "b": "1", "m": "{c", "d": "2"}, 0, id="open brackets"),
        pytest.param("see http://x/?a=b", {}, 17, id="a URL is no pair"),
        pytest.param("attempt=1/5 events= ops=3", {"attempt": "1/5", "events": "", "ops": "3"}, 0, id="empty values"),
        pytest.param("x\na=1", {}, 1, id="only the first line"),
        pytest.param("1=2 =3 a==b", {"a": "=b"}, 7, id="keys look like names"),
        pytest.param("a=1 a=2", {"a": "2"}, 0, id="the last of equal keys"),
        pytest.param(r'a={"b": "\ud800"}', {"a": r'{"b": "\ud800"}'}, 0, id="a lone surrogate stays text"),
    ],
)
def test_pairs(text: str, fields: dict[str, Any], begin: int) -> None:
    assert pairs(text) == (fields, begin)


def test_values_may_be_as_python_shows_them() -> None:
    text = "n=3 f=3.5 e=1e5 t=True x=None s='it' q=\"it's\" d={'a': 1} w=word v=1.2.3"
    assert pairs(text, reprs=True)[0] == {
        "n": 3,
        "f": 3.5,
        "e": 1e5,
        "t": True,
        "x": None,
        "s": "it",
        "q": "it's",
        "d": "{'a': 1}",
        "w": "word",
        "v": "1.2.3",
    }


def test_escapes_that_are_none_stay() -> None:
    assert (unescape(r"\u00e9"), unescape(r"\q")) == ("é", r"\q")


@given(st.text(alphabet="ab= \"'{}[]()\\,:1\n", max_size=60), st.booleans())
def test_any_text_is_read(text: str, reprs: bool) -> None:
    fields, begin = pairs(text, reprs=reprs)
    assert all(map(str.isidentifier, fields))
    assert 0 <= begin <= len(text)
