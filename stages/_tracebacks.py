"""The grammar of stack traces: finds one in a text and says what was raised, where, and what caused it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final

import msgspec


class Frame(msgspec.Struct, frozen=True):
    """One call of a stack."""

    file: str
    function: str


class Raised(msgspec.Struct):
    """One exception of a trace."""

    type: str
    """Empty when the trace does not say it (cut off, or a bare stack)."""
    message: str
    """The first line of it."""
    frames: list[Frame] = []
    """Innermost first."""
    cause: Raised | None = None
    """What was being handled when this one was raised."""
    children: list[Raised] = []
    """The members of an exception group."""

    def path(self) -> Iterator[Raised]:
        """From this one to the root cause; of a group the first member's way."""
        one: Raised | None = self
        while one is not None:
            yield one
            one = one.cause or (one.children[0] if one.children else None)


class Trace(msgspec.Struct):
    """A whole trace."""

    language: str
    raised: Raised
    """The exception that the process reports: the one raised last."""

    @property
    def frame(self) -> Frame | None:
        """The innermost frame of the application's own code; of any code when there is none."""
        frames = [frame for one in self.raised.path() for frame in one.frames]
        return next(filter(self._is_own, frames), frames[0] if frames else None)

    @property
    def fingerprint(self) -> str:
        """12 hex digits, the same for the same fault: line numbers, messages and install folders do not count."""
        # Each fact once: how deep a recursion went does not matter either.
        facts = dict.fromkeys((self.language, *self._facts(self.raised)))
        return hashlib.sha256("\n".join(facts).encode("utf-8", "replace")).hexdigest()[:12]

    def _facts(self, raised: Raised) -> Iterator[str]:
        yield raised.type
        for frame in [f for f in raised.frames if self._is_own(f)] or raised.frames[:1]:
            yield _place(frame.file, frame.function)
        # Tasks fail in any order, and as often as there were tasks.
        yield from sorted({"\n".join(self._facts(child)) for child in raised.children})

    def _is_own(self, frame: Frame) -> bool:
        return _is_own(self.language, frame.file, frame.function)


@lru_cache(maxsize=4096)
def _is_own(language: str, file: str, function: str) -> bool:
    return not _FOREIGN[language].search(f"{file}\n{function}")


@lru_cache(maxsize=4096)
def _place(file: str, function: str) -> str:
    # The last two parts name a file well enough and do not know where it is installed.
    short = "/".join(re.split(r"[/\\]", file)[-2:])
    return _DIGITS.sub("0", f"{short}:{function}")


_LINE_CHARS = 1000  # no frame is longer, and no input may keep the patterns busy
_DIGITS = re.compile(r"\d+")
_FOREIGN: Final = {
    "python": re.compile(r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib[/\\]python\d|\\Python\d+\\Lib\\|^<frozen "),
    "java": re.compile(
        r"\n(?:javax?|jdk|sun|com\.sun|jakarta|kotlinx?|scala|groovy|clojure|android|androidx|org\.springframework|"
        r"org\.apache|org\.hibernate|org\.eclipse|org\.junit|io\.netty|io\.grpc|reactor|com\.fasterxml|com\.google)\."
    ),
    "javascript": re.compile(r"[/\\]node_modules[/\\]|^(?:node:|internal/|native\n|index \d|<anonymous>|webpack/|$)"),
    "go": re.compile(
        r"^/usr/(?:local|lib)/go\b|/go/src/|/libexec/src/|/pkg/mod/|/vendor/|\n(?:runtime|testing|panic)\b"
    ),
    "ruby": re.compile(r"/gems/|/lib/ruby/|^<internal:"),
    "csharp": re.compile(r"\n(?:System|Microsoft)\."),
}


def find(text: str) -> Trace | None:
    """The first stack trace in a text of whole lines, or None. The text around it does not matter."""
    lines = [line[:_LINE_CHARS].rstrip("\r") for line in text.split("\n")]
    short = "\n".join(lines)
    for language, hint, parse in _GRAMMARS:
        if hint.search(short) and (raised := parse(lines)):
            return Trace(language, raised)
    return None


# Python: PEP 654 groups, PEP 657 carets, PEP 678 notes.

_PY_HEAD = "Traceback (most recent call last):"
_PY_GROUP = f"Exception Group {_PY_HEAD}"
_PY_FRAME = re.compile(r'[ >] File "(.+?)", line \d+(?:, in (.+))?$')
_PY_RAISED = re.compile(r"([^\W\d]\w*(?:\.(?:<locals>|[^\W\d]\w*))*)(?::(?: (.*))?)?$")
_PY_LINKS = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_PY_MARGIN = re.compile(r" *([|+])(.*)")


class _PythonChain:
    """Exceptions linked to each other at one depth of groups; fed line by line, the group's margin cut off."""

    def __init__(self, *, started: bool = False) -> None:
        self.last: Raised | None = None
        self._frames: list[Frame] | None = [] if started else None
        self._linked = False

    def feed(self, line: str) -> None:
        if line.endswith(_PY_HEAD):
            self.end()
            self._frames = []
        elif self._frames is None:
            self._between(line)
        elif found := _PY_FRAME.match(line):
            self._frames.append(Frame(found[1], found[2] or "<module>"))
        elif line.strip() and line[0] not in " \t":
            found = _PY_RAISED.match(line)
            self._raise(found[1].removeprefix("__main__.") if found else "", (found[2] or "") if found else "")

    def _between(self, line: str) -> None:
        """In front of the first traceback, or in the rest of a message, or between two."""
        if line in _PY_LINKS:
            self._linked = self.last is not None
        elif self.last is None and (found := _PY_FRAME.match(line)) and not found[2]:
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


def _python(lines: list[str]) -> Raised | None:
    depths = [_PythonChain()]
    in_group = False
    if not any(line.endswith(_PY_GROUP) for line in lines):
        for line in lines:
            depths[0].feed(line)
        lines = []
    for line in lines:
        margin = _PY_MARGIN.match(line)
        in_group = margin is not None and (in_group or margin[2].endswith(_PY_GROUP))
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


class _Member(_PythonChain):
    """The chain of one member of a group: its last exception is the member."""

    def __init__(self, parent: Raised) -> None:
        super().__init__(started=True)
        self._place = len(parent.children)
        self._parent = parent

    def _raise(self, name: str, message: str) -> None:
        super()._raise(name, message)
        assert self.last is not None
        self._parent.children[self._place :] = [self.last]


# Java, Kotlin, Scala.

_JAVA_FRAME = re.compile(
    r"(\s+)at (?:[\w.@-]*/)*([\w.$]+\.[\w$<>-]+)"
    r"\(([\w$-]+\.(?:java|kt|kts|scala|groovy|clj)(?::\d+)?|Native Method|Unknown Source|<generated>)\)"
)
_JAVA_NAME = r"((?:[a-zA-Z_]\w*\.)+[A-Z][\w$]*)(?:: (.*)|$)"
_JAVA_HEAD = re.compile(rf'(?:Exception in thread ".*?" )?{_JAVA_NAME}')
_JAVA_INLINE = re.compile(rf"(?<![\w.$]){_JAVA_NAME}")
_JAVA_CAUSE = re.compile(rf"(\s*)Caused by: {_JAVA_NAME}")


def _java(lines: list[str]) -> Raised | None:
    first = next((place for place, line in enumerate(lines) if _JAVA_FRAME.match(line)), None)
    if first is None:
        return None
    top = current = _head(lines[:first], _JAVA_HEAD, _JAVA_INLINE) or Raised("", "")
    indent = len(lines[first]) - len(lines[first].lstrip())
    for line in lines[first:]:
        if (found := _JAVA_FRAME.match(line)) and len(found[1]) == indent:  # those of `Suppressed:` stand deeper
            file = found[3].partition(":")[0] if "." in found[3] else found[2].rpartition(".")[0]
            current.frames.append(Frame(file, found[2]))
        elif (cause := _JAVA_CAUSE.match(line)) and len(cause[1]) < indent:
            current.cause = current = Raised(cause[2], cause[3] or "")
    return top


def _head(above: list[str], at_start: re.Pattern[str], inline: re.Pattern[str]) -> Raised | None:
    """The line above the frames that names the exception: a message may have more lines, a log's header come before."""
    paragraph = above[max((place + 1 for place, line in enumerate(above) if not line.strip()), default=0) :]
    for lines in (paragraph, above):
        if found := next(filter(None, map(at_start.match, lines)), None):
            return Raised(found[1], found[2] or "")
    if found := next(filter(None, map(inline.search, reversed(above))), None):
        return Raised(found[1], found[2] or "")
    return None


# JavaScript (V8).

_JS_FRAME = re.compile(
    r"\s+at (?:async )?(?:([^()\[]+) (?:\[as [^\]]+\] )?"
    r"\((?:(?:file://)?(.+?):\d+:\d+|(<anonymous>|native|index \d+))\)|(?:file://)?([^()]+?):\d+:\d+)(?: \{)?$"
)
_JS_HEAD = re.compile(
    r"(?:Uncaught |Unhandled |\[)?((?:[\w$]+\.)*[A-Z][\w$]*(?:Error|Exception|Rejection)|Error)"
    r"(?: \[\w+\])?(?:: (.*?))?(?:\] \{)?$"
)
_JS_INLINE = re.compile(r"(?<![\w.$])([\w$.]*(?:Error|Exception))(?: \[\w+\])?(?:: (.*)|$)")
_JS_NAMED = re.compile(r"([A-Z][\w$.]*)(?: \[\w+\])?(?:: (.*))?$")
_JS_CAUSE = re.compile(r"\s+\[cause\]: \[?(.*?)(?:\] \{|\]|)$")
_JS_MEMBERS = re.compile(r"\s+\[errors\]: \[$")


def _javascript(lines: list[str]) -> Raised | None:
    top: Raised | None = None
    current: Raised | None = None
    group: Raised | None = None
    is_open = True
    for place, line in enumerate(lines):
        if found := _JS_FRAME.match(line):
            if current is None:
                head = _head(lines[:place], _JS_HEAD, _JS_INLINE)
                top = current = head or _named(lines[place - 1].strip() if place else "")
            if is_open:
                current.frames.append(Frame(found[2] or found[3] or found[4], found[1] or "<anonymous>"))
        elif current is None:
            if _JS_MEMBERS.match(line):
                top = current = group = _head(lines[:place], _JS_HEAD, _JS_INLINE) or Raised("AggregateError", "")
        elif cause := _JS_CAUSE.match(line):
            current.cause = current = _named(cause[1])
            is_open = True
        elif group is not None and (member := _JS_HEAD.match(line.strip())):
            current = Raised(member[1], member[2] or "")
            group.children.append(current)
            is_open = True
        else:
            is_open = is_open and not current.frames  # another trace in the same text
    return top


def _named(line: str) -> Raised:
    found = _JS_HEAD.match(line) or _JS_NAMED.match(line)
    return Raised(found[1], found[2] or "") if found else Raised("Error", line)


# Go.

_GO_PANIC = re.compile(r"\b(panic|fatal error)(?: serving \S+)?: (.*?)(?: \[recovered(?:, repanicked)?\])?$")
_GO_TYPED = re.compile(r"\(([\w./*]+)\)|(runtime error)(?:: (.*)|$)|([\w./*]+)\{")
_GO_CALL = re.compile(r"(?:created by )?(\S.*?)(?:\([^()]*\))?(?: in goroutine \d+)?$")
_GO_PLACE = re.compile(r"\t(.+\.(?:go|s)):\d+")


def _go(lines: list[str]) -> Raised | None:
    last: Raised | None = None
    frames: list[Frame] = []
    for place, line in enumerate(lines):
        if line.startswith("goroutine ") and frames:
            break
        if not frames and (found := _GO_PANIC.search(line)):
            new = Raised(found[1], found[2])
            if found[1] == "panic" and (typed := _GO_TYPED.match(found[2])):
                new = Raised(typed[1] or typed[2] or typed[4], found[2] if typed[3] is None else typed[3])
            new.cause, last = last, new
        elif (where := _GO_PLACE.match(line)) and place and (call := _GO_CALL.match(lines[place - 1])):
            frames.append(Frame(where[1], call[1]))
    if not frames:
        return None
    last = last or Raised("", "")
    last.frames = frames
    return last


# Ruby.

_RUBY_FRAME = re.compile(r"\s*(?:\d+: )?(?:from )?([^\s:]+):\d+:in [`'](.+?)'$")
_RUBY_HEAD = re.compile(r"(?:.*\s)?([^\s:]+):\d+:in [`'](.+?)': (.*?)(?: \(([A-Z][\w:]*)\))?$")
_RUBY_RAILS = re.compile(r"(?:.*\s)?(?!Traceback )([A-Z]\w*(?:::[A-Z]\w*)*) \((.*)\):$")


def _ruby(lines: list[str]) -> Raised | None:
    top: Raised | None = None
    current: Raised | None = None
    reverse = any(line.endswith(_PY_HEAD) for line in lines)  # Ruby 2.5 to 2.7 on a terminal
    early: list[Frame] = []
    for line in lines:
        if found := _RUBY_FRAME.match(line):
            (early if current is None else current.frames).append(Frame(found[1], found[2]))
        elif head := _RUBY_HEAD.match(line):
            new = Raised(head[4] or "RuntimeError", head[3], [Frame(head[1], head[2])])
            if current is None:
                top = new
            else:
                current.cause = new
            current = new
        elif current is None and (rails := _RUBY_RAILS.match(line)):
            top = current = Raised(rails[1], rails[2])
    if top is not None and reverse:
        top.frames += early[::-1]
    return top if top is not None and top.frames else None


# C# (.NET).

_CS_FRAME = re.compile(r"\s+at ([^\s(][^(]*)\([^()]*\)(?: in (.+):line \d+)?$")
_CS_HEAD = re.compile(r"(?:.*?\s)?((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Exception|Error))(?: \([^)]*\))?(?:: (.*)|$)")
_CS_INNER = re.compile(r"\s*---> ")


def _csharp(lines: list[str]) -> Raised | None:
    first = next((place for place, line in enumerate(lines) if _CS_FRAME.match(line)), None)
    if first is None:
        return None
    chain: list[Raised] = []
    for part in _CS_INNER.split("\n".join(lines[:first])):
        chain += [Raised(m[1], m[2] or "") for m in map(_CS_HEAD.match, part.split("\n")) if m][:1]
    if not chain:
        return None
    for outer, inner in pairwise(chain):
        outer.cause = inner
    place = len(chain) - 1
    for line in lines[first:]:
        if frame := _CS_FRAME.match(line):
            chain[place].frames.append(Frame(frame[2] or frame[1].rpartition(".")[0], frame[1]))
        elif "--- End of inner exception stack trace ---" in line:
            place = max(place - 1, 0)
    return chain[0]


_GRAMMARS: Final[tuple[tuple[str, re.Pattern[str], Callable[[list[str]], Raised | None]], ...]] = (
    ("ruby", re.compile(r":\d+:in [`']"), _ruby),
    ("python", re.compile(r'Traceback \(most recent call last\):|^  File "', re.MULTILINE), _python),
    ("go", re.compile(r"^\t\S.*\.(?:go|s):\d", re.MULTILINE), _go),
    ("java", re.compile(r"^[ \t]+at .*[^()]\)", re.MULTILINE), _java),
    ("javascript", re.compile(r"^[ \t]+at .*(?::\d+:\d+\)?|\))(?: \{)?$", re.MULTILINE), _javascript),
    ("csharp", re.compile(r"^[ \t]+at .*\(", re.MULTILINE), _csharp),
)
"""Tried in this order; a hint says at a glance that a grammar cannot fit."""
