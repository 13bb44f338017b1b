"""Counts and measures what a log query finds in ranges of time, and puts such metrics together."""

from __future__ import annotations

import math
import operator
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ..pipeline.match import COMPARE
from .local import Reader
from .logql import Aggregate, Binary, Grouping, Metric, Range, Scalar
from .row import DETAILS, ERROR, Row

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Names and values, sorted."""
Matrix: TypeAlias = dict[Labels, dict[int, float]]
"""For each series its values, by the number of the moment."""
MAX_POINTS = 11_000
"""Of one series, as in Loki."""


class MetricError(ValueError):
    """Records that cannot be counted; the message says what would do."""


class Series(NamedTuple):
    """One line of a graph."""

    labels: dict[str, str]
    points: list[tuple[int, float]]
    """Moments in Unix ns, and values."""


class Moments(NamedTuple):
    """The moments that are asked for: `many` of them, `step_ns` apart."""

    start_ns: int
    step_ns: int
    many: int

    @classmethod
    def between(cls, start_ns: int, end_ns: int, step_ns: int) -> Moments:
        """From start to end, both moved outwards to whole steps, as Loki does where it splits a query."""
        start = start_ns - start_ns % step_ns
        end = end_ns + -end_ns % step_ns
        return cls(start, step_ns, (end - start) // step_ns + 1)

    @classmethod
    def one(cls, at_ns: int) -> Moments:
        """A single one."""
        return cls(at_ns, 1, 1)

    @property
    def end_ns(self) -> int:
        """The last one."""
        return self.start_ns + (self.many - 1) * self.step_ns

    def holding(self, time_ns: int, range_ns: int) -> tuple[int, int]:
        """Numbers of the first moment whose range has this time, and of the first after these that has it no more."""
        first = -((self.start_ns - time_ns) // self.step_ns)
        end = -((self.start_ns - time_ns - range_ns) // self.step_ns)
        return max(first, 0), min(end, self.many)


class Keyed(NamedTuple):
    """How the samples of a range are told apart: by the values of `names`, or by all labels."""

    names: tuple[str, ...] | None
    extra: tuple[str, ...] = ()
    """With all labels also these, where a record has them."""


Source: TypeAlias = Callable[[Range, Keyed, int, int], Iterator[list[Row]]]
"""Rows for a range function from a time up to, not including, another."""


def reader(metric: Range, keyed: Keyed, start_ns: int, end_ns: int, labels: Sequence[str] | None = None) -> Reader:
    """What reads the rows of a range function from files; `labels` as of `Reader`."""
    names = [*(keyed.names or ()), *keyed.extra]
    if metric.unwrap is not None:
        names += [metric.unwrap.name, *(name for step in metric.unwrap.after for name in step.names)]
    whole = keyed.names is None
    return Reader(metric.logs, labels=labels, names=names, whole=whole, timed=True, start_ns=start_ns, end_ns=end_ns)


def ranges(metric: Metric) -> Iterator[Range]:
    """All range functions in a metric."""
    if isinstance(metric, Range):
        yield metric
    elif isinstance(metric, Aggregate):
        yield from ranges(metric.inner)
    elif isinstance(metric, Binary):
        yield from ranges(metric.left)
        yield from ranges(metric.right)


def evaluate(metric: Metric, moments: Moments, source: Source) -> list[Series]:
    """The series, the largest last values first. Raises MetricError."""
    found = _value(metric, moments, source, ())
    if isinstance(found, float):
        found = {(): dict.fromkeys(range(moments.many), found)}
    series = [
        Series(dict(labels), [(moments.start_ns + k * moments.step_ns, points[k]) for k in sorted(points)])
        for labels, points in found.items()
        if points
    ]
    return in_order(series)


def in_order(series: Iterable[Series]) -> list[Series]:
    """The largest last values first, equal ones by their labels."""
    return sorted(series, key=lambda one: (-_ordered(one.points[-1][1]), sorted(one.labels.items())))


def _ordered(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _value(metric: Metric, moments: Moments, source: Source, wanted: tuple[str, ...]) -> Matrix | float:
    match metric:
        case Scalar(value):
            return value
        case Range():
            return _range(metric, moments, source, Keyed(None, wanted))
        case Aggregate("sum", Range() as inner, Grouping(names, False)) if _adds(inner):
            return _range(inner, moments, source, Keyed(names))
        case Aggregate():
            found = _value(metric.inner, moments, source, (*wanted, *metric.grouping.names))
            if isinstance(found, float):
                raise MetricError(f"{metric.op} needs a metric, not a number")
            return found if metric.op.startswith("sort") else _aggregate(metric, found)
        case Binary():
            left = _value(metric.left, moments, source, wanted)
            right = _value(metric.right, moments, source, wanted)
            return _binary(metric, left, right)


def _adds(metric: Range) -> bool:
    """Whether the sum over series is the same as one series of all samples."""
    return metric.op in ("count_over_time", "rate", "bytes_over_time", "bytes_rate", "sum_over_time")


def _range(metric: Range, moments: Moments, source: Source, keyed: Keyed) -> Matrix:
    if metric.grouping is not None and not metric.grouping.without:
        keyed = Keyed(metric.grouping.names)
    first = moments.start_ns - metric.range_ns - metric.offset_ns + 1
    rows = source(metric, keyed, first, moments.end_ns - metric.offset_ns + 1)
    samples = _samples(metric, keyed, rows)
    op = metric.op.removesuffix("_over_time").removesuffix("_rate")
    windows: _Windows
    if metric.unwrap is None:
        windows = _Counts(moments, metric.range_ns)
    elif op in ("quantile", "first", "last", "stddev", "stdvar"):
        windows = _Kept(moments, metric.range_ns, op, metric.parameter)
    else:
        windows = _Folded(moments, metric.range_ns, op)
    for keys, times, values in samples:
        windows.add(keys, times, values)
    found = windows.points()
    if "rate" in metric.op:
        seconds = metric.range_ns / 1e9
        found = {key: {k: value / seconds for k, value in points.items()} for key, points in found.items()}
    if keyed.names is None:
        return dict(found)  # type: ignore[arg-type]  # the keys are labels already
    names = keyed.names
    return {
        tuple(sorted((name, str(value)) for name, value in zip(names, key, strict=True) if value)): points
        for key, points in found.items()
    }


Key: TypeAlias = tuple[object, ...]
Samples: TypeAlias = tuple[list[Key], list[int], list[float]]


def _samples(metric: Range, keyed: Keyed, found: Iterable[list[Row]]) -> Iterator[Samples]:
    unwrap = metric.unwrap
    sizes = metric.op.startswith("bytes")
    without = set(metric.grouping.names) if metric.grouping is not None and metric.grouping.without else set()
    if unwrap is not None:
        without.add(unwrap.name)
    for rows in found:
        values: list[float]
        if unwrap is not None:
            pairs = [(row, value) for row in rows if (value := unwrap.value(row)) is not None]
            rows, values = [row for row, _ in pairs], [value for _, value in pairs]
        else:
            values = [float(len(row.line)) for row in rows] if sizes else [1.0] * len(rows)
        for row in rows:
            if row.labels.get(ERROR):
                details = row.labels.get(DETAILS) or "a step failed"
                raise MetricError(
                    f"{row.labels[ERROR]}: {details}, in a record that would count: "
                    'leave such out with | __error__="", or choose fewer'
                )
        if keyed.names is None:
            keys: list[Key] = [_labels(row, without, keyed.extra) for row in rows]
        elif len(keyed.names) == 1:
            (name,) = keyed.names
            keys = [(row.get(name) or "",) for row in rows]
        else:
            names = keyed.names
            keys = [tuple([row.get(name) or "" for name in names]) for row in rows]
        yield keys, [(row.time_ns or 0) + metric.offset_ns for row in rows], values


def _labels(row: Row, without: set[str], extra: Iterable[str]) -> Labels:
    labels = row.known()
    for name in extra:
        if name not in row.labels and (value := row.get(name)):
            labels[name] = value
    return tuple(sorted((name, value) for name, value in labels.items() if name not in without))


class _Windows:
    """Takes samples, and says what they come to in the range before each moment."""

    def __init__(self, moments: Moments, range_ns: int) -> None:
        self.moments, self.range_ns = moments, range_ns

    def add(self, keys: list[Key], times: list[int], values: list[float]) -> None:
        """Take samples: the series, time and value of each."""
        raise NotImplementedError

    def points(self) -> dict[Key, dict[int, float]]:
        """For each series the values by moment; none where its range has no sample."""
        raise NotImplementedError


class _Counts(_Windows):
    """Sums of whole numbers: noted where they begin and where they end, however many ranges have them."""

    def __init__(self, moments: Moments, range_ns: int) -> None:
        super().__init__(moments, range_ns)
        self._changes: dict[tuple[Key, int], float] = {}
        self._entries: Counter[tuple[Key, int]] = Counter()

    def add(self, keys: list[Key], times: list[int], values: list[float]) -> None:
        holding, range_ns, changes = self.moments.holding, self.range_ns, self._changes
        spans = [holding(time_ns, range_ns) for time_ns in times]
        begin = [(key, first) for key, (first, _) in zip(keys, spans, strict=True)]
        end = [(key, last) for key, (_, last) in zip(keys, spans, strict=True)]
        self._entries.update(begin)
        self._entries.subtract(end)
        for place, value in zip(begin, values, strict=True):
            changes[place] = changes.get(place, 0) + value
        for place, value in zip(end, values, strict=True):
            changes[place] = changes.get(place, 0) - value

    def points(self) -> dict[Key, dict[int, float]]:
        by_key: dict[Key, list[int]] = {}
        for key, k in self._changes:
            by_key.setdefault(key, []).append(k)
        found: dict[Key, dict[int, float]] = {}
        for key, places in by_key.items():
            points: dict[int, float] = {}
            total, entries = 0.0, 0
            places.sort()
            for place, following in zip(places, [*places[1:], self.moments.many], strict=True):
                total += self._changes[key, place]
                entries += self._entries[key, place]
                if entries:
                    points.update(dict.fromkeys(range(place, following), total))
            found[key] = points
        return found


class _Folded(_Windows):
    """Sum, mean, least and largest: four numbers for each range that has a sample."""

    def __init__(self, moments: Moments, range_ns: int, op: str) -> None:
        super().__init__(moments, range_ns)
        self._op = op
        self._folds: dict[Key, dict[int, list[float]]] = {}

    def add(self, keys: list[Key], times: list[int], values: list[float]) -> None:
        for key, time_ns, value in zip(keys, times, values, strict=True):
            series = self._folds.setdefault(key, {})
            for k in range(*self.moments.holding(time_ns, self.range_ns)):
                fold = series.get(k)
                if fold is None:
                    series[k] = [1, value, value, value]
                else:
                    fold[0] += 1
                    fold[1] += value
                    fold[2] = min(fold[2], value)
                    fold[3] = max(fold[3], value)

    def points(self) -> dict[Key, dict[int, float]]:
        take: dict[str, Callable[[list[float]], float]] = {
            "sum": lambda fold: fold[1],
            "avg": lambda fold: fold[1] / fold[0],
            "min": lambda fold: fold[2],
            "max": lambda fold: fold[3],
        }
        one: Callable[[list[float]], float] = take.get(self._op, take["sum"])
        return {key: {k: one(fold) for k, fold in series.items()} for key, series in self._folds.items()}


class _Kept(_Windows):
    """What needs all values of a range: 16 bytes for each sample."""

    def __init__(self, moments: Moments, range_ns: int, op: str, parameter: float) -> None:
        super().__init__(moments, range_ns)
        self._op, self._parameter = op, parameter
        self._kept: dict[Key, tuple[array[int], array[float]]] = {}

    def add(self, keys: list[Key], times: list[int], values: list[float]) -> None:
        for key, time_ns, value in zip(keys, times, values, strict=True):
            kept = self._kept.get(key)
            if kept is None:
                kept = self._kept[key] = (array("q"), array("d"))
            kept[0].append(time_ns)
            kept[1].append(value)

    def points(self) -> dict[Key, dict[int, float]]:
        found: dict[Key, dict[int, float]] = {}
        for key, (times, values) in self._kept.items():
            order = sorted(range(len(times)), key=times.__getitem__)
            times = array("q", [times[place] for place in order])
            values = array("d", [values[place] for place in order])
            points: dict[int, float] = {}
            for k in range(self.moments.many):
                moment = self.moments.start_ns + k * self.moments.step_ns
                first, end = bisect_right(times, moment - self.range_ns), bisect_right(times, moment)
                if first < end:
                    points[k] = _statistic(self._op, values[first:end], self._parameter)
            found[key] = points
        return found


def _statistic(op: str, values: array[float], parameter: float) -> float:
    if op == "first":
        return values[0]
    if op == "last":
        return values[-1]
    if op == "quantile":
        return quantile(parameter, values)
    return _spread(op, values)


def _spread(op: str, values: Iterable[float]) -> float:
    values = list(values)
    mean = math.fsum(values) / len(values)
    variance = math.fsum([(value - mean) ** 2 for value in values]) / len(values)
    return variance if op == "stdvar" else math.sqrt(variance)


def quantile(q: float, values: Iterable[float]) -> float:
    """Between the two values nearest to it in order; infinite outside of 0 to 1, as in Loki."""
    if not 0 <= q <= 1:
        return math.copysign(math.inf, q)
    ordered = sorted(values)
    rank = q * (len(ordered) - 1)
    lower = math.floor(rank)
    upper = min(len(ordered) - 1, lower + 1)
    return ordered[lower] * (1 - (rank - lower)) + ordered[upper] * (rank - lower)


def _aggregate(metric: Aggregate, series: Matrix) -> Matrix:
    groups: dict[Labels, list[tuple[Labels, dict[int, float]]]] = {}
    for labels, points in series.items():
        group = tuple(sorted(metric.grouping.of(dict(labels)).items()))
        groups.setdefault(group, []).append((labels, points))
    found: Matrix = {}
    for group, members in groups.items():
        by_moment: dict[int, list[tuple[float, Labels]]] = {}
        for labels, points in members:
            for k, value in points.items():
                by_moment.setdefault(k, []).append((value, labels))
        for k, values in by_moment.items():
            if metric.op in ("topk", "bottomk"):
                sign = -1 if metric.op == "topk" else 1
                chosen = sorted(values, key=lambda one: (math.isnan(one[0]), sign * one[0], one[1]))
                for value, labels in chosen[: metric.count]:
                    found.setdefault(labels, {})[k] = value
            else:
                found.setdefault(group, {})[k] = _of_all(metric.op, [value for value, _ in values])
    return found


def _of_all(op: str, values: list[float]) -> float:
    match op:
        case "sum":
            return math.fsum(values)
        case "count":
            return float(len(values))
        case "avg":
            return math.fsum(values) / len(values)
        case "min":
            return min(values)
        case "max":
            return max(values)
    return _spread(op, values)


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    return math.nan if not left or math.isnan(left) else math.copysign(math.inf, left) * math.copysign(1, right)


def _power(left: float, right: float) -> float:
    try:
        found = left**right
    except (OverflowError, ZeroDivisionError):
        return math.inf
    return math.nan if isinstance(found, complex) else found


ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "%": lambda left, right: math.fmod(left, right) if right else math.nan,
    "^": _power,
}


def _binary(metric: Binary, left: Matrix | float, right: Matrix | float) -> Matrix | float:
    op = metric.op
    if isinstance(left, float) and isinstance(right, float):
        return ARITHMETIC[op](left, right) if op in ARITHMETIC else float(COMPARE[op](left, right))
    if op in ("and", "or", "unless"):
        if isinstance(left, float) or isinstance(right, float):
            raise MetricError(f"{op} joins two metrics, not a metric and a number")
        return _set(op, left, right)
    found: Matrix = {}
    others = left if isinstance(left, dict) else right
    assert isinstance(others, dict)  # two numbers were put together above
    for labels, points in others.items():
        result: dict[int, float] = {}
        for k, value in points.items():
            if isinstance(left, float):
                pair = (left, value)
            elif isinstance(right, float):
                pair = (value, right)
            elif k in right.get(labels, {}):
                pair = (value, right[labels][k])
            else:
                continue
            if op in ARITHMETIC:
                result[k] = ARITHMETIC[op](*pair)
            elif metric.bool:
                result[k] = float(COMPARE[op](*pair))
            elif COMPARE[op](*pair):
                result[k] = others[labels][k]
        if result:
            found[labels] = result
    return found


def _set(op: str, left: Matrix, right: Matrix) -> Matrix:
    found: Matrix = {}
    for labels, points in left.items():
        other = right.get(labels, {})
        kept = {k: value for k, value in points.items() if op == "or" or (k in other) == (op == "and")}
        if kept:
            found[labels] = kept
    if op == "or":
        for labels, points in right.items():
            found[labels] = points | found.get(labels, {})
    return found
