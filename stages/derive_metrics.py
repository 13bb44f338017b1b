"""Turns records into Prometheus metrics, counted once per batch."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, pairwise, repeat
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple

import msgspec

from ..pipeline.batch import Batch
from ..pipeline.component import Stage
from ..pipeline.labels import OTHER, sanitize
from ..pipeline.log import log
from ..pipeline.match import Match
from ..pipeline.options import Duration, Template, decode_option
from ._metric_sets import SETS
from ._selection import Selection

if TYPE_CHECKING:  # only the exporter needs it at run time
    from prometheus_client import core
    from prometheus_client.samples import Exemplar

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LARGEST = 1e300  # so far below infinity that no sum gets there
_IDS: Final = frozenset({"session_key", "thread_ts", "user_id", "trace_id", "span_id", "request_id"})
_SUFFIXES: Final = {"counter": ("",), "gauge": ("",), "histogram": ("", "_bucket", "_count", "_sum")}
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

_EXEMPLAR_CHARS = 100  # OpenMetrics allows 128 for an exemplar's label name and value together
_MOST_BUCKETS = 200

_KNOWN = 1000
_KNOWN_CHARS = 1000
"""What is remembered of label values: so many of a metric, and none that is longer."""

_NESTED: Final = (dict, list)
_NUMBERS: Final = frozenset({int, float})

Labels = tuple[str, ...]
Said = str | tuple[str | None, ...] | None
"""What a record says for the labels of a metric, before it is made fit for a label: text alone where there is one."""

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
    schema: int | None = None
    """Puts the buckets where a native histogram of this schema has its own, from the first of `buckets` to the last: 0:
    each twice the one before, 1: 1.41 times, 2: 1.19 times. So both kinds of histogram can be read together."""
    exemplar: str = ""
    """The field, such as `trace_id`, that leads from a number to a record: of each series or bucket the last one is
    shown (OpenMetrics). Not for gauges."""
    max_series: int = 1000
    """How many combinations of label values it keeps; all further ones are counted under `__other__`."""
    expire: Duration | None = Duration(24 * 3600)
    """Forget a combination of label values that no record had for this long, by the times of the reads. When it comes
    back its counts begin at 0, which `rate()` takes for a restart. `null`: keep all of them."""

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
        if self.schema is not None:
            if not 0 <= self.schema <= 8 or self.buckets[:1] < [1e-300]:
                yield "schema", "0 to 8, with buckets above 0"
            elif len(self.bounds) > _MOST_BUCKETS:
                yield "schema", f"makes {len(self.bounds)} buckets: take a smaller one, or a narrower span of buckets"
        if self.exemplar and self.type == "gauge":
            yield "exemplar", "a gauge has none (OpenMetrics): leave it out"
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

    @property
    def bounds(self) -> list[float]:
        """The upper bounds of its buckets."""
        if self.schema is None:
            return self.buckets
        steps = 2**self.schema
        first, last = (math.log2(bound) * steps for bound in (self.buckets[0], self.buckets[-1]))
        return [2 ** (step / steps) for step in range(math.floor(first), math.ceil(last) + 1)]

    def fields(self) -> Iterator[str]:
        """Names of the fields that it looks at."""
        if self.exemplar:
            yield self.exemplar
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

    metrics: list[Metric] = []
    """What to count."""
    sets: list[str] = []
    """Ready-made metrics: llm (calls, tokens), tools, stages (durations), errors."""
    prefix: str = ""
    """Stands before the names of the ready-made ones, such as `app_`."""

    def check(self) -> Iterable[tuple[str, str]]:
        """Names, labels and values of each metric, and that no two metrics meet in one name."""
        taken: dict[str, str] = {}
        if not self.metrics and not self.sets:
            yield "metrics", "nothing to count: name a metric or a set, or leave the stage out"
        for place, name in enumerate(self.sets):
            if name not in SETS:
                yield f"sets[{place}]", f"no set {name!r}: there are {', '.join(SETS)}"
        if self.prefix and not _NAME.fullmatch(self.prefix):
            yield "prefix", f"{self.prefix!r} cannot begin a name: letters, digits, `_` and `:`, no digit first"
        for metric in self._ready_made:
            taken |= {metric.name + suffix: f"the set's {metric.name}" for suffix in _SUFFIXES[metric.type]}
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
        return dict.fromkeys(field for metric in self._all for field in metric.fields())

    def process(self, batch: Batch) -> Batch:
        """Count the batch once for each metric."""
        if len(batch):
            selection = Selection(batch)
            # All is worked out before any of it is counted: after an error the chain processes each record anew.
            counted = [series.tally(selection) for series in self._series]
            for series, tally in zip(self._series, counted, strict=True):
                series.add(tally, batch.read_at_ns)
        return batch

    def collect(self) -> Iterable[core.Metric]:
        """The metrics, and what was not counted."""
        from prometheus_client import core

        skipped = core.CounterMetricFamily(
            "tailrace_derive_metrics_skipped",
            "Records that a derived metric could not count.",
            labels=["component", "metric", "reason"],
        )
        folded = core.CounterMetricFamily(
            "tailrace_derive_metrics_folded",
            "Batches in which a new series found no room, by the label that has the most values.",
            labels=["component", "metric", "label"],
        )
        for series in self._series:
            yield series.family()
            for label, number in sorted(series.folded.items()):
                folded.add_metric([self.name, series.metric.name, label], number)
            for reason, number in sorted(series.skipped.items()):
                skipped.add_metric([self.name, series.metric.name, reason], number)
        yield skipped
        yield folded

    @cached_property
    def _series(self) -> list[_Series]:
        return [_Series(metric) for metric in self._all]

    @cached_property
    def _ready_made(self) -> list[Metric]:
        rows = [row for name in dict.fromkeys(self.sets) for row in SETS.get(name, ())]
        return [
            msgspec.convert(row | {"name": self.prefix + row["name"]}, Metric, dec_hook=decode_option) for row in rows
        ]

    @property
    def _all(self) -> list[Metric]:
        return [*self._ready_made, *self.metrics]


class _Tally(NamedTuple):
    """What one batch adds to one metric."""

    values: Mapping[Labels, Sequence[float]] = {}
    """The numbers to add by label values; of a gauge the last one."""
    skipped: Mapping[str, int] = {}
    exemplars: Mapping[tuple[Labels, int], Exemplar] = {}
    """By label values and bucket, the last record that tells where it came from."""


class _Series:
    """What one metric has counted, by label values."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.skipped: Counter[str] = Counter()
        self.folded: Counter[str] = Counter()
        """How often a new series found no room, by the label to blame."""
        self._blamed = ""
        self._bounds = metric.bounds if metric.type == "histogram" else []
        self._labels = _Fit()
        self._exemplars: dict[tuple[Labels, int], Exemplar] = {}
        self._values: dict[Labels, float] = {}
        """The sum of a counter or histogram, the last value of a gauge."""
        self._buckets: dict[Labels, list[int]] = {}
        self._seen: dict[Labels, int] = {}
        """Read time of the last batch that had these labels, in ns."""
        self._now = 0
        self._swept = 0

    def tally(self, selection: Selection) -> _Tally:
        """What a batch adds; nothing is changed yet."""
        metric = self.metric
        if metric.match is not None:
            selection = selection.select(metric.match)
        if not len(selection):
            return _Tally()
        # A batch has few different label values: the records are counted by what they say, which is then made fit.
        said, labels = _said(metric, selection), self._labels
        if not metric.value:
            counts = Counter(said)
            sums: defaultdict[Labels, list[float]] = defaultdict(list)
            for raw, number in counts.items():
                sums[labels[raw]].append(number * metric.scale)
            found = self._found(selection, _said(metric, selection), repeat(1)) if metric.exemplar else {}
            return _Tally(sums, {}, found)
        values, skipped = selection[metric.value], Counter[str]()
        if values.count(None) == len(values):
            return _Tally({}, {"missing": len(values)})
        said = list(said)
        found = self._found(selection, said, values) if metric.exemplar else {}
        if not self._all_count(values):
            said, values = self._those_that_count(said, values, skipped)
        if metric.type == "gauge":
            last = dict(zip(map(labels.__getitem__, said), values, strict=True))
            return _Tally({key: [value * metric.scale] for key, value in last.items()}, skipped)
        groups: defaultdict[Said, list[float]] = defaultdict(list)
        for raw, value in zip(said, values, strict=True):
            groups[raw].append(value)
        scaled: defaultdict[Labels, list[float]] = defaultdict(list)
        for raw, group in groups.items():
            scaled[labels[raw]] += [value * metric.scale for value in group]
        return _Tally(scaled, skipped, found)

    def add(self, tally: _Tally, read_at_ns: int) -> None:
        """Count it."""
        metric = self.metric
        self._now = max(self._now, read_at_ns)
        self.skipped.update(tally.skipped)
        rooms: dict[Labels, Labels] = {}
        for given, values in tally.values.items():
            key = rooms[given] = self._room(given)
            if metric.type == "gauge":
                self._values[key] = values[-1]
                continue
            self._values[key] = self._values.get(key, 0.0) + sum(values)
            if metric.type == "histogram":
                ordered = sorted(values)
                # How many are at most each bound; what one bound has more than the one before is in its bucket.
                upto = [0, *(bisect_right(ordered, bound) for bound in self._bounds), len(ordered)]
                counts = self._buckets.setdefault(key, [0] * (len(self._bounds) + 1))
                for bucket, (low, high) in enumerate(pairwise(upto)):
                    counts[bucket] += high - low
        for (given, bucket), exemplar in tally.exemplars.items():
            self._exemplars[rooms[given], bucket] = exemplar

    def _found(
        self, selection: Selection, said: Iterable[Said], values: Iterable[Any]
    ) -> dict[tuple[Labels, int], Exemplar]:
        """Of each series and bucket the last record with an id. A number that is text leads nowhere."""
        from prometheus_client.samples import Exemplar

        name, scale, (lowest, highest) = self.metric.exemplar, self.metric.scale, self._limits
        last = {
            (self._labels[raw], bisect_left(self._bounds, value * scale) if self._bounds else 0): (place, own, value)
            for place, (own, raw, value) in enumerate(zip(selection[name], said, values, strict=False))
            if type(own) is str and 0 < len(own) <= _EXEMPLAR_CHARS
            if (type(value) is float or type(value) is int) and lowest <= value <= highest
        }
        found, times, label = dict[tuple[Labels, int], Exemplar](), selection.times, re.sub(r"\W", "_", name)
        for series_and_bucket, (place, own, value) in last.items():
            time_ns = times[place]
            found[series_and_bucket] = Exemplar({label: own}, value * scale, None if time_ns is None else time_ns / 1e9)
        return found

    @cached_property
    def _limits(self) -> tuple[float, float]:
        """The lowest and the highest number that counts, before it is scaled."""
        highest = _LARGEST / max(1.0, abs(self.metric.scale))
        return 0.0 if self.metric.type == "counter" else -highest, highest

    def _all_count(self, values: list[Any]) -> bool:
        """Whether all are numbers within the limits, as nearly always. NaN makes a sum that is not itself."""
        lowest, highest = self._limits
        return (
            _NUMBERS.issuperset(map(type, values))
            and lowest <= min(values)
            and max(values) <= highest
            and not math.isnan(sum(values))
        )

    def _those_that_count(
        self, said: Iterable[Said], values: list[Any], skipped: Counter[str]
    ) -> tuple[list[Said], list[float]]:
        """What counts of the values, text that is a number among them; the others are counted as skipped."""
        lowest, highest = self._limits
        pairs = list[tuple[Said, float]]()
        for raw, value in zip(said, values, strict=True):
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
                pairs.append((raw, number))
        return [raw for raw, _ in pairs], [number for _, number in pairs]

    def _room(self, key: Labels) -> Labels:
        """The key, or `__other__` in each place when there is no room for one more."""
        if key not in self._values and len(self._values) >= self.metric.max_series:
            self._forget()
            if len(self._values) >= self.metric.max_series:
                self.folded[self._blame()] += 1
                key = (OTHER,) * len(key)
        self._seen[key] = self._now
        return key

    def _blame(self) -> str:
        """The label with the most values; looked for once, and again when series were forgotten."""
        if not self._blamed:
            many = [len(set(values)) for values in zip(*self._values, strict=True)]
            labels = list(self.metric.labels)
            self._blamed = labels[many.index(max(many))] if many else "(none)"
            log.warning(
                "too many series, further ones are counted together",
                metric=self.metric.name,
                label=self._blamed,
                values=max(many, default=0),
                max_series=self.metric.max_series,
            )
        return self._blamed

    def _forget(self) -> None:
        if self.metric.expire is None or self._swept == self._now:
            return
        self._swept = self._now
        oldest = self._now - int(self.metric.expire * 1e9)
        for key in [key for key, seen in self._seen.items() if seen < oldest]:
            del self._seen[key], self._values[key]
            self._buckets.pop(key, None)
            self._blamed = ""
            for place in [place for place in self._exemplars if place[0] == key]:
                del self._exemplars[place]

    def family(self) -> core.Metric:
        from prometheus_client import core
        from prometheus_client.utils import floatToGoString

        self._forget()
        metric, names = self.metric, list(self.metric.labels)
        if metric.type == "histogram":
            histogram = core.HistogramMetricFamily(metric.name, metric.help or HELP, labels=names)
            bounds = [*map(floatToGoString, self._bounds), "+Inf"]
            for key, counts in self._buckets.items():
                filled = [
                    (bound, count, exemplar) if (exemplar := self._exemplars.get((key, place))) else (bound, count)
                    for place, (bound, count) in enumerate(zip(bounds, accumulate(counts), strict=True))
                ]
                histogram.add_metric(list(key), filled, self._values[key])
            return histogram
        if metric.type == "gauge":
            gauge = core.GaugeMetricFamily(metric.name, metric.help or HELP, labels=names)
            for key, value in self._values.items():
                gauge.add_metric(list(key), value)
            return gauge
        counter = core.CounterMetricFamily(metric.name, metric.help or HELP, labels=names)
        for key, value in self._values.items():
            counter.add_metric(list(key), value, exemplar=self._exemplars.get((key, 0)))
        return counter


def _said(metric: Metric, selection: Selection) -> Iterable[Said]:
    """What each record says for the labels, as it stands there."""
    texts = [_column(template, selection) for template in metric.labels.values()]
    if len(texts) == 1:  # no tuples are needed, which saves half of the time
        return texts[0]
    return zip(*texts, strict=True) if texts else repeat((), len(selection))


class _Fit(dict[Said, Labels]):
    """The label values for what records say, made when they are first asked for."""

    def __missing__(self, said: Said) -> Labels:
        texts = said if isinstance(said, tuple) else (said,)
        labels = tuple(map(sanitize, texts))
        if sum(map(len, filter(None, texts))) <= _KNOWN_CHARS:
            if len(self) >= _KNOWN:
                self.clear()
            self[said] = labels
        return labels


def _column(template: Template, selection: Selection) -> Sequence[str | None]:
    """What each record says for one label: text or nothing, so that what is equal also reads alike."""
    if not template.fields:
        return [template.text] * len(selection)
    if template.parts[::2] == ["", ""]:
        name = template.fields[0]
        return selection[name] if selection.is_text(name) else list(map(_plain, selection[name]))
    # Objects and lists as JSON, whatever their depth; Python's own way of writing them is nobody's label.
    parts = [
        [sanitize(value) if isinstance(value, _NESTED) else value for value in selection[field]]
        for field in template.fields
    ]
    rows = zip(*parts, strict=True)
    return [template.render(dict(zip(template.fields, row, strict=True)).get) for row in rows]


def _plain(value: object) -> str | None:
    return value if value is None or type(value) is str else sanitize(value)
