"""Reads times: ISO 8601 / RFC 3339, Unix epochs and strptime formats, each distinct second only once."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from operator import add
from struct import Struct
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt _](\d\d:\d\d)(?::(\d\d)(?:[.,](\d++))?+)?+ ?+(Z|z|UTC|[+-]\d\d(?::?\d\d)?+)?+", re.ASCII
)
_CLF = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d:\d\d):(\d\d) ([+-]\d{4})", re.ASCII)
_NO_YEAR = re.compile(r"([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d:\d\d):(\d\d)(?:[.,](\d++))?+", re.ASCII)
_MONTHS = {name: f"{number:02}" for number, name in enumerate(calendar.month_abbr)}
_DAY = 86_400 * 1_000_000_000
ZEROS = str.maketrans("123456789", "000000000")
"""For `translate`: texts of the same layout become the same text."""
_AT_ONCE = 64
"""Times that are taken apart by one call."""
_SECOND = 1_000_000_000
MINUTE = 60 * _SECOND
_LATEST = 1 << 63
"""Times are signed 64 bit ns everywhere downstream: they end in 2262."""
_read_ints = msgspec.json.Decoder(list[int]).decode
_CACHED = 4096
_LONGEST = 64
"""Characters of a time at most: what a hostile line sends is not kept in memory."""


class Clock:
    """Turns what a field holds into Unix ns; the host's zone plays no part."""

    def __init__(self, form: str = "auto", zone: str = "UTC", fold: int = 0) -> None:
        """`form`: `auto`, or a strptime format to be tried first. Raises ValueError or KeyError for an unknown zone.

        `fold`: 0 reads local times in the hour that comes twice as in the first one, 1 as in the second.
        """
        self._form = form
        self._zone: tzinfo = ZoneInfo(zone)
        self._fold = fold
        self._changes = zone != "UTC"
        self.doubled: set[int] = set()
        """With `fold` 0 the minutes (since 1970) of all local times read so far that come twice."""
        self._heads: dict[str, _Heads] = {}
        self._known: dict[str, int | None] = {}
        self._has_year = form == "auto" or _has_year(form)
        self._day = 0

    def near(self, time: int) -> None:
        """Times without a year are the last such ones before this (Unix ns), or up to a day after it."""
        if time // _DAY != self._day:
            self._day = time // _DAY
            self._known.clear()

    def read(self, value: Any) -> int | None:
        """Unix time in ns, or None when this is no time between 1970 and 2262."""
        if isinstance(value, str):
            if len(value) > _LONGEST:
                return None
            if value not in self._known:
                if len(self._known) >= _CACHED:
                    self._known.clear()
                self._known[value] = self._parse(value)
            return self._known[value]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LATEST:
            return None
        if self._form != "auto" and isinstance(value, int) and (found := self._strptime(str(value))) is not None:
            return found
        # The shortest text of a float is what the line said; multiplying it would invent digits.
        return epoch(str(value) if isinstance(value, int) else f"{Decimal(repr(value)):f}")

    def read_all(self, values: Sequence[Any]) -> list[int | None]:
        """`read` for each; quick for ISO 8601 where many have the same length and zone."""
        times: Sequence[int | None] | None = self.read_alike(values)
        if times is not None:
            return list(times)
        if self._form != "auto" or set(map(type, values)) != {str}:
            return list(map(self.read, values))
        widths = set(map(len, values))
        if not 1 < len(widths) <= 12:
            return list(map(self.read, values))
        found: list[int | None] = [None] * len(values)
        for width in widths:
            places = [place for place, value in enumerate(values) if len(value) == width]
            for place, time in zip(places, self.read_all([values[place] for place in places]), strict=True):
                found[place] = time
        return found

    def read_alike(self, values: Sequence[Any]) -> list[int] | None:
        """`read` for each if all are laid out alike, in a fifth of the time of one by one; else None."""
        if self._form != "auto" or not values:
            return None
        try:
            table = "".join(values)
        except TypeError:  # not text alone
            return None
        return self.read_table(table, len(values[0])) if len(set(map(len, values))) == 1 else None

    def read_table(self, table: str, width: int) -> list[int] | None:
        """As `read_alike`, for times of this width in one piece."""
        if self._form != "auto" or not table:
            return None
        first, count = table[:width], len(table) // width
        zone = _zone_of(first)
        if zone is None:
            return None
        end = width - len(zone)
        digits = end - 20
        if digits > 9 or digits < -1 or digits == 0 or (digits > 0 and not first[20:end].isdigit()):
            return None
        # With each digit as 0 they are one text again and again. Zones may still differ: column by column.
        if table.translate(ZEROS) != first.translate(ZEROS) * count or not table.isascii():
            return None
        if any(table[column::width].strip(table[column]) for column in range(end, width)):
            return None
        if zone not in self._heads:
            if len(self._heads) >= 64:
                self._heads.clear()
            self._heads[zone] = _Heads(self, zone)
        parts = _parts(table, width, max(digits, 0))
        try:
            seconds = list(map(self._heads[zone].__getitem__, parts[0 : 2 * count : 2]))
        except ValueError:
            return None
        if digits < 0:
            return [second + _SECOND for second in seconds]
        # JSON's reader takes a third of the time of int(); the 1 before each keeps its zeros.
        zeros = b"0" * (9 - digits)
        ns = _read_ints(b"[1%b%b]" % ((zeros + b",1").join(parts[1 : 2 * count : 2]), zeros))
        return list(map(add, seconds, ns))

    def _parse(self, text: str) -> int | None:
        if self._form != "auto" and (found := self._strptime(text)) is not None:
            return found
        text = text.strip()
        if match := _ISO.fullmatch(text):
            return self._iso(*match.groups())
        if match := _CLF.fullmatch(text):
            day, month, year, minute, second, zone = match.groups()
            return self._iso(f"{year}-{_MONTHS.get(month, '00')}-{day}", minute, second, None, zone)
        if match := _NO_YEAR.fullmatch(text):
            month, day, minute, second, fraction = match.groups()
            date = f"{_MONTHS.get(month, '00')}-{int(day):02}"
            return self._last(lambda year: self._iso(f"{year:04}-{date}", minute, second, fraction, None))
        return epoch(text)

    def _last(self, read: Callable[[int], int | None]) -> int | None:
        """The time in the year that brings it closest before the day after `near`; February 29 may be years ago."""
        latest = (self._day + 2) * _DAY
        this = datetime.fromtimestamp(latest // _SECOND, UTC).year
        times = (read(year) for year in range(this, this - 9, -1))
        return next((time for time in times if time is not None and time < latest), None)

    def _iso(self, date: str, minute: str, second: str | None, fraction: str | None, zone: str | None) -> int | None:
        leap = second == "60"  # RFC 3339 writes a leap second so; Unix time counts it as the second after
        try:
            time = datetime.fromisoformat(f"{date}T{minute}:{'59' if leap else second or '00'}")
        except ValueError:
            return None
        if zone is None:
            offset = self._offset(time)
        elif zone[0] in "+-":
            hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
            if hours > 23 or minutes > 59:
                return None
            offset = timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)
        else:
            offset = timedelta()
        return _in_range(_seconds(time, offset) + leap, int(((fraction or "") + "000000000")[:9]))

    def _strptime(self, text: str) -> int | None:
        if not self._has_year:
            # With a year in front February 29 can be read, too.
            return self._last(lambda year: self._of_form(f"{year:04} {text}", f"%Y {self._form}"))
        return self._of_form(text, self._form)

    def _of_form(self, text: str, form: str) -> int | None:
        try:
            time = datetime.strptime(text, form)
        except ValueError:
            return None
        offset = time.utcoffset() if time.tzinfo else self._offset(time)
        return _in_range(_seconds(time, offset or timedelta()), time.microsecond * 1000)

    def _offset(self, time: datetime) -> timedelta:
        """How far local time is ahead of UTC."""
        offset = time.replace(tzinfo=self._zone, fold=self._fold).utcoffset() or timedelta()
        if self._changes:
            other = time.replace(tzinfo=self._zone, fold=1 - self._fold).utcoffset() or timedelta()
            if other < offset:
                self.doubled.add(_seconds(time, offset) // 60)
        return offset


def _parts(table: str, width: int, digits: int) -> list[bytes]:
    """The first 19 characters and the fraction of each time in turn, and some empty ones at the end."""
    data, size = table.encode(), width * _AT_ONCE
    data += bytes(-len(data) % size)
    unpack = _layout(width, digits).unpack
    parts: list[bytes] = []
    for start in range(0, len(data), size):
        parts += unpack(data[start : start + size])
    return parts


@lru_cache(maxsize=64)
def _layout(width: int, digits: int) -> Struct:
    one = f"19sx{digits}s{width - 20 - digits}x" if digits else f"19s0s{width - 19}x"
    return Struct(one * _AT_ONCE)


class _Heads(dict[bytes, int]):
    """Unix ns of the second before the first 19 characters of a time in one zone; raises ValueError for no time."""

    def __init__(self, clock: Clock, zone: str) -> None:
        self._clock = clock
        self._zone = zone

    def __missing__(self, head: bytes) -> int:
        time = self._clock.read(head.decode() + self._zone)
        if time is None or head[10] not in b"Tt _":
            raise ValueError(head)
        if len(self) >= _CACHED:
            self.clear()
        self[head] = time - _SECOND
        return time - _SECOND


def epoch(text: str) -> int | None:
    """Unix ns from a number of s, ms, us or ns since 1970 (1973 to 2262: its size tells which), None for other text."""
    whole, _, fraction = text.partition(".")
    if not (whole.isascii() and whole.isdigit() and 9 <= len(whole) <= 19 and whole[0] != "0"):
        return None
    if fraction and not (fraction.isascii() and fraction.isdigit()):
        return None
    digits = 9 if len(whole) <= 11 else 6 if len(whole) <= 14 else 3 if len(whole) <= 17 else 0
    time = int(whole) * 10**digits + int((fraction + "000000000")[:digits] or 0)
    return time if time < _LATEST else None


def problem(form: str) -> str | None:
    """What is wrong with a `timestamp_format`, and what would do; None when it can be used."""
    if form == "auto":
        return None
    sample = datetime(2026, 11, 30, 22, 10, 59)
    whole = form if _has_year(form) else f"%Y {form}"
    try:
        read = datetime.strptime(sample.strftime(whole).replace("%z", "+0000"), whole)
    except ValueError as error:
        if "%z" not in form:
            return f"{form!r} is not a strptime format ({error}): write auto or such as %d/%b/%Y:%H:%M:%S %z"
        read = datetime.strptime(sample.strftime(whole.replace("%z", "+0000")), whole)
    if "%Z" in form:
        return f"{form!r} reads zone names, whose meaning depends on the host: use %z, or set `timezone`"
    if (read.year, read.month, read.day) != (2026, 11, 30):
        return f"{form!r} does not hold the whole date: it needs month and day, such as %Y-%m-%d %H:%M:%S"
    return None


def _has_year(form: str) -> bool:
    return re.search(r"(?<!%)(?:%%)*%[YyGCcxsDF]", form) is not None


def _zone_of(text: str) -> str | None:
    match = _ISO.fullmatch(text)
    return None if match is None else match[5] or ""


def _seconds(time: datetime, offset: timedelta) -> int:
    return calendar.timegm(time.timetuple()) - int(offset.total_seconds())


def _in_range(seconds: int, ns: int) -> int | None:
    time = seconds * _SECOND + ns
    return time if 0 <= time < _LATEST else None
