"""PHP's uncaught exceptions, exceptions written as text, and Monolog's (Laravel, Symfony) stack traces."""

from __future__ import annotations

import re
from itertools import pairwise

from ._trace import Frame, Grammar, Raised

_TYPE = r"\\?([A-Za-z_]\w*(?:\\\w+)*)"
_MARKED = re.compile(rf"(?:^|.*?\b)(?:Uncaught|Next) {_TYPE}(?:: (.*)|(?= in \S+:\d+$))")
_NAMED = re.compile(r"(?:^|.*?[^\w\\])\\?((?:\w+\\)*\w*(?:Exception|Error))(?:: (.*)|(?= in \S+:\d+$))")
_THROWN = re.compile(r"(?:^|.* )in (\S.*?):(\d+)$")
_OBJECT = re.compile(
    r"\[object\] \(\\{0,2}([A-Za-z_]\w*(?:\\{1,2}\w+)*)\(code: [^)]*\): (.*)$"
)  # its JSON has \\ for \
_AT = re.compile(r"(?:^|(.*) )at (\S.*?):\d+\)$")
_CALL = re.compile(r"#\d+ (?:(.+?)\(\d+\)|\[internal function\])?:? ?(\{main\}|[^\s(]+)(?:\(.*\))?$")
_STACK = re.compile(r"(?:Stack trace:|\[stacktrace\])$")


def parse(lines: list[str]) -> Raised | None:
    """The exception raised last. PHP writes the first one first, Monolog the last one."""
    chain: list[Raised] = []
    monolog = False
    above: list[str] = []
    where: str | None = None
    for line in lines:
        if _STACK.match(line.strip()):
            raised, where, monolog = _head(above)
            if raised is None:
                return None
            chain.append(raised)
            above = []
        elif where is not None and (call := _CALL.match(line.strip())):
            # `#0 file(9): f()` says that f was called there; where it was thrown stands in the header.
            function = call[2].replace("\\\\", "\\") if monolog else call[2]
            chain[-1].frames.append(Frame(where, function))
            where = call[1] or ""
        else:
            where = None if line.strip() else where
            above.append(line)
    order = chain if monolog else chain[::-1]
    for outer, inner in pairwise(order):
        outer.cause = inner
    return order[0] if order else None


def _head(above: list[str]) -> tuple[Raised | None, str, bool]:
    """The exception that the lines above a stack name, the file it was thrown in, and whether Monolog wrote it."""
    for place, line in reversed(list(enumerate(above))):
        if found := _OBJECT.search(line):
            message = found[2]
            if at := next(filter(None, map(_AT.match, [message, *above[place + 1 :]])), None):
                message = (at[1] or "") if at.string is message else message
                return Raised(found[1].replace("\\\\", "\\"), message), at[2], True
    found, end = next(((found, place) for place, line in enumerate(above) if (found := _THROWN.match(line))), (None, 0))
    if found is None:
        return None, "", False
    for pattern in (_MARKED, _NAMED):
        for line in above[end::-1]:
            if named := pattern.match(line):
                message = named[2] or ""
                return Raised(named[1], message.removesuffix(f"in {found[1]}:{found[2]}").rstrip()), found[1], False
    return None, "", False


GRAMMAR = Grammar(
    "php",
    re.compile(r"^[ \t]*(?:Stack trace:|\[stacktrace\])$", re.MULTILINE),
    parse,
    re.compile(r"[/\\]vendor[/\\]|^\n"),
)
