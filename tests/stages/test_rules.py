"""Rules: where they find something."""

from __future__ import annotations

import pytest

from tailrace.stages._rules import Allow, Rule, RuleError, entropy


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (r"[0-9]{4}", [(0, 0, 4), (0, 5, 9), (2, 1, 5), (3, 0, 4)]),
        (r"^[0-9]{4}$", [(3, 0, 4)]),
        (r"\b[0-9]{4}\b", [(0, 0, 4), (0, 5, 9), (3, 0, 4)]),
        (r"[0-9][^a-z]*", [(0, 0, 9), (2, 1, 5), (3, 0, 4)]),
        (r"(?s)[0-9].*", [(0, 0, 9), (2, 1, 5), (3, 0, 4)]),
        (r"[0-9](?:[0-9]|\C)*", [(0, 0, 9), (2, 1, 5), (3, 0, 4)]),
        (
            r"a?(?P<secret>[0-9]{2})",
            [(0, 0, 2), (0, 2, 4), (0, 5, 7), (0, 7, 9), (2, 1, 3), (2, 3, 5), (3, 0, 2), (3, 2, 4)],
        ),
    ],
    ids=["plain", "anchored", "words", "greedy", "dot", "any byte", "group"],
)
def test_texts_searched_together_give_what_each_gives_alone(pattern: str, found: list[tuple[int, int, int]]) -> None:
    texts = [b"1234 5678", b"", b"a1234", b"1234"]
    rule = Rule("r", pattern)
    assert list(rule.find(texts)) == found
    assert [(n, start, end) for n, text in enumerate(texts) for _, start, end in rule.find([text])] == found


def test_a_check_decides_on_the_text_it_is_in() -> None:
    rule = Rule("r", r"[0-9]{2}", check=lambda data, start, end: len(data) == 5 and end == 5)
    assert list(rule.find([b"12", b"12345", b"123456"])) == [(1, 3, 5)]


@pytest.mark.parametrize(
    ("target", "every", "harmless"),
    [("secret", False, False), ("match", False, True), ("line", False, True), ("line", True, False)],
)
def test_an_allowlist_looks_where_it_says(target: str, every: bool, harmless: bool) -> None:
    allow = Allow([r"key="], ["zzz"], target, every)
    assert allow.covers(b"a key=1234", (2, 10), (6, 10)) == harmless


def test_a_pattern_that_is_no_expression_says_so_without_more() -> None:
    with pytest.raises(RuleError, match="not a regular expression"):
        Rule("r", "(")


def test_entropy_counts_bits() -> None:
    assert (entropy(b""), entropy(b"aaaa"), entropy(b"abcd")) == (0, 0, 2)


@pytest.mark.parametrize(
    ("pattern", "scanned"),
    [
        pytest.param(r"\b[a-f0-9]{32}-[a-f0-9]{8}\b", r"[a-f0-9]-[a-f0-9]{8}\b", id="a count in front of a character"),
        pytest.param(r"\b[a-f0-9]{32}\b", None, id="nothing behind the count"),
        pytest.param(r"\b[a-f0-9]{32}-?x", None, id="a character that may be missing"),
        pytest.param(r"\b[a-f0-9]{32}-x|y", None, id="two branches"),
        pytest.param(r"\bkey-[a-f0-9]{32}", None, id="a word in front"),
    ],
)
def test_a_long_counted_head_is_short_in_the_scan_alone(pattern: str, scanned: str | None) -> None:
    rule = Rule("r", pattern)
    assert (rule.pattern == scanned) is (scanned is not None)
    data = b"id=" + b"0f" * 16 + b"-0123abcd."
    assert [data[start:end] for _, start, end in rule.find([data])] == (
        [data[3:-1]] if scanned else [data[3:35]] if pattern.endswith(r"\b") else []
    )
