"""A run looked at again and again: its rates, and how they are shown on a terminal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ..pipeline.status import SinkStatus, SourceStatus, StageStatus, Status, foremost
from ..pipeline.troubles import Trouble
from ._found import printable
from .status import span

WINDOW = 5.0
"""Seconds that a rate is taken over."""
NARROW = 80
"""Columns below which only what matters most is shown."""
BAR = 12
FILES, TROUBLES = 6, 5
"""How many of them are shown, with the one that is furthest behind, or the latest, first."""
FLOWED = ("events", "bytes", "events_out", "delivered", "dropped", "events_in", "seconds")
"""The numbers that rates are made of."""

Counted = SourceStatus | StageStatus | SinkStatus


class Watched:
    """What a run told lately. Counting starts anew when another run answers."""

    def __init__(self) -> None:
        self._past: deque[Status] = deque()
        self._heard = 0.0

    def add(self, told: Status) -> None:
        """Note what is told now."""
        if told.running and told.version:
            self._heard = time.monotonic()
        last = self._past[-1] if self._past else None
        if last and ((last.pid, last.started) != (told.pid, told.started) or _read(last) > _read(told)):
            self._past.clear()
        self._past.append(told)
        while len(self._past) > 2 and (told.at is None or told.at - (self._past[1].at or 0) >= WINDOW):
            self._past.popleft()

    def shown(self, width: int, problem: str = "") -> RenderableType:
        """All of it, for a terminal of so many columns; `problem`: why there is nothing newer."""
        if not self._past:
            return _headline("tailrace", problem or "asking …", "bold red" if problem else "")
        told, narrow = self._past[-1], width < NARROW
        parts: list[RenderableType] = [*self._head(told, problem)]
        if told.sources:
            parts += [Rule("sources", align="left", style="dim"), self._sources(told, narrow)]
        if told.stages:
            parts += [Rule("stages", align="left", style="dim"), self._stages(told, narrow)]
        parts += [Rule("sinks", align="left", style="dim"), self._sinks(told, narrow)]
        if told.sources:
            parts += [Rule("books: events since the start", align="left", style="dim"), _books(told, narrow)]
        if told.troubles:
            parts += [Rule("last errors", align="left", style="dim"), _troubles(told.troubles, told.at or time.time())]
        if told.partitions:
            parts += [Rule("furthest behind", align="left", style="dim"), _files(told, narrow)]
        return Group(*parts)

    def rate(self, kind: str, own: Counted, name: str) -> float | None:
        """By how much one of the `FLOWED` numbers of a source, stage or sink grows in a second; None at first."""
        now, then = self._past[-1], self._past[0]
        seconds = (now.at or 0) - (then.at or 0)
        if now is then or seconds <= 0:
            return None
        was = next((one for one in getattr(then, kind) if _name(one) == _name(own)), None)
        return max(0.0, (_value(own, name) - (_value(was, name) if was else 0)) / seconds)

    def _head(self, told: Status, problem: str) -> Iterable[RenderableType]:
        up = "" if told.at is None or told.started is None else f"up {span(told.at - told.started)}"
        who = " · ".join(filter(None, (f"tailrace {told.version}".rstrip(), f"pid {told.pid}" if told.pid else "", up)))
        if problem:
            yield _headline(who, problem, "bold red")
        else:
            yield _headline(who, *self._verdict(told))
        if told.running and not told.version:
            yield Text("no answer from an exporter: this is what the state folder tells", "yellow")
        elif not told.running:
            yield Text("this is what the state folder tells; what a run shows comes back with it", "yellow")
        events, flow = ([self.rate("sources", one, name) for one in told.sources] for name in ("events", "bytes"))
        behind = sum(one.lag_bytes or 0 for one in (told.sources or told.partitions))
        words = [f"behind {size(behind)}"]
        if told.sources:
            if None not in events:
                words.insert(0, f"read {_pace(sum(filter(None, events)))}, {size(sum(filter(None, flow)))}/s")
            words.append(f"in flight {sum(sink.in_flight or 0 for sink in told.sinks):,}")
            words.append(f"unaccounted for {_lost(told):,}")
        yield Text(" · ".join(words))
        if told.dead_letter_problem:
            yield Text(f"the dead letter cannot be written: {printable(told.dead_letter_problem)}", "red")

    def _verdict(self, told: Status) -> tuple[str, str]:
        failing = [sink.sink for sink in told.sinks if sink.up is False]
        unread = sum(map(len, told.errors.values()))
        if not told.running:
            quiet = f" (since {span(time.monotonic() - self._heard)})" if self._heard else ""
            return f"not running{quiet}: waiting for it", "bold red"
        if _lost(told):
            return "the books do not close", "bold red"
        if told.dead_letter_problem:
            return "the dead letter cannot be written", "bold red"
        if failing:
            return f"{', '.join(failing)} {'fails' if len(failing) == 1 else 'fail'}", "bold red"
        if unread:
            return f"{unread} {'file' if unread == 1 else 'files'} cannot be read", "bold yellow"
        return ("all is well", "bold green") if told.version else ("running", "")

    def _sources(self, told: Status, narrow: bool) -> Group:
        table = _table("source", "events/s", "bytes/s", "behind", *([] if narrow else ["for", "files", "dead"]))
        for one in told.sources:
            flow = self.rate("sources", one, "bytes")
            row = [self._events(one, "sources", "events"), "-" if flow is None else f"{size(flow)}/s"]
            row.append(size(one.lag_bytes))
            if not narrow:
                late = span(one.lag_seconds) if one.lag_seconds >= 1 else ""
                row += [late, f"{one.partitions:,}", f"{one.dead:,}"]
            _row(table, one.source, row, wrong=one.source in told.errors)
        wrong = [f"{path}: {error}" for files in told.errors.values() for path, error in files.items()]
        return Group(table, *_errors(wrong))

    def _stages(self, told: Status, narrow: bool) -> Table:
        table = _table("stage", "events/s", "an event", "time", *([] if narrow else ["", "dropped", "dead"]))
        spent = {one.stage: self._spent(one) for one in told.stages}
        whole = sum(seconds for seconds, _ in spent.values())
        for one in told.stages:
            seconds, events = spent[one.stage]
            share = seconds / whole if whole else 0.0
            row = [self._events(one, "stages", "events_out"), _each(seconds / events) if events else "-"]
            row.append(f"{share:.0%}")
            if not narrow:
                dropping = self.rate("stages", one, "dropped")
                row += [_bar(share), f"{sum(one.dropped.values()):,}" + (f" ({_pace(dropping)})" if dropping else "")]
                row.append(f"{one.dead:,}")
            _row(table, one.stage, row)
        return table

    def _spent(self, one: StageStatus) -> tuple[float, float]:
        """Seconds and events: of the window if something came in it, else since the start."""
        seconds, events = self.rate("stages", one, "seconds"), self.rate("stages", one, "events_in")
        return (seconds, events) if seconds is not None and events else (one.seconds, float(one.events_in))

    def _sinks(self, told: Status, narrow: bool) -> Group:
        table = _table("sink", "state", "events/s", "waits", *([] if narrow else ["of", "retries", "dead"]))
        for one in told.sinks:
            state = "" if one.up is None else "up" if one.up else "fails"
            row = [state, self._events(one, "sinks", "delivered")]
            row.append(size(one.queue_bytes if one.queue_bytes is not None else one.in_flight_bytes))
            if not narrow:
                row += [size(one.queue_limit), _count(one.retries), _count(one.dead)]
            _row(table, one.sink, row, wrong=bool(one.error))
        return Group(table, *_errors([f"{one.sink} fails: {one.error}" for one in told.sinks if one.error]))

    def _events(self, one: Counted, kind: str, name: str) -> str:
        return _number(self.rate(kind, one, name))


def size(count: float | None) -> str:
    """Bytes for people: `28.3 kB`."""
    if count is None:
        return "-"
    units = ("B", "kB", "MB", "GB", "TB")
    place = 0
    while abs(count) >= 999.5 and place < len(units) - 1:
        count, place = count / 1000, place + 1
    return f"{count:.1f} {units[place]}" if place and count < 99.95 else f"{count:.0f} {units[place]}"


def _name(one: Counted) -> str:
    return str(getattr(one, one.__struct_fields__[0]))


def _value(one: Counted, name: str) -> float:
    value = getattr(one, name)
    return float(sum(value.values()) if isinstance(value, Mapping) else value or 0)


def _read(told: Status) -> int:
    return sum(source.events for source in told.sources)


def _lost(told: Status) -> int:
    return sum(abs(sink.residual or 0) for sink in told.sinks)


def _headline(who: str, verdict: str, style: str) -> Table:
    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right")
    line.add_row(Text(printable(who), "bold"), Text(printable(verdict), style))
    return line


def _table(first: str, *titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column(first, overflow="fold", min_width=8)
    for title in titles:
        table.add_column(title, justify="left" if title in ("", "state") else "right", no_wrap=True)
    return table


def _row(table: Table, name: str, cells: Sequence[str], *, wrong: bool = False) -> None:
    style = "red" if wrong else ""
    table.add_row(Text(printable(name), style), *(Text(cell, style) for cell in cells))


def _errors(errors: Sequence[str]) -> list[Text]:
    more = [f"and {len(errors) - TROUBLES:,} more"] if len(errors) > TROUBLES else []
    return [Text(printable(error), "red") for error in [*errors[:TROUBLES], *more]]


def _books(told: Status, narrow: bool) -> Table:
    last = ("dead", "flight", "lost") if narrow else ("dead", "in flight", "unaccounted")
    table = _table("sink", "read", "delivered", "dropped", *last)
    dropped = sum(sum(stage.dropped.values()) for stage in told.stages)
    dead = sum(source.dead for source in told.sources) + sum(stage.dead for stage in told.stages)
    for sink in told.sinks:
        own = dropped + sum((sink.dropped or {}).values())
        numbers = (_read(told), sink.delivered, own, dead + (sink.dead or 0), sink.in_flight, sink.residual)
        _row(table, sink.sink, [_count(number) for number in numbers])
    return table


def _troubles(troubles: Sequence[Trouble], now: float) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for one in troubles[:TROUBLES]:
        table.add_row(f"{span(max(0.0, now - one.at))} ago", Text(printable(one.line())))
    return table


def _files(told: Status, narrow: bool) -> Table:
    table = _table("file", "behind", *([] if narrow else ["for", "delivered up to"]))
    ordered = foremost(told.partitions)
    for one in ordered[:FILES]:
        row = [size(one.lag_bytes)]
        if not narrow:
            row += [
                span(one.lag_seconds) if (one.lag_seconds or 0) >= 1 and one.lag_seconds else "",
                f"{one.position:,}",
            ]
        _row(table, one.path or one.partition, row, wrong=bool(one.error))
    if (more := max(len(told.partitions), sum(source.partitions for source in told.sources)) - FILES) > 0:
        table.add_row(Text(f"and {more:,} more", "dim"))
    return table


def _bar(share: float) -> str:
    """Eighths of a block, so that small shares are seen."""
    eighths = round(share * BAR * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _each(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"


def _number(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1f}" if 0 < rate < 10 else f"{rate:,.0f}"


def _pace(rate: float) -> str:
    return f"{_number(rate)}/s"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"
