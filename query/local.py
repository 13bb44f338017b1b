"""Runs the steps of a query over files: which lines are looked at, and what is decoded of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import re2

from ..pipeline.ack import Ack
from ..pipeline.batch import Batch
from ..pipeline.match import And, Node
from ..pipeline.record import Record
from ..stages._timestamps import Clock
from .logql import Logs
from .row import EXTRACTED, Row
from .search import ESCAPED, TIMES, Finder, chunks, decoded, time_values
from .steps import Filter, Json, LineFormat, Step, Text, Unpack

_NO_ACK = Ack(None, 0, ())


class Reader:
    """A log query made ready for files."""

    def __init__(
        self,
        logs: Logs,
        *,
        labels: Sequence[str] | None = None,
        names: Iterable[str] = (),
        whole: bool = False,
        timed: bool = False,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> None:
        """`labels`: the fields that stand for Loki's labels and metadata; None: those of the selector, and every other
        field can be read as one too. `names`: labels that are read of what is found; `whole`: all are. A record is in
        the range from `start_ns` up to, not including, `end_ns`; with these or `timed` one without a time is left out.
        """
        self.untimed = 0
        """Records left out because they have no time."""
        self._steps = logs.steps
        self._stream = tuple(logs.stream if labels is None else labels)
        self._open = labels is None
        self._start, self._end = start_ns or 0, 1 << 63 if end_ns is None else end_ns
        self._timed = timed or start_ns is not None or end_ns is not None
        self._dated = self._timed or any(isinstance(step, LineFormat | Unpack) for step in logs.steps)
        self._clock = Clock()
        self._head = logs.head
        hints, masks = _leading(logs.steps)
        self._mask: Node = And((logs.head, *masks))
        self._finder = Finder(And((logs.head, *hints)), None, None)
        read = list(dict.fromkeys((*(name for step in logs.steps for name in step.names), *names)))
        parsed = any(isinstance(step, Json) for step in logs.steps)
        self._may_be_simple = parsed and not whole and not any(step.whole for step in logs.steps)
        self._other = _otherwise_written(read) if self._may_be_simple else None
        plain = [name.removesuffix(EXTRACTED) for name in read]
        wanted = dict.fromkeys(
            (*logs.head.fields, *read, *plain, *(name.partition(".")[0] for name in read), *self._stream)
        )
        shape: Any = TypedDict(  # type: ignore[misc]  # known at run time
            "shape", dict.fromkeys((*wanted, *(TIMES if self._dated else ())), Any), total=False
        )
        self._decoder: msgspec.json.Decoder[Any] | None = (
            msgspec.json.Decoder(shape, float_hook=str) if wanted or self._dated or self._may_be_simple else None
        )

    def rows(self, files: Iterable[Path], warn: Callable[[str], None]) -> Iterator[list[Row]]:
        """What is found, many rows at a time. Raises OSError for what cannot be read."""
        for file in files:
            for chunk in chunks(file, warn):
                yield self.found(chunk)

    def found(self, chunk: bytes) -> list[Row]:
        """What is found in whole lines."""
        lines = [line for line in self._finder.candidates(chunk) if line]
        if not lines:
            return []
        fields, whole = self._decoded(lines)
        simple = whole and self._may_be_simple
        if simple:
            text = b"\n".join(lines)
            simple = not ESCAPED(text) and (self._other is None or self._other.search(text) is None)
        records = [Record(line, parsed=one) for line, one in zip(lines, fields, strict=True)]
        node = self._mask if simple else self._head
        records = node.select(Batch(records, "", "", {}, _NO_ACK, 0, {}))
        rows = self._rows(records, simple)
        steps = self._steps
        if not steps:
            return rows
        return [row for row in rows if _passes(row, steps)]

    def _decoded(self, lines: list[bytes]) -> tuple[list[Any], bool]:
        """The fields that are read, and whether each line is one JSON object."""
        if self._decoder is None:
            return [{}] * len(lines), False
        return decoded(lines, self._decoder)

    def _rows(self, records: list[Record], simple: bool) -> list[Row]:
        found: list[Row] = []
        times: Sequence[int | None] = [None] * len(records)
        if self._dated:
            times = self._clock.read_all(time_values(records))
        stream, start, end = self._stream, self._start, self._end
        for record, time_ns in zip(records, times, strict=True):
            if self._timed:
                if time_ns is None:
                    self.untimed += 1
                    continue
                if not start <= time_ns < end:
                    continue
            row = Row(record.line, {}, record.parsed or {}, time_ns, open=True)
            if stream:
                row.stream = {name: value for name in stream if (value := row.get(name))}
                row.labels = dict(row.stream)
            row.open, row.loose, row.simple = self._open, self._open, simple
            found.append(row)
        return found


def _passes(row: Row, steps: Iterable[Step]) -> bool:
    return all(step(row) for step in steps)


def _leading(steps: Iterable[Step]) -> tuple[list[Node], list[Node]]:
    """What the stored line must have because of the first steps: for a look at bytes, and at decoded fields."""
    hints: list[Node] = []
    masks: list[Node] = []
    for step in steps:
        if isinstance(step, Filter):
            hints.append(step.node)
            masks.append(step.node)
        elif isinstance(step, Text) and step.field.op in ("=", "=~") and not step.field.test(""):
            hints.append(step.field)
            if not step.field.name.endswith(EXTRACTED) and not step.field.name.startswith("__"):
                masks.append(step.field)
        elif not isinstance(step, Json | Text):
            break
    return [hint for hint in hints if not getattr(hint, "name", "").startswith("__")], masks


def _otherwise_written(names: Iterable[str]) -> Any:
    """Finds keys that `| json` gives one of these names although they are written in another way; None: there are none.

    `a_b` may be `a.b`, or `b` inside of `a`.
    """
    patterns = []
    for name in names:
        parts = name.removesuffix(EXTRACTED).split("_")
        for place in range(1, len(parts)):
            left, right = ('[^A-Za-z0-9"]'.join(map(re2.escape, side)) for side in (parts[:place], parts[place:]))
            patterns += [rf'"{left}"\s*:\s*\{{', rf'"{left}[^A-Za-z0-9_"]{right}"']
    return re2.compile("|".join(patterns).encode()) if patterns else None
