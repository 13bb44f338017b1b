"""Spans and log records, made of records, and the requests that they travel in."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from ..batch import Batch, LineForm
from ..match import Match
from ..options import Template
from ..record import encode
from . import _otlp_conventions as conventions
from ._otlp_ids import record_of, root_of, span_of, span_of_record, stage_of, trace_of
from ._otlp_transport import Signal

MAX_REQUEST = 3 << 20
"""Bytes; receivers of gRPC take 4 MiB unless they are told otherwise."""
NAME_CHARS = 128
_INT64 = 1 << 63
_LATEST_NS = 1 << 63
_KINDS = {name.lower(): getattr(Span, f"SPAN_KIND_{name}") for name in ("CLIENT", "SERVER", "INTERNAL", "PRODUCER")}
_KINDS["consumer"] = Span.SPAN_KIND_CONSUMER
_THREAD = re.compile(r"(?:.*:)?(\d{10})\.(\d{1,9})")
_LONGEST_SESSION_NS = 7 * 86_400 * 10**9

Named: TypeAlias = tuple[tuple[str, str], ...]
Durations: TypeAlias = Sequence[tuple[str, float]]


class Fields(NamedTuple):
    """Which fields say what."""

    trace: str
    span: str
    parent: str
    start: str
    name: str
    kind: str
    durations: Mapping[str, float]
    """By field, what it is to be multiplied with to get seconds."""
    more: tuple[str, ...]
    """Further fields that become attributes by their own names."""


class Item(NamedTuple):
    """A span or a log record, and what it was made of."""

    batch: Batch
    place: int
    resource: Named
    message: Any


class Request(NamedTuple):
    """Items that go together."""

    signal: Signal
    items: Sequence[Item]

    @property
    def body(self) -> bytes:
        """As it is sent: the same for the same items."""
        groups: dict[Named, list[Any]] = {}
        for item in self.items:
            groups.setdefault(item.resource, []).append(item.message)
        common = {"schema_url": conventions.SCHEMA_URL}
        whole: Any
        if self.signal == "traces":
            spans = [
                ResourceSpans(
                    resource=_resource(named), scope_spans=[ScopeSpans(scope=SCOPE, spans=group, **common)], **common
                )
                for named, group in groups.items()
            ]
            whole = ExportTraceServiceRequest(resource_spans=spans)
        else:
            logs = [
                ResourceLogs(
                    resource=_resource(named),
                    scope_logs=[ScopeLogs(scope=SCOPE, log_records=group, **common)],
                    **common,
                )
                for named, group in groups.items()
            ]
            whole = ExportLogsServiceRequest(resource_logs=logs)
        return bytes(whole.SerializeToString(deterministic=True))

    def halves(self) -> list[Request]:
        """Two of it, where there is more than one item."""
        middle = len(self.items) // 2
        return [Request(self.signal, self.items[:middle]), Request(self.signal, self.items[middle:])]


SCOPE = InstrumentationScope(name="tailrace")


class Items:
    """Makes them."""

    def __init__(
        self,
        signals: Iterable[Signal],
        fields: Fields,
        matches: Mapping[conventions.Kind, Match],
        resource: Mapping[str, Template],
        *,
        line: LineForm,
        starts: bool,
    ) -> None:
        self._signals = tuple(signals)
        self._fields = fields
        self._matches = matches
        self._resource = resource
        self._line = line
        self._starts = starts
        more = {name: (name,) for name in fields.more}
        self._attributes = {kind: {**table, **more} for kind, table in conventions.ATTRIBUTES.items()}
        self._of_logs = {**conventions.OF_LOGS, **more}

    def reads(self) -> set[str]:
        """The fields that spans and log records are made of."""
        own = self._fields
        named = {own.trace, own.span, own.parent, own.start, own.name, own.kind} - {""}
        tables = {field for table in self._attributes.values() for fields in table.values() for field in fields}
        templates = {field for template in self._resource.values() for field in template.fields}
        matched = {field for match in self._matches.values() for field in match.fields}
        return named | tables | templates | matched | {*own.durations, *conventions.EXCEPTION, "level", "thread_ts"}

    def requests(self, batches: Sequence[Batch]) -> list[Request]:
        """All of the batches, the traces first."""
        made: dict[Signal, list[Item]] = {signal: [] for signal in ("traces", "logs") if signal in self._signals}
        for batch in batches:
            if len(batch):
                self._add(batch, made)
        return [request for signal, items in made.items() for request in _within_limit(signal, items)]

    def _add(self, batch: Batch, made: dict[Signal, list[Item]]) -> None:
        own = _Columns(batch)
        tables = {kind: own.there(table) for kind, table in self._attributes.items()}
        durations = [(field, scale) for field, scale in self._fields.durations.items() if own.has(field)]
        resources = self._resources(batch)
        kinds = self._kinds(batch)
        ids = [self._ids(own, kind, place, durations) for place, kind in enumerate(kinds)]
        if "traces" in made:
            made["traces"] += [
                Item(batch, place, resources[place], self._span(own, kind, place, one, tables[kind]))
                for place, (kind, one) in enumerate(zip(kinds, ids, strict=True))
                if one.uid
            ]
        if "logs" in made:
            levels = own["level"]
            columns = [(name, own[fields[0]]) for name, fields in own.there(self._of_logs).items()]
            for place, (line, time_ns, one) in enumerate(zip(batch.shipped(self._line), batch.times, ids, strict=True)):
                level = levels[place]
                attributes = [_pair(name, column[place]) for name, column in columns if column[place] is not None]
                if one.uid:
                    attributes.append(_pair(conventions.UID, one.uid))
                message = LogRecord(
                    time_unix_nano=time_ns,
                    observed_time_unix_nano=time_ns,  # when it was read would make each repeat another record
                    severity_number=conventions.SEVERITY.get(level.lower(), 0) if type(level) is str else 0,  # type: ignore[arg-type]  # an enum by its number
                    severity_text=_clean(level) if type(level) is str else "",
                    body=AnyValue(string_value=line.decode("utf-8", "replace")),
                    attributes=attributes,
                    trace_id=one.trace,
                    span_id=one.span,
                )
                made["logs"].append(Item(batch, place, resources[place], message))

    def _resources(self, batch: Batch) -> list[Named]:
        columns = {field for template in self._resource.values() for field in template.fields}
        values = {field: batch.values(field) for field in columns}
        rows = zip(*values.values(), strict=True) if values else [()] * len(batch)
        known: dict[tuple[str, ...], Named] = {}
        found = []
        for row in rows:
            texts = tuple("" if value is None else str(value) for value in row)
            named = known.get(texts)
            if named is None:
                get = dict(zip(values, texts, strict=True)).get
                filled = [(name, _clean(template.render(get))) for name, template in self._resource.items()]
                named = known[texts] = tuple(
                    (name, text or conventions.UNKNOWN_SERVICE) if name == conventions.SERVICE_NAME else (name, text)
                    for name, text in filled
                    if text or name == conventions.SERVICE_NAME
                )
            found.append(named)
        return found

    def _kinds(self, batch: Batch) -> list[conventions.Kind]:
        kinds: list[conventions.Kind] = ["other"] * len(batch)
        for kind, match in self._matches.items():
            for place, matches in enumerate(match.mask(batch)):
                if matches and kinds[place] == "other":
                    kinds[place] = kind
        return kinds

    def _ids(self, own: _Columns, kind: conventions.Kind, place: int, durations: Durations) -> _Ids:
        """Where a record stands in its trace; with `uid` it is a span of its own."""
        fields = self._fields
        trace, parent = trace_of(own.value(fields.trace, place))
        if not trace:
            return _NOWHERE
        explicit = span_of(own.value(fields.parent, place))
        mine = span_of(own.value(fields.span, place))
        stage, turn = own.value("stage", place), own.value("turn", place)
        staged = isinstance(stage, str | int) and stage != ""
        if kind == "session":
            above, default = explicit or parent, root_of(trace)
        else:
            root = root_of(trace) if own.value("session_key", place) not in (None, "") else b""
            above = explicit or parent or (stage_of(trace, stage, turn) if staged and kind != "stage" else root)
            default = stage_of(trace, stage, turn) if kind == "stage" and staged else b""
        duration = _duration(own, place, durations)
        if duration is None and kind != "session":
            return _Ids(trace, mine or above)
        uid = record_of(own.batch.source, own.batch.partition, own.offsets[place], own.batch.lines[place])
        span = mine or default or span_of_record(uid)
        return _Ids(trace, span, b"" if above == span else above, uid, duration)

    def _span(self, own: _Columns, kind: conventions.Kind, place: int, ids: _Ids, table: conventions.Table) -> Span:
        fields, time_ns = self._fields, own.times[place]
        start = _time_of(own.value(fields.start, place))
        duration = ids.duration
        if duration is None:  # a session: its thread says when it began
            since = _thread(own.value("thread_ts", place)) or _thread(own.value("session_key", place))
            duration = time_ns - since if since and 0 <= time_ns - since <= _LONGEST_SESSION_NS else 0
        if start is None:
            start = time_ns if self._starts else max(0, time_ns - duration)
        attributes: dict[str, KeyValue] = {}
        for name, names in table.items():
            value = _typed(name, own.first(names, place))
            if value is not None:
                attributes[name] = _pair(name, value)
        operation = conventions.OPERATION.get(kind)
        if operation and conventions.OPERATION_NAME not in attributes:
            attributes[conventions.OPERATION_NAME] = _pair(conventions.OPERATION_NAME, operation)
        attributes[conventions.UID] = _pair(conventions.UID, ids.uid)
        failed, why = self._failed(own, place)
        if failed and conventions.ERROR_TYPE not in attributes:
            attributes[conventions.ERROR_TYPE] = _pair(conventions.ERROR_TYPE, conventions.OTHER_ERROR)
        end = min(start + duration, _LATEST_NS)
        events = []
        if failed and any(own.value(field, place) not in (None, "") for field in conventions.EXCEPTION):
            said = [(name, own.value(field, place)) for field, name in conventions.EXCEPTION.items()]
            named = [_pair(name, value) for name, value in said if value not in (None, "")]
            if b"\n" in (line := own.batch.lines[place]):
                named.append(_pair(conventions.STACKTRACE, line.decode("utf-8", "replace")))
            events.append(Span.Event(time_unix_nano=end, name="exception", attributes=named))
        kind_told = own.value(fields.kind, place)
        default = Span.SPAN_KIND_CLIENT if kind == "llm" else Span.SPAN_KIND_INTERNAL
        return Span(
            trace_id=ids.trace,
            span_id=ids.span,
            parent_span_id=ids.parent,
            name=self._name(own, kind, place),
            kind=_KINDS.get(kind_told.lower(), default) if isinstance(kind_told, str) else default,
            start_time_unix_nano=start,
            end_time_unix_nano=end,
            attributes=list(attributes.values()),
            events=events,
            status=Status(code=Status.STATUS_CODE_ERROR, message=why) if failed else None,
        )

    def _name(self, own: _Columns, kind: conventions.Kind, place: int) -> str:
        """Of few values, as the conventions want it."""

        def text(*names: str) -> str:
            value = own.first(names, place)
            return "" if value is None else _clean(str(value))

        if told := text(self._fields.name):
            return told[:NAME_CHARS]
        if kind == "session":
            return "session"
        if kind == "other":
            return (text("event", "event_type") or "record")[:NAME_CHARS]
        if kind == "stage":
            return f"stage {text('stage')}".strip()[:NAME_CHARS]
        operation = text("operation") or conventions.OPERATION[kind]
        return f"{operation} {text('model' if kind == 'llm' else 'tool_name')}".strip()[:NAME_CHARS]

    def _failed(self, own: _Columns, place: int) -> tuple[bool, str]:
        status, level, error = own.value("status", place), own.value("level", place), own.value("error_type", place)
        failed = (
            error not in (None, "")
            or (isinstance(status, str) and status.lower() in conventions.FAILED)
            or (isinstance(level, str) and conventions.SEVERITY.get(level.lower(), 0) >= conventions.SEVERITY["error"])
        )
        message = own.value("error_message", place)
        return failed, _clean(message)[:500] if isinstance(message, str) else ""


class _Ids(NamedTuple):
    """A record's place in its trace."""

    trace: bytes = b""
    span: bytes = b""
    """Its own, or the one it belongs to."""
    parent: bytes = b""
    uid: str = ""
    """Empty for a record that is no span."""
    duration: int | None = None


_NOWHERE = _Ids()


class _Columns:
    """The fields of a batch, each fetched once."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.times = batch.times
        self._known: dict[str, list[Any]] = {}
        self._has: dict[str, bool] = {}
        self._offsets: Sequence[int] | None = None

    def __getitem__(self, field: str) -> list[Any]:
        found = self._known.get(field)
        if found is None:
            found = self._known[field] = self.batch.values(field)
        return found

    def value(self, field: str, place: int) -> Any:
        """One value; None for a field without a name."""
        return self[field][place] if field and self.has(field) else None

    def has(self, field: str) -> bool:
        """Whether any record has it: most fields that may be looked for are in none."""
        found = self._has.get(field)
        if found is None:
            column = self[field]
            found = self._has[field] = column.count(None) < len(column)
        return found

    def there(self, table: conventions.Table) -> conventions.Table:
        """The attributes of which any record has a field, with these fields."""
        some = ((name, tuple(filter(self.has, fields))) for name, fields in table.items())
        return {name: fields for name, fields in some if fields}

    def first(self, fields: Iterable[str], place: int) -> Any:
        """The first value that is not empty; None where there is none."""
        return next((value for field in fields if (value := self.value(field, place)) not in (None, "")), None)

    @property
    def offsets(self) -> Sequence[int]:
        """Where each record starts in its partition."""
        if self._offsets is None:
            columns = self.batch.columns
            self._offsets = [r.offset for r in self.batch.records] if columns is None else list(columns.offsets)
        return self._offsets


def _typed(name: str, value: Any) -> Any:
    """In the type that the conventions give an attribute; None for what has none of it."""
    if name in conventions.LISTS and type(value) is str:
        return [value]
    wanted = conventions.NUMBERS.get(name)
    if wanted is None or value is None or type(value) is wanted:
        return value
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
        return wanted(number) if math.isfinite(number) and wanted(number) == number else None
    except (ValueError, OverflowError):
        return None


def _duration(own: _Columns, place: int, durations: Durations) -> int | None:
    """In ns, of the first field that has one."""
    for field, scale in durations:
        value = own.value(field, place)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                continue
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value * scale < _LATEST_NS / 1e9:
            return round(value * scale * 1e9)
    return None


def _within_limit(signal: Signal, items: Sequence[Item]) -> Iterator[Request]:
    start = size = 0
    for place, item in enumerate(items):
        own = item.message.ByteSize() + 16
        if size and size + own > MAX_REQUEST:
            yield Request(signal, items[start:place])
            start, size = place, 0
        size += own
    if start < len(items):
        yield Request(signal, items[start:])


def _pair(name: str, value: Any) -> KeyValue:
    return KeyValue(key=name, value=_any(value))


def _any(value: Any) -> AnyValue:
    """A value of JSON in OTLP's types; objects as their JSON."""
    if isinstance(value, str):
        return AnyValue(string_value=_clean(value))
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int) and -_INT64 <= value < _INT64:
        return AnyValue(int_value=value)
    if isinstance(value, float) and math.isfinite(value):
        return AnyValue(double_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=list(map(_any, value))))
    return AnyValue(string_value=encode(value).decode("utf-8", "replace"))


def _clean(text: str) -> str:
    """Without lone surrogates, which no UTF-8 has."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


@lru_cache(maxsize=256)
def _resource(named: Named) -> Resource:
    return Resource(attributes=[_pair(name, text) for name, text in named])


def _time_of(value: Any) -> int | None:
    """Unix ns of RFC 3339 (UTC where it has no zone), or of a number of s, ms, µs or ns, told apart by their size."""
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        since = at - datetime(1970, 1, 1, tzinfo=UTC)
        ns = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
        return ns if 0 <= ns < _LATEST_NS else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 10**8 < value < 10**19:
        return None
    scale = next(scale for bound, scale in _SCALES if value < bound)
    ns = value * scale if isinstance(value, int) else round(value * scale)
    return ns if ns < _LATEST_NS else None


_SCALES = ((10**11, 10**9), (10**14, 10**6), (10**17, 1000), (10**19, 1))


def _thread(value: Any) -> int | None:
    """Unix ns of a thread's time stamp, such as `C0AA6HC1RJL:1772664120.310119`."""
    if not isinstance(value, str) or not (found := _THREAD.fullmatch(value)):
        return None
    return int(found[1]) * 10**9 + int(found[2].ljust(9, "0"))
