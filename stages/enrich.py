"""Puts fields beside a record's own: fixed ones, those of the file's name, ids of trace and session, carried ones."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import Any, ClassVar

from ..pipeline.batch import Batch
from ..pipeline.component import Stage
from ..pipeline.options import Regex
from ..pipeline.record import Fields
from ._fields import add, own

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?", re.DOTALL)
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16
_SESSION = "session_key"
_SESSIONS = 1000
_SPAN_ID = re.compile(r"[0-9a-f]{16}")
_NAMES = ("session_key", "thread_ts", "stage", "call_label")
_CARRIED_CHARS = 256  # the state is saved with every position


class Enrich(Stage):
    """Put fields beside a record's own; what a record has itself (other than null) stays."""

    rewrites: ClassVar[bool] = False

    fields: dict[str, str | int | float | bool] = {}
    """Fixed fields for each record, such as `{ app: fateforger, env: prod }`."""
    environment: dict[str, str] = {}
    """Fields from environment variables, such as `{ env: DEPLOY_ENV }`, read once at the start. They must be the same
    after a restart: what is read twice after a crash would not be told as a repeat otherwise."""
    override: bool = False
    """Let `fields`, `environment` and `file_name` replace fields that a record has itself."""
    file_name: Regex | None = None
    """Searched in the partition's `file` label; each named group that took part becomes a field."""
    patterns: list[Regex] = []
    """Searched in each line, one after the other; each named group that took part becomes a field, such as
    `trace=(?P<trace_id>[0-9a-f]{32})`. What the record has itself, or an earlier pattern found, stays."""
    session_key: list[str] = []
    """Fields to take `session_key` from when a record has none itself: the first one that is not empty."""
    thread_ts: list[str] = []
    """The same for `thread_ts`."""
    stage: list[str] = []
    """The same for `stage`."""
    call_label: list[str] = []
    """The same for `call_label`."""
    trace_id: list[str] = []
    """Fields to take the trace id from, the first valid one: 32 hex digits (dashes allowed), or a W3C `traceparent`,
    which also gives `span_id`. A record's own valid `trace_id` goes first unless it stands in the list."""
    span_id: list[str] = []
    """Fields to take `span_id` from: 16 hex digits, or the `traceparent` of the trace."""
    carry: list[str] = []
    """Fields that a record without them takes over from the record before it with the same `session_key`."""
    derive_trace_id: list[str] = []
    """Give a record without a `trace_id` one that follows from these fields alone, such as `[session_key]`: one trace a
    session, the same on a replay. A record without one of them gets none."""

    def check(self) -> Iterable[tuple[str, str]]:
        """Refuse options that do nothing or contradict each other."""
        if self.file_name is not None and not self.file_name.groups:
            yield "file_name", "has no named group, so it gives no field: write (?P<name>…) around a part"
        for name in self._groups:
            if name in self.fields:
                yield f"fields.{name}", f"`file_name` has a group {name!r} too: name one of them otherwise"
        for place, pattern in enumerate(self.patterns):
            if not pattern.groups:
                yield f"patterns[{place}]", "has no named group, so it gives no field: write (?P<name>…) around a part"
        for name, variable in self.environment.items():
            if name in self.fields or name in self._groups:
                yield f"environment.{name}", f"{name!r} is a fixed field or one of `file_name` too: name it otherwise"
            if variable not in os.environ:
                near = get_close_matches(variable, sorted(os.environ), 1, 0.8)
                hint = f"did you mean {near[0]!r}?" if near else "set it, or leave the field out"
                yield f"environment.{name}", f"the environment variable {variable!r} is not set: {hint}"
        if "trace_id" in self.derive_trace_id:
            yield "derive_trace_id", "the trace id cannot follow from itself: name fields such as session_key"
        for name in self.carry:
            if name in self.fields:
                yield "carry", f"{name!r} is a fixed field that each record has anyway: leave it out here"
        if _SESSION in self.carry:
            yield "carry", f"{_SESSION!r} says which session a record belongs to and cannot be carried: leave it out"
        if self.file_name is None and not self.patterns and not any(self.writes()):
            yield "", "adds nothing: set `fields`, `file_name`, `patterns`, `trace_id`, `carry` or another option"

    def reads(self) -> Iterable[str]:
        """The fields that may hold ids, and what is carried by which session."""
        session = [_SESSION] if self.carry else []
        named = [field for _, fields in self._first_of for field in fields]
        later = (*self._trace_fields, *self.span_id, *session, *self.carry, *self.derive_trace_id)
        given = {*self.fields, *self.environment, *self._groups, *self._found, *(name for name, _ in self._first_of)}
        return dict.fromkeys((*named, *(name for name in later if name not in given)))

    def writes(self) -> Iterable[str]:
        """Every field that it may add."""
        trace = ["trace_id", "span_id"] if self.trace_id else ["trace_id"] if self.derive_trace_id else []
        span = ["span_id"] if self.span_id else []
        first = [name for name, _ in self._first_of]
        fixed = (*self.fields, *self.environment, *self._groups)
        return dict.fromkeys((*fixed, *self._found, *first, *trace, *span, *self.carry))

    def process(self, batch: Batch) -> Batch:
        """Add the fields; a record that has them all stays untouched."""
        for name, value in self._fixed(batch).items():
            mine = [] if self.override else own(batch, name)
            if mine.count(None) < len(mine):
                add(batch, name, [value if one is None else None for one in mine])
            else:
                add(batch, name, [value] * len(batch))
        for pattern in self.patterns:
            _search(batch, pattern)
        for name, fields in self._first_of:
            _take_first(batch, name, fields)
        if self.trace_id:
            self._trace(batch)
        if self.span_id:
            _spans(batch, self.span_id)
        if self.carry:
            self._carry(batch)
        if self.derive_trace_id:
            self._derive(batch)
        return batch

    @cached_property
    def _first_of(self) -> list[tuple[str, list[str]]]:
        """Fields that are taken from others, with these."""
        return [(name, fields) for name in _NAMES if (fields := getattr(self, name))]

    @cached_property
    def _constant(self) -> Fields:
        values = {name: os.environ.get(variable) for name, variable in self.environment.items()}
        return self.fields | {name: value for name, value in values.items() if value is not None}

    @cached_property
    def _groups(self) -> tuple[str, ...]:
        return tuple(map(_text, self.file_name.groups)) if self.file_name else ()

    @cached_property
    def _found(self) -> tuple[str, ...]:
        return tuple(_text(name) for pattern in self.patterns for name in pattern.groups)

    @cached_property
    def _trace_fields(self) -> tuple[str, ...]:
        if not self.trace_id or "trace_id" in self.trace_id:
            return tuple(self.trace_id)
        return ("trace_id", *self.trace_id)

    def _fixed(self, batch: Batch) -> Fields:
        """What all records of the batch get."""
        if self.file_name is None:
            return self._constant
        found = self.file_name.search(batch.labels.get("file", "").encode())
        if found is None:
            return self._constant
        named = {_text(name): _text(text) for name, text in found.groupdict().items() if text is not None}
        return self._constant | named

    def _trace(self, batch: Batch) -> None:
        mine, in_place = own(batch, "trace_id"), self._trace_fields[0] == "trace_id"
        if in_place and _are_trace_ids(mine):
            return
        spans_of_its_own = own(batch, "span_id")
        traces, spans = _nothing(batch), _nothing(batch)
        for place, values in _rows(batch, self._trace_fields):
            if in_place and type(values[0]) is str and _is_trace_id(values[0]):
                continue
            for value in values:
                trace, span = _trace_of(value)
                if trace:
                    if trace != mine[place]:
                        traces[place] = trace
                    if span and spans_of_its_own[place] is None:
                        spans[place] = span
                    break
        add(batch, "trace_id", traces)
        add(batch, "span_id", spans)

    def _derive(self, batch: Batch) -> None:
        known, mine, traces = self._derived, own(batch, "trace_id"), _nothing(batch)
        if _are_full(mine):
            return
        for place, values in _rows(batch, self.derive_trace_id):
            if mine[place] not in (None, ""):
                continue
            if not all(isinstance(value, str | int | float) and value != "" for value in values):
                continue
            key = "\0".join(map(str, values))
            trace = known.get(key)
            if trace is None:
                if len(known) >= _SESSIONS:
                    known.clear()
                # 16 bytes of SHA-256; a trace id must not be zero (W3C Trace Context 3.2.2.3), which none ever is.
                trace = known[key] = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
            traces[place] = trace
        add(batch, "trace_id", traces)

    @cached_property
    def _derived(self) -> dict[str, str]:
        return {}

    def _carry(self, batch: Batch) -> None:
        """Remember each session's last values, the session seen last at the end, and fill the gaps."""
        # Worked on as a copy: a batch that is processed anew must not meet what its later records left behind.
        sessions: dict[str, Fields] = dict(batch.state.get(self.name) or {})
        filled = {name: _nothing(batch) for name in self.carry}
        rows = zip(*[own(batch, name) for name in filled], strict=True)
        for place, (key, values) in enumerate(zip(own(batch, _SESSION), rows, strict=True)):
            if not (key.__class__ is str or isinstance(key, int | float)) or key == "":
                continue
            session = str(key)[:_CARRIED_CHARS]
            known = sessions.pop(session, {})
            seen = known
            for name, value in zip(filled, values, strict=True):
                if value is None:
                    if name in known:
                        filled[name][place] = known[name]
                elif value != known.get(name) and _is_small(value):
                    seen = seen | {name: value}
            if seen:
                sessions[session] = seen
                if len(sessions) > _SESSIONS:
                    del sessions[next(iter(sessions))]
        for name, column in filled.items():
            add(batch, name, column)
        batch.state[self.name] = sessions


def _text(found: str | bytes) -> str:
    """A pattern over bytes names its groups in bytes."""
    return found if isinstance(found, str) else found.decode("utf-8", "replace")


def _nothing(batch: Batch) -> list[Any]:
    """A column that adds nothing, to be filled in."""
    return [None] * len(batch)


def _rows(batch: Batch, names: Sequence[str]) -> Iterable[tuple[int, tuple[Any, ...]]]:
    """The fields of each record that has one of them, other than null, with its place in the batch."""
    columns = [own(batch, name) for name in names]
    if all(column.count(None) == len(column) for column in columns):
        return []
    nothing = (None,) * len(names)
    return [(place, row) for place, row in enumerate(zip(*columns, strict=True)) if row != nothing]


def _are_full(values: list[Any]) -> bool:
    """Whether each record has a value, so that nothing is to be filled in."""
    return None not in values and "" not in values


def _search(batch: Batch, pattern: Regex) -> None:
    """Put what the pattern finds in the lines beside the records' own fields."""
    found = [(place, one) for place, one in enumerate(map(pattern.search, batch.lines)) if one is not None]
    for name, group in pattern.groups.items() if found else ():
        mine, texts = own(batch, _text(name)), _nothing(batch)
        for place, one in found:
            text = one.group(group)
            if text is not None and mine[place] is None:
                texts[place] = _text(text)
        add(batch, _text(name), texts)


def _take_first(batch: Batch, name: str, fields: list[str]) -> None:
    mine, taken = own(batch, name), _nothing(batch)
    if _are_full(mine):
        return
    for place, values in _rows(batch, fields):
        if mine[place] in (None, ""):
            value = next((value for value in values if value not in (None, "")), None)
            if isinstance(value, str | int | float):
                taken[place] = value
    add(batch, name, taken)


def _spans(batch: Batch, fields: list[str]) -> None:
    mine, spans = own(batch, "span_id"), _nothing(batch)
    for place, values in _rows(batch, fields):
        if mine[place] is not None and "span_id" not in fields:
            continue
        for value in values:
            span = value.strip().lower() if isinstance(value, str) else ""
            if not _SPAN_ID.fullmatch(span):
                span = _trace_of(value)[1]
            if span and span != _NO_SPAN:
                if span != mine[place]:
                    spans[place] = span
                break
    add(batch, "span_id", spans)


def _is_trace_id(value: str) -> bool:
    return _TRACE_ID.fullmatch(value) is not None and value != _NO_TRACE


def _are_trace_ids(values: list[Any]) -> bool:
    """Whether all are trace ids as they should be written, looked at as one text with a break after every 32 digits."""
    try:
        joined = "\n".join(values).encode("ascii")
    except (TypeError, UnicodeEncodeError):
        return False
    breaks = b"\n" * (len(values) - 1)
    in_place = len(joined) == 33 * len(values) - 1 and joined[32::33] == breaks
    return in_place and joined.translate(None, b"0123456789abcdef") == breaks and _NO_TRACE not in values


def _trace_of(value: object) -> tuple[str, str]:
    """Trace id and span id in a value, empty where there is none (W3C Trace Context 3.2.2; all zero is invalid)."""
    if not isinstance(value, str):
        return "", ""
    if _TRACE_ID.fullmatch(value):
        return ("" if value == _NO_TRACE else value), ""
    value = value.strip().lower()
    if found := _TRACEPARENT.fullmatch(value):
        version, trace, span, more = found.groups()
        valid = trace != _NO_TRACE and span != _NO_SPAN and not (version == "00" and more)
        return (trace, span) if valid else ("", "")
    plain = value.replace("-", "")
    return (plain if _TRACE_ID.fullmatch(plain) and plain != _NO_TRACE else ""), ""


def _is_small(value: object) -> bool:
    """Only single values are carried: the state must stay small."""
    return len(value) <= _CARRIED_CHARS if isinstance(value, str) else isinstance(value, int | float)
