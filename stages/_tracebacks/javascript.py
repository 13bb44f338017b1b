"""Stack traces of JavaScript, as V8 writes them (Node.js, Deno, Chrome)."""

from __future__ import annotations

import re

from ._trace import Frame, Grammar, Raised, head

_FRAME = re.compile(
    r"\s+at (?:async )?(?:([^()\[]+) (?:\[as [^\]]+\] )?"
    r"\((?:(?:file://)?(.+?):\d+:\d+|(<anonymous>|native|index \d+))\)|(?:file://)?([^()]+?):\d+:\d+)(?: \{)?$"
)
_HEAD = re.compile(
    r"(?:Uncaught |Unhandled |\[)?((?:[\w$]+\.)*[A-Z][\w$]*(?:Error|Exception|Rejection)|Error)"
    r"(?: \[\w+\])?(?:: (.*?))?(?:\] \{)?$"
)
_INLINE = re.compile(r"(?<![\w.$])([\w$.]*(?:Error|Exception))(?: \[\w+\])?(?:: (.*)|$)")
_NAMED = re.compile(r"([A-Z][\w$.]*)(?: \[\w+\])?(?:: (.*))?$")
_CAUSE = re.compile(r"\s+\[cause\]: \[?(.*?)(?:\] \{|\]|)$")
_MEMBERS = re.compile(r"\s+\[errors\]: \[$")


def parse(lines: list[str]) -> Raised | None:
    """The exception raised last."""
    top: Raised | None = None
    current: Raised | None = None
    group: Raised | None = None
    is_open = True
    for place, line in enumerate(lines):
        if found := _FRAME.match(line):
            if current is None:
                named = head(lines[:place], _HEAD, _INLINE)
                top = current = named or _named(lines[place - 1].strip() if place else "")
            if is_open:
                current.frames.append(Frame(found[2] or found[3] or found[4], found[1] or "<anonymous>"))
        elif current is None:
            if _MEMBERS.match(line):
                top = current = group = head(lines[:place], _HEAD, _INLINE) or Raised("AggregateError", "")
        elif cause := _CAUSE.match(line):
            current.cause = current = _named(cause[1])
            is_open = True
        elif group is not None and (member := _HEAD.match(line.strip())):
            current = Raised(member[1], member[2] or "")
            group.children.append(current)
            is_open = True
        else:
            is_open = is_open and not current.frames  # another trace in the same text
    return top


def _named(line: str) -> Raised:
    found = _HEAD.match(line) or _NAMED.match(line)
    return Raised(found[1], found[2] or "") if found else Raised("Error", line)


GRAMMAR = Grammar(
    "javascript",
    re.compile(r"^[ \t]+at .*(?::\d+:\d+\)?|\))(?: \{)?$", re.MULTILINE),
    parse,
    re.compile(r"[/\\]node_modules[/\\]|^(?:node:|internal/|native\n|index \d|<anonymous>|webpack/|$)"),
)
