"""What `tailrace query` was asked, and who answers: files or Loki, with lines or numbers, once or for long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from ..pipeline.match import MatchError, Node
from ..query import logql, loki, metrics
from ..query.follow import Follower
from ..query.local import Reader
from ..query.logql import Logs, Metric, OnlyLoki, Range
from ..query.metrics import MAX_POINTS, Keyed, Moments, Series, evaluate
from ..query.row import Row
from ..query.search import archives, literals, search_node
from ._found import Shown, show
from ._measured import show_series

HOUR_NS = 3600 * 10**9
FOLLOW_SECONDS = 0.25
"""Between two looks at files."""
FOLLOW_LOKI_SECONDS = 1.0
"""Between two questions to Loki."""


class Refusal(ValueError):
    """A question that makes no sense; `column` is where in the query, if it is there."""

    def __init__(self, message: str, column: int = 0) -> None:
        super().__init__(message)
        self.column = column


class Asked(NamedTuple):
    """The command line, read."""

    text: str
    paths: list[Path]
    loki: str
    tenant: str
    limit: int | None
    last: int | None
    start_ns: int | None
    end_ns: int | None
    step_ns: int | None
    labels: list[str] | None
    sha256: str
    follow: bool
    json: bool | None
    colour: bool | None
    now_ns: int
    warn: Callable[[str], None]

    @property
    def direction(self) -> Literal["forward", "backward"]:
        """From which end records are counted."""
        return "backward" if self.last else "forward"


def answer(asked: Asked) -> None:
    """Print it. Raises Refusal, MetricError for records that cannot be counted, and OSError."""
    query = _parsed(asked)
    is_metric = not isinstance(query, Logs) if query is not None else not asked.text.lstrip(" (\n").startswith("{")
    _sensible(asked, is_metric)
    if asked.loki:
        _ask_loki(asked, is_metric)
    elif isinstance(query, Logs):
        _search(asked, query)
    elif query is not None:
        files = _files(asked)
        moments = _moments(asked, query)
        show_series(evaluate(query, moments, _source(asked, files)), asked.json, instant=moments.many == 1)


def _parsed(asked: Asked) -> logql.Query | None:
    """The query; None for one that only Loki understands."""
    try:
        return logql.parse(asked.text)
    except OnlyLoki as error:
        if asked.loki:
            return None
        raise Refusal(str(error), error.column) from None
    except MatchError as error:
        raise Refusal(str(error), error.column) from None


def _sensible(asked: Asked, is_metric: bool) -> None:
    if asked.loki and asked.paths:
        raise Refusal("--loki or files, not both")
    if not asked.loki and not asked.paths:
        raise Refusal("name archives or logs to search, such as archive/, or a Loki by --loki URL")
    if asked.loki and (asked.labels is not None or asked.sha256):
        raise Refusal(f"{'--sha256' if asked.sha256 else '--labels'} is for files, not for --loki")
    if is_metric and (asked.limit or asked.last or asked.follow or asked.sha256):
        raise Refusal("--limit, --last, --follow and --sha256 are for records, not for numbers: use topk(10, …)")
    if not is_metric and asked.step_ns:
        raise Refusal("--step is for metrics, such as count_over_time({…}[5m])")
    if asked.follow and (asked.last or asked.end_ns is not None or asked.sha256):
        raise Refusal("--follow has no end: not together with --to, --last or --sha256")
    if asked.start_ns is not None and asked.end_ns is not None and asked.start_ns >= asked.end_ns:
        raise Refusal("--from is not before --to")


def _files(asked: Asked, head: Node | None = None) -> list[Path]:
    """The files to look at, in order; `head`: without those that an index knows to hold nothing that matches it."""
    try:
        if head is None or asked.follow:
            return archives(asked.paths)
        from ..query.index import may_match

        return may_match(asked.paths, start_ns=asked.start_ns, end_ns=asked.end_ns, needles=literals(head))
    except FileNotFoundError as error:
        raise Refusal(str(error)) from None


def _moments(asked: Asked, query: Metric | None) -> Moments:
    """One moment, or those from --from to --to, as far apart as Loki's own pages have them."""
    end_ns = asked.now_ns if asked.end_ns is None else asked.end_ns
    if asked.start_ns is None and asked.step_ns is None:
        return Moments.one(end_ns)
    start_ns = end_ns - HOUR_NS if asked.start_ns is None else asked.start_ns
    step_ns = asked.step_ns or max((end_ns - start_ns) // 250 // 10**9, 1) * 10**9
    moments = Moments.between(start_ns, end_ns, step_ns)
    if moments.many > MAX_POINTS:
        raise Refusal(f"{moments.many} moments are too many: at most {MAX_POINTS}, so choose a larger --step")
    return moments


def _source(asked: Asked, files: list[Path]) -> Callable[[Range, Keyed, int, int], Iterator[list[Row]]]:
    def rows(metric: Range, keyed: Keyed, start_ns: int, end_ns: int) -> Iterator[list[Row]]:
        reader = metrics.reader(metric, keyed, start_ns, end_ns, asked.labels)
        yield from reader.rows(files, asked.warn)
        if reader.untimed:
            asked.warn(f"{reader.untimed} records without a time are not counted")

    return rows


def _search(asked: Asked, query: Logs) -> None:
    files = _files(asked, query.head)
    if asked.follow:
        _follow_files(asked, query)
        return
    limit = asked.limit or asked.last
    found: Iterable[bytes | Shown]
    if not query.steps and asked.labels is None:
        found = search_node(
            query.head,
            files,
            start_ns=asked.start_ns,
            end_ns=asked.end_ns,
            limit=limit,
            direction=asked.direction,
            sha256=asked.sha256,
            warn=asked.warn,
        )
    elif asked.sha256:
        raise Refusal("--sha256 goes with a selector and line filters alone")
    else:
        found = _rows(asked, query, files, limit)
    show(reversed(list(found)) if asked.last else found, asked.json, asked.colour)


def _rows(asked: Asked, query: Logs, files: list[Path], limit: int | None) -> Iterator[bytes | Shown]:
    reader = Reader(query, labels=asked.labels, start_ns=asked.start_ns, end_ns=asked.end_ns)
    if not asked.last:
        found = (_shown(row) for rows in reader.rows(files, asked.warn) for row in rows)
        yield from islice(found, limit)
        return
    left = asked.last
    for file in reversed(files):
        kept: list[Row] = []
        for rows in reader.rows([file], asked.warn):
            kept = [*kept, *rows][-left:]
        yield from map(_shown, reversed(kept))
        left -= len(kept)
        if left <= 0:
            return


def _shown(row: Row) -> bytes | Shown:
    return row.line if row.line is row.stored else Shown(row.line, row.time_ns)


def _follow_files(asked: Asked, query: Logs) -> None:
    reader = Reader(query, labels=asked.labels, start_ns=asked.start_ns)
    with closing(Follower(asked.paths, from_start=asked.start_ns is not None, warn=asked.warn)) as follower:

        def turns() -> Iterator[list[bytes | Shown]]:
            while True:
                for chunk in follower.read():
                    yield [_shown(row) for row in reader.found(chunk)]
                yield []
                time.sleep(FOLLOW_SECONDS)

        _show_turns(asked, turns())


def _show_turns(asked: Asked, turns: Iterable[list[bytes | Shown]]) -> None:
    left = asked.limit
    for found in turns:
        if not found:
            continue
        show(found if left is None else found[:left], asked.json, asked.colour)
        sys.stdout.flush()
        if left is not None:
            left -= len(found)
            if left <= 0:
                return


def _ask_loki(asked: Asked, is_metric: bool) -> None:
    try:
        server = loki.Loki(asked.loki, asked.tenant)
    except ValueError as error:
        raise Refusal(f"--loki: {error}") from None
    with closing(server):
        try:
            if is_metric:
                moments = _moments(asked, None)
                found: list[Series] = server.series(asked.text, moments)
                show_series(found, asked.json, instant=moments.many == 1)
            elif asked.follow:
                _follow_loki(asked, server)
            else:
                _show_loki(asked, server)
        except loki.Refused as error:
            raise Refusal(str(error), error.column) from None


def _show_loki(asked: Asked, server: loki.Loki) -> None:
    end_ns = asked.now_ns if asked.end_ns is None else asked.end_ns
    start_ns = end_ns - HOUR_NS if asked.start_ns is None else asked.start_ns
    limit = asked.limit or asked.last
    found = map(_of_loki, server.logs(asked.text, start_ns, end_ns, limit, asked.direction, asked.warn))
    show(reversed(list(found)) if asked.last else found, asked.json, asked.colour)


def _follow_loki(asked: Asked, server: loki.Loki) -> None:
    def turns() -> Iterator[list[bytes | Shown]]:
        for entries in server.follow(asked.text, time.time_ns, asked.start_ns):
            yield list(map(_of_loki, entries))
            time.sleep(FOLLOW_LOKI_SECONDS)

    _show_turns(asked, turns())


def _of_loki(entry: loki.Entry) -> bytes | Shown:
    return Shown(entry.line.encode("utf-8", "surrogatepass"), entry.time_ns, entry.labels)
