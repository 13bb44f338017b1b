"""What Go writes its own way: layouts of times, sizes, and values from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

_LAYOUTS = {
    "ANSIC": "Mon Jan _2 15:04:05 2006",
    "UnixDate": "Mon Jan _2 15:04:05 MST 2006",
    "RubyDate": "Mon Jan 02 15:04:05 -0700 2006",
    "RFC822": "02 Jan 06 15:04 MST",
    "RFC822Z": "02 Jan 06 15:04 -0700",
    "RFC850": "Monday, 02-Jan-06 15:04:05 MST",
    "RFC1123": "Mon, 02 Jan 2006 15:04:05 MST",
    "RFC1123Z": "Mon, 02 Jan 2006 15:04:05 -0700",
}
_AUTO = frozenset(("RFC3339", "RFC3339Nano", "Unix", "UnixMs", "UnixUs", "UnixNs"))
"""What `timestamp_format: auto` reads."""
_PARTS = {
    "2006": "%Y",
    "January": "%B",
    "Monday": "%A",
    "Jan": "%b",
    "Mon": "%a",
    "MST": "%Z",
    "Z07:00": "%z",
    "-07:00": "%z",
    "Z0700": "%z",
    "-0700": "%z",
    "002": "%j",
    "01": "%m",
    "02": "%d",
    "_2": "%d",
    "03": "%I",
    "04": "%M",
    "05": "%S",
    "06": "%y",
    "15": "%H",
    "PM": "%p",
    "pm": "%p",
    "1": "%m",
    "2": "%d",
    "3": "%I",
    "4": "%M",
    "5": "%S",
}
_PART = re.compile(r"(?P<fraction>(?<=05)[.,](?:0+|9+))|" + "|".join(sorted(_PARTS, key=len, reverse=True)) + "|%")
_ISO = re.compile(r"%Y-%m-%d[T ]%H:%M:%S(?:[.,]%f)?(?:%z|Z)?")
_SIZE = re.compile(r"(?i)\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*")
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)(?::?[-=]([^}]*)|:([^}]*))?\}")


def strptime(layout: str) -> str:
    """A layout of Go's `time` as `timestamp_format`: `auto`, or what strptime calls it."""
    if layout in _AUTO:
        return "auto"

    def part(found: re.Match[str]) -> str:
        if found["fraction"]:
            return f"{found[0][0]}%f"
        return _PARTS.get(found[0], "%%")

    form = _PART.sub(part, _LAYOUTS.get(layout, layout))
    return "auto" if _ISO.fullmatch(form) else form


def size(text: str) -> int | None:
    """Bytes, of which Go's units have 1024 each; None where it is no size."""
    found = _SIZE.fullmatch(text)
    return int(float(found[1]) * 1024 ** " kmgt".index(found[2].lower() or " ")) if found else None


def variables(text: str) -> list[str]:
    """Names of the variables in `${NAME}`, `${NAME:-default}` and the like."""
    return [found[1] for found in _VARIABLE.finditer(text)]


def expand(text: str, environment: Mapping[str, str]) -> tuple[str, list[str]]:
    """The text with its variables filled in, and those without value and default: they stay."""
    missing: list[str] = []

    def value(found: re.Match[str]) -> str:
        default = found[2] if found[2] is not None else found[3]
        if given := environment.get(found[1]):
            return given
        if default is None:
            missing.append(found[1])
            return found[0]
        return default

    return _VARIABLE.sub(value, text), missing
