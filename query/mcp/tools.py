"""The tools: what each takes, and the same functions behind them as behind the commands of those names."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from ...config.mcp import McpConfig, ServerOptions
from ...pipeline.match import MatchError
from ...pipeline.options import Duration
from ...pipeline.record import rfc3339
from ...stages._timestamps import Clock
from .. import llm, metrics, patcher
from ..errors import errors
from ..find import Wanted, each, find
from ..index import Indexed
from ..local import Reader
from ..logql import Logs, Query, Range, parse
from ..loki import Loki, Refused
from ..metrics import MAX_POINTS, Keyed, MetricError, Moments, Series, evaluate, ranges
from ..prometheus import MOST_BYTES, Prometheus, reach
from ..prometheus import Refused as PrometheusRefused
from ..row import Row
from ..search import fields_of
from ..sessions import sessions
from ..steps import LabelFormat, LineFormat, Parts, Regexp
from ..trace import timeline
from .archive import Archive
from .calls import Deadline, TimeUp, TooMany
from .folders import Folders, Held, Outside
from .outgoing import Outgoing

HOUR_NS = 3600 * 10**9
_read_time = Clock().read


class Refusal(ValueError):
    """A question that is not answered; the message says what would do."""


REFUSALS = (Refusal, MatchError, MetricError, Refused, PrometheusRefused, Outside, TimeUp, TooMany)
"""What a call may raise whose message is meant for who asked."""

Text = Annotated[str, msgspec.Meta(max_length=1000)]
LongText = Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]
Time = Annotated[str, msgspec.Meta(max_length=40, description="2026-11-01T08:00Z, or how long ago: 1h30m")]
Limit = Annotated[int, msgspec.Meta(ge=1, description="Only the last this many")]


class Asked(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What every tool takes."""

    start: Time | None = msgspec.field(name="from", default=None)
    end: Time | None = msgspec.field(name="to", default=None)
    limit: Limit | None = None


class Filtered(Asked, kw_only=True):
    """What tools over records take: all of it must hold."""

    path: Annotated[str, msgspec.Meta(max_length=4096, description="A file or folder; without it all of them")] = ""
    session_key: Text = ""
    thread_ts: Text = ""
    channel_id: Text = ""
    stage: Text = ""
    call_label: Text = ""
    model: Text = ""
    status: Text = ""
    event: Text = ""
    event_type: Text = ""
    error_type: Text = ""
    agent: Text = ""
    trace_id: Text = ""
    contains: Annotated[Text, msgspec.Meta(description="Stands in the record's JSON, whatever its case")] = ""
    has_error: bool | None = None


class Llm(Filtered, kw_only=True):
    """What `llm` takes."""

    summary: Annotated[bool, msgspec.Meta(description="Counts and sums of tokens by group, not single calls")] = False
    group_by: Annotated[list[Text], msgspec.Meta(max_length=10)] = msgspec.field(
        default_factory=lambda: list(llm.DEFAULT_GROUPS)
    )


class Trace(Filtered, kw_only=True):
    """What `trace` takes."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=1000, description="A trace_id, session_key or thread_ts")]
    records: Annotated[bool, msgspec.Meta(description="With the whole records: prompts, tracebacks")] = False


class Logql(Asked, kw_only=True):
    """What `logql` takes."""

    query: Annotated[LongText, msgspec.Meta(description='Such as {level="error"} |= "timeout"')]
    of: Annotated[Literal["files", "loki"] | None, msgspec.Meta(description="By default Loki, if there is one")] = None
    path: Annotated[str, msgspec.Meta(max_length=4096, description="Of files: a file or folder")] = ""
    step: Annotated[str, msgspec.Meta(max_length=40, description="Of a metric: a value every so often, as 5m")] = ""


class Promql(Asked, kw_only=True):
    """What `promql` takes."""

    query: LongText
    step: Annotated[str, msgspec.Meta(max_length=40, description="With `from`: a value every so often, as 5m")] = ""


class Exemplars(Asked, kw_only=True):
    """What `exemplars` takes."""

    query: Annotated[LongText, msgspec.Meta(description="The series whose exemplars (trace ids) are looked for")]


class Tool(NamedTuple):
    """One tool, as agents see it."""

    takes: type[Asked]
    says: str


TOOLS: dict[str, Tool] = {
    "sessions": Tool(Filtered, "Sessions of the app: when, how long, events, LLM calls, tokens, errors, last stage."),
    "events": Tool(Filtered, "Events of session logs, and tool calls, oldest first."),
    "llm": Tool(Llm, "LLM calls with prompt and answer as far as they were logged, or their tokens summed up."),
    "patcher": Tool(Filtered, "Requests of patcher logs: attempts, outcome, error."),
    "errors": Tool(Filtered, "Faults: tracebacks by fingerprint, others by type, with count, time and a sample."),
    "trace": Tool(Trace, "One run as a timeline over all files: session log, LLM calls, tool calls, tracebacks."),
    "logql": Tool(
        Logql, "LogQL over Loki or the files. Without line_format and label_format; over Loki regexp and pattern."
    ),
    "promql": Tool(Promql, "PromQL at a moment (`to`), or from `from` to `to` every `step`."),
    "exemplars": Tool(Exemplars, "Exemplars of a query: which trace is behind a number. Then use `trace`."),
}


def schema(tool: str) -> dict[str, Any]:
    """The JSON Schema of a tool's arguments."""
    takes = TOOLS[tool].takes
    (found,), _ = msgspec.json.schema_components([takes])[1].values(), None
    plain = {name: value for name, value in found.items() if name not in ("title", "description")}
    return plain | {"additionalProperties": False}


class Found(NamedTuple):
    """What a tool found, not yet cleaned."""

    rows: Sequence[Mapping[str, Any]]
    notes: list[str]


class Tools:
    """Answers calls. For one thread at a time."""

    def __init__(self, config: McpConfig, outgoing: Outgoing, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._config = config
        self._now_ns = now_ns
        self.deadline = Deadline()
        self._notes: list[str] = []
        folders = Folders(config.folders)
        self._archive = Archive(folders, outgoing, self.deadline, config.timezone, self._note)

    def close(self) -> None:
        """Let go what is open."""
        self._archive.folders.close()

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Found:
        """What a tool finds. Raises one of REFUSALS, or OSError."""
        if tool not in self._config.offered():
            raise Refusal(f"no tool {tool!r}: there are {', '.join(self._config.offered())}")
        try:
            asked = msgspec.convert(arguments, TOOLS[tool].takes)
        except msgspec.ValidationError as error:
            raise Refusal(f"{tool}: {error}") from None
        self._notes = []
        self.deadline.start(self._config.limits.time)
        try:
            return Found(list(getattr(self, f"_{tool}")(asked)), self._notes)
        except RecursionError:
            raise Refusal("too many parentheses inside each other") from None

    def _note(self, message: str) -> None:
        if len(self._notes) < 20:
            self._notes.append(message)

    def _limit(self, asked: Asked, default: int) -> int:
        return min(asked.limit or default, self._config.limits.rows)

    # over records

    def _wanted(self, asked: Filtered, *kinds: str) -> Wanted:
        names = [name for name in Filtered.__struct_fields__ if name not in _NOT_EXACT]
        start_ns, end_ns = self._times(asked)
        return Wanted(
            {name: value for name in names if (value := getattr(asked, name))},
            asked.contains,
            start_ns,
            end_ns,
            asked.has_error,
            frozenset(kinds),
        )

    def _sessions(self, asked: Filtered) -> list[dict[str, Any]]:
        wanted, files = self._wanted(asked), self._archive.indexed(asked.path)
        keys = None
        if wanted.contains or wanted.has_error is not None or not wanted.exact.keys() <= _OF_SESSIONS:
            keys = {record.text("session_key") for record in each(self._archive.index, files, wanted)}
        return sessions(files, wanted, keys, self._limit(asked, 10))

    def _events(self, asked: Filtered) -> list[dict[str, Any]]:
        files = self._archive.indexed(asked.path)
        wanted = self._wanted(asked, "event", "tool")
        return [one.shown for one in find(self._archive.index, files, wanted, self._limit(asked, 100))]

    def _llm(self, asked: Llm) -> list[dict[str, Any]]:
        files, wanted = self._archive.indexed(asked.path), self._wanted(asked, "llm")
        if asked.summary:
            return llm.summary(each(self._archive.index, files, wanted), asked.group_by)
        return [one.shown for one in find(self._archive.index, files, wanted, self._limit(asked, 20))]

    def _patcher(self, asked: Filtered) -> list[dict[str, Any]]:
        wanted = self._wanted(asked, "patcher")
        if other := wanted.exact.keys() - _OF_SESSIONS - {"status"}:
            raise Refusal(f"a patcher log has no {', '.join(sorted(other))}")
        files = self._archive.indexed(asked.path)
        plain = msgspec.structs.replace(wanted, exact={})
        rows = patcher.requests(find(self._archive.index, files, plain))
        if own := {name: value for name, value in wanted.exact.items() if name in _OF_SESSIONS}:
            spans = sessions(files, msgspec.structs.replace(plain, exact=own))
            rows = [row for row in rows if any(s["created_at"] <= row["created_at"] <= s["last_seen"] for s in spans)]
        return [row for row in rows if asked.status in ("", row["status"])][-self._limit(asked, 10) :]

    def _errors(self, asked: Filtered) -> list[dict[str, Any]]:
        files = self._archive.indexed(asked.path)
        wanted = msgspec.structs.replace(self._wanted(asked), has_error=True)
        return errors(each(self._archive.index, files, wanted))[-self._limit(asked, 20) :]

    def _trace(self, asked: Trace) -> Iterator[dict[str, Any]]:
        files: list[Indexed] = self._archive.indexed(asked.path)
        rows = timeline(self._archive.index, files, asked.id, self._wanted(asked))
        if not rows:
            raise Refusal("nothing has this as its trace_id, session_key or thread_ts")
        for row in rows[-self._limit(asked, 100) :]:
            yield row if asked.records else {name: value for name, value in row.items() if name != "record"}

    # LogQL and PromQL

    def _logql(self, asked: Logql) -> list[dict[str, Any]]:
        config = self._config
        of = asked.of or ("loki" if config.loki else "files")
        if not (config.loki if of == "loki" else config.folders):
            raise Refusal(f"there are no {of} to ask: leave `of` out")
        query = parse(asked.query)
        _only_reads(query, of)
        if isinstance(query, Logs) and asked.step:
            raise Refusal("step is for metrics, such as count_over_time({…}[5m])")
        if of == "files":
            return self._logql_files(asked, query)
        if asked.path:
            raise Refusal("path is for files")
        return self._logql_loki(asked, query)

    def _logql_files(self, asked: Logql, query: Query) -> list[dict[str, Any]]:
        files = self._archive.folders.files(asked.path)
        start_ns, end_ns = self._times(asked)
        if not isinstance(query, Logs):
            moments = self._moments(asked, start_ns, end_ns, asked.step)
            return self._points(evaluate(query, moments, self._source(files)))
        reader, left = Reader(query, start_ns=start_ns, end_ns=end_ns), self._limit(asked, 100)
        found: list[list[dict[str, Any]]] = []
        for file in reversed(files):
            if left <= 0:
                break
            kept: list[Row] = []
            for _, rows in self._archive.rows(reader, [file]):
                kept = [*kept, *rows][-left:]
            left -= len(kept)
            found.append([self._shown(row, file, with_labels=bool(query.steps)) for row in kept])
        return [row for rows in reversed(found) for row in rows]

    def _shown(self, row: Row, file: Held, *, with_labels: bool) -> dict[str, Any]:
        shown: dict[str, Any] = {"log_path": str(file), "record": fields_of(row.line)}
        if row.time_ns is not None:
            shown = {"timestamp": rfc3339(row.time_ns), **shown}
        return shown | ({"labels": row.known()} if with_labels else {})

    def _source(self, files: Sequence[Held]) -> Callable[[Range, Keyed, int, int], Iterator[list[Row]]]:
        def rows(metric: Range, keyed: Keyed, start_ns: int, end_ns: int) -> Iterator[list[Row]]:
            reader = metrics.reader(metric, keyed, start_ns, end_ns)
            for _, found in self._archive.rows(reader, files):
                yield found
            if reader.untimed:
                self._note(f"{reader.untimed} records without a time are not counted")

        return rows

    def _logql_loki(self, asked: Logql, query: Query) -> list[dict[str, Any]]:
        start_ns, end_ns = self._times(asked)
        options = self._config.loki
        assert options  # the caller looked
        with closing(_loki(options, self.deadline.left)) as server:
            if not isinstance(query, Logs):
                moments = self._moments(asked, start_ns, end_ns, asked.step)
                widest = max((one.range_ns + abs(one.offset_ns) for one in ranges(query)), default=0)
                self._within(moments.end_ns - moments.start_ns + widest)
                return self._points(server.series(asked.query, moments))
            end_ns = self._now_ns() if end_ns is None else end_ns
            start_ns = end_ns - HOUR_NS if start_ns is None else start_ns
            self._within(end_ns - start_ns)
            entries = server.logs(asked.query, start_ns, end_ns, self._limit(asked, 100), "backward", self._note)
            return [
                {
                    "timestamp": rfc3339(entry.time_ns),
                    "labels": entry.labels,
                    "record": fields_of(entry.line.encode("utf-8", "surrogatepass")),
                }
                for entry in entries
            ][::-1]

    def _promql(self, asked: Promql) -> list[dict[str, Any]]:
        moments = self._moments(asked, *self._times(asked), asked.step)
        self._within(moments.end_ns - moments.start_ns + reach(asked.query))
        with closing(_prometheus(self._config.prometheus, self.deadline.left)) as server:
            return self._points(server.series(asked.query, moments))

    def _exemplars(self, asked: Exemplars) -> list[dict[str, Any]]:
        start_ns, end_ns = self._times(asked)
        end_ns = self._now_ns() if end_ns is None else end_ns
        start_ns = end_ns - HOUR_NS if start_ns is None else start_ns
        self._within(end_ns - start_ns + reach(asked.query))
        with closing(_prometheus(self._config.prometheus, self.deadline.left)) as server:
            found = server.exemplars(asked.query, start_ns, end_ns)
        return [
            {
                "timestamp": rfc3339(one.time_ns),
                "exemplar": one.labels,
                "value": _number(one.value),
                "series": one.series,
            }
            for one in found[-self._limit(asked, 100) :]
        ]

    def _moments(self, asked: Asked, start_ns: int | None, end_ns: int | None, step: str) -> Moments:
        end_ns = self._now_ns() if end_ns is None else end_ns
        if start_ns is None and not step:
            return Moments.one(end_ns)
        start_ns = end_ns - HOUR_NS if start_ns is None else start_ns
        step_ns = _span(step, "step") if step else max((end_ns - start_ns) // 60 // 10**9, 1) * 10**9
        moments = Moments.between(start_ns, end_ns, step_ns)
        if moments.many > min(MAX_POINTS, self._config.limits.rows):
            raise Refusal(f"{moments.many} moments are too many: choose a larger step")
        return moments

    def _points(self, series: Sequence[Series]) -> list[dict[str, Any]]:
        """A row for each series, as long as there is room for its points."""
        rows: list[dict[str, Any]] = []
        left = self._config.limits.rows
        for one in series:
            left -= len(one.points)
            if left < 0:
                self._note(f"{len(series) - len(rows)} of {len(series)} series are left out: aggregate, or topk(10, …)")
                break
            points = [[rfc3339(time_ns), _number(value)] for time_ns, value in one.points]
            rows.append({"labels": one.labels, "points": points})
        return rows

    # time

    def _times(self, asked: Asked) -> tuple[int | None, int | None]:
        start_ns, end_ns = self._time(asked.start, "from"), self._time(asked.end, "to")
        if start_ns is not None and end_ns is not None and start_ns >= end_ns:
            raise Refusal("from is not before to")
        return start_ns, end_ns

    def _time(self, text: str | None, name: str) -> int | None:
        if text is None or text == "now":
            return None if text is None else self._now_ns()
        time_ns = _read_time(text) or _read_time(f"{text}T00:00")
        time_ns = self._now_ns() - _span(text, name) if time_ns is None else time_ns
        if not 0 <= time_ns < 1 << 63:
            raise Refusal(f"{name}: a time between 1970 and 2262")
        return time_ns

    def _within(self, span_ns: int) -> None:
        most = self._config.limits.range
        if span_ns > most * 10**9:
            raise Refusal(f"a range of time wider than {most / 3600:g} h, ranges and offsets in the query included")


_NOT_EXACT = frozenset(("start", "end", "limit", "path", "contains", "has_error"))
_OF_SESSIONS = frozenset(("session_key", "thread_ts", "channel_id"))


def _span(text: str, name: str) -> int:
    try:
        span_ns = round(Duration.decode(text) * 10**9)
    except (ValueError, OverflowError):
        raise Refusal(f"{name}: {text!r} is no time: write 2026-11-01T08:00Z, or a span such as 15m, 1h30m") from None
    if span_ns <= 0:
        raise Refusal(f"{name}: more than nothing")
    return span_ns


def _only_reads(query: Query, of: str) -> None:
    """Refuse what writes lines anew (its size has no bound) and, for Loki, what takes them apart.

    Loki works on what it stores: a secret in pieces would be redacted by nobody. Files are redacted first.
    """
    logs = [query] if isinstance(query, Logs) else [one.logs for one in ranges(query)]
    for step in (step for one in logs for step in one.steps):
        if isinstance(step, LineFormat | LabelFormat):
            raise Refusal("line_format and label_format are not for agents: read labels and fields as they are")
        if of == "loki" and isinstance(step, Regexp | Parts):
            raise Refusal("regexp and pattern are not for Loki here: use json or logfmt, or filters")


def _loki(options: ServerOptions, seconds: float) -> Loki:
    login = {"LOKI_USERNAME": options.user}
    for name, secret in (("LOKI_BEARER_TOKEN", options.token), ("LOKI_PASSWORD", options.password)):
        if secret:
            login[name] = secret.reveal()
    return Loki(options.url, options.tenant, login, timeout=seconds, at_most=MOST_BYTES)


def _prometheus(options: ServerOptions | None, seconds: float) -> Prometheus:
    assert options  # else the tool is not offered
    return Prometheus(
        options.url,
        token=options.token.reveal() if options.token else "",
        user=options.user,
        password=options.password.reveal() if options.password else "",
        tenant=options.tenant,
        timeout=seconds,
    )


def _number(value: float) -> float | int | str:
    if math.isfinite(value):
        return int(value) if value == int(value) and abs(value) < 1 << 53 else value
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
