"""Says of a record with a stack trace what was raised, where, and which fault it is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any, ClassVar, Final

import msgspec
import re2

from ..pipeline.batch import Batch
from ..pipeline.component import Stage
from ..pipeline.record import Fields, Record
from ._families import family
from ._fields import add_to, record_at
from ._tracebacks import Trace, find, of_objects

Search = Callable[..., Any]

_STACK_FIELDS: Final = (
    *("exc_info", "exc", "exception", "stack_trace", "stacktrace", "stackTrace", "stack", "traceback", "error.stack"),
    *("error.stack_trace", "exception.stacktrace", "Exception", "@x", "error", "err", "thrown", "extendedStackTrace"),
    *("message", "msg", "event", "text", "log"),
)
"""Where a stack trace may stand in the fields: as text, as a list of lines, or one object deeper."""

_WRITES: Final = (
    *("error_type", "error_message", "error_frame", "error_fingerprint", "error_language"),
    *("error_chain", "error_root_cause", "error_family"),
)
_MESSAGE_CHARS = 500


def _hints(*rows: tuple[list[bytes], list[bytes]]) -> list[tuple[list[Search], list[Search]]]:
    """Gates, all of which must be found, and what is then looked for."""
    return [
        ([re2.compile(one).search for one in gates], [re2.compile(one).search for one in row]) for gates, row in rows
    ]


# RE2 looks for the first and the last byte of what all matches begin with: rare pairs read 10 to 90 GB/s, as one
# alternation they would 0.6. A pattern of frequent bytes is asked only where a quicker one says that it may be found.
_HINTS: Final = _hints(
    (
        [],
        [
            rb"\(most recent call last\)",  # rich may colour the word before it differently
            rb"SyntaxError: ",
            rb"IndentationError: ",
            rb"TabError: ",
        ],
    ),
    ([rb'ype":'], [rb'xc_type":', rb'error_type": ?"[^"\x00]']),  # structlog's objects; an error that is only named
)
_HINTS_IN_JSON: Final = _hints(
    ([], [rb"\\n(?:(?: |\t|\\t)+at |\\t[^ \\\n\x00]+\.go:[0-9]|#0 |package:|\\nCaused by:\\n)", rb":in [`']"]),
    ([rb"ked at"], [rb"panicked at "]),
)
"""Where a string inside a line has line breaks."""
_HINTS_OF_SEVERAL_LINES: Final = _hints(
    ([], [rb"\n(?:[ \t]+at |\t[^ \n\x00]+\.go:[0-9]|#0 |package:|\nCaused by:\n)", rb":in [`']"]),
    ([rb"ked at"], [rb"panicked at "]),
)
_escaped_break = re2.compile(rb"\\n").search


class Classify(Stage):
    """Describe the exception of each record that holds a stack trace; other records stay as they are.

    Sets `error_type` and `error_message` (first line) of the exception raised last, `error_root_cause` (type of the
    first one), `error_chain` (how many), `error_frame` (innermost `file:function` of the application's own code),
    `error_fingerprint` (12 hex digits, without line numbers and messages), `error_language`, and `error_family`, one of
    a dozen words for counters: `timeout`, `rate_limit`, `auth`, `network`, `database`, `validation`, `not_found`,
    `resources`, `io`, `cancelled`, `bug`, `other`. A field that the record has itself stays. A record without a trace
    that has an `error_type` of its own gets the family alone. Python completely (loguru's, rich's and structlog's
    renderings too); Java, JavaScript, Go, Ruby, C#, PHP, Rust, Dart in their usual forms.
    """

    rewrites: ClassVar[bool] = False

    def reads(self) -> Iterable[str]:
        """Nothing that others must decode: the few records with a trace are decoded here, as a whole."""
        return ()

    def writes(self) -> Iterable[str]:
        """The `error_…` fields."""
        return _WRITES

    def process(self, batch: Batch) -> Batch:
        """Set the fields where a trace is found."""
        described: dict[int, Fields] = {}
        for place in _suspects(batch):
            record = record_at(batch, place)
            fields = _whole(record)
            found = next(filter(None, map(find, _texts(record, fields))), None) or _in_objects(fields)
            facts = _describe(found, fields) if found else _named(fields)
            described[place] = {name: value for name, value in facts if value and fields.get(name) is None}
        add_to(batch, described)
        return batch


def _suspects(batch: Batch) -> list[int]:
    """Places of the records that may hold a trace, found by scanning all lines at once."""
    lines, columns = batch.lines, batch.columns
    if columns is not None and columns.format == "json":  # none has a line break in it
        joined, breaks = columns.text, False
    else:
        joined = b"\x00".join(lines)
        breaks = b"\n" in joined
    hints = [*_HINTS, *(_HINTS_IN_JSON if _escaped_break(joined) else ()), *(_HINTS_OF_SEVERAL_LINES if breaks else ())]
    ends: list[int] = []
    suspects: set[int] = set()
    for search in [search for gates, searches in hints if all(gate(joined) for gate in gates) for search in searches]:
        found = search(joined)
        while found is not None:
            ends = ends or list(accumulate([len(line) + 1 for line in lines]))
            place = bisect_right(ends, found.start())
            suspects.add(place)
            found = search(joined, ends[place])
    return sorted(suspects)


def _whole(record: Record) -> Fields:
    try:
        return record.whole()
    except msgspec.DecodeError:
        return {}


def _texts(record: Record, fields: Fields) -> Iterator[str]:
    """The texts of a record in which a trace may stand, the likeliest first."""
    if record.format == "text" and b"\n" in record.line:
        yield record.text
    for name in _STACK_FIELDS:
        value = fields.get(name)
        if isinstance(value, dict):
            yield from _lines(value.get(inner) for inner in _STACK_FIELDS)
        else:
            yield from _lines((value,))


def _lines(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, list):
            value = "\n".join([line for line in value if isinstance(line, str)])
        if isinstance(value, str) and "\n" in value:
            yield value


def _in_objects(fields: Fields) -> Trace | None:
    """The exception that structlog wrote as a list of objects."""
    return next(filter(None, (of_objects(fields.get(name)) for name in _STACK_FIELDS)), None)


def _describe(trace: Trace, fields: Fields) -> Iterator[tuple[str, str | int]]:
    *path, root = trace.raised.path()
    frame = trace.frame
    yield "error_type", trace.raised.type
    yield "error_message", trace.raised.message[:_MESSAGE_CHARS]
    yield "error_frame", ":".join(filter(None, (frame.file, frame.function))) if frame else ""
    yield "error_fingerprint", trace.fingerprint
    yield "error_language", trace.language
    yield "error_chain", len(path) + 1
    yield "error_root_cause", root.type
    own = fields.get("error_type")
    chain = [(one.type, one.message) for one in (*path, root)]
    yield "error_family", family([(own, ""), *chain] if isinstance(own, str) else chain)


def _named(fields: Fields) -> Iterator[tuple[str, str]]:
    """The family of an error that the record names without a trace."""
    name = fields.get("error_type")
    if isinstance(name, str) and name:
        texts = (fields.get(field) for field in ("error_message", "error", "message"))
        yield "error_family", family([(name, next((text for text in texts if isinstance(text, str)), ""))])
