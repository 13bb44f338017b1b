"""Python's tracebacks, with PEP 654 groups, PEP 657 carets and PEP 678 notes; loguru's too."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from ._trace import Frame, Grammar, Raised

_HEAD = "Traceback (most recent call last):"
_GROUP = f"Exception Group {_HEAD}"
_FRAME = re.compile(r'[ >] File "([^"]++|.+?)", line \d+(?:, in (.+))?$')
_RAISED = re.compile(r"([^\W\d]\w*(?:\.(?:<locals>|[^\W\d]\w*))*)(?::(?: (.*))?)?$")
_LINKS = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_MARGINS = ("", " ", "\t")
_MARGIN = re.compile(r" *([|+])(.*)")


class Chain:
    """Exceptions linked to each other at one depth of groups; fed line by line, the group's margin cut off."""

    def __init__(self, *, started: bool = False) -> None:
        self.last: Raised | None = None
        """The one raised last so far."""
        self._frames: list[Frame] | None = [] if started else None
        self._linked = False

    def feed(self, line: str) -> None:
        """The next line."""
        if line.endswith(_HEAD):
            self.begin([])
        elif self._frames is None:
            self._between(line)
        elif found := _FRAME.match(line):
            self._frames.append(Frame(found[1], found[2] or "<module>"))
        elif line[:1] not in _MARGINS and line.strip():
            found = _RAISED.match(line)
            self._raise(found[1].removeprefix("__main__.") if found else "", (found[2] or "") if found else "")

    def begin(self, frames: list[Frame]) -> None:
        """Another traceback was headed; what it has of frames is known, innermost last."""
        self.end()
        self._frames = frames

    @property
    def is_open(self) -> bool:
        """Whether a traceback was begun whose exception is not yet known."""
        return self._frames is not None

    def _between(self, line: str) -> None:
        """In front of the first traceback, or in the rest of a message, or between two."""
        if line in _LINKS:
            self._linked = self.last is not None
        elif self.last is None and (found := _FRAME.match(line)) and not found[2]:
            self._frames = [Frame(found[1], "<module>")]  # a syntax error of the main script has no header

    def end(self) -> None:
        """The text is over, or another header came: frames without an exception were cut off."""
        if self._frames:
            self._raise("", "")
        self._frames = None

    def _raise(self, name: str, message: str) -> None:
        new = Raised(name, message, (self._frames or [])[::-1])
        self._frames = None
        if self.last is None:
            self.last = new
        elif self._linked:
            new.cause, self.last = self.last, new
        else:
            # A traceback inside a message (a worker's, a remote one): what was wrapped.
            *_, root = self.last.path()
            root.cause = new
        self._linked = False


def parse(lines: list[str]) -> Raised | None:
    """The exception raised last."""
    depths = [Chain()]
    in_group = False
    if not [line for line in lines if line.endswith(_GROUP)]:
        feed = depths[0].feed
        for line in lines:
            if line[:4] != "    " or line.endswith(_HEAD):  # the code of a frame says nothing
                feed(line)
        lines = []
    for line in lines:
        margin = _MARGIN.match(line)
        in_group = margin is not None and (in_group or margin[2].endswith(_GROUP))
        if margin is None or not in_group:
            for chain in depths[1:]:
                chain.end()
            del depths[1:]
            depths[0].feed(line)
            continue
        depth = max(margin.start(1) // 2 - 1, 0)
        rest = margin[2]
        if margin[1] == "|" or not rest.startswith("-"):
            if depth < len(depths):
                depths[depth].feed(rest.removeprefix(" "))
        elif not rest.strip("-"):
            del depths[max(depth, 1) :]
        else:
            depth += rest.startswith("-+-")
            del depths[max(depth, 1) :]
            if len(depths) == depth and (parent := depths[-1].last):
                depths.append(_Member(parent))
    depths[0].end()
    return depths[0].last


class _Member(Chain):
    """The chain of one member of a group: its last exception is the member."""

    def __init__(self, parent: Raised) -> None:
        super().__init__(started=True)
        self._place = len(parent.children)
        self._parent = parent

    def _raise(self, name: str, message: str) -> None:
        super()._raise(name, message)
        assert self.last is not None
        self._parent.children[self._place :] = [self.last]


def of_objects(value: Any) -> Raised | None:
    """The exception raised last, from the objects of structlog's `dict_tracebacks`; None for anything else."""
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(one, dict) and "exc_type" in one for one in value)
    ):
        return None
    chain = [_of_object(one) for one in value]  # the one raised last comes first
    for outer, inner in pairwise(chain):
        outer.cause = inner
    return chain[0]


def _of_object(one: dict[str, Any]) -> Raised:
    frames = one.get("frames")
    members = one.get("exceptions")
    return Raised(
        str(one["exc_type"]),
        str(one.get("exc_value") or "").partition("\n")[0],
        [
            Frame(str(frame.get("filename")), str(frame.get("name")))
            for frame in reversed(frames if isinstance(frames, list) else [])
            if isinstance(frame, dict)
        ],
        children=[
            raised for member in (members if isinstance(members, list) else []) if (raised := of_objects(member))
        ],
    )


FOREIGN = re.compile(r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib[/\\]python\d|\\Python\d+\\Lib\\|^<frozen ")
"""Code of the standard library and of installed packages."""

GRAMMAR = Grammar("python", re.compile(r'Traceback \(most recent call last\):|^  File "', re.MULTILINE), parse, FOREIGN)
