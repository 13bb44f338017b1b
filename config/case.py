"""The `tests:` of a config: raw lines in, and what each sink is to get out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

import msgspec

from ..pipeline.component import Sink, Source, Stage
from .problem import did_you_mean

READ_AT = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
"""When the lines of a test are read, unless it says `now:`."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_SERIES = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?")
_PAIR = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*("(?:[^"\\]|\\.)*")\s*(,|\Z)')


Path: TypeAlias = tuple[str | int, ...]
"""Keys and places on the way to a value."""


class Fault(NamedTuple):
    """What is wrong with a test."""

    path: Path
    message: str
    hint: str
    of_key: bool = False
    """It is the last key that is wrong, not what stands under it."""


class Expected(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One record as a sink gets it; what is not written here is not compared."""

    line: str | None = None
    """The whole line, to the byte."""
    contains: str | list[str] = []
    """Texts that are in the line."""
    lacks: str | list[str] = []
    """Texts that are not in the line."""
    fields: dict[str, Any] = {}
    """Fields, added ones included; null: the record has no such field. `a.b` is `b` in `a`."""
    labels: dict[str, str] | None = None
    """All labels, as Loki gets them."""
    metadata: dict[str, str] | None = None
    """All structured metadata, as Loki gets it."""
    time: str | None = None
    """When it happened, such as `2026-11-23T12:00:00.5Z`."""
    path: str | None = None
    """The file that it is written to."""

    def problems(self, path: Path, sink: Sink) -> Iterator[Fault]:
        """What cannot be right, given the sink."""
        for key in ("labels", "metadata", "path"):
            if getattr(self, key) is not None and key not in type(sink).__struct_fields__:
                yield Fault((*path, key), f"sink {sink.name!r} has no {key}", "leave it out", of_key=True)
        if self.time is not None:
            yield from _time_faults((*path, "time"), self.time)


class ExpectedDead(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One record that a stage gives up; what is not written here is not compared."""

    stage: str | None = None
    """The stage that gives it up."""
    reason: str | None = None
    """A text that is in the reason."""
    line: str | None = None
    """Its line; it has none in the letter where it may hold what was to be hidden."""


class Case(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename={"lines": "in"}):
    """One test. It runs as the engine would, with the clock standing still; nothing is sent anywhere.

    Secrets of the config (`{ env: NAME }`) need not be there: a stand-in takes their place.
    """

    name: str
    """What it shows, in a sentence."""
    lines: str | list[str]
    """What the source reads: text of one or more lines, or a list of them."""
    source: str = ""
    """The source that reads it; may be left out when there is one only."""
    file: str = ""
    """The path that it is read from, for stages and labels that use it."""
    now: str = ""
    """When it is read, such as `2026-11-23T12:00:00Z`; otherwise 2026-09-21T14:13:20Z."""
    out: dict[str, int | list[str | Expected]] = {}
    """By sink all records that it gets, in their order: lines, or maps of what is to be compared; or how many."""
    dropped: int | dict[str, int] | None = None
    """How many records stages leave out: all together, or by stage."""
    dead: int | list[ExpectedDead] = []
    """Records that go to the dead letter, or how many: none, unless you say so."""
    metrics: dict[str, float] = {}
    """Values by series, such as `llm_calls_total{model="gpt-4o"}: 2`; series not named here are not compared."""

    @property
    def data(self) -> bytes:
        """What is read."""
        lines = self.lines if isinstance(self.lines, str) else "\n".join(self.lines)
        return lines.encode("utf-8", "surrogatepass")

    @property
    def read_at_ns(self) -> int:
        """When it is read, in Unix ns. Raises ValueError."""
        return time_ns(self.now) if self.now else _ns(READ_AT)

    def problems(
        self, sources: Mapping[str, Source], stages: Iterable[Stage], sinks: Mapping[str, Sink]
    ) -> Iterator[Fault]:
        """What cannot be right, given the config."""
        names = [stage.name for stage in stages]
        if not self.name.strip():
            yield Fault(("name",), "a test needs a name", "say in a sentence what it shows")
        if self.source and self.source not in sources:
            yield Fault(("source",), f"no source {self.source!r}", did_you_mean(self.source, sources, "sources"))
        if not self.source and len(sources) > 1:
            yield Fault((), "`source:` is missing: the config has several", did_you_mean("", sources, "sources"))
        if not (self.out or self.metrics or self.dropped is not None or self.dead):
            yield Fault(
                (), "the test expects nothing", "write `out: { SINK: [ … ] }`, `dropped:`, `dead:` or `metrics:`"
            )
        if self.now:
            yield from _time_faults(("now",), self.now)
        for sink, records in self.out.items():
            if sink not in sinks:
                yield Fault(("out", sink), f"no sink {sink!r}", did_you_mean(sink, sinks, "sinks"), of_key=True)
                continue
            for place, record in enumerate(records if isinstance(records, list) else ()):
                if isinstance(record, Expected):
                    yield from record.problems(("out", sink, place), sinks[sink])
        for stage in self.dropped if isinstance(self.dropped, dict) else ():
            if stage not in names:
                hint = did_you_mean(stage, names, "stages")
                yield Fault(("dropped", stage), f"no stage {stage!r}", hint, of_key=True)
        for place, letter in enumerate(self.dead if isinstance(self.dead, list) else ()):
            if letter.stage is not None and letter.stage not in names:
                hint = did_you_mean(letter.stage, names, "stages")
                yield Fault(("dead", place, "stage"), f"no stage {letter.stage!r}", hint)
        for key in self.metrics:
            try:
                series(key)
            except ValueError as error:
                hint = "write it as Prometheus does: 'calls_total{model=\"gpt-4o\"}'"
                yield Fault(("metrics", key), str(error), hint, of_key=True)


def _time_faults(path: Path, text: str) -> Iterator[Fault]:
    try:
        time_ns(text)
    except ValueError as error:
        yield Fault(path, str(error), "write it such as 2026-11-23T12:00:00.5Z")


def time_ns(text: str) -> int:
    """An RFC 3339 time in Unix ns. Raises ValueError."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a time with a zone")
    moment = datetime.fromisoformat(found[1] + found[3])
    return _ns(moment) + int((found[2] or "").ljust(9, "0"))


def _ns(moment: datetime) -> int:
    return round((moment - EPOCH).total_seconds()) * 1_000_000_000


def series(text: str) -> tuple[str, dict[str, str]]:
    """Name and labels of a series as Prometheus writes it. Raises ValueError."""
    found = _SERIES.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a series")
    labels, rest = {}, found[2] or ""
    while rest:
        pair = _PAIR.match(rest)
        if not pair:
            raise ValueError(f"{text!r} is not a series: {rest.strip()!r} is no label")
        labels[pair[1]] = str(json.loads(pair[2]))
        rest = rest[pair.end() :]
    return found[1], labels


def series_text(name: str, labels: Mapping[str, str]) -> str:
    """A series as text, its labels in the order of their names."""
    pairs = ",".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(labels.items()))
    return f"{name}{{{pairs}}}" if pairs else name
