"""Dart's and Flutter's stack traces."""

from __future__ import annotations

import re

from ._trace import Frame, Grammar, Raised

_FRAME = re.compile(r"#\d+ {2,}(\S.*) \(((?:package|dart|file|org-dartlang-\w+):[^()]*?|[^():]+?)(?::\d+){0,2}\)$")
_TERSE = re.compile(r"((?:(?:package|file):|/)\S+\.dart|dart:\S+)(?: \d+(?::\d+)?)? {2,}(\S.*)$")
"""As the package `stack_trace` writes them."""
_NAMED = re.compile(r"(?:.*\s)?([A-Z_]\w*(?:Error|Exception|Failure))(?: \([^)]*\))?(?:: ?(.*)|$)")
_UNHANDLED = re.compile(r"(?:.*\b)?Un(?:handled|expected) [Ee]xception:(?: (.*))?$")
_THROWN = re.compile(r"The following (?:(\w+) (?:object )?was thrown|message was thrown)\b")
_FLUTTER = re.compile(r"[A-Z]/flutter ?\( *\d+\): ")
_SPOKEN = (
    ("Bad state:", "StateError"),
    ("Invalid argument", "ArgumentError"),
    ("Unsupported operation:", "UnsupportedError"),
    ("Concurrent modification", "ConcurrentModificationError"),
    ("Null check operator", "TypeError"),
    ("type '", "TypeError"),
    ("Stack Overflow", "StackOverflowError"),
    ("Out of Memory", "OutOfMemoryError"),
    ("Exception: ", "Exception"),
    ("Exception", "Exception"),
)
"""What some of Dart's own errors say instead of their name."""


def parse(lines: list[str]) -> Raised | None:
    """The exception that was thrown."""
    lines = [_FLUTTER.sub("", line, count=1) for line in lines]
    first = next((place for place, line in enumerate(lines) if _frame(line)), None)
    if first is None:
        return None
    raised = _head(lines[:first])
    for line in lines[first:]:
        if frame := _frame(line):
            raised.frames.append(frame)
        elif line.startswith("#"):
            break
    return raised


def _frame(line: str) -> Frame | None:
    if found := _FRAME.match(line):
        return Frame(found[2], found[1])
    return Frame(found[1], found[2]) if (found := _TERSE.match(line)) else None


def _head(above: list[str]) -> Raised:
    for place, line in enumerate(above):
        if found := _THROWN.search(line):
            message = next(filter(str.strip, above[place + 1 :]), "").strip()
            return _named(message, found[1] or "")
        if found := _UNHANDLED.match(line):
            return _named((found[1] or next(iter(above[place + 1 :]), "")).strip())
    for line in above:
        if found := _NAMED.match(line):
            return Raised(found[1], found[2] or "")
    last = next((text for line in reversed(above) if (text := line.strip())), "")
    return _named(last) if last else Raised("", "")


def _named(text: str, name: str = "") -> Raised:
    if found := _NAMED.match(text):
        return Raised(name or found[1], found[2] or "")
    spoken = next((known for start, known in _SPOKEN if text.startswith(start)), "")
    return Raised(name or spoken, text.removeprefix("Exception: "))


GRAMMAR = Grammar(
    "dart",
    re.compile(r"#\d+ {2,}\S.* \(|^(?:(?:package|file|dart):|/)\S+(?: \d+(?::\d+)?)? {2,}\S", re.MULTILINE),
    parse,
    re.compile(r"^(?:dart|org-dartlang-\w+):|^package:(?:flutter|flutter_test|async|stack_trace|test_api)/"),
)
