"""How the numbers of a metric query are shown: a table on a terminal, JSON lines in a pipe."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence

import msgspec

from ..pipeline.record import rfc3339
from ..query.metrics import Series
from ._found import printable


def show_series(series: Sequence[Series], json: bool | None, *, instant: bool) -> None:
    """Print them; `json`: as JSON lines (True), as text with tabs (False), or as suits what they are printed to."""
    if json is None and sys.stdout.isatty():
        _table(series, instant=instant)
        return
    out = sys.stdout.buffer
    for line in _texts(series) if json is False else _lines(series):
        out.write(line + b"\n")
    out.flush()


def _lines(series: Sequence[Series]) -> Iterator[bytes]:
    for labels, points in series:
        ordered = dict(sorted(labels.items()))
        for time_ns, value in points:
            number = _number(value)
            yield msgspec.json.encode({"timestamp": rfc3339(time_ns), "labels": ordered, "value": number})


def _texts(series: Sequence[Series]) -> Iterator[bytes]:
    for labels, points in series:
        name = printable(",".join(f"{key}={value}" for key, value in sorted(labels.items())))
        for time_ns, value in points:
            yield f"{rfc3339(time_ns)}\t{name}\t{_number(value)}".encode()


def _table(series: Sequence[Series], *, instant: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = sorted({name for one in series for name in one.labels})
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in [*([] if instant else ["time"]), *names]:
        table.add_column(printable(title), overflow="fold")
    table.add_column("value", justify="right", style="green")
    for labels, points in series:
        for time_ns, value in points:
            cells = [Text(printable(labels.get(name, ""))) for name in names]
            time = [] if instant else [Text(rfc3339(time_ns).replace("T", " ").partition(".")[0].rstrip("Z"), "dim")]
            table.add_row(*time, *cells, str(_number(value)))
    Console().print(table)


def _number(value: float) -> float | int | str:
    """As JSON can say it: whole numbers without a point; what JSON has no word for as text."""
    if math.isfinite(value):
        return int(value) if value == int(value) and abs(value) < 1 << 53 else value
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
