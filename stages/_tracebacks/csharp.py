"""Stack traces of C# and the other languages of .NET."""

from __future__ import annotations

import re
from itertools import pairwise

from ._trace import Frame, Grammar, Raised

_FRAME = re.compile(
    r"\s+at ([^\s(][^(]*?) ?\([^()]*\)"
    r"(?: in (.+):line \d+| \[0x[0-9a-f]+\] in (?:<[^>]*>|(.+)):\d+ ?(?:<---)?)?$"  # the latter is Mono's
)
_HEAD = re.compile(r"(?:.*?\s)?((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Exception|Error))(?: \([^)]*\))?(?:: (.*)|$)")
_INNER = re.compile(r"\s*---> ")


def parse(lines: list[str]) -> Raised | None:
    """The exception raised last."""
    first = next((place for place, line in enumerate(lines) if _FRAME.match(line)), None)
    if first is None:
        return None
    chain: list[Raised] = []
    for part in _INNER.split("\n".join(lines[:first])):
        chain += [Raised(m[1], m[2] or "") for m in map(_HEAD.match, part.split("\n")) if m][:1]
    if not chain:
        return None
    for outer, inner in pairwise(chain):
        outer.cause = inner
    place = len(chain) - 1
    for line in lines[first:]:
        if frame := _FRAME.match(line):
            file = frame[2] or frame[3] or frame[1].rpartition(".")[0]
            chain[place].frames.append(Frame(file, frame[1]))
        elif "--- End of inner exception stack trace ---" in line:
            place = max(place - 1, 0)
    return chain[0]


GRAMMAR = Grammar(
    "csharp",
    re.compile(r"^[ \t]+at .*\(", re.MULTILINE),
    parse,
    re.compile(r"\n(?:System|Microsoft)\."),
)
