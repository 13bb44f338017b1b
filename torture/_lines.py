"""Lines that say which they are, so that what became of every single one can be counted."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["json", "text", "traceback"]
"""JSON with a time of its own, text without any, or log records with a traceback under them."""

EQUAL = 3
"""So many numbers in a row have the same time in ms."""
BANNER = b"==== service started, version 1.2.3, build 20261103, listening on 127.0.0.1:8080, workers 4, pid 1 ====\n"
"""What every file may begin with: files are not told apart by their first line."""

_MARK = re.compile(rb"id=(\d+) (x*);")


class Missed(NamedTuple):
    """How what arrived differs from what was written."""

    lost: int
    twice: int
    """More often than it was written, or never written at all."""


def mark(number: int) -> bytes:
    """What a line is known by; one that was torn is not known."""
    return b"id=%d %s;" % (number, b"x" * _padding(number))


def lines(kind: Kind, first: int, count: int, began_ms: int) -> list[bytes]:
    """At least so many lines with the marks from `first` on, each with its line break."""
    if kind == "text":
        return [mark(n) + b"\n" for n in range(first, first + count)]
    if kind == "json":
        return [
            b'{"timestamp":"%b.%03dZ","level":"info","message":"%b"}\n'
            % (_second((began_ms + n // EQUAL) // 1000, "T"), (began_ms + n // EQUAL) % 1000, mark(n))
            for n in range(first, first + count)
        ]
    written: list[bytes] = []
    for n in range(first, first + count, 4):
        at = began_ms + n // EQUAL
        written += [
            b"%b,%03d ERROR app: %b\n" % (_second(at // 1000, " "), at % 1000, mark(n)),
            b"Traceback (most recent call last):\n",
            b'  File "/srv/app.py", line 7, in run\n    call("%b")\n' % mark(n + 1),
            b'  File "/srv/app.py", line 9, in call\n    raise ValueError("%b")\n' % mark(n + 2),
            b"ValueError: %b\n" % mark(n + 3),
        ]
    return written


def count(texts: Iterable[bytes | str]) -> Counter[int]:
    """How often each number stands in these lines, whole."""
    found: Counter[int] = Counter()
    for text in texts:
        data = text.encode() if isinstance(text, str) else text
        found.update(int(m[1]) for m in _MARK.finditer(data) if len(m[2]) == _padding(int(m[1])))
    return found


def missed(written: Counter[int], arrived: Counter[int]) -> Missed:
    """Compare, number by number."""
    return Missed((written - arrived).total(), (arrived - written).total())


def such_as(written: Counter[int], arrived: Counter[int]) -> str:
    """The first and last numbers that are wrong, for a person to look for."""
    wrong = {"lost": sorted(written - arrived), "twice": sorted(arrived - written)}
    return json.dumps({name: [*numbers[:3], *numbers[-3:]] for name, numbers in wrong.items() if numbers})


def _padding(number: int) -> int:
    return number * 7919 % 241


def _second(at: int, between: str) -> bytes:
    return time.strftime(f"%Y-%m-%d{between}%H:%M:%S", time.gmtime(at)).encode()
