"""One scan for many rules over many lines: which lines may hold a secret, and by which rules."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, TypeAlias

import msgspec
import re2

from ._escapes import BACKSLASH, ESCAPE, unescape, unescape_json
from ._rules import Rule, RuleError, compiled

_GROUP = 16
"""More rules in one alternation make RE2's automaton outgrow its memory."""
_MEMORY = 128 << 20
_SEPARATOR = b"\xff" + bytes(1 + byte % 8 for byte in os.urandom(10))
"""Stands before the number of each line, inside this process only; drawn anew, so that no line can hold it. Its first
byte is never part of UTF-8, so (but for \\C) no pattern runs over it."""


_At: TypeAlias = Callable[[bytes, int], tuple[int, int]]
"""The number of the line at a place of a text, and where it ends."""


class _Group(msgspec.Struct):
    """Rules whose candidates are found by one scan."""

    search: Callable[..., Any]
    rules: list[Rule]


class Scan:
    """Finds the rules that may find something.

    Rules with keywords cost one scan for all their keywords together, however many they are; rules without stand
    in the scan themselves, a dozen at a time.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        announced: dict[bytes, list[Rule]] = {}
        for rule in rules:
            for word in rule.keywords:
                announced.setdefault(word.encode(), []).append(rule)
        words = sorted(announced, key=lambda word: (-len(word), word))
        self._announced = {  # the scan reports the longest: it stands for those inside it as well
            word: list(dict.fromkeys(rule for other in words if other in word for rule in announced[other]))
            for word in words
        }
        self._keywords = "(?i:" + "|".join(re2.escape(word.decode()) for word in words) + ")" if words else ""
        direct = [rule for rule in rules if not rule.keywords]
        first, rest = direct[:_GROUP], direct[_GROUP:]
        self._groups = list(_grouped(first, self._keywords)) if first or words else []
        for place in range(0, len(rest), _GROUP):
            self._groups += _grouped(rest[place : place + _GROUP], "")
        self._both: set[bytes] = set()
        """Keywords that a rule without keywords may match as well."""
        for rule in direct:
            fold = compiled(f"(?m:{rule.pattern})", capture=False, fold=True)
            self._both.update(word for word in words if fold.search(word))

    def search(self, lines: Sequence[bytes], *, raw: bool, text: bytes | None = None) -> dict[int, list[Rule]]:
        """Which lines may hold a secret, and by which rules. `raw`: lines may be plain text, not JSON alone.

        `text`: the lines joined by line breaks, if somebody has that.
        """
        if text is None:
            text = b"\n".join(lines)
        hits: dict[int, dict[Rule, None]] = {}
        escaped = [place for place, line in enumerate(lines) if BACKSLASH in line] if BACKSLASH in text else []
        if raw or not escaped:
            self._scan(text, _Lines(lines).at, hits)
        elif len(escaped) < len(lines):
            others = list(lines)
            for place in escaped:
                others[place] = b""
            self._scan(b"\n".join(others), _Lines(others).at, hits)
        if escaped:
            numbered = _numbered([lines[place] for place in escaped], escaped)
            once = unescape(numbered) if raw else unescape_json(numbered)
            self._scan(once, _numbered_at, hits)
            if inner := b"".join(_still_escaped(once)):
                self._scan(unescape(inner), _numbered_at, hits)
        return {place: list(rules) for place, rules in hits.items()}

    def candidates(self, data: bytes) -> list[Rule]:
        """The rules that may find something in one text."""
        return self.search([data], raw=True).get(0, [])

    def _scan(self, text: bytes, at: _At, hits: dict[int, dict[Rule, None]]) -> None:
        """Add what the lines of a text hold."""
        announced, both = self._announced, self._both
        for group in self._groups:
            search = group.search
            place = until = 0
            while found := search(text, place):
                start, end = found.span()
                if start >= until:
                    number, until = at(text, start)
                    rules = hits.setdefault(number, {})
                word = text[start:end].lower()
                by_word = announced.get(word)
                if by_word is not None:
                    rules.update(dict.fromkeys(by_word))
                    place = start + 1
                    if word not in both:
                        continue
                rules.update(dict.fromkeys(group.rules))
                if announced and group is self._groups[0]:
                    rules.update(dict.fromkeys(self._announced_in(text, start, until)))
                place = until

    @cached_property
    def _keyword_search(self) -> Callable[..., Any]:
        return compiled(self._keywords, capture=False, memory=_MEMORY).search  # type: ignore[no-any-return]  # re2 is untyped

    def _announced_in(self, text: bytes, start: int, end: int) -> Iterator[Rule]:
        while found := self._keyword_search(text, start, end):
            start = found.start() + 1
            yield from self._announced[found.group().lower()]


def _grouped(rules: list[Rule], keywords: str) -> Iterator[_Group]:
    named = re.compile(r"(?<!\\)\(\?P?<\w+>")
    parts = [f"(?m:{named.sub('(?:', rule.pattern)})" for rule in rules] + ([keywords] if keywords else [])
    try:
        yield _Group(compiled("|".join(parts), capture=False, memory=_MEMORY).search, rules)
    except RuleError:
        if len(parts) == 1:
            raise
        half = len(rules) // 2
        yield from _grouped(rules[:half], keywords if half else "")
        if half:
            yield from _grouped(rules[half:], "")
        else:
            yield _Group(rules[0].maybe, rules)
            yield from _grouped([], keywords)


_marks: list[bytes] = []


def _numbered(lines: Sequence[bytes], numbers: Sequence[int]) -> bytes:
    """The lines with their numbers before them, on a line of its own, so that ^ and $ hold at both ends."""
    while numbers and len(_marks) <= numbers[-1]:
        _marks.append(b"\n%b%d\xff\n" % (_SEPARATOR, len(_marks)))
    pieces = [b""] * (2 * len(lines))
    pieces[::2] = _marks[: len(lines)] if isinstance(numbers, range) else [_marks[number] for number in numbers]
    pieces[1::2] = lines
    pieces[:1] = [piece[1:] for piece in pieces[:1]]
    return b"".join(pieces)


def _numbered_at(text: bytes, place: int) -> tuple[int, int]:
    mark = text.rfind(_SEPARATOR, 0, place + len(_SEPARATOR)) + len(_SEPARATOR)
    end = text.find(_SEPARATOR, place + 1)
    return int(text[mark : text.index(b"\xff", mark)]), len(text) if end < 0 else end


def _still_escaped(text: bytes) -> Iterator[bytes]:
    """The `_numbered` lines with escapes in them, with their numbers."""
    found = ESCAPE.search(text)
    while found:
        place = found.start()
        start, end = text.rfind(_SEPARATOR, 0, place), text.find(_SEPARATOR, place)
        end = len(text) if end < 0 else end
        yield text[start:end]
        found = ESCAPE.search(text, end)


class _Lines:
    """Lines that are joined by line breaks, each of which counts to the line behind it: `[^a-z]key` may begin there."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(map(len, self._lines)))

    def at(self, _text: bytes, place: int) -> tuple[int, int]:
        """The number of the line at a place, and where it ends."""
        ends = self._ends
        number = bisect_right(range(len(ends)), place, key=lambda number: ends[number] + number)
        return number, ends[number] + number
