"""Numbers, durations and sizes in the text of a log line, read as Go and Loki read them."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|inf(?:inity)?|nan)", re.IGNORECASE)
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h|d|w|y)")
_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_LONG = {"d": 86_400 * 10**9, "w": 7 * 86_400 * 10**9, "y": 365 * 86_400 * 10**9}
_SIZE = re.compile(r"([\d,]+\.?[\d,]*|\.\d+)\s*([A-Za-z]*)")
_BYTES = {"": 1, "b": 1} | {
    f"{letter}{end}": base**power
    for power, letter in enumerate("kmgtpe", 1)
    for end, base in (("", 1000), ("b", 1000), ("i", 1024), ("ib", 1024))
}


def number(text: str) -> float | None:
    """A decimal number; None where the text is none."""
    return float(text) if _NUMBER.fullmatch(text) else None


def duration(text: str, *, days: bool = False) -> int | None:
    """A duration as Go writes it (`1h30m`, `250ms`), in ns; None where the text is none. `days`: also d, w and y."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total, place = 0.0, 0
    units = _NS | _LONG if days else _NS
    while found := _PART.match(rest, place):
        if found[2] not in units:
            return None
        total += float(found[1]) * units[found[2]]
        place = found.end()
    return sign * round(total) if place and place == len(rest) else None


def size(text: str) -> int | None:
    """A number of bytes (`5KB`, `1.5 MiB`); None where the text is none."""
    found = _SIZE.fullmatch(text.strip())
    unit = _BYTES.get(found[2].lower()) if found else None
    return None if found is None or unit is None else int(float(found[1].replace(",", "")) * unit)
