"""Rust's panics with or without a backtrace, and errors with causes as anyhow and eyre write them."""

from __future__ import annotations

import re

from ._trace import Frame, Grammar, Raised

_PANIC = re.compile(r".*?\bpanicked at (?:'(.*)', )?([^\s:][^:\n]*?):\d+:\d+(:?)$")
_OPEN_PANIC = re.compile(r".*?\bpanicked at '(.*)$")
_OLD_END = re.compile(r"(.*)', (\S[^:]*?):\d+:\d+$")
_STACK = re.compile(r"\s*[Ss]tack backtrace:$")
_CALL = re.compile(r"\s*\d+: +(?:0x[0-9a-f]+ - )?(\S.*)$")
_AT = re.compile(r"\s+at (\S.*?):\d+(?::\d+)?$")
_HASH = re.compile(r"::h[0-9a-f]{16}$")
_VALUE = re.compile(r"called `Result::\w+\(\)` on an `\w+` value: ((?:\w+::)*[A-Z]\w*)(.*)$")
_ERROR = re.compile(r"(?:.*\s)?Error: (.*)$")
_TYPED = re.compile(r"((?:\w+::)*[A-Z]\w*(?:Error|Failure|Exception)?)(?: ?[{(]|$)")
_CAUSES = re.compile(r"Caused by:$")
_CAUSE = re.compile(r"\s+(?:\d+: )?(\S.*)$")


def parse(lines: list[str]) -> Raised | None:
    """The panic, or the error with its causes."""
    for place, line in enumerate(lines):
        if found := _PANIC.match(line):
            message = found[1] if found[1] is not None else next(iter(lines[place + 1 :]), "")
            return _panicked(message, found[2], lines[place + 1 :])
        if found := _OPEN_PANIC.match(line):
            end = next(filter(None, map(_OLD_END.match, lines[place + 1 :])), None)
            return _panicked(found[1], end[2] if end else "", lines[place + 1 :])
    return _failed(lines)


def _panicked(message: str, file: str, below: list[str]) -> Raised:
    raised = Raised("panic", message, _frames(below) or [Frame(file, "")])
    if found := _VALUE.match(message):
        raised.cause = Raised(found[1], (found[1] + found[2]).strip())
    return raised


def _failed(lines: list[str]) -> Raised | None:
    start = next((place for place, line in enumerate(lines) if _CAUSES.match(line) or _STACK.match(line)), None)
    if start is None:
        return None
    named = next(filter(None, map(_ERROR.match, lines[:start])), None)
    frames = _frames(lines[start:])
    if named is None:
        return Raised("", "", frames) if frames else None
    top = last = _named(named[1])
    if _CAUSES.match(lines[start]):
        for line in lines[start + 1 :]:
            cause = _CAUSE.match(line)
            if cause is None:
                break
            last.cause = last = _named(cause[1])
    top.frames = frames
    return top


def _named(text: str) -> Raised:
    found = _TYPED.match(text)
    return Raised(found[1] if found else "Error", text)


def _frames(lines: list[str]) -> list[Frame]:
    start = next((place + 1 for place, line in enumerate(lines) if _STACK.match(line)), len(lines))
    frames: list[Frame] = []
    for line in lines[start:]:
        if where := _AT.match(line):
            if frames:
                frames[-1] = Frame(where[1], frames[-1].function)
        elif call := _CALL.match(line):
            frames.append(Frame("", _HASH.sub("", call[1])))
        elif line.strip():
            break
    return frames


GRAMMAR = Grammar(
    "rust",
    re.compile(r"\bpanicked at |^Caused by:$|^[ \t]*[Ss]tack backtrace:$", re.MULTILINE),
    parse,
    re.compile(
        r"^/rustc/|/\.cargo/(?:registry|git)/|\n<?(?:std|core|alloc|__rustc|backtrace|anyhow|eyre|tokio)::|\nrust_begin"
    ),
)
