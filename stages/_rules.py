"""The rule: what one kind of secret looks like, which words announce it, and what makes a finding count."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, TypeAlias

import re2

Span: TypeAlias = tuple[int, int]
Check: TypeAlias = Callable[[bytes, int, int], bool]

BETWEEN = b"\xff"
"""Stands between texts that are searched together: never part of UTF-8, so no pattern runs over it."""

_EDGE = r"(?:\b|\\[abfnrtv]|\\u[0-9a-fA-F]{4}|%[0-9a-fA-F]{2})"
"""A word boundary that also holds behind an escape: `\\nAKIA…`, `%3DAKIA…`."""


class RuleError(ValueError):
    """A rule file or rule that cannot be used; the message says where and what would do."""


def compiled(pattern: str, *, capture: bool = True, memory: int = 16 << 20, fold: bool = False) -> Any:
    """The pattern for bytes (`fold`: without regard to case). Raises RuleError when RE2 does not understand it."""
    options = re2.Options()
    options.log_errors = False
    options.never_capture = not capture
    options.max_mem = memory
    options.case_sensitive = not fold
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error as error:
        detail = error.args[0] if error.args else "?"
        text = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
        raise RuleError(f"not a regular expression (RE2): {text}") from None


def joined(texts: Sequence[bytes]) -> tuple[bytes, list[int]]:
    """Texts to be searched together, and where each of them starts."""
    starts = list(accumulate((len(text) + 1 for text in texts), initial=0))
    return BETWEEN.join(texts), starts[:-1]


def entropy(data: bytes) -> float:
    """Shannon entropy in bits per byte."""
    size = len(data)
    return -sum(n / size * math.log2(n / size) for n in Counter(data).values()) if size else 0.0


class Allow:
    """What a rule must let pass: regular expressions and words, as gitleaks' allowlists say it."""

    __slots__ = ("every", "regexes", "stopwords", "target")

    def __init__(self, regexes: Sequence[str], stopwords: Sequence[str], target: str, every: bool) -> None:
        self.regexes = [compiled(regex, capture=False) for regex in regexes]
        self.stopwords = [word.lower().encode() for word in stopwords]
        self.target = target
        self.every = every

    def covers(self, data: bytes, match: Span, secret: Span) -> bool:
        """Whether this finding is known to be harmless."""
        start, end = match if self.target == "match" else (0, len(data)) if self.target == "line" else secret
        tests = []
        if self.regexes:
            tests.append(any(regex.search(data[start:end]) for regex in self.regexes))
        if self.stopwords:
            low = data[secret[0] : secret[1]].lower()
            tests.append(any(word in low for word in self.stopwords))
        return bool(tests) and (all(tests) if self.every else any(tests))


class Rule:
    """One kind of secret: how to find it, which words announce it, and what makes a finding count."""

    def __init__(
        self,
        id: str,
        pattern: str,
        *,
        keywords: Sequence[str] = (),
        minimum: float = 0.0,
        group: int | None = None,
        allow: Sequence[Allow] = (),
        check: Check | None = None,
    ) -> None:
        self.id = re.sub(r"[^A-Za-z0-9_.-]+", "-", id)
        """Stands in the marker and in the counter's label."""
        exact = compiled(pattern)
        if exact.search(b""):
            raise RuleError("matches the empty text: it would hide everything or nothing")
        if group is not None and group > exact.groups:
            raise RuleError(f"secretGroup is {group}, but the regex has {exact.groups} groups")
        self.group = group
        head = "(?i)" if pattern.startswith("(?i)") else ""
        if pattern[len(head) :].startswith(r"\b"):
            rest = pattern[len(head) + 2 :]
            one_branch = "|" not in re.sub(r"\\.|\[[^\]]*\]|\([^()]*\)", "", rest)
            if one_branch and exact.groups == 0:
                self.group, pattern = 1, f"{head}{_EDGE}({rest})"
            elif one_branch and group is not None:
                pattern = head + _EDGE + rest
            exact = compiled(pattern)
        loose = _loose(pattern)
        self.anchored = loose != pattern
        """It asks for the start or end of the text, so each text has to be searched alone."""
        self.pattern = _short_headed(loose)
        """For candidates: finds something wherever the rule does, and perhaps more."""
        self.keywords = tuple(word.lower() for word in keywords if word)
        self._exact = exact
        self._alone = self.anchored or r"\C" in pattern  # \C is any byte, even the one between texts
        self._minimum = minimum
        self._allow = tuple(allow)
        self._check = check
        self._secret = exact.groupindex.get(b"secret") if exact.groups else None

    @cached_property
    def maybe(self) -> Callable[[bytes], Any]:
        """Search for a candidate."""
        return compiled(f"(?m:{self.pattern})", capture=False).search  # type: ignore[no-any-return]  # re2 is untyped

    def find(self, texts: Sequence[bytes]) -> Iterator[tuple[int, int, int]]:
        """Where the secrets are: number of the text, start and end in it. One search over all the texts."""
        if self._alone and len(texts) > 1:
            for number, text in enumerate(texts):
                yield from ((number, start, end) for _, start, end in self.find([text]))
            return
        search = self._exact.search
        data, starts = joined(texts)
        place = 0
        while found := search(data, place):
            first, last = found.span()
            number = bisect_right(starts, first) - 1
            shift = starts[number]
            start, end = self._part(found)
            start, end = start - shift, end - shift
            if start < end and self._counts(texts[number], (first - shift, last - shift), (start, end)):
                yield number, start, end
            elif self._check:  # such patterns are short: trying the next byte stays linear
                last = first
            place = max(last, first + 1)

    def _part(self, found: Any) -> Span:
        if self._secret:
            span = found.span(self._secret)
        elif self.group:
            span = found.span(self.group)
        elif self.group is None:
            return found.span()  # type: ignore[no-any-return]  # re2 is untyped
        else:  # gitleaks: group 0 means the first group that holds something
            span = next((s for n in range(1, self._exact.groups + 1) if (s := found.span(n))[0] < s[1]), (-1, -1))
        return span if span[0] >= 0 else found.span()  # type: ignore[no-any-return]  # re2 is untyped

    def _counts(self, data: bytes, whole: Span, secret: Span) -> bool:
        if self._check and not self._check(data, *secret):
            return False
        if self._minimum and entropy(data[secret[0] : secret[1]]) <= self._minimum:
            return False
        return not any(allow.covers(data, whole, secret) for allow in self._allow)


_LONG_HEAD = re.compile(re.escape(_EDGE) + r"\((\[[^\]]+\])\{\d+(?:,\d*)?\}([\w:;,/@#=-][^?*{|][^|]*)\)", re.DOTALL)
"""A counted class, and behind it a character that has to be there."""


def _short_headed(pattern: str) -> str:
    """`[0-9a-f]{32}-…` as `[0-9a-f]-…`.

    While such a head is counted, the automaton of all rules keeps every count beside everything else that may begin:
    where each line has hexadecimal ids, one such rule made the scan of all take half as long again.
    """
    found = _LONG_HEAD.fullmatch(pattern)
    return f"{found[1]}{found[2]}" if found else pattern


def _loose(pattern: str) -> str:
    """The pattern with its anchors widened to quotes, so that it finds a JSON value inside the raw line too."""
    out, place, in_class = [], 0, False
    while place < len(pattern):
        char = pattern[place]
        if char == "\\":
            pair = pattern[place : place + 2]
            out.append({r"\A": "(?:^|[\"'\\n])", r"\z": "(?:$|[\"'\\n])"}.get(pair, pair) if not in_class else pair)
            place += 2
            continue
        if in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
            if pattern[place + 1 : place + 2] == "]" or pattern[place + 1 : place + 3] == "^]":
                size = 2 if pattern[place + 1] == "]" else 3
                out.append(pattern[place : place + size])
                place += size
                continue
        elif char == "^":
            char = "(?:^|[\"'\\n])"
        elif char == "$":
            char = "(?:$|[\"'\\n])"
        out.append(char)
        place += 1
    return "".join(out)
