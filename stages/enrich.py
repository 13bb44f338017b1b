"""Puts fields beside a record's own: fixed ones, those of the file's name, ids of trace and session, carried ones."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cached_property
from typing import ClassVar

from ..pipeline.batch import Batch
from ..pipeline.component import Stage
from ..pipeline.options import Regex
from ..pipeline.record import Fields, Record

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
        if fixed := self._fixed(batch):
            _add(batch.records, fixed, self.override)
        for pattern in self.patterns:
            _search(batch.records, pattern)
        for name, fields in self._first_of:
            _take_first(batch.records, name, fields)
        if self.trace_id:
            self._trace(batch.records)
        if self.span_id:
            _spans(batch.records, self.span_id)
        if self.carry:
            self._carry(batch)
        if self.derive_trace_id:
            self._derive(batch.records)
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

    def _trace(self, records: list[Record]) -> None:
        is_plain, in_place = _TRACE_ID.fullmatch, self._trace_fields[0] == "trace_id"
        for record in records:
            own = record.fields
            if in_place and type(value := own.get("trace_id")) is str and is_plain(value) and value != _NO_TRACE:
                continue
            for name in self._trace_fields:
                trace, span = _trace_of(own.get(name))
                if trace:
                    if trace != own.get("trace_id"):
                        record.set("trace_id", trace)
                    if span and own.get("span_id") is None:
                        record.set("span_id", span)
                    break

    def _derive(self, records: list[Record]) -> None:
        known = self._derived
        for record in records:
            own = record.fields
            if own.get("trace_id") not in (None, ""):
                continue
            values = tuple([own.get(name) for name in self.derive_trace_id])
            if not all(isinstance(value, str | int | float) and value != "" for value in values):
                continue
            key = "\0".join(map(str, values))
            trace = known.get(key)
            if trace is None:
                if len(known) >= _SESSIONS:
                    known.clear()
                # 16 bytes of SHA-256; a trace id must not be zero (W3C Trace Context 3.2.2.3), which none ever is.
                trace = known[key] = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
            record.set("trace_id", trace)

    @cached_property
    def _derived(self) -> dict[str, str]:
        return {}

    def _carry(self, batch: Batch) -> None:
        """Remember each session's last values, the session seen last at the end, and fill the gaps."""
        # Worked on as a copy: a batch that is processed anew must not meet what its later records left behind.
        sessions: dict[str, Fields] = dict(batch.state.get(self.name) or {})
        for record in batch.records:
            own = record.fields
            key = own.get(_SESSION)
            if not isinstance(key, str | int | float) or key == "":
                continue
            session = str(key)[:_CARRIED_CHARS]
            known = sessions.pop(session, {})
            seen = known
            for name in self.carry:
                value = own.get(name)
                if value is None:
                    if name in known:
                        record.set(name, known[name])
                elif value != known.get(name) and _is_small(value):
                    seen = seen | {name: value}
            if seen:
                sessions[session] = seen
                if len(sessions) > _SESSIONS:
                    del sessions[next(iter(sessions))]
        batch.state[self.name] = sessions


def _text(found: str | bytes) -> str:
    """A pattern over bytes names its groups in bytes."""
    return found if isinstance(found, str) else found.decode("utf-8", "replace")


def _add(records: list[Record], fixed: Fields, override: bool) -> None:
    is_new = frozenset(fixed).isdisjoint
    for record in records:
        own = record.fields if record.parsed is None else record.parsed
        new = fixed
        if not (is_new(own) or override):
            new = {name: value for name, value in fixed.items() if own.get(name) is None}
        own.update(new)
        # Each record needs its own dict: `Record.set` changes it.
        if record.added is None:
            record.added = new.copy()
        else:
            record.added.update(new)


def _search(records: list[Record], pattern: Regex) -> None:
    """Put what the pattern finds in the lines beside the records' own fields."""
    names = [(_text(name), place) for name, place in pattern.groups.items()]
    for record in records:
        found = pattern.search(record.line)
        if found is None:
            continue
        own = record.fields
        for name, place in names:
            text = found.group(place)
            if text is not None and own.get(name) is None:
                record.set(name, _text(text))


def _take_first(records: list[Record], name: str, fields: list[str]) -> None:
    for record in records:
        own = record.fields
        if own.get(name) not in (None, ""):
            continue
        value = next((value for field in fields if (value := own.get(field)) not in (None, "")), None)
        if isinstance(value, str | int | float):
            record.set(name, value)


def _spans(records: list[Record], fields: list[str]) -> None:
    for record in records:
        own = record.fields
        if own.get("span_id") is not None and "span_id" not in fields:
            continue
        for field in fields:
            value = own.get(field)
            span = value.strip().lower() if isinstance(value, str) else ""
            if not _SPAN_ID.fullmatch(span):
                span = _trace_of(value)[1]
            if span and span != _NO_SPAN:
                if span != own.get("span_id"):
                    record.set("span_id", span)
                break


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
