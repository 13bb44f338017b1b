"""Turns records into Prometheus metrics, counted once per batch."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple

import msgspec

from ..pipeline.batch import Batch
from ..pipeline.component import Stage
from ..pipeline.labels import OTHER, sanitize
from ..pipeline.match import Match
from ..pipeline.options import Duration, Template

if TYPE_CHECKING:  # only the exporter needs it at run time
    from prometheus_client import core

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LARGEST = 1e300  # so far below infinity that no sum gets there
_IDS: Final = frozenset({"session_key", "thread_ts", "user_id", "trace_id", "span_id", "request_id"})
_SUFFIXES: Final = {"counter": ("",), "gauge": ("",), "histogram": ("", "_bucket", "_count", "_sum")}
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

_NESTED: Final = (dict, list)
_TEXT: Final = frozenset({str, type(None)})

Labels = tuple[str, ...]

HELP = "Derived from log records."
"""Where the config says nothing: a metric without a help text is a fault to Prometheus' own checks."""


class Metric(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One metric. Its names follow the Prometheus data model."""

    name: str
    """Its whole name; a counter's ends in `_total`, a unit is the base unit (`_seconds`, `_bytes`)."""
    type: Literal["counter", "gauge", "histogram"]
    """`counter` adds up, `gauge` keeps the last value, `histogram` counts values in buckets."""
    help: str = ""
    """One sentence for `/metrics`."""
    match: Match | None = None
    """LogQL: counts only the records that match. None: every record."""
    value: str = ""
    """The field with the number. A counter without it counts records."""
    scale: float = 1
    """The number is multiplied by this: `0.001` makes seconds out of ms."""
    labels: dict[str, Template] = {}
    """Label names and what fills them, such as `{ model: "{model}" }`; ids are cut out of each value."""
    buckets: list[float] = msgspec.field(default_factory=lambda: list(_BUCKETS))
    """Upper bounds of a histogram's buckets, rising; `+Inf` comes by itself."""
    max_series: int = 1000
    """How many combinations of label values it keeps; all further ones are counted under `__other__`."""
    expire: Duration | None = None
    """Forget a combination of label values that no record had for this long, by the times of the reads."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with its options: pairs of an option and a message with what would do."""
        if not _NAME.fullmatch(self.name):
            yield "name", f"{self.name!r} is not a metric name: letters, digits, `_` and `:`, no digit first"
        elif self.name.startswith("tailrace_"):
            yield "name", "names with tailrace_ in front are tailrace's own: take another prefix"
        if self.type == "counter" and not self.name.endswith("_total"):
            yield "name", f"a counter's name ends in _total: write {self.name}_total"
        if self.type != "counter" and self.name.endswith(("_total", "_created")):
            yield "name", f"_total and _created are kept for counters: leave the ending off a {self.type}'s name"
        if self.type != "counter" and not self.value:
            yield "value", f"a {self.type} needs the field that holds the number"
        if not abs(self.scale) < _LARGEST or (self.type == "counter" and self.scale <= 0):
            yield "scale", "must be a finite number, for a counter one above 0"
        rising = all(low < high for low, high in pairwise(self.buckets))
        if not (self.buckets and rising and all(abs(bound) < _LARGEST for bound in self.buckets)):
            yield "buckets", "must be finite numbers, each larger than the one before (`+Inf` comes by itself)"
        if self.max_series < 1:
            yield "max_series", "at least 1"
        for label, template in self.labels.items():
            if not _LABEL.fullmatch(label) or label.startswith("__"):
                yield f"labels.{label}", "a label name is letters, digits and `_`, no digit and no `__` first"
            elif label == "le" and self.type == "histogram":
                yield "labels.le", "a histogram has a label le of its own: name this one otherwise"
            for field in {label: 0} | dict.fromkeys(template.fields):
                if field in _IDS:
                    yield (
                        f"labels.{label}",
                        f"{field} has a new value for each session or request, and each value is a series for ever: "
                        "leave it out here; put it under a sink's `metadata`, where logs are found by it",
                    )

    def fields(self) -> Iterator[str]:
        """Names of the fields that it looks at."""
        if self.match is not None:
            yield from self.match.fields
        if self.value:
            yield self.value
        for template in self.labels.values():
            yield from template.fields


class DeriveMetrics(Stage):
    """Count what records tell, for Prometheus. Records pass unchanged.

    A record whose `value` is missing or not a finite number (text such as `12.5` is one, true and false are not) does
    not count, nor does a negative one in a counter; `tailrace_derive_metrics_skipped_total` tells how many and why.
    The numbers begin at 0 with each start, as those of every Prometheus client do.
    """

    rewrites: ClassVar[bool] = False

    metrics: list[Metric]
    """What to count."""

    def check(self) -> Iterable[tuple[str, str]]:
        """Names, labels and values of each metric, and that no two metrics meet in one name."""
        taken: dict[str, str] = {}
        if not self.metrics:
            yield "metrics", "nothing to count: name a metric or leave the stage out"
        for place, metric in enumerate(self.metrics):
            for option, message in metric.problems():
                yield f"metrics[{place}].{option}", message
            for exposed in [metric.name + suffix for suffix in _SUFFIXES[metric.type]]:
                if exposed in taken:
                    yield f"metrics[{place}].name", f"{exposed} is exposed by {taken[exposed]} already: rename one"
                    break
                taken[exposed] = metric.name

    def reads(self) -> Iterable[str]:
        """Every field of every metric."""
        return dict.fromkeys(field for metric in self.metrics for field in metric.fields())

    def process(self, batch: Batch) -> Batch:
        """Count the batch once for each metric."""
        if batch.records:
            # All is worked out before any of it is counted: after an error the chain processes each record anew.
            counted = [series.tally(batch) for series in self._series]
            for series, tally in zip(self._series, counted, strict=True):
                series.add(tally)
        return batch

    def collect(self) -> Iterable[core.Metric]:
        """The metrics, and what was not counted."""
        from prometheus_client import core

        skipped = core.CounterMetricFamily(
            "tailrace_derive_metrics_skipped",
            "Records that a derived metric could not count.",
            labels=["component", "metric", "reason"],
        )
        for series in self._series:
            yield series.family()
            for reason, number in sorted(series.skipped.items()):
                skipped.add_metric([self.name, series.metric.name, reason], number)
        yield skipped

    @cached_property
    def _series(self) -> list[_Series]:
        return [_Series(metric) for metric in self.metrics]


class _Tally(NamedTuple):
    """What one batch adds to one metric."""

    values: Mapping[Labels, list[float]]
    """The numbers to add by label values; of a gauge the last one."""
    skipped: Counter[str]
    read_at_ns: int


class _Series:
    """What one metric has counted, by label values."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.skipped: Counter[str] = Counter()
        self._values: dict[Labels, float] = {}
        """The sum of a counter or histogram, the last value of a gauge."""
        self._buckets: dict[Labels, list[int]] = {}
        self._seen: dict[Labels, int] = {}
        """Read time of the last batch that had these labels, in ns."""
        self._now = 0
        self._swept = 0

    def tally(self, batch: Batch) -> _Tally:
        """What a batch adds; nothing is changed yet."""
        metric, skipped = self.metric, Counter[str]()
        if metric.match is not None:
            batch = batch.with_records(metric.match.select(batch))
        if not batch.records:
            return _Tally({}, skipped, self._now)
        keys = _keys(metric, batch)
        if not metric.value:
            numbers = {key: [number * metric.scale] for key, number in Counter(keys).items()}
            return _Tally(numbers, skipped, batch.read_at_ns)
        pairs = self._numbers(keys, batch.values(metric.value), skipped)
        if metric.type == "gauge":
            last = {key: [value * metric.scale] for key, value in dict(pairs).items()}
            return _Tally(last, skipped, batch.read_at_ns)
        groups: defaultdict[Labels, list[float]] = defaultdict(list)
        for key, value in pairs:
            groups[key].append(value * metric.scale)
        return _Tally(groups, skipped, batch.read_at_ns)

    def add(self, tally: _Tally) -> None:
        """Count it."""
        metric = self.metric
        self._now = max(self._now, tally.read_at_ns)
        self.skipped.update(tally.skipped)
        for key, values in tally.values.items():
            key = self._room(key)
            if metric.type == "gauge":
                self._values[key] = values[-1]
                continue
            self._values[key] = self._values.get(key, 0.0) + sum(values)
            if metric.type == "histogram":
                counts = self._buckets.setdefault(key, [0] * (len(metric.buckets) + 1))
                for value in values:
                    counts[bisect_left(metric.buckets, value)] += 1

    def _numbers(self, keys: list[Labels], values: list[Any], skipped: Counter[str]) -> list[tuple[Labels, float]]:
        """The pairs whose value counts; the others are counted as skipped."""
        highest = _LARGEST / max(1.0, abs(self.metric.scale))
        lowest = 0.0 if self.metric.type == "counter" else -highest
        # The comparison also refuses NaN and the infinities, and `type` booleans.
        pairs = [
            (key, value)
            for key, value in zip(keys, values, strict=True)
            if (type(value) is float or type(value) is int) and lowest <= value <= highest
        ]
        if len(pairs) == len(values):
            return pairs
        pairs = []
        for key, value in zip(keys, values, strict=True):
            number = float(value) if isinstance(value, str) and _NUMBER.fullmatch(value.strip()) else value
            if number is None or number == "":
                skipped["missing"] += 1
            elif isinstance(number, bool) or not isinstance(number, int | float):
                skipped["not_a_number"] += 1
            elif not -highest <= number <= highest:
                skipped["not_finite"] += 1
            elif number < lowest:
                skipped["negative"] += 1
            else:
                pairs.append((key, number))
        return pairs

    def _room(self, key: Labels) -> Labels:
        """The key, or `__other__` in each place when there is no room for one more."""
        if key not in self._values and len(self._values) >= self.metric.max_series:
            self._forget()
            if len(self._values) >= self.metric.max_series:
                key = (OTHER,) * len(key)
        self._seen[key] = self._now
        return key

    def _forget(self) -> None:
        if self.metric.expire is None or self._swept == self._now:
            return
        self._swept = self._now
        oldest = self._now - int(self.metric.expire * 1e9)
        for key in [key for key, seen in self._seen.items() if seen < oldest]:
            del self._seen[key], self._values[key]
            self._buckets.pop(key, None)

    def family(self) -> core.Metric:
        from prometheus_client import core
        from prometheus_client.utils import floatToGoString

        self._forget()
        metric, names = self.metric, list(self.metric.labels)
        if metric.type == "histogram":
            histogram = core.HistogramMetricFamily(metric.name, metric.help or HELP, labels=names)
            bounds = [*map(floatToGoString, metric.buckets), "+Inf"]
            for key, counts in self._buckets.items():
                filled = list(zip(bounds, accumulate(counts), strict=True))
                histogram.add_metric(list(key), filled, self._values[key])
            return histogram
        kind = core.CounterMetricFamily if metric.type == "counter" else core.GaugeMetricFamily
        family = kind(metric.name, metric.help or HELP, labels=names)
        for key, value in self._values.items():
            family.add_metric(list(key), value)
        return family


def _keys(metric: Metric, batch: Batch) -> list[Labels]:
    """The label values of each record."""
    if not metric.labels:
        return [()] * len(batch.records)
    return list(zip(*(_column(template, batch) for template in metric.labels.values()), strict=True))


def _column(template: Template, batch: Batch) -> list[str]:
    if not template.fields:
        return [sanitize(template.text)] * len(batch.records)
    if template.parts[::2] == ["", ""]:
        values = batch.values(template.fields[0])
    else:
        # Objects and lists as JSON, whatever their depth; Python's own way of writing them is nobody's label.
        columns = [
            [sanitize(value) if isinstance(value, _NESTED) else value for value in batch.values(field)]
            for field in template.fields
        ]
        rows = zip(*columns, strict=True)
        values = [template.render(dict(zip(template.fields, row, strict=True)).get) for row in rows]
    # Only texts go into a set: 1, 1.0 and true would be one there, and a list has no place in it.
    if not _TEXT.issuperset(map(type, values)):
        values = [value if type(value) is str else sanitize(value) for value in values]
    made = {value: sanitize(value) for value in set(values)}
    return [made[value] for value in values]
