"""Python's tracebacks as rich draws them: in boxes, with code and locals, groups as nested boxes."""

from __future__ import annotations

import re

from ._trace import Frame, Grammar, Raised
from .python import FOREIGN, Chain

_TITLED = re.compile(r"(\s*)[╭+][─-]+ (?:Traceback \(most recent call last\)|Sub-exception #\d+) [─-]+[╮+]$")
_TRACEBACK = re.compile(r"[╭+][─-]+ Traceback \(most recent call last\) [─-]+[╮+]$")
_MEMBER = re.compile(r"[╭+][─-]+ Sub-exception #\d+ [─-]+[╮+]$")
_OPEN = re.compile(r"[╭+][─-]+(?: [^─]+ [─-]+)?[╮+]$")
_CLOSE = re.compile(r"[╰+][─-]+[╯+]$")
_FRAME = re.compile(r"(\S.*):\d+ in (\S.*)$")


def parse(lines: list[str]) -> Raised | None:
    """The exception raised last."""
    first = next(filter(None, map(_TITLED.match, lines)), None)
    if first is None:
        return None
    # A handler that writes the time in a column of its own indents the whole.
    margin = first[1]
    return _read([line.removeprefix(margin).rstrip() for line in lines])


def _read(lines: list[str]) -> Raised | None:
    """The chain in these lines, their own boxes not nested in another."""
    chain = Chain()
    place = 0
    while place < len(lines):
        line = lines[place]
        place += 1
        if _TRACEBACK.match(line):
            inner, place = _inside(lines, place)
            chain.begin(_frames(inner))
        elif _MEMBER.match(line):
            inner, place = _inside(lines, place)
            member = _read(inner)
            if member is not None and chain.last is not None:
                chain.last.children.append(member)
        elif _OPEN.match(line):
            _, place = _inside(lines, place)  # the code of a syntax error
        else:
            if chain.last is None and not chain.is_open and ": " in line:
                chain.begin([])  # a member without a traceback of its own
            chain.feed(line)
    chain.end()
    return chain.last


def _inside(lines: list[str], place: int) -> tuple[list[str], int]:
    """What stands in the box that was opened on the line before, and the place behind it."""
    inner: list[str] = []
    while place < len(lines) and not _CLOSE.match(lines[place]):
        line = lines[place]
        if line[:1] not in "│|":
            break  # cut off
        inner.append(line[2:].rstrip("│|").rstrip() if line[-1:] in "│|" and len(line) > 1 else line[2:])
        place += 1
    return inner, place + 1


def _frames(inner: list[str]) -> list[Frame]:
    """Innermost last, as they stand there. Code is indented or marked; a long path is folded over several lines."""
    frames: list[Frame] = []
    parts: list[str] = []
    depth = 0
    for line in [*inner, ""]:
        if _OPEN.match(line):
            depth += 1
        elif _CLOSE.match(line):
            depth -= 1
        elif depth == 0 and line[:1] not in ("", " ", "❱", "\\", "│", "|"):
            parts.append(line)
        elif parts:
            found = _FRAME.match("".join(parts)) or _FRAME.match(" ".join(parts))
            if found:
                frames.append(Frame(found[1], found[2]))
            parts = []
    return frames


GRAMMAR = Grammar("python", re.compile(r"Traceback \(most recent call last\) [─-]"), parse, FOREIGN)
