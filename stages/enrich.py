"""Puts fields beside a record's own: fixed ones, those of the file's name, the trace id, those of the session."""

from __future__ import annotations

import re
from collections.abc import Iterable
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
_CARRIED_CHARS = 256  # the state is saved with every position


class Enrich(Stage):
    """Put fields beside a record's own; what a record has itself (other than null) stays."""

    rewrites: ClassVar[bool] = False

    fields: dict[str, str | int | float | bool] = {}
    """Fixed fields for each record, such as `{ app: fateforger, env: prod }`."""
    override: bool = False
    """Let `fields` and `file_name` replace fields that a record has itself."""
    file_name: Regex | None = None
    """Searched in the partition's `file` label; each named group that took part becomes a field."""
    trace_id: list[str] = []
    """Fields to take the trace id from, the first valid one: 32 hex digits (dashes allowed), or a W3C `traceparent`,
    which also gives `span_id`. A record's own valid `trace_id` goes first unless it stands in the list."""
    carry: list[str] = []
    """Fields that a record without them takes over from the record before it with the same `session_key`."""

    def check(self) -> Iterable[tuple[str, str]]:
        """Refuse options that do nothing or contradict each other."""
        if self.file_name is not None and not self.file_name.groups:
            yield "file_name", "has no named group, so it gives no field: write (?P<name>…) around a part"
        for name in self._groups:
            if name in self.fields:
                yield f"fields.{name}", f"`file_name` has a group {name!r} too: name one of them otherwise"
        for name in self.carry:
            if name in self.fields:
                yield "carry", f"{name!r} is a fixed field that each record has anyway: leave it out here"
        if _SESSION in self.carry:
            yield "carry", f"{_SESSION!r} says which session a record belongs to and cannot be carried: leave it out"
        if not (self.fields or self.file_name or self.trace_id or self.carry):
            yield "", "adds nothing: set `fields`, `file_name`, `trace_id` or `carry`"

    def reads(self) -> Iterable[str]:
        """The fields that may hold a trace id, and what is carried by which session."""
        session = [_SESSION] if self.carry else []
        return dict.fromkeys((*self._trace_fields, *session, *self.carry))

    def writes(self) -> Iterable[str]:
        """Every field that it may add."""
        trace = ["trace_id", "span_id"] if self.trace_id else []
        return dict.fromkeys((*self.fields, *self._groups, *trace, *self.carry))

    def process(self, batch: Batch) -> Batch:
        """Add the fields; a record that has them all stays untouched."""
        if fixed := self._fixed(batch):
            _add(batch.records, fixed, self.override)
        if self.trace_id:
            self._trace(batch.records)
        if self.carry:
            self._carry(batch)
        return batch

    @cached_property
    def _groups(self) -> tuple[str, ...]:
        return tuple(map(_text, self.file_name.groups)) if self.file_name else ()

    @cached_property
    def _trace_fields(self) -> tuple[str, ...]:
        if not self.trace_id or "trace_id" in self.trace_id:
            return tuple(self.trace_id)
        return ("trace_id", *self.trace_id)

    def _fixed(self, batch: Batch) -> Fields:
        """What all records of the batch get."""
        if self.file_name is None:
            return self.fields
        found = self.file_name.search(batch.labels.get("file", "").encode())
        if found is None:
            return self.fields
        named = {_text(name): _text(text) for name, text in found.groupdict().items() if text is not None}
        return self.fields | named

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
