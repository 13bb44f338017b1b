"""Escapes: texts with them resolved."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.stages._escapes import unescape, unescape_json, views


@given(st.binary(max_size=300))
def test_unescaping_never_fails(data: bytes) -> None:
    assert isinstance(unescape(data), bytes)


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        (rb"a\n\t\"\\ \/", b'a\n\t"\\ /'),
        (rb"\u00e9\ud83d\ude00", "\u00e9\U0001f600".encode()),
        (rb"\ud800", "\ufffd".encode()),
        (rb"\x41\\x41", rb"A\x41"),
        (rb"C:\dir\q", rb"C:\dir\q"),
        (b"\\", b"\\"),
    ],
    ids=["letters", "unicode", "half a pair", "hex", "none", "alone"],
)
def test_escapes_become_what_they_stand_for(data: bytes, plain: bytes) -> None:
    assert unescape(data) == plain


@given(st.lists(st.sampled_from([b"\\", b"n", b"u0041", b"\\u00e9", b"1", b'"', b"\\\\n"])).map(b"".join))
def test_what_stands_in_a_view_is_known_to_come_from_somewhere(data: bytes) -> None:
    for text, origin in views(data, raw=True):
        places = [origin(place) for place in range(len(text) + 1)]
        assert places == sorted(places)
        assert places[-1] == len(data)
        assert all(data[at : at + 1] in (text[n : n + 1], b"\\") for n, at in enumerate(places[:-1]) if text[n] < 128)


PIECES = [
    b"\\\\",
    rb"\n",
    rb"\u0041",
    rb"\u005c",
    rb"\u00E9",
    rb"\ud83d",
    rb"\uDE00",
    rb"\"",
    b"u0041",
    b"1",
    b"n",
    "\u00e9".encode(),
    rb"\/",
]


@given(st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_valid_json_is_unescaped_to_the_same(data: bytes) -> None:
    assert unescape_json(data) == unescape(data)


@given(
    st.lists(st.sampled_from([*PIECES[:9], b"\\x", b"\\u", b"zz"]))
    .map(b"".join)
    .filter(lambda data: data[-1:] != b"\\")
)
def test_what_is_no_valid_json_is_unescaped_somehow(data: bytes) -> None:
    with warnings.catch_warnings(action="ignore"):
        assert isinstance(unescape_json(data), bytes)
