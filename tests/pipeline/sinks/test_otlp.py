"""Requests to receivers in the test, over HTTP and gRPC, read back with the real protobuf messages."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
import pytest
from aiohttp import web
from google.protobuf.any_pb2 import Any as AnyMessage  # type: ignore[import-untyped]  # ships no types
from google.protobuf.duration_pb2 import Duration as Wait  # type: ignore[import-untyped]  # ships no types
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tailrace.pipeline import discover
from tailrace.pipeline.batch import Batch
from tailrace.pipeline.component import ProbeError, Rejected, RetryAfter
from tailrace.pipeline.http_client import Response
from tailrace.pipeline.options import Secret, Template, Tls
from tailrace.pipeline.sinks import _otlp_conventions as conventions
from tailrace.pipeline.sinks._otlp_ids import root_of, span_of, stage_of, trace_of
from tailrace.pipeline.sinks._otlp_items import _time_of
from tailrace.pipeline.sinks._otlp_transport import (
    METHODS,
    Busy,
    Refused,
    Taken,
    Wrong,
    error_of,
    members,
    partial,
    read_answer,
    retry_info,
)
from tailrace.pipeline.sinks.otlp import MISSING, Otlp
from tailrace.stages.enrich import Enrich
from tailrace.testing import READ_AT, batch_of, run_stage

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
OTHER = "00f067aa0ba902b7"
TOKEN = "hunter2-is-not-told"
CALL = {"event_type": "LLMCall", "trace_id": TRACE, "duration_ms": 1500, "model": "m1"}


def sink_at(url: str = "http://127.0.0.1:4318", **options: Any) -> Otlp:
    return Otlp(name="otlp", url=url, **options)


def batch(*rows: Mapping[str, Any] | bytes, **labels: str) -> Batch:
    made = batch_of(*rows, labels={"source": "app", **labels})
    made.set_times([READ_AT + place for place in range(len(made))])
    made.size = made.measure()
    return made


def sent(sink: Otlp, *batches: Batch) -> tuple[list[Span], list[LogRecord]]:
    """What would be sent of the batches."""
    spans, logs = list[Span](), list[LogRecord]()
    for request in sink._items.requests(batches):
        if request.signal == "traces":
            spans += spans_of(request.body)
        else:
            logs += logs_of(request.body)
    return spans, logs


def spans_of(body: bytes) -> list[Span]:
    message = ExportTraceServiceRequest.FromString(body)
    return [span for one in message.resource_spans for scope in one.scope_spans for span in scope.spans]


def logs_of(body: bytes) -> list[LogRecord]:
    message = ExportLogsServiceRequest.FromString(body)
    return [log for one in message.resource_logs for scope in one.scope_logs for log in scope.log_records]


def span_from(row: Mapping[str, Any], **options: Any) -> Span:
    ((span,), _) = sent(sink_at(**options), batch(row))
    return span


def plain(pairs: Any) -> dict[str, Any]:
    def value(one: AnyValue) -> Any:
        kind = one.WhichOneof("value")
        return [value(item) for item in one.array_value.values] if kind == "array_value" else getattr(one, str(kind))

    return {pair.key: value(pair.value) for pair in pairs}


def test_use_otlp_is_this_sink() -> None:
    assert discover.component("sink", "otlp") is Otlp


def test_a_config_with_a_url_is_right() -> None:
    assert list(sink_at().check()) == []
    assert list(sink_at("https://tempo.example:4317", protocol="grpc").check()) == []


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"url": "tempo:4318"}, "url"),
        ({"url": "http://me:secret@tempo:4318"}, "url"),
        ({"url": "http://tempo:4318/v1/traces"}, "url"),
        ({"url": "http://tempo:4317/otlp", "protocol": "grpc"}, "url"),
        ({"headers": {"a b": Secret("x", "env X")}}, "headers.a b"),
        ({"protocol": "grpc", "tls": Tls(verify=False)}, "tls.verify"),
        ({"resource": {"service.name": Template("x")}}, "resource.service.name"),
        ({"trace_id": ""}, "trace_id"),
        ({"durations": {"duration_ms": 0.0}}, "durations.duration_ms"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_refused(options: dict[str, Any], where: str) -> None:
    assert [place for place, _ in sink_at(**options).check()] == [where]


def test_missing_packages_are_told_with_what_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.pipeline.sinks.otlp.find_spec", lambda name: None if name == "grpc" else name)
    assert list(sink_at().check()) == []
    assert list(sink_at(protocol="grpc").check()) == [("protocol", MISSING)]


def test_it_reads_what_spans_are_made_of() -> None:
    names = set(sink_at(service=Template("{app}"), attributes=["tenant"]).reads())
    assert {"trace_id", "span_id", "duration_ms", "model", "prompt_tokens", "app", "tenant", "level"} <= names


@pytest.mark.parametrize(
    ("value", "trace", "parent"),
    [
        (TRACE, TRACE, ""),
        (TRACE.upper(), TRACE, ""),
        ("0af76519-16cd-43dd-8448-eb211c80319c", TRACE, ""),
        (f"00-{TRACE}-{SPAN}-01", TRACE, SPAN),
        (f"00-{TRACE}-{'0' * 16}-01", TRACE, ""),
        ("0" * 32, "", ""),
        (f"00-{'0' * 32}-{SPAN}-01", "", ""),
        ("", "", ""),
        (None, "", ""),
        (True, "", ""),
        ({"id": TRACE}, "", ""),
    ],
    ids=str,
)
def test_a_trace_id_is_read_as_it_is_written(value: object, trace: str, parent: str) -> None:
    found = trace_of(value)
    assert (found.id.hex(), found.parent.hex()) == (trace, parent)


def test_any_other_id_is_hashed_as_enrich_does() -> None:
    made = run_stage(Enrich(derive_trace_id=["session_key"]), batch({"session_key": "C1:5.5"}))
    assert trace_of("C1:5.5").id.hex() == made.values("trace_id")[0]


@given(st.text(min_size=1))
def test_any_text_gives_the_same_trace_each_time(text: str) -> None:
    assert trace_of(text) == trace_of(text)
    assert len(trace_of(text).id) in (0, 16)


@pytest.mark.parametrize("value", ["", "0" * 16, "xyz", SPAN + "0", 7, None], ids=str)
def test_what_is_no_span_id_is_none(value: object) -> None:
    assert span_of(value) == b""


def test_a_call_of_an_llm_is_a_span_by_the_conventions() -> None:
    span = span_from(
        CALL
        | {
            "prompt_tokens": 11,
            "completion_tokens": 0,
            "agent": "planner",
            "session_key": "C1",
            "finish_reason": "stop",
        }
    )
    assert (span.name, span.kind) == ("chat m1", Span.SPAN_KIND_CLIENT)
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (READ_AT - 1_500_000_000, READ_AT)
    attributes = plain(span.attributes)
    assert len(attributes.pop(conventions.UID)) == 32
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m1",
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 0,
        "gen_ai.agent.name": "planner",
        "gen_ai.conversation.id": "C1",
        "gen_ai.response.finish_reasons": ["stop"],
        "session.id": "C1",
        "tailrace.event": "LLMCall",
    }
    assert span.status == Status()


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"event": "ToolCall", "tool_name": "search"}, "execute_tool search"),
        ({"event": "graph_turn_end", "stage": "Refine"}, "stage Refine"),
        ({"event": "session_finalized"}, "session"),
        ({"event": "calendar_sync_result"}, "calendar_sync_result"),
        ({"event_type": "LLMCall", "operation": "embeddings", "model": "e1"}, "embeddings e1"),
        ({"event": "x", "span_name": "GET /users"}, "GET /users"),
        ({}, "record"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_span_is_named_after_what_it_is_of(row: dict[str, Any], name: str) -> None:
    assert span_from({"trace_id": TRACE, "elapsed_s": 2, **row}).name == name


@pytest.mark.parametrize(
    ("field", "value", "attribute", "sent"),
    [
        ("prompt_tokens", 7, "gen_ai.usage.input_tokens", 7),
        ("prompt_tokens", "7", "gen_ai.usage.input_tokens", 7),
        ("prompt_tokens", 7.0, "gen_ai.usage.input_tokens", 7),
        ("prompt_tokens", 7.5, "gen_ai.usage.input_tokens", None),
        ("prompt_tokens", "many", "gen_ai.usage.input_tokens", None),
        ("prompt_tokens", True, "gen_ai.usage.input_tokens", None),
        ("prompt_tokens", [7], "gen_ai.usage.input_tokens", None),
        ("temperature", 1, "gen_ai.request.temperature", 1.0),
        ("temperature", "nan", "gen_ai.request.temperature", None),
        ("finish_reason", "stop", "gen_ai.response.finish_reasons", ["stop"]),
    ],
    ids=lambda value: str(value),
)
def test_an_attribute_has_the_type_of_the_conventions(field: str, value: object, attribute: str, sent: object) -> None:
    found = plain(span_from(CALL | {field: value}).attributes).get(attribute)
    assert (type(found), found) == (type(sent), sent)


def test_session_stage_and_call_make_a_tree() -> None:
    common = {"trace_id": TRACE, "session_key": "C1", "elapsed_s": 1}
    spans, logs = sent(
        sink_at(),
        batch(
            CALL | {"session_key": "C1", "stage": "Refine"},
            {"event": "ToolCall", "tool_name": "t", **common},
            {"event": "graph_turn_end", "stage": "Refine", **common},
            {"event": "session_finalized", **common},
            {"event": "user_reply", "trace_id": TRACE, "session_key": "C1", "stage": "Refine"},
        ),
    )
    call, tool, stage, session = spans
    assert session.span_id == root_of(bytes.fromhex(TRACE))
    assert session.parent_span_id == b""
    assert (stage.parent_span_id, tool.parent_span_id) == (session.span_id, session.span_id)
    assert call.parent_span_id == stage.span_id == stage_of(bytes.fromhex(TRACE), "Refine", None)
    assert [log.span_id for log in logs] == [*(span.span_id for span in spans), stage.span_id]
    assert {log.trace_id.hex() for log in logs} == {TRACE}
    uids = [plain(log.attributes).get(conventions.UID) for log in logs]
    assert uids == [*(plain(span.attributes)[conventions.UID] for span in spans), None]


def test_each_turn_has_stages_of_its_own() -> None:
    row = {"event": "graph_turn_end", "stage": "Refine", "trace_id": TRACE, "elapsed_s": 1}
    spans, _ = sent(sink_at(), batch(row | {"turn": 1}, row | {"turn": 2}, CALL | {"stage": "Refine", "turn": 2}))
    assert spans[0].span_id != spans[1].span_id
    assert spans[2].parent_span_id == spans[1].span_id


def test_ids_that_the_record_has_go_first() -> None:
    span = span_from(CALL | {"span_id": SPAN, "parent_span_id": OTHER, "stage": "Refine", "session_key": "C1"})
    assert (span.span_id.hex(), span.parent_span_id.hex()) == (SPAN, OTHER)
    assert span_from(CALL | {"trace_id": f"00-{TRACE}-{OTHER}-01", "stage": "x"}).parent_span_id.hex() == OTHER


def test_a_span_that_the_record_was_logged_in_can_be_the_one_above() -> None:
    span = span_from(CALL | {"span_id": SPAN}, span_id="", parent_span_id="span_id")
    assert span.parent_span_id.hex() == SPAN
    assert span.span_id.hex() != SPAN


def test_a_session_began_when_its_thread_did() -> None:
    began = READ_AT // 10**9 - 90
    row = {"event": "session_finalized", "trace_id": TRACE}
    assert span_from(row | {"session_key": f"C1:{began}.25"}).start_time_unix_nano == began * 10**9 + 250_000_000
    assert span_from(row | {"thread_ts": f"{began}.0"}).start_time_unix_nano == began * 10**9
    for none in ({}, {"thread_ts": "1000000000.0"}, {"thread_ts": f"{READ_AT // 10**9 + 5}.0"}):
        assert span_from(row | none).start_time_unix_nano == READ_AT


@pytest.mark.parametrize(
    ("more", "start", "end"),
    [
        ({}, READ_AT - 10**9, READ_AT),
        ({"start_time": READ_AT // 10**9}, READ_AT, READ_AT + 10**9),
        ({"start_time": "1970-01-01T00:00:02Z"}, 2 * 10**9, 3 * 10**9),
        ({"elapsed_s": "1"}, READ_AT - 10**9, READ_AT),
        ({"duration_ms": 250}, READ_AT - 250_000_000, READ_AT),
    ],
    ids=["ends", "begins", "text", "number as text", "first of two"],
)
def test_a_span_lasts_as_long_as_the_record_says(more: dict[str, Any], start: int, end: int) -> None:
    span = span_from({"event": "x", "trace_id": TRACE, "elapsed_s": 1} | more)
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (start, end)


def test_a_records_time_can_be_the_start() -> None:
    assert span_from(CALL, time="start").end_time_unix_nano == READ_AT + 1_500_000_000


@pytest.mark.parametrize(
    "row",
    [
        {"event": "x", "trace_id": TRACE},
        {"event": "x", "elapsed_s": 1},
        {"event": "x", "trace_id": "0" * 32, "elapsed_s": 1},
        *({"event": "x", "trace_id": TRACE, "elapsed_s": value} for value in (-1, True, "soon", None, 1e300, [1])),
    ],
    ids=str,
)
def test_a_record_without_trace_or_duration_is_a_log_record_only(row: dict[str, Any]) -> None:
    spans, (log,) = sent(sink_at(), batch(row))
    assert spans == []
    assert json.loads(log.body.string_value) == row


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        (1_700_000_000, 1_700_000_000 * 10**9),
        (1_700_000_000_123, 1_700_000_000_123 * 10**6),
        (1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
        (1_700_000_000.5, 1_700_000_000_500_000_000),
        ("2023-11-14T22:13:20+00:00", 1_700_000_000 * 10**9),
        ("2023-11-14 22:13:20", 1_700_000_000 * 10**9),
        ("yesterday", None),
        ("1960-01-01T00:00:00Z", None),
        (5, None),
        (float("nan"), None),
        (True, None),
        (None, None),
    ],
    ids=str,
)
def test_a_start_is_a_time_in_any_usual_unit(value: object, ns: int | None) -> None:
    assert _time_of(value) == ns


def test_a_failed_span_says_why_and_has_the_traceback() -> None:
    line = b"2025-11-03 10:00:07 ERROR failed\nTraceback (most recent call last):\nValueError: bad"
    made = batch(line)
    made.records[0].parsed = CALL | {"level": "ERROR", "error_type": "ValueError", "error_message": "bad"}
    ((span,), (log,)) = sent(sink_at(), made)
    assert (span.status.code, span.status.message) == (Status.STATUS_CODE_ERROR, "bad")
    assert plain(span.attributes)["error.type"] == "ValueError"
    (event,) = span.events
    assert event.name == "exception"
    assert plain(event.attributes) == {
        "exception.type": "ValueError",
        "exception.message": "bad",
        "exception.stacktrace": line.decode(),
    }
    assert (log.severity_number, log.severity_text, log.body.string_value) == (17, "ERROR", line.decode())


@pytest.mark.parametrize(
    ("more", "failed"),
    [({"status": "error"}, True), ({"level": "critical"}, True), ({"status": "ok", "level": "warning"}, False)],
    ids=["status", "level", "ok"],
)
def test_status_and_level_make_a_span_a_failed_one(more: dict[str, Any], failed: bool) -> None:
    span = span_from(CALL | more)
    assert (span.status.code == Status.STATUS_CODE_ERROR) is failed
    assert plain(span.attributes).get("error.type") == ("_OTHER" if failed else None)


def test_resources_are_filled_in_and_group_what_is_sent() -> None:
    sink = sink_at(service=Template("{app}"), resource={"host.name": Template("{host}")}, signals=["logs"])
    (request,) = sink._items.requests([batch({"app": "a", "host": "h"}, {"app": "b"}, {"app": "a", "host": "h"}, {})])
    message = ExportLogsServiceRequest.FromString(request.body)
    assert [(plain(one.resource.attributes), len(one.scope_logs[0].log_records)) for one in message.resource_logs] == [
        ({"service.name": "a", "host.name": "h"}, 2),
        ({"service.name": "b"}, 1),
        ({"service.name": "unknown_service"}, 1),
    ]
    assert (
        message.resource_logs[0].scope_logs[0].schema_url == f"https://opentelemetry.io/schemas/{conventions.VERSION}"
    )


def test_resource_and_scope_tell_the_version_of_the_conventions() -> None:
    traces, logs = sink_at()._items.requests([batch(CALL)])
    (spans,) = ExportTraceServiceRequest.FromString(traces.body).resource_spans
    (records,) = ExportLogsServiceRequest.FromString(logs.body).resource_logs
    told = {spans.schema_url, spans.scope_spans[0].schema_url, records.schema_url, records.scope_logs[0].schema_url}
    assert told == {conventions.SCHEMA_URL}


def test_fields_become_attributes_by_their_own_names() -> None:
    value = {"a": [1]}
    span = span_from(CALL | {"n": 1, "f": 0.5, "o": value, "l": ["x", None]}, attributes=["n", "f", "o", "l", "none"])
    attributes = plain(span.attributes)
    assert (attributes["n"], attributes["f"], json.loads(attributes["o"])) == (1, 0.5, value)
    assert attributes["l"] == ["x", "null"]
    assert "none" not in attributes


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "trace_id": st.one_of(st.just(TRACE), st.text(max_size=5), st.integers()),
                "span_id": st.one_of(st.just(SPAN), st.text(max_size=3)),
                "duration_ms": st.one_of(st.integers(), st.floats(), st.text(max_size=3)),
                "start_time": st.one_of(st.integers(), st.floats(), st.text(max_size=5)),
                "event": st.sampled_from(["LLMCall", "ToolCall", "graph_turn_end", "session_end", "\ud800"]),
                "stage": st.one_of(st.text(max_size=3), st.integers(), st.none()),
                "session_key": st.text(max_size=3),
                "model": st.one_of(st.text(max_size=3), st.lists(st.integers()), st.integers(min_value=2**70)),
                "level": st.one_of(st.text(max_size=3), st.integers()),
            },
        ),
        max_size=5,
    )
)
def test_whatever_records_hold_a_repeat_is_the_same_to_the_byte(rows: list[dict[str, Any]]) -> None:
    def bodies() -> list[bytes]:
        made = batch(*[b"line"] * len(rows))
        for record, row in zip(made.records, rows, strict=True):
            record.parsed = dict(row)
        return [request.body for request in sink_at()._items.requests([made])]

    first = bodies()
    assert first == bodies()
    assert sum(len(logs_of(body)) for body in first[-1:]) == len(rows)


def test_equal_lines_are_spans_of_their_own() -> None:
    spans, _ = sent(sink_at(), batch(CALL, CALL))
    assert len({span.span_id for span in spans}) == 2


def test_much_goes_in_several_requests() -> None:
    made = batch(*[b"x" * 100_000] * 70)
    requests = sink_at(signals=["logs"])._items.requests([made])
    assert len(requests) == 3
    assert all(len(request.body) < 4 << 20 for request in requests)
    assert sum(len(request.items) for request in requests) == 70


class Receiver:
    """Answers as it is told, and keeps what came."""

    def __init__(self) -> None:
        self.answer: Callable[[str, bytes], web.Response] = lambda path, body: ok()
        self.requests: list[web.Request] = []
        self.bodies: list[tuple[str, bytes]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append(request)
        self.bodies.append((request.path, body))
        return self.answer(request.path, body)


def ok(body: bytes = b"") -> web.Response:
    return web.Response(body=body, content_type="application/x-protobuf")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield receiver
    await runner.cleanup()


@pytest.fixture
async def sink(receiver: Receiver) -> AsyncIterator[Otlp]:
    sink = sink_at(receiver.url, headers={"Authorization": Secret(TOKEN, "env T")})
    await sink.open()
    yield sink
    await sink.close()


async def test_spans_and_logs_are_posted_with_the_headers(receiver: Receiver, sink: Otlp) -> None:
    await sink.probe()
    await sink.send([batch(CALL)])
    assert [path for path, _ in receiver.bodies] == ["/v1/traces", "/v1/logs"] * 2
    request = receiver.requests[2]
    assert request.headers["Content-Type"] == "application/x-protobuf"
    assert request.headers["Authorization"] == TOKEN
    assert spans_of(receiver.bodies[2][1])[0].trace_id.hex() == TRACE  # aiohttp has unpacked it
    assert logs_of(receiver.bodies[3][1])[0].trace_id.hex() == TRACE


async def test_a_request_is_compressed_the_same_way_each_time(receiver: Receiver) -> None:
    for compression in ("gzip", "none"):
        sink = sink_at(f"{receiver.url}/base/", compression=compression, signals=["logs"])
        await sink.open()
        await sink.send([batch(b"one")])
        await sink.close()
    assert [request.headers.get("Content-Encoding") for request in receiver.requests] == ["gzip", None]
    assert {path for path, _ in receiver.bodies} == {"/base/v1/logs"}
    assert gzip.compress(b"x", 1, mtime=0) == gzip.compress(b"x", 1, mtime=0)


@pytest.mark.parametrize(
    ("status", "body", "kind", "option"),
    [
        (401, b"who are you", "text/plain", "headers"),
        (404, b"", "text/plain", "url"),
        (200, b"<html>", "text/html", "url"),
        (400, b"", "text/plain", "url"),
    ],
    ids=["token", "path", "page", "refused"],
)
async def test_a_wrong_endpoint_or_token_is_told_at_the_start(
    receiver: Receiver, sink: Otlp, status: int, body: bytes, kind: str, option: str
) -> None:
    receiver.answer = lambda path, got: web.Response(status=status, body=body, content_type=kind)
    with pytest.raises(ProbeError) as told:
        await sink.probe()
    assert told.value.option == option
    assert TOKEN not in str(told.value)


async def test_a_receiver_without_logs_is_told_apart(receiver: Receiver, sink: Otlp) -> None:
    receiver.answer = lambda path, body: ok() if path == "/v1/traces" else web.Response(status=404)
    with pytest.raises(ProbeError, match=re.escape("signals: [traces]")):
        await sink.probe()


async def test_a_busy_receiver_is_no_reason_not_to_start(receiver: Receiver, sink: Otlp) -> None:
    receiver.answer = lambda path, body: web.Response(status=503)
    await sink.probe()
    assert len(receiver.bodies) == 2


async def test_a_receiver_that_wants_something_in_a_request_is_one(receiver: Receiver, sink: Otlp) -> None:
    receiver.answer = lambda path, body: web.Response(status=422, body=b"\x12\x05empty")
    await sink.probe()
    with pytest.raises(Rejected) as told:
        await sink.send([batch({"event": "x"})])
    assert [why for _, why in told.value.records] == ["logs: the receiver answers 422: empty"]


async def test_nobody_there_is_told_at_the_start() -> None:
    sink = sink_at("http://127.0.0.1:9")
    await sink.open()
    with pytest.raises(ProbeError, match="cannot reach"):
        await sink.probe()


async def test_after_an_error_only_what_is_left_is_sent_and_it_is_the_same(receiver: Receiver, sink: Otlp) -> None:
    receiver.answer = lambda path, body: ok() if path == "/v1/traces" else web.Response(status=503)
    made = batch(CALL)
    for _ in range(2):
        with pytest.raises(Busy):
            await sink.send([made])
    receiver.answer = lambda path, body: ok()
    await sink.send([made])
    assert [path for path, _ in receiver.bodies] == ["/v1/traces", *["/v1/logs"] * 3]
    assert len({body for _, body in receiver.bodies[1:]}) == 1


async def test_a_wait_that_is_asked_for_is_kept(receiver: Receiver, sink: Otlp) -> None:
    receiver.answer = lambda path, body: web.Response(status=429, headers={"Retry-After": "7"})
    with pytest.raises(RetryAfter) as told:
        await sink.send([batch(CALL)])
    assert told.value.seconds == 7


async def test_a_token_that_no_longer_holds_loses_nothing(receiver: Receiver, sink: Otlp) -> None:
    receiver.answer = lambda path, body: web.Response(status=401)
    with pytest.raises(Wrong):
        await sink.send([batch(CALL)])


async def test_of_a_request_that_is_refused_the_bad_items_are_found(receiver: Receiver, sink: Otlp) -> None:
    receiver.answer = lambda path, body: web.Response(status=400, text="bad one") if b"bad" in body else ok()
    made = batch(*[{"n": n, "say": "bad" if n in (2, 5) else "good"} for n in range(8)])
    with pytest.raises(Rejected) as told:
        await sink.send([made])
    assert [json.loads(record.line)["n"] for record, _ in told.value.records] == [2, 5]
    assert told.value.records[0][1] == "logs: the receiver answers 400: bad one"
    taken = [
        json.loads(log.body.string_value)["n"]
        for _, body in receiver.bodies
        if b"bad" not in body
        for log in logs_of(body)
    ]
    assert sorted(taken) == [0, 1, 3, 4, 6, 7]


async def test_what_must_not_be_tried_again_is_rejected_as_a_whole(receiver: Receiver, sink: Otlp) -> None:
    receiver.answer = lambda path, body: web.Response(status=500, text="broken")
    with pytest.raises(Rejected) as told:
        await sink.send([batch(CALL, CALL)])
    assert len(receiver.bodies) == 2
    assert [reason.count("answers 500: broken") for _, reason in told.value.records] == [2, 2]


async def test_a_partial_success_is_rejected_with_the_count_and_the_reason(receiver: Receiver, sink: Otlp) -> None:
    success = ExportTracePartialSuccess(rejected_spans=1, error_message="too old")
    traces = ExportTraceServiceResponse(partial_success=success).SerializeToString()
    receiver.answer = lambda path, body: ok(traces if path == "/v1/traces" else b"")
    with pytest.raises(Rejected) as told:
        await sink.send([batch(CALL, {"event": "x"}, CALL)])
    reason = "traces: the receiver took the request but for 1 of 2 items: too old"
    assert [why for _, why in told.value.records] == [reason, reason]
    receiver.answer = lambda path, body: ok()
    await sink.send([batch(CALL)])
    assert [path for path, _ in receiver.bodies] == ["/v1/traces", "/v1/logs"] * 2


async def test_a_warning_refuses_nothing(receiver: Receiver, sink: Otlp) -> None:
    success = ExportLogsPartialSuccess(error_message="soon full")
    receiver.answer = lambda path, body: ok(ExportLogsServiceResponse(partial_success=success).SerializeToString())
    await sink.send([batch({"event": "x"})])
    assert len(receiver.bodies) == 1


def answer(status: int, body: bytes = b"", kind: str = "application/x-protobuf", **headers: str) -> Response:
    return Response(status, {"Content-Type": kind, **{k.replace("_", "-"): v for k, v in headers.items()}}, body)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_an_empty_answer_is_a_success(status: int) -> None:
    assert read_answer(answer(status, kind="")) == Taken()


def test_answers_in_json_are_understood_too() -> None:
    told = b'{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}'
    assert read_answer(answer(200, told, "application/json")) == Taken(3, "no")
    assert read_answer(answer(200, b"{}", "application/json; charset=utf-8")) == Taken()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, Busy) for status in (429, 502, 503, 504)),
        *((status, Refused) for status in (400, 413, 422, 500, 501, 505)),
        *((status, Wrong) for status in (301, 401, 403, 404, 405)),
    ],
    ids=str,
)
def test_statuses_mean_what_the_specification_says(status: int, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        read_answer(answer(status))


def status_with(delay: Wait | None) -> bytes:
    """A `google.rpc.Status` by hand: its package is not needed for anything else."""
    inner = b"" if delay is None else delay.SerializeToString()
    info = b"\n" + bytes([len(inner)]) + inner
    detail = AnyMessage(type_url="type.googleapis.com/google.rpc.RetryInfo", value=info).SerializeToString()
    return bytes(b"\x08\x0e\x12\x04busy\x1a" + bytes([len(detail)]) + detail)


def test_the_wait_of_a_grpc_status_is_read() -> None:
    assert retry_info(status_with(Wait(seconds=3, nanos=500_000_000))) == 3.5
    assert retry_info(status_with(None)) == 0
    assert retry_info(b"") is None
    assert retry_info(b"\xff\xff") is None


@pytest.mark.parametrize(
    ("code", "words", "details", "kind"),
    [
        ("UNAVAILABLE", "", b"", OSError),
        ("UNAVAILABLE", "", status_with(Wait(seconds=1)), RetryAfter),
        ("RESOURCE_EXHAUSTED", "", status_with(Wait(seconds=1)), RetryAfter),
        ("RESOURCE_EXHAUSTED", "", b"", Busy),
        ("RESOURCE_EXHAUSTED", "grpc: received message larger than max (5 vs. 4)", b"", Refused),
        ("DEADLINE_EXCEEDED", "", b"", OSError),
        ("INVALID_ARGUMENT", "", b"", Refused),
        ("INTERNAL", "", b"", Refused),
        ("UNAUTHENTICATED", "", b"", Wrong),
        ("UNIMPLEMENTED", "", b"", Wrong),
    ],
)
def test_codes_mean_what_the_specification_says(code: str, words: str, details: bytes, kind: type[Exception]) -> None:
    assert type(error_of(code, words, details)) is kind


@given(st.binary())
def test_any_bytes_are_a_message_or_are_refused(data: bytes) -> None:
    try:
        found = list(members(data))
    except ValueError:
        found = []
    assert all(number >= 0 for number, _ in found)


@given(st.integers(0, 2**63 - 1), st.text(max_size=20))
def test_partial_success_is_read_as_protobuf_writes_it(count: int, why: str) -> None:
    success = ExportTracePartialSuccess(rejected_spans=count, error_message=why)
    assert partial(ExportTraceServiceResponse(partial_success=success).SerializeToString()) == Taken(count, why)


class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio ships no types
    """Answers calls as it is told, and keeps them."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes, dict[str, str]]] = []
        self.fail: Callable[[Any], Any] | None = None

    def service(self, details: Any) -> Any:
        async def answer(body: bytes, context: Any) -> bytes:
            self.got.append((details.method, body, dict(details.invocation_metadata)))
            if self.fail:
                await self.fail(context)
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
async def calls() -> AsyncIterator[tuple[Calls, Otlp]]:
    handler, server = Calls(), grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    headers = {"Authorization": Secret(TOKEN, "env T")}
    sink = sink_at(f"http://127.0.0.1:{port}", protocol="grpc", headers=headers)
    await sink.open()
    yield handler, sink
    await sink.close()
    await server.stop(None)


async def test_grpc_sends_the_same_as_http(calls: tuple[Calls, Otlp]) -> None:
    handler, sink = calls
    await sink.probe()
    made = batch(CALL)
    await sink.send([made])
    assert [method for method, _, _ in handler.got] == [METHODS["traces"], METHODS["logs"]] * 2
    assert [body for _, body, _ in handler.got[2:]] == [request.body for request in sink_at()._items.requests([made])]
    assert handler.got[2][2]["authorization"] == TOKEN


async def test_grpc_keeps_the_wait_that_is_asked_for(calls: tuple[Calls, Otlp]) -> None:
    handler, sink = calls

    async def throttle(context: Any) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", status_with(Wait(seconds=2))),))
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")

    handler.fail = throttle
    with pytest.raises(RetryAfter) as told:
        await sink.send([batch(CALL)])
    assert told.value.seconds == 2


async def test_grpc_tells_a_token_that_is_not_taken(calls: tuple[Calls, Otlp]) -> None:
    handler, sink = calls
    handler.fail = lambda context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you")
    with pytest.raises(ProbeError, match="check the token") as told:
        await sink.probe()
    assert told.value.option == "headers"
    assert TOKEN not in str(told.value)
