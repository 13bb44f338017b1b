from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from tailrace.config.describe import in_words, option_sentences, options, sentences, structs_in, written
from tailrace.pipeline.component import Sink
from tailrace.pipeline.match import Match
from tailrace.pipeline.options import Duration, Regex, Secret, Size, Template


class Inner(msgspec.Struct, frozen=True):
    """A map inside."""

    a: int = 1
    """One."""


class Thing(Sink, kw_only=True):
    """A thing."""

    must: str
    """Has to be
    there."""
    class_: str = msgspec.field(default="x", name="class")
    inner: Inner = Inner()
    many: list[str] = []
    _own: object = None


def test_own_options_come_first_and_private_ones_not_at_all() -> None:
    assert list(options(Thing)) == [
        "must",
        "class",
        "inner",
        "many",
        "match",
        "batch_bytes",
        "batch_wait",
        "queue_bytes",
    ]
    must, named, shared = (options(Thing)[name] for name in ("must", "class", "batch_wait"))
    assert (must.required, must.own, must.kind) == (True, True, str)
    assert (named.field, named.default, named.required) == ("class_", "x", False)
    assert (shared.own, shared.default, shared.kind) == (False, 0.2, Duration)


def test_sentences_are_the_docstrings() -> None:
    told = option_sentences(Thing)
    assert sentences(Thing) == "A thing."
    assert told["must"] == "Has to be\nthere."
    assert told["batch_wait"].startswith("Send what waits")
    assert "many" not in told


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (str, "text"),
        (int | None, "whole number"),
        (list[str], "list of text"),
        (dict[str, Template], "map of template"),
        (Literal["a", "off"], "`a` or `'off'`"),
        (Literal["auto"] | list[int], "`auto` or list of whole number"),
        (Inner | None, "map"),
        (Annotated[list[Path], msgspec.Meta(min_length=1)], "list of path"),
        (Secret | None, "secret"),
        (Any, "anything"),
        (Exception, "exception"),
    ],
    ids=str,
)
def test_types_in_words(kind: Any, words: str) -> None:
    assert in_words(kind) == words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Duration(0.2), "200ms"),
        (Duration(0.0005), "0.5ms"),
        (Duration(0), "0s"),
        (Duration(90), "90s"),
        (Duration(3600), "1h"),
        (Duration(604800), "1w"),
        (Size(1 << 20), "1MiB"),
        (Size(10**6), "1MB"),
        (Size(1000), "1KB"),
        (Size(1234), "1234"),
        (Size(0), "0"),
        (Template("a/{b}"), "a/{b}"),
        (Regex("a+"), "a+"),
        (Match.decode('{a="b"}'), "'{a=\"b\"}'"),
        (Path("state"), "state"),
        (["a", Duration(1)], "[a, 1s]"),
        ({"b": 1, "a": True}, "{b: 1, a: true}"),
        (frozenset({"b", "a"}), "[a, b]"),
        (Inner(), "{a: 1}"),
        (1.5, "1.5"),
        ("off", "'off'"),
    ],
    ids=str,
)
def test_defaults_as_yaml_would_write_them(value: object, text: str) -> None:
    assert written(value) == text


@pytest.mark.parametrize("seconds", [0.001, 0.2, 1, 60, 90, 3600, 5400, 86400, 604800, 0.25])
def test_a_written_duration_means_the_same(seconds: float) -> None:
    assert Duration.decode(written(Duration(seconds))) == seconds


def test_maps_inside_of_types_are_found() -> None:
    assert structs_in(dict[str, list[Inner]] | None) == [Inner]
    assert structs_in(Literal["a"] | list[str]) == []
