"""Metrics of old records, with the times of the records: OpenMetrics for `promtool tsdb create-blocks-from`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from ..pipeline.batch import Batch
from ..pipeline.checkpoint import replace
from ..pipeline.component import Stage
from ..stages.derive_metrics import DeriveMetrics

STEP = 60
"""Seconds between two samples of a series."""
STALE = 5
"""So many steps after its last sample Prometheus takes a series for gone."""
_NANOS = 1_000_000_000

Name = tuple[str, tuple[tuple[str, str], ...]]
"""A sample's name and labels."""


class Family(msgspec.Struct):
    """What one metric is, and what was added to it in each step."""

    type: str
    help: str
    unit: str = ""
    changes: dict[Name, dict[int, float]] = {}
    """By sample and step: of a gauge its value, else how much came to it."""


class Backfill(Stage, kw_only=True):
    """In the place of a `derive_metrics`: counts by the time of the record, never in what is served live."""

    inner: DeriveMetrics
    families: dict[str, Family] = {}
    _last: dict[str, int] = {}

    def prepare(self, wanted: frozenset[str] | None) -> None:
        """As its own."""
        self.inner.prepare(wanted)

    def reads(self) -> frozenset[str]:
        """As its own."""
        return frozenset(self.inner.reads())

    def process(self, batch: Batch) -> Batch:
        """Count what has a time; what has none takes that of the record before it."""
        found = batch.found_times
        if found is None or not len(batch):
            return batch
        last = self._last.get(batch.partition)
        steps: dict[int, list[int]] = {}
        for place, time_ns in enumerate(found):
            last = last if time_ns is None else time_ns // _NANOS // STEP
            if last is not None:
                steps.setdefault(last, []).append(place)
        if last is not None:
            self._last[batch.partition] = last
        if len(steps) == 1 and len(next(iter(steps.values()))) == len(batch):
            self._count(next(iter(steps)), batch)
            return batch
        records = batch.records
        for step, places in steps.items():
            self._count(step, batch.with_records([records[place] for place in places]))
        return batch

    def _count(self, step: int, batch: Batch) -> None:
        own = msgspec.structs.replace(self.inner)  # which has counted nothing yet
        own.process(batch)
        for found in own.collect():
            if found.name.startswith("tailrace_"):
                continue
            family = self.families.setdefault(found.name, Family(found.type, found.documentation, found.unit))
            for sample in found.samples:
                if sample.name.endswith("_created"):
                    continue
                name = sample.name, tuple(sorted(sample.labels.items()))
                changes = family.changes.setdefault(name, {})
                before = 0.0 if family.type == "gauge" else changes.get(step, 0.0)
                changes[step] = before + sample.value


def write(path: Path, families: Mapping[str, Family]) -> int:
    """The file; returns how many samples it has. Raises OSError."""
    lines = list(_lines(families))
    replace(path, "\n".join([*lines, "# EOF", ""]).encode())
    return sum(not line.startswith("#") for line in lines)


def _lines(families: Mapping[str, Family]) -> Iterator[str]:
    for name, family in sorted(families.items()):
        yield f"# HELP {name} {_escaped(family.help)}"
        yield f"# TYPE {name} {family.type}"
        for (sample, labels), changes in sorted(family.changes.items()):
            inner = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels)
            head = f"{sample}{{{inner}}}" if inner else sample
            for step, value in samples(changes, summed=family.type != "gauge"):
                # What happened within a step is known at its end.
                yield f"{head} {value!r} {(step + 1) * STEP}"


def samples(changes: Mapping[int, float], *, summed: bool) -> Iterator[tuple[int, float]]:
    """Steps and values: one at each step, but for gaps in which the series is gone; a counter begins at 0."""
    order = sorted(changes)
    value, before = 0.0, order[0] - 1
    if summed:
        yield before, value
    for step in order:
        gap = range(before + 1, step)
        for quiet in gap if len(gap) <= STALE else (step - 1,) if summed else ():
            yield quiet, value
        value = value + changes[step] if summed else changes[step]
        yield step, value
        before = step


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
