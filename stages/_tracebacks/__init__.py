"""Stack traces: finds one in a text and says what was raised, where, and what caused it. One module a language."""

from __future__ import annotations

import re
from typing import Any, Final

from . import csharp, dart, go, java, javascript, php, python, rich, ruby, rust
from ._trace import Frame, Grammar, Raised, Trace

__all__ = ["GRAMMARS", "Frame", "Grammar", "Raised", "Trace", "find", "of_objects"]

GRAMMARS: Final[tuple[Grammar, ...]] = (
    rich.GRAMMAR,
    ruby.GRAMMAR,
    python.GRAMMAR,
    go.GRAMMAR,
    rust.GRAMMAR,
    php.GRAMMAR,
    dart.GRAMMAR,
    java.GRAMMAR,
    javascript.GRAMMAR,
    csharp.GRAMMAR,
)
"""Tried in this order."""

_LINE_CHARS = 1000  # no frame is longer, and no input may keep the patterns busy
_COLOUR = re.compile(r"\x1b\[[\d;]*m")


def find(text: str) -> Trace | None:
    """The first stack trace in a text of whole lines, or None. The text around it does not matter."""
    if "\x1b" in text:
        text = _COLOUR.sub("", text)
    lines = text.split("\n")
    if "\r" in text or max(map(len, lines)) > _LINE_CHARS:
        lines = [line[:_LINE_CHARS].rstrip("\r") for line in lines]
        text = "\n".join(lines)
    for grammar in GRAMMARS:
        if grammar.hint.search(text) and (raised := grammar.parse(lines)):
            return Trace(grammar.language, raised, grammar.foreign)
    return None


def of_objects(value: Any) -> Trace | None:
    """What structlog's `dict_tracebacks` wrote into a field; None for anything else."""
    raised = python.of_objects(value)
    return Trace(python.GRAMMAR.language, raised, python.GRAMMAR.foreign) if raised else None
