"""One scan for many rules over many lines: which lines may hold a secret, and by which rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import msgspec
import re2

from ._escapes import BACKSLASH, SEPARATOR, unescape_all
from ._rules import Rule, RuleError, compiled

_GROUP = 12
"""More rules in one alternation make RE2's automaton outgrow its memory."""
_MEMORY = 128 << 20


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

    def search(self, lines: Sequence[bytes], *, raw: bool) -> dict[int, list[Rule]]:
        """Which lines may hold a secret, and by which rules. `raw`: lines may be plain text, not JSON alone."""
        if not lines:
            return {}
        texts, owners = list(lines), list[int]()
        if escaped := [place for place, line in enumerate(lines) if BACKSLASH in line]:
            once = unescape_all([lines[place] for place in escaped])
            if raw:
                texts += once
                owners += escaped
            else:
                for place, text in zip(escaped, once, strict=True):
                    texts[place] = text
            inner = [(place, text) for place, text in zip(escaped, once, strict=True) if BACKSLASH in text]
            texts += unescape_all([text for _, text in inner])
            owners += [place for place, _ in inner]
        hits: dict[int, dict[Rule, None]] = {}
        for number, rules in self._scan(texts).items():
            place = number if number < len(lines) else owners[number - len(lines)]
            hits.setdefault(place, {}).update(rules)
        return {place: list(rules) for place, rules in hits.items()}

    def candidates(self, data: bytes) -> list[Rule]:
        """The rules that may find something in one text."""
        return self.search([data], raw=True).get(0, [])

    def _scan(self, texts: Sequence[bytes]) -> dict[int, dict[Rule, None]]:
        text = _numbered(texts)
        announced, both = self._announced, self._both
        hits: dict[int, dict[Rule, None]] = {}
        for group in self._groups:
            search = group.search
            place = until = 0
            while found := search(text, place):
                start, end = found.span()
                if start >= until:
                    rules = hits.setdefault(_number(text, start), {})
                    until = _end(text, start)
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
        return hits

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


_between: list[bytes] = []


def _numbered(texts: Sequence[bytes]) -> bytes:
    """The texts with their number in between, on a line of its own, so that ^ and $ hold at both ends."""
    while len(_between) < len(texts):
        _between.append(b"\n%b%d\n" % (SEPARATOR, len(_between) + 1))
    pieces = [b""] * (2 * len(texts) - 1)
    pieces[::2] = texts
    pieces[1::2] = _between[: len(texts) - 1]
    return b"".join(pieces)


def _number(text: bytes, place: int) -> int:
    """The number of the text that this place lies in."""
    mark = text.rfind(SEPARATOR, 0, place + len(SEPARATOR))
    return int(text[mark + len(SEPARATOR) : text.index(b"\n", mark)]) if mark >= 0 else 0


def _end(text: bytes, start: int) -> int:
    end = text.find(SEPARATOR, start)
    return len(text) if end < 0 else end
