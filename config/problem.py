"""What is wrong with a config, where, and what would do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Literal

import msgspec

EXIT_CODE = 78
"""What every command exits with when the config is wrong (`EX_CONFIG` of sysexits.h)."""

Severity = Literal["error", "warning"]

_CREDENTIALS = re.compile(r"(://)[^\s/@'\"]+@")
_PAINT = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "hint": "\x1b[36m"}
_PLAIN = "\x1b[0m"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake, at its place in the file."""

    file: str
    line: int = 0
    """Counted from 1; 0 when the problem is the file itself."""
    column: int = 0
    """Counted from 1, in characters."""
    severity: Severity = "error"
    message: str
    hint: str = ""
    """What would do."""
    width: int = 1
    """How many characters are meant, from `column` on."""
    source: str = ""
    """The line of the config, secrets blacked out; `column` and `width` fit the line before that."""
    shift: int = 0
    """By how much blacking out moved the place in `source`."""

    def render(self, *, colour: bool = False) -> str:
        """The problem as a person reads it: place, message, the line over a caret, hint. Without a final line break."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        out = [f"{place}: {_paint(f'{self.severity}:', self.severity, colour)} {self.message}"]
        if self.source.strip():
            before = self.source[: self.column - 1 + self.shift]
            pad = "".join("\t" if sign == "\t" else " " for sign in before)
            carets = "^" * max(1, min(self.width, len(self.source) - len(before)))
            out += [f"  {self.source.rstrip()}", f"  {pad}{_paint(carets, self.severity, colour)}"]
        if self.hint:
            out.append(f"  {_paint('hint:', 'hint', colour)} {self.hint}")
        return "\n".join(out)


class ConfigError(Exception):
    """The config cannot be used; holds every problem found in it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(problem.render() for problem in self.problems))


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """Those that stop the start; the others are warnings."""
    return [problem for problem in problems if problem.severity == "error"]


def did_you_mean(word: str, among: Iterable[str], label: str = "there is") -> str:
    """A hint: the nearest of the names that would do, or all of them."""
    names = sorted(among)
    if not names:
        return ""
    everything = f"{label}: {', '.join(names)}"
    near = get_close_matches(word.lower(), names, n=1)
    return f"did you mean {near[0]!r}? {everything}" if near else everything


def without_credentials(text: str) -> str:
    """The text with the user and password of every URL blacked out."""
    return _CREDENTIALS.sub(r"\1***@", text)


def _paint(text: str, kind: str, colour: bool) -> str:
    return f"{_PAINT[kind]}{text}{_PLAIN}" if colour else text
