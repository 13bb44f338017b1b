"""Ruby's backtraces, and Rails' way to log them."""

from __future__ import annotations

import re

from ._trace import Frame, Grammar, Raised

_FILE = r"(<internal:[^\s:]+>|[^\s:]+)"
_FRAME = re.compile(rf"\s*(?:\d+: )?(?:from )?{_FILE}:\d+:in [`'](.+?)'$")
_HEAD = re.compile(rf"(?:.*\s)?{_FILE}:\d+:in [`'](.+?)': (.*?)(?: \(([A-Z][\w:]*)\))?$")
_RAILS = re.compile(r"(?:.*\s)?(?!Traceback )([A-Z]\w*(?:::[A-Z]\w*)*) \((.*)\):$")


def parse(lines: list[str]) -> Raised | None:
    """The exception raised last."""
    top: Raised | None = None
    current: Raised | None = None
    reverse = any(
        line.endswith("Traceback (most recent call last):") for line in lines
    )  # Ruby 2.5 to 2.7 on a terminal
    early: list[Frame] = []
    for line in lines:
        if found := _FRAME.match(line):
            (early if current is None else current.frames).append(Frame(found[1], found[2]))
        elif head := _HEAD.match(line):
            new = Raised(head[4] or "RuntimeError", head[3], [Frame(head[1], head[2])])
            if current is None:
                top = new
            else:
                current.cause = new
            current = new
        elif current is None and (rails := _RAILS.match(line)):
            top = current = Raised(rails[1], rails[2])
    if top is not None and reverse:
        top.frames += early[::-1]
    return top if top is not None and top.frames else None


GRAMMAR = Grammar(
    "ruby",
    re.compile(r":\d+:in [`']"),
    parse,
    re.compile(r"/gems/|/lib/ruby/|^<internal:"),
)
