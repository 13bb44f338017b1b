"""What a stack trace says, in any language: what was raised, where, and what caused it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import lru_cache

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


class Grammar(msgspec.Struct, frozen=True):
    """How the stack traces of one language are written."""

    language: str
    hint: re.Pattern[str]
    """Says at a glance, over the whole text, that the grammar cannot fit."""
    parse: Callable[[list[str]], Raised | None]
    """From the lines of a text to the exception raised last; None when there is no trace of this language."""
    foreign: re.Pattern[str]
    """Searched in `file`, line break, `function`: found in code that is not the application's own."""


class Trace(msgspec.Struct):
    """A whole trace."""

    language: str
    raised: Raised
    """The exception that the process reports: the one raised last."""
    foreign: re.Pattern[str]
    """The grammar's."""

    @property
    def frame(self) -> Frame | None:
        """The innermost frame of the application's own code; of any code when there is none."""
        frames = [frame for one in self.raised.path() for frame in one.frames]
        return next(filter(self._own_place, frames), frames[0] if frames else None)

    @property
    def fingerprint(self) -> str:
        """12 hex digits, the same for the same fault: line numbers, messages and install folders do not count."""
        # Each fact once: how deep a recursion went does not matter either.
        facts = dict.fromkeys((self.language, *self._facts(self.raised)))
        return hashlib.sha256("\n".join(facts).encode("utf-8", "replace")).hexdigest()[:12]

    def _facts(self, raised: Raised) -> Iterator[str]:
        yield raised.type
        if own := list(filter(None, map(self._own_place, raised.frames))):
            yield from own
        elif raised.frames:
            yield _place(raised.frames[0].file, raised.frames[0].function)
        if raised.children:
            # Tasks fail in any order, and as often as there were tasks.
            yield from sorted({"\n".join(self._facts(child)) for child in raised.children})

    def _own_place(self, frame: Frame) -> str:
        # A text's hash is kept, while that of a compiled pattern takes most of the time of looking one up.
        return _own_place(self.foreign.pattern, frame.file, frame.function)


def head(above: list[str], at_start: re.Pattern[str], inline: re.Pattern[str]) -> Raised | None:
    """What the lines above the frames name: a message may have more lines, a log's header come before.

    Both patterns have the type as their first group and the message as their second.
    """
    paragraph = above[max((place + 1 for place, line in enumerate(above) if not line.strip()), default=0) :]
    for lines in (paragraph, above):
        if found := next(filter(None, map(at_start.match, lines)), None):
            return Raised(found[1], found[2] or "")
    if found := next(filter(None, map(inline.search, reversed(above))), None):
        return Raised(found[1], found[2] or "")
    return None


_CHANGING = re.compile(r"0x[0-9a-f]+|(?<![0-9a-z])(?=[a-f]*\d)[0-9a-f]{8,}(?![0-9a-z])|\d+")
"""Addresses, hashes in the names of bundles, numbers of closures: other in the next build."""


@lru_cache(maxsize=4096)
def _own_place(foreign: str, file: str, function: str) -> str:
    """What a frame of the application's own code is called in a fingerprint; nothing for other code."""
    return "" if re.search(foreign, f"{file}\n{function}") else _place(file, function)


def _place(file: str, function: str) -> str:
    # The last two parts name a file well enough and do not know where it is installed.
    short = "/".join(re.split(r"[/\\]", file)[-2:])
    return _CHANGING.sub("0", f"{short}:{function}")
