"""Go's panics and fatal errors, and the stacks that its loggers write."""

from __future__ import annotations

import re

from ._trace import Frame, Grammar, Raised

_PANIC = re.compile(r"\b(panic|fatal error)(?: serving \S+)?: (.*?)(?: \[recovered(?:, repanicked)?\])?$")
_TYPED = re.compile(r"\(([\w./*]+)\)|(runtime error)(?:: (.*)|$)|([\w./*]+)\{")
_CALL = re.compile(r"(?:created by )?(\S.*?)(?:\([^()]*\))?(?: in goroutine \d+)?$")
_PLACE = re.compile(r"\t(.+\.(?:go|s)):\d+")


def parse(lines: list[str]) -> Raised | None:
    """The exception raised last."""
    last: Raised | None = None
    frames: list[Frame] = []
    for place, line in enumerate(lines):
        if line.startswith("goroutine ") and frames:
            break
        if not frames and (found := _PANIC.search(line)):
            new = Raised(found[1], found[2])
            if found[1] == "panic" and (typed := _TYPED.match(found[2])):
                new = Raised(typed[1] or typed[2] or typed[4], found[2] if typed[3] is None else typed[3])
            new.cause, last = last, new
        elif (where := _PLACE.match(line)) and place and (call := _CALL.match(lines[place - 1])):
            frames.append(Frame(where[1], call[1]))
    if not frames:
        return None
    last = last or Raised("", "")
    last.frames = frames
    return last


GRAMMAR = Grammar(
    "go",
    re.compile(r"^\t\S.*\.(?:go|s):\d", re.MULTILINE),
    parse,
    re.compile(r"^/usr/(?:local|lib)/go\b|/go/src/|/libexec/src/|/pkg/mod/|/vendor/|\n(?:runtime|testing|panic)\b"),
)
