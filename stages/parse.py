"""Finds out what a line says: its fields and its time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import re2

from ..pipeline.batch import Batch
from ..pipeline.columns import Columns, Unread
from ..pipeline.component import ANY, Stage
from ..pipeline.options import Regex
from ..pipeline.record import Fields, Format, Record
from ._containers import DOCKER
from ._formats import AUTO, FORMATS, USUAL_TIME, json_object, python, regex, times_and_levels
from ._pairs import pairs
from ._text_lines import Reader
from ._timestamps import MINUTE, Clock, problem

if TYPE_CHECKING:  # only the exporter needs it at run time
    from prometheus_client.core import Metric

_TIMES = ("timestamp", "ts", "time", "@timestamp", "asctime", "created_at", "datetime")
_REASONS = ("not_json", "no_match", "bad_timestamp", "bad_value")
_WRITES = {
    "syslog": ("timestamp", "level", "facility", "host", "program", "pid", "msgid", "structured_data", "message"),
    "combined": (
        *("timestamp", "remote_addr", "user", "method", "path", "protocol", "status", "bytes", "referer"),
        *("user_agent", "forwarded_for", "message"),
    ),
}
_TRUE = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False, "1": True, "0": False}
_BACK = 5 * MINUTE
"""Lines of one log may stand in a wrong order by this much; more is a clock that went back."""
_PYTHON = frozenset(("timestamp", "level", "logger", "message"))
_wrapped = re2.compile(re2.escape(DOCKER)).search  # 2 to 9 ns a line, where `in` takes 50 to 130
_BAD_JSON = (msgspec.MsgspecError, ValueError, RecursionError)


class Parse(Stage):
    """Read fields and time from each line. The line itself stays as it is.

    JSON fields stay as they are. In text formats `level` becomes lower case, `warn` becomes `warning` and `fatal`
    `critical`, so that labels and matches are stable. Further lines of an event belong to its `message`.
    A line that does not fit ships as it is with `message` as its only field, and is counted; so is a time that cannot
    be read, and such a record gets the time of the one before it.
    """

    rewrites: ClassVar[bool] = False

    format: Literal[
        "auto", "json", "logfmt", "python", "structlog", "prefixed_json", "regex", "cri", "docker", "syslog", "combined"
    ] = "auto"
    """What the lines are. `python`: the text of logging or loguru; `structlog`: that of its console;
    `prefixed_json`: time, level and a JSON object, also behind a logger; `regex`: by `pattern`; `cri` and `docker`:
    what Kubernetes and Docker write, with lines of any format inside; `syslog`: RFC 3164 or 5424; `combined`: access
    logs, common or combined; `auto`: found out for each file or topic partition, line by line where they are mixed."""
    pattern: Regex | None = None
    """For `regex`: an RE2 expression, searched in the line; its named groups (`(?P<level>…)`) become fields."""
    types: dict[str, Literal["int", "float", "bool"]] = {}
    """Fields of text formats that are to be numbers or booleans, such as `{ status: int, duration_ms: float }`. What
    cannot be one stays text and is counted."""
    pairs: bool = False
    """In text formats also take `key=value` pairs out of the first line of the message, which stays as it is. Values
    may stand in quotes or be JSON; a field that the line has otherwise stays."""
    timestamp: list[str] = msgspec.field(default_factory=lambda: list(_TIMES))
    """Fields to take the time from: the first one that holds a time. Text formats with a time of their own call it
    `timestamp`. Empty: take no time from the line."""
    timestamp_format: str = "auto"
    """`auto`: ISO 8601 / RFC 3339, the times of access logs and of syslog, or a number of s, ms, us or ns since 1970
    (1973 and later, its size tells which). Else a strptime format such as `%d.%m.%Y %H:%M:%S`, tried before those. A
    time without a year is the last such one before the line was read, or up to a day after."""
    timezone: str = "UTC"
    """IANA name of the zone of times that name none. When clocks go back an hour comes twice: a time in it counts as
    the first one, and as the second where it would else be more than 5 minutes before the event before it in its
    partition. A time in the hour that they leave out counts as if they had not yet gone forward."""
    _failures: dict[str, int] = {}
    _whole: bool = False

    def check(self) -> Iterable[tuple[str, str]]:
        """`pattern` goes with `regex`, the zone exists, the format reads a whole date."""
        if self.format == "regex" and self.pattern is None:
            yield (
                "pattern",
                "format regex needs a pattern, such as (?P<level>\\w+) (?P<message>.*)",
            )
        if self.pattern is not None and self.format != "regex":
            yield "pattern", f"a pattern has no effect with format {self.format}: set format: regex, or leave it out"
        if self.pattern is not None and not self.pattern.groups:
            yield (
                "pattern",
                f"no named group in {self.pattern.text!r}: name each field, such as (?P<level>\\w+)",
            )
        if self.format == "json":
            for option in ("types", "pairs"):
                if getattr(self, option):
                    yield option, f"`{option}` has no effect with format json: its values have types, leave it out"
        if self.format == "regex" and self.pattern is not None and not self.pairs:
            for name in self.types:
                if name not in self.pattern.groups:
                    near = get_close_matches(name, self.pattern.groups, 1, 0.5)
                    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(self.pattern.groups)}"
                    yield f"types.{name}", f"the pattern has no group {name!r}: {hint}"
        if form := problem(self.timestamp_format):
            yield "timestamp_format", form
        try:
            ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError):
            near = get_close_matches(self.timezone, sorted(available_timezones()), 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else "write an IANA name such as Europe/Amsterdam"
            yield "timezone", f"no time zone {self.timezone!r}: {hint}"

    def writes(self) -> Iterable[str]:
        """What the format says; open formats can write anything."""
        if self.pairs:
            return (ANY,)
        if self.format == "python":
            return ("timestamp", "level", "logger", "function", "line", "message")
        if self.format == "regex" and self.pattern is not None:
            return tuple(dict.fromkeys((*self.pattern.groups, "message")))
        return _WRITES.get(self.format, (ANY,))

    def collect(self) -> Iterable[Metric]:
        """Lines that did not fit, and times that could not be read."""
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(
            "tailrace_parse_failures",
            "Lines that did not fit their format, and times that could not be read.",
            labels=("component", "reason"),
        )
        for reason in _REASONS:
            family.add_metric((self.name, reason), self._failures.get(reason, 0))
        yield family

    def process(self, batch: Batch) -> Batch:
        """Set fields, format and time of each record."""
        self._clock.near(batch.read_at_ns)
        self._take(batch)
        if self.timezone != "UTC":
            self._tell_hours(batch)
        return batch

    def _take(self, batch: Batch) -> None:
        if self.format == "auto":
            self._auto(batch)
            return
        if self.format == "python" and self._read_heads(batch):
            return
        found = self._found(self.format, batch)
        if not self._read_all(batch, self.format, found):
            rest = self._read(self.format, batch.records, found)
            self._count("not_json" if self.format == "json" else "no_match", len(rest))

    def _tell_hours(self, batch: Batch) -> None:
        """When clocks go back, tell the second of two equal hours by the event before."""
        state: dict[str, Any] = batch.state.get(self.name) or {}
        before: int | None = state.get("before")
        doubled = self._clock.doubled
        if doubled:
            self._later.near(batch.read_at_ns)
            for record in batch.records:
                time = record.time_ns
                if time is None:
                    continue
                if before is not None and time < before - _BACK and time // MINUTE in doubled:
                    later = self._later_of(record)
                    # A longer way back is another log that begins, which tells nothing.
                    if before - later <= later - time:
                        record.time_ns = time = later
                before = time
        else:
            times = (record.time_ns for record in reversed(batch.records))
            before = next((time for time in times if time is not None), before)
        if before is not None:
            batch.state[self.name] = state | {"before": before}

    def _later_of(self, record: Record) -> int:
        """The record's time if it is in the second of two equal hours; the same where its text leaves no doubt."""
        time = record.time_ns or 0
        names = self.timestamp if record.format == "json" else self._text_times
        for value in map((record.parsed or {}).get, names):
            if value is not None and self._clock.read(value) == time:
                return self._later.read(value) or time
        return time

    def _read_all(self, batch: Batch, name: str, found: Sequence[Fields | None]) -> bool:
        """Where each line fits and has a time, as nearly always: read them all at once, without a record."""
        columns = batch.columns
        if columns is None or columns.extended or len(found) < len(batch) or self._dotted:
            return False
        form: Format = "json" if name == "json" else "text"
        if form == "text" and not all(found):
            return False
        fields: list[Fields] = found  # type: ignore[assignment]  # there is no None
        for time in self.timestamp if form == "json" else self._text_times:
            values = [one.get(time) for one in fields]
            times: Sequence[int | None] | None = self._clock.read_alike(values)
            if times is None:
                if values.count(None) == len(values):
                    continue
                times = self._clock.read_all(values)
                if None in times:
                    return False
            columns.asked = self._asked
            columns.read(form, fields, times, self._names)
            return True
        return False

    def _read_heads(self, batch: Batch) -> bool:
        """Where nobody wants more of Python's usual lines, read time and level; the rest once somebody asks after all.

        Of 140 bytes 0.4 µs a line where `_read_all` takes 0.8. Who asked once (an archive, say) asks again.
        """
        columns = batch.columns
        unwanted = self._names is not None and self._names.isdisjoint(("logger", "message"))
        if self._whole or not unwanted or not self._text_times or self._dotted or self.types or self.pairs:
            return False
        if columns is None or columns.extended:
            return False
        if self.format == "auto" and b"{" in columns.text and b" {" in columns.text:
            return False  # a message may be a JSON object
        if (heads := times_and_levels(columns.lines)) is None:
            return False
        table, levels = heads
        if (times := self._clock.read_table(table, USUAL_TIME)) is None:
            return False
        lines = columns.lines

        def parse() -> list[Fields]:
            self._whole = True
            return python(lines)  # type: ignore[return-value]  # each line fits

        columns.read("text", Unread(parse, _PYTHON, {"level": levels}), times, self._names)
        return True

    def _auto(self, batch: Batch) -> None:
        # The format found before is only tried first; any line gets the same fields whatever that was.
        state: dict[str, Any] = batch.state.get(self.name) or {}
        first = state.get("format")
        names = ["json", *AUTO]
        if first in names:
            names.remove(first)
            names.insert(0, first)
        columns = batch.columns
        if (
            columns is not None
            and first in names
            and not self.types
            and not _wrapped(columns.text)
            and (
                (first == "python" and self._read_heads(batch))
                or self._read_all(batch, first, self._found(first, batch))
            )
        ):
            return
        matched: dict[str, int] = {}
        rest: Sequence[Record] = batch.records
        # Docker's lines are JSON, too.
        if docker := [record for record in rest if record.line.startswith(DOCKER)]:
            odd = {id(record) for record in self._read("docker", docker)}
            matched["docker"] = len(docker) - len(odd)
            rest = [record for record in rest if not record.line.startswith(DOCKER) or id(record) in odd]
        for name in names:
            if rest:
                before = len(rest)
                rest = self._read(name, rest)
                matched[name] = before - len(rest)
        best = max(matched, key=lambda name: matched[name], default=None)
        if best != first and best is not None and matched[best]:
            batch.state[self.name] = state | {"format": best}
        broken = sum(record.line.lstrip().startswith(b"{") for record in rest)
        self._count("not_json", broken)
        self._count("no_match", len(rest) - broken)

    def _texts(self, name: str, lines: Sequence[bytes]) -> list[Fields | None]:
        """What the lines say in a text format; None for those that do not fit."""
        found = self._readers[name](lines)
        if self.pairs or self.types:
            self._refine(found)
        return found

    def _found(self, name: str, batch: Batch) -> list[Fields | None]:
        """What the lines of a batch say in this format."""
        if name != "json":
            return self._texts(name, batch.lines)
        return self._objects(batch.columns or Columns(batch.lines, ()))

    def _objects(self, columns: Columns) -> list[Fields | None]:
        """What the lines say if all of them are JSON by the book; else nothing."""
        # The decoder passes over what nobody wants without looking at its bytes. And an event of several lines, though
        # JSON, would break an archive of lines: it stays text, and its fields are written anew.
        if not _is_utf8(columns.text) or not columns.single:
            return []
        try:
            return list(map(self._decode, columns.lines))
        except _BAD_JSON:
            return []

    def _read(self, name: str, records: Sequence[Record], found: Sequence[Fields | None] | None = None) -> list[Record]:
        """Read the records as this format; return those that do not fit. `found`: what their lines say."""
        if found is None:
            lines = [record.line for record in records]
            found = self._objects(Columns(lines, ())) if name == "json" else self._texts(name, lines)
        if name == "json":
            return self._read_json(records, found)
        if None not in found:
            self._fill(records, found, self._text_times)  # type: ignore[arg-type]  # there is no None
            return []
        fitting = [(record, fields) for record, fields in zip(records, found, strict=True) if fields is not None]
        self._fill([record for record, _ in fitting], [fields for _, fields in fitting], self._text_times)
        return [record for record, fields in zip(records, found, strict=True) if fields is None]

    def _refine(self, found: Sequence[Fields | None]) -> None:
        """Take the pairs out of messages, and give fields their types."""
        for fields in found:
            if fields is None:
                continue
            if self.pairs and isinstance(message := fields.get("message"), str) and "=" in message:
                fields |= pairs(message)[0] | fields
            for name, kind in self.types.items():
                if isinstance(text := fields.get(name), str):
                    value = _typed(text.strip(), kind)
                    if value is None:
                        self._count("bad_value", 1)
                    else:
                        fields[name] = value

    def _read_json(self, records: Sequence[Record], found: Sequence[Any]) -> list[Record]:
        good, odd = records, list[Record]()
        if len(found) < len(records):
            good, found, odd = self._sorted_out(records)
        for record in good:
            record.format = "json"
        self._fill(good, found, self.timestamp)
        for record in odd:
            record.format = "text"
        loose = [json_object(record.line) for record in odd]
        pairs = [(record, fields) for record, fields in zip(odd, loose, strict=True) if fields is not None]
        self._fill([record for record, _ in pairs], [fields for _, fields in pairs], self.timestamp)
        return [record for record, fields in zip(odd, loose, strict=True) if fields is None]

    def _sorted_out(self, records: Sequence[Record]) -> tuple[list[Record], list[Fields], list[Record]]:
        """The records that are JSON by the book, their fields, and the others."""
        good: list[Record] = []
        found: list[Fields] = []
        odd: list[Record] = []
        for record in records:
            line = record.line
            try:
                if b"\n" in line or not _is_utf8(line):
                    odd.append(record)
                    continue
                found.append(self._decode(line))
            except _BAD_JSON:
                odd.append(record)
            else:
                good.append(record)
        return good, found, odd

    def _fill(self, records: Sequence[Record], found: Sequence[Fields], names: Sequence[str]) -> None:
        """Give the records these fields, and the time that the named ones hold."""
        if self._dotted:
            for fields in found:
                for name, path in self._dotted:
                    if name not in fields and (value := _at(fields, path)) is not None:
                        fields[name] = value
        for record, fields in zip(records, found, strict=True):
            if record.added:
                fields.update(record.added)
            record.parsed = fields
        if not names:
            return
        places: Sequence[int] = range(len(found))
        for name in names:
            values = [found[place].get(name) for place in places]
            empty = values.count(None)
            if empty == len(values):
                continue
            missing: list[int] = []
            if empty:
                missing = [place for place, value in zip(places, values, strict=True) if value is None]
                places = [place for place, value in zip(places, values, strict=True) if value is not None]
                values = [value for value in values if value is not None]
            times = self._clock.read_all(values)
            if len(times) == len(records) and None not in times:
                for record, time in zip(records, times, strict=True):
                    record.time_ns = time
                return
            for place, time in zip(places, times, strict=True):
                if time is None:
                    missing.append(place)
                else:
                    records[place].time_ns = time
            if not missing:
                return
            places = missing
        self._count("bad_timestamp", sum(any(found[p].get(name) is not None for name in names) for p in places))

    def _count(self, reason: str, number: int) -> None:
        if number:
            self._failures[reason] = self._failures.get(reason, 0) + number

    @cached_property
    def _readers(self) -> dict[str, Reader]:
        if self.format == "auto":
            return {**AUTO, "docker": FORMATS["docker"]}
        return FORMATS if self.pattern is None else {"regex": regex(self.pattern)}

    @cached_property
    def _clock(self) -> Clock:
        return Clock(self.timestamp_format, self.timezone)

    @cached_property
    def _later(self) -> Clock:
        return Clock(self.timestamp_format, self.timezone, fold=1)

    @cached_property
    def _text_times(self) -> list[str]:
        return list(dict.fromkeys([*self.timestamp, "timestamp"])) if self.timestamp else []

    @cached_property
    def _asked(self) -> set[str]:
        return set()

    @cached_property
    def _names(self) -> frozenset[str] | None:
        return None if self._wanted is None or ANY in self._wanted else self._wanted.union(self.timestamp)

    @cached_property
    def _dotted(self) -> list[tuple[str, list[str]]]:
        """Names such as `usage.input_tokens` with their steps."""
        return [(name, name.split(".")) for name in sorted(self._names or self.timestamp) if "." in name]

    @cached_property
    def _decode(self) -> Any:
        """Decodes one JSON object, of its fields only those that somebody wants."""
        if self._names is None:
            return _decode_all
        wanted = self._names.union(name.partition(".")[0] for name in self._names)
        kind = TypedDict("Wanted", dict.fromkeys(sorted(wanted), Any), total=False)  # type: ignore[misc]  # made at run time
        return msgspec.json.Decoder(kind).decode


_decode_all = msgspec.json.Decoder(dict[str, Any]).decode


def _typed(text: str, kind: str) -> int | float | bool | None:
    """The value, None where the text is none of this kind; numbers only as JSON can write them."""
    if kind == "bool":
        return _TRUE.get(text.lower())
    if not text.isascii() or "_" in text or len(text) > 40:
        return None
    try:
        number = int(text) if kind == "int" else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _at(value: Any, path: Sequence[str]) -> Any:
    for step in path:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value
