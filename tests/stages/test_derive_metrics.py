"""DeriveMetrics: records become Prometheus metrics."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tailrace.pipeline.batch import Batch
from tailrace.pipeline.chain import Chain
from tailrace.pipeline.labels import sanitize
from tailrace.pipeline.options import decode_option
from tailrace.stages._metric_sets import SETS
from tailrace.stages.derive_metrics import DeriveMetrics
from tailrace.testing import READ_AT, batch_of, lines_of, run_stage

UUID = "3f2b8c1e-9d4a-4e7b-8a6f-0c1d2e3f4a5b"


def derive(*metrics: dict[str, Any]) -> DeriveMetrics:
    return msgspec.convert({"name": "derive", "metrics": list(metrics)}, DeriveMetrics, dec_hook=decode_option)


def rows(*fields: dict[str, Any], labels: dict[str, str] | None = None, seconds: float = 0) -> Batch:
    batch = batch_of(*(b"x" for _ in fields), labels=labels)
    for record, own in zip(batch.records, fields, strict=True):
        record.parsed = dict(own)
    batch.read_at_ns = READ_AT + int(seconds * 1e9)
    return batch


class _Exported:
    def __init__(self, stage: DeriveMetrics) -> None:
        self._stage = stage

    def collect(self) -> Iterable[Family]:
        return self._stage.collect()


def registry(stage: DeriveMetrics) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(_Exported(stage))
    return made


def exported(stage: DeriveMetrics) -> dict[str, float]:
    """What a scrape reads: samples as Prometheus writes them, without the stage's own numbers."""
    text = generate_latest(registry(stage)).decode()
    return {
        sample.name + (json.dumps(sample.labels).replace('"', "") if sample.labels else ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.startswith("tailrace_")
    }


def skipped(stage: DeriveMetrics) -> dict[str, float]:
    return {
        sample.labels["reason"]: sample.value
        for family in stage.collect()
        if family.name == "tailrace_derive_metrics_skipped"
        for sample in family.samples
    }


CALLS = {"name": "calls_total", "type": "counter", "labels": {"model": "{model}", "status": "{status}"}}


def test_a_counter_counts_records_by_their_labels_over_batches() -> None:
    stage = derive(CALLS)
    run_stage(stage, rows({"model": "a", "status": "ok"}, {"model": "a", "status": "ok"}, {"model": "b"}))
    run_stage(stage, rows({"model": "a", "status": "ok"}))
    assert exported(stage) == {"calls_total{model: a, status: ok}": 3, "calls_total{model: b, status: }": 1}


def test_records_pass_unchanged() -> None:
    batch = rows({"model": "a"}, {"model": "b"})
    after = run_stage(derive(CALLS), batch)
    assert after is batch
    assert lines_of(after) == [b"x", b"x"]
    assert all(record.added is None for record in after.records)


def test_only_records_that_match_count() -> None:
    stage = derive({"name": "errors_total", "type": "counter", "match": '{level=~"error|critical"}'})
    run_stage(stage, rows({"level": "error"}, {"level": "info"}, {"level": "critical"}))
    run_stage(stage, rows({"level": "info"}))
    assert exported(stage) == {"errors_total": 2}


def test_a_counter_with_a_value_adds_it_up() -> None:
    stage = derive({"name": "tokens_total", "type": "counter", "value": "tokens", "scale": 0.5})
    run_stage(stage, rows({"tokens": 3}, {"tokens": 4.5}, {"tokens": 0}, {"tokens": "2.5"}))
    assert exported(stage) == {"tokens_total": 5.0}


def test_a_gauge_keeps_the_last_value_and_may_fall_below_zero() -> None:
    stage = derive({"name": "depth", "type": "gauge", "value": "n", "labels": {"q": "{q}"}})
    run_stage(stage, rows({"q": "a", "n": 5}, {"q": "b", "n": 1}, {"q": "a", "n": -2}))
    assert exported(stage) == {"depth{q: a}": -2, "depth{q: b}": 1}


def test_a_histogram_counts_a_value_on_a_bound_into_that_bucket() -> None:
    stage = derive({"name": "took_seconds", "type": "histogram", "value": "ms", "scale": 0.001, "buckets": [0.1, 1, 2]})
    run_stage(stage, rows({"ms": 100}, {"ms": 101}, {"ms": 2000}, {"ms": 9000}))
    assert exported(stage) == {
        "took_seconds_bucket{le: 0.1}": 1,
        "took_seconds_bucket{le: 1.0}": 2,
        "took_seconds_bucket{le: 2.0}": 3,
        "took_seconds_bucket{le: +Inf}": 4,
        "took_seconds_count": 4,
        "took_seconds_sum": pytest.approx(11.201),
    }


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(None, "missing", id="null"),
        pytest.param("", "missing", id="empty"),
        pytest.param("fast", "not_a_number", id="text"),
        pytest.param("nan", "not_a_number", id="nan as text"),
        pytest.param("1_000", "not_a_number", id="underscore"),
        pytest.param(True, "not_a_number", id="boolean"),
        pytest.param([1], "not_a_number", id="list"),
        pytest.param(float("nan"), "not_finite", id="NaN"),
        pytest.param(float("inf"), "not_finite", id="infinity"),
        pytest.param(10**400, "not_finite", id="too large for a float"),
        pytest.param("1e999", "not_finite", id="too large as text"),
        pytest.param(-1, "negative", id="negative"),
        pytest.param("-0.5", "negative", id="negative as text"),
    ],
)
def test_what_is_no_number_is_told_and_the_rest_counts(value: Any, reason: str) -> None:
    stage = derive({"name": "tokens_total", "type": "counter", "value": "n"})
    run_stage(stage, rows({"n": 2}, {"n": value}, {"n": 3}))
    assert exported(stage) == {"tokens_total": 5}
    assert skipped(stage) == {reason: 1}


def test_a_record_without_the_field_is_told_as_missing() -> None:
    stage = derive({"name": "depth", "type": "gauge", "value": "n"})
    run_stage(stage, rows({}, {"n": 1}, {}))
    assert (exported(stage), skipped(stage)) == ({"depth": 1}, {"missing": 2})


def test_label_values_are_sanitized_whatever_their_type() -> None:
    stage = derive({"name": "n_total", "type": "counter", "labels": {"v": "{v}"}})
    values = [f"Node_{UUID}", "Node", "a b", 1, True, 1.0, None, ["x"], {"k": 1}]
    run_stage(stage, rows(*({"v": value} for value in values)))
    assert exported(stage) == {
        "n_total{v: Node}": 2,
        "n_total{v: a_b}": 1,
        "n_total{v: 1}": 1,
        "n_total{v: true}": 1,
        "n_total{v: 1.0}": 1,
        "n_total{v: }": 1,
        "n_total{v: _x_}": 1,
        "n_total{v: _k_:1_}": 1,
    }


def test_a_label_may_be_fixed_or_made_of_fields_and_facts_of_the_partition() -> None:
    labels = {"app": "fate forger", "from": "{source}-{stage}"}
    stage = derive({"name": "n_total", "type": "counter", "labels": labels})
    run_stage(stage, rows({"stage": "Refine"}, {}, labels={"source": "audit"}))
    assert exported(stage) == {
        "n_total{app: fate_forger, from: audit-Refine}": 1,
        "n_total{app: fate_forger, from: audit-}": 1,
    }


def test_more_series_than_allowed_are_counted_under_one_name() -> None:
    stage = derive({"name": "n_total", "type": "counter", "labels": {"a": "{a}", "b": "{b}"}, "max_series": 2})
    run_stage(stage, rows(*({"a": f"v-{n % 5}", "b": "x"} for n in range(10))))
    assert exported(stage) == {
        "n_total{a: v-0, b: x}": 2,
        "n_total{a: v-1, b: x}": 2,
        "n_total{a: __other__, b: __other__}": 6,
    }


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram"])
def test_a_series_that_is_silent_for_long_is_forgotten(kind: str) -> None:
    name = "n_total" if kind == "counter" else "n"
    stage = derive({"name": name, "type": kind, "value": "v", "labels": {"a": "{a}"}, "expire": "10m", "buckets": [1]})
    run_stage(stage, rows({"a": "old", "v": 1}))
    run_stage(stage, rows({"a": "new", "v": 1}, seconds=600))
    assert any("old" in sample for sample in exported(stage))
    run_stage(stage, rows({"a": "new", "v": 1}, seconds=601))
    assert not any("old" in sample for sample in exported(stage))
    assert any("new" in sample for sample in exported(stage))


@pytest.mark.parametrize(("options", "kept"), [({}, False), ({"expire": None}, True)], ids=["by default", "null"])
def test_a_day_of_silence_forgets_a_series_unless_it_is_told_not_to(options: dict[str, Any], kept: bool) -> None:
    stage = derive({"name": "n_total", "type": "counter", "match": '{a="x"}'} | options)
    run_stage(stage, rows({"a": "x"}))
    run_stage(stage, rows({"a": "other"}, seconds=24 * 3600))
    assert exported(stage) == {"n_total": 1}
    run_stage(stage, rows({"a": "other"}, seconds=24 * 3600 + 1))
    assert exported(stage) == ({"n_total": 1} if kept else {})
    run_stage(stage, rows({"a": "x"}, seconds=24 * 3600 + 2))
    assert exported(stage) == {"n_total": 2 if kept else 1}


def test_a_forgotten_series_makes_room_for_a_new_one() -> None:
    stage = derive(
        {"name": "n_total", "type": "counter", "labels": {"a": "{a}"}, "expire": "1m", "max_series": 1},
    )
    run_stage(stage, rows({"a": "old"}))
    run_stage(stage, rows({"a": "new"}, seconds=61))
    assert exported(stage) == {"n_total{a: new}": 1}


def test_every_format_of_the_exporter_takes_the_families() -> None:
    stage = derive(
        CALLS, {"name": "took_seconds", "type": "histogram", "value": "s"}, {"name": "g", "type": "gauge", "value": "s"}
    )
    run_stage(stage, rows({"model": 'a"\\\n', "s": 1}))
    assert b'calls_total{model="a_",status=""} 1.0' in generate_latest(registry(stage))
    open_metrics: bytes = generate_openmetrics(registry(stage))  # type: ignore[no-untyped-call]  # has no types
    assert open_metrics.endswith(b"# EOF\n")


def test_an_empty_batch_makes_no_series() -> None:
    stage = derive(CALLS)
    run_stage(stage, rows())
    assert exported(stage) == {}


values = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(width=16) | st.sampled_from(["a", "b c", "1.5"])


@given(st.lists(st.fixed_dictionaries({}, optional={"v": values, "k": values}), max_size=20), st.integers(0, 20))
def test_a_batch_counts_as_its_records_one_by_one(fields: list[dict[str, Any]], cut: int) -> None:
    metrics: list[dict[str, Any]] = [
        {"name": "n_total", "type": "counter", "labels": {"k": "{k}"}},
        {"name": "h", "type": "histogram", "value": "v", "labels": {"k": "{k}"}, "buckets": [0, 1]},
        {"name": "g", "type": "gauge", "value": "v", "labels": {"k": "{k}"}},
    ]
    whole, parts = derive(*metrics), derive(*metrics)
    run_stage(whole, rows(*fields))
    run_stage(parts, rows(*fields[:cut]))
    for one in fields[cut:]:
        run_stage(parts, rows(one))
    assert exported(whole) == pytest.approx(exported(parts))
    assert skipped(whole) == skipped(parts)
    assert sum(v for k, v in exported(whole).items() if k.startswith("n_total")) == len(fields)
    assert {sanitize(one.get("k")) for one in fields} == {
        name[11:-1] for name in exported(whole) if name.startswith("n_total")
    }


numbers = st.sampled_from([None, 0, 1, 0.5, -2, 7.25, True, "3", "x", [1], 1e308, float("inf"), 10**400])
texts = st.sampled_from([None, "a", "b c", "", 1, True, 1.0, ["l"], {"d": 1}, UUID, f"a {UUID}"])
named = st.fixed_dictionaries({}, optional={"v": numbers, "k": texts, "m": texts, "id": texts, "source": texts})


@given(st.lists(named, min_size=1, max_size=12))
def test_a_batch_without_records_counts_as_its_records_do(fields: list[dict[str, Any]]) -> None:
    shared: dict[str, Any] = {"labels": {"k": "{k}", "both": "{m}-{v}", "fixed": "x"}, "exemplar": "id"}
    metrics: list[dict[str, Any]] = [
        {"name": "all_total", "type": "counter", **shared},
        {"name": "some_total", "type": "counter", "match": '{k!="", m=~"a|1|"} or {v="3"}', "labels": {"m": "{m}"}},
        {"name": "sums_total", "type": "counter", "value": "v", "scale": 0.5, **shared},
        {"name": "took", "type": "histogram", "value": "v", "scale": 2, "buckets": [0, 1, 14.5], **shared},
        {"name": "level", "type": "gauge", "value": "v", "labels": {"k": "{k}", "source": "{source}"}},
        {"name": "nothing", "type": "histogram", "value": "w", "labels": {}},
    ]
    in_columns, in_records, one_by_one = (derive(*metrics) for _ in range(3))
    batch = batch_of(*(b"x" for _ in fields))
    assert batch.columns is not None
    batch.columns.read("text", fields, [10**9 * place for place in range(len(fields))], None)
    run_stage(in_columns, batch)
    assert batch.columns is not None
    for record in batch.records:
        run_stage(one_by_one, batch.with_records([record]))
    run_stage(in_records, batch)
    assert openmetrics(in_columns) == openmetrics(in_records)
    assert sorted(openmetrics(in_records)) == sorted(openmetrics(one_by_one))


@pytest.mark.parametrize(
    ("metric", "where", "words"),
    [
        pytest.param({"name": "9x_total"}, "name", "not a metric name", id="name"),
        pytest.param({"name": "calls"}, "name", "write calls_total", id="counter without _total"),
        pytest.param({"name": "tailrace_x_total"}, "name", "own", id="our prefix"),
        pytest.param({"name": "g_total", "type": "gauge", "value": "v"}, "name", "counters", id="gauge with _total"),
        pytest.param({"name": "g", "type": "gauge"}, "value", "field", id="gauge without value"),
        pytest.param({"name": "h", "type": "histogram"}, "value", "field", id="histogram without value"),
        pytest.param({"buckets": [1, 1]}, "buckets", "larger", id="buckets that do not rise"),
        pytest.param({"buckets": []}, "buckets", "larger", id="no bucket"),
        pytest.param({"buckets": [1, float("inf")]}, "buckets", "by itself", id="infinite bucket"),
        pytest.param({"scale": -1}, "scale", "above 0", id="falling counter"),
        pytest.param({"scale": float("nan")}, "scale", "finite", id="scale that is no number"),
        pytest.param({"max_series": 0}, "max_series", "1", id="no series"),
        pytest.param({"labels": {"a-b": "x"}}, "labels.a-b", "label name", id="label name"),
        pytest.param({"labels": {"__a": "x"}}, "labels.__a", "label name", id="reserved label"),
        pytest.param(
            {"name": "h", "type": "histogram", "value": "v", "labels": {"le": "x"}}, "labels.le", "own", id="le"
        ),
        pytest.param({"labels": {"s": "{session_key}"}}, "labels.s", "series for ever", id="session in a label"),
        pytest.param({"labels": {"user_id": "{u}"}}, "labels.user_id", "metadata", id="label called for an id"),
        pytest.param({"labels": {"t": "x-{trace_id}"}}, "labels.t", "metadata", id="trace inside a label"),
    ],
)
def test_a_metric_that_cannot_be_right_is_refused(metric: dict[str, Any], where: str, words: str) -> None:
    problems = list(derive({"name": "ok_total", "type": "counter"} | metric).check())
    assert [path for path, _ in problems] == [f"metrics[0].{where}"]
    assert words in problems[0][1]


@pytest.mark.parametrize("second", ["h", "h_sum", "h_bucket"])
def test_two_metrics_that_meet_in_one_name_are_refused(second: str) -> None:
    stage = derive(
        {"name": "h", "type": "histogram", "value": "v"},
        {"name": second, "type": "gauge", "value": "v"},
    )
    assert [path for path, _ in stage.check()] == ["metrics[1].name"]


def test_a_stage_without_metrics_is_refused() -> None:
    assert [path for path, _ in derive().check()] == ["metrics"]


def test_an_unknown_option_of_a_metric_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="lables"):
        derive({"name": "n_total", "type": "counter", "lables": {}})


def test_it_reads_every_field_it_counts_by() -> None:
    stage = derive(
        CALLS | {"match": '{event="llm_call"}'},
        {"name": "took_seconds", "type": "histogram", "value": "ms", "labels": {"where": "{source}-{stage}"}},
    )
    assert list(stage.check()) == []
    assert set(stage.reads()) == {"event", "model", "status", "ms", "source", "stage"}
    assert set(stage.writes()) == set()


class _Unsayable:
    def __str__(self) -> str:
        raise ArithmeticError("no text for this")


def test_a_record_that_cannot_be_counted_does_not_count_the_others_twice() -> None:
    stage = derive(
        {"name": "a_total", "type": "counter", "labels": {"app": "{app}"}},
        {"name": "cost_total", "type": "counter", "value": "cost"},
        {"name": "took", "type": "histogram", "value": "cost", "buckets": [1]},
        {"name": "kinds_total", "type": "counter", "labels": {"kind": "{kind}"}},
    )
    stage.name = "derive"
    batch = rows({"app": "x", "cost": 2}, {"app": "x", "kind": _Unsayable()}, {"app": "x"})
    out = Chain([stage], [None]).run(batch)
    assert ([one.record.offset for one in out.dead], len(out.records)) == ([2], 2)
    found = exported(stage)
    assert {found["a_total{app: x}"], found["cost_total"], found["kinds_total{kind: }"]} == {2}
    assert found["took_count"] == skipped(stage)["missing"] == 1


def openmetrics(stage: DeriveMetrics) -> list[str]:
    text = bytes(generate_openmetrics(registry(stage)))  # type: ignore[no-untyped-call]  # ships no types for it
    return text.decode().splitlines()


def ready_made(*sets: str, **options: Any) -> DeriveMetrics:
    return msgspec.convert({"name": "derive", "sets": sets, **options}, DeriveMetrics, dec_hook=decode_option)


def test_the_ready_made_metrics_count_what_an_agent_writes() -> None:
    stage = ready_made("llm", "tools", "stages", "errors", prefix="app_")
    assert list(stage.check()) == []
    call = {"event_type": "LLMCall", "agent": f"planner_{UUID}", "model": "m", "status": "ok", "prompt_tokens": 10}
    run_stage(
        stage,
        rows(
            {**call, "completion_tokens": 5},
            call,
            {"event": "ToolCall", "tool_name": "search", "level": "info", "agent": "a"},
            {"event": "graph_turn_end", "stage": "Refine", "elapsed_s": 1.5},
            {"event": "graph_turn_timeout", "stage": "Refine", "error_type": "TimeoutError"},
            {"event_type": "MessageHandlerException", "component": "agent/C0AA6HC1RJL:1772664120.310119"},
            {"message": "nothing of the kind"},
        ),
    )
    labels = "agent: planner, call_label: , {}model: m{}"
    assert {name: value for name, value in exported(stage).items() if "_bucket" not in name} == {
        "app_llm_calls_total{" + labels.format("function: , ", ", status: ok") + "}": 2,
        "app_llm_prompt_tokens_total{" + labels.format("", "") + "}": 20,
        "app_llm_completion_tokens_total{" + labels.format("", "") + "}": 5,
        "app_tool_calls_total{agent: a, level: info, status: , tool: search}": 1,
        "app_stage_duration_seconds_count{stage: Refine}": 1,
        "app_stage_duration_seconds_sum{stage: Refine}": 1.5,
        "app_stage_events_total{event: graph_turn_end, stage: Refine}": 1,
        "app_stage_events_total{event: graph_turn_timeout, stage: Refine}": 1,
        "app_errors_total{agent: , component: , error_type: TimeoutError, event_type: }": 1,
        "app_errors_total{agent: , component: agent, error_type: , event_type: MessageHandlerException}": 1,
    }
    assert skipped(stage) == {}


@pytest.mark.parametrize("name", SETS)
def test_every_ready_made_metric_is_one_that_could_be_written_by_hand(name: str) -> None:
    for metric in ready_made(name)._ready_made:
        assert list(metric.problems()) == []
        assert metric.help


@pytest.mark.parametrize(
    ("stage", "where", "words"),
    [
        pytest.param(ready_made("llms"), "sets[0]", "no set 'llms'", id="unknown set"),
        pytest.param(ready_made("llm", prefix="9-"), "prefix", "no digit first", id="prefix"),
        pytest.param(
            ready_made("errors", metrics=[{"name": "errors_total", "type": "counter"}]),
            "metrics[0].name",
            "exposed by the set's errors_total",
            id="own metric of the same name",
        ),
    ],
)
def test_sets_that_cannot_be_are_refused(stage: DeriveMetrics, where: str, words: str) -> None:
    ((at, what),) = stage.check()
    assert at == where
    assert words in what


def test_a_counter_leads_to_the_last_record_that_has_an_id() -> None:
    stage = derive({"name": "n_total", "type": "counter", "labels": {"a": "{a}"}, "exemplar": "trace_id"})
    batch = rows({"a": "x", "trace_id": "t1"}, {"a": "x", "trace_id": "t2"}, {"a": "x"}, {"a": "y", "trace_id": 5})
    for record in batch.records:
        record.time_ns = 1_772_667_360_500_000_000
    run_stage(stage, batch)
    run_stage(stage, rows({"a": "x", "trace_id": "t" * 200}))
    assert 'n_total{a="x"} 4.0 # {trace_id="t2"} 1.0 1772667360.5' in openmetrics(stage)
    assert 'n_total{a="y"} 1.0' in openmetrics(stage)
    assert exported(stage) == {"n_total{a: x}": 4, "n_total{a: y}": 1}


def test_each_bucket_leads_to_a_record_whose_value_lies_in_it() -> None:
    stage = derive(
        {"name": "s", "type": "histogram", "value": "ms", "scale": 0.001, "buckets": [1, 2], "exemplar": "trace_id"}
    )
    run_stage(stage, rows({"ms": 500, "trace_id": "a"}, {"ms": 9000, "trace_id": "b"}, {"ms": None, "trace_id": "c"}))
    buckets = [line for line in openmetrics(stage) if line.startswith("s_bucket")]
    assert buckets == [
        's_bucket{le="1.0"} 1.0 # {trace_id="a"} 0.5',
        's_bucket{le="2.0"} 1.0',
        's_bucket{le="+Inf"} 2.0 # {trace_id="b"} 9.0',
    ]


def test_an_exemplar_goes_with_its_series() -> None:
    stage = derive(
        {"name": "n_total", "type": "counter", "labels": {"a": "{a}"}, "exemplar": "trace_id", "expire": "10s"}
    )
    run_stage(stage, rows({"a": "x", "trace_id": "t1"}))
    run_stage(stage, rows({"a": "y"}, seconds=60))
    run_stage(stage, rows({"a": "x"}, seconds=61))
    assert 'n_total{a="x"} 1.0' not in [line.partition(" #")[0] for line in openmetrics(stage) if "#" in line[1:]]


def test_buckets_may_be_those_of_a_native_histogram() -> None:
    stage = derive({"name": "s", "type": "histogram", "value": "v", "buckets": [0.3, 5], "schema": 1})
    assert list(stage.check()) == []
    run_stage(stage, rows({"v": 1}, {"v": 2.1}))
    bounds = [0.25, 2**-1.5, 0.5, 2**-0.5, 1, 2**0.5, 2, 2**1.5, 4, 2**2.5]
    assert stage.metrics[0].bounds == pytest.approx(bounds)
    assert exported(stage)["s_bucket{le: 1.0}"] == 1
    assert exported(stage)["s_bucket{le: 2.0}"] == 1


@pytest.mark.parametrize(
    ("more", "where"),
    [
        pytest.param({"schema": 9}, "schema", id="too fine"),
        pytest.param({"schema": 1, "buckets": [-1, 5]}, "schema", id="below zero"),
        pytest.param({"schema": 8, "buckets": [0.001, 1000]}, "schema", id="too many"),
        pytest.param({"type": "gauge", "exemplar": "trace_id"}, "exemplar", id="gauge"),
    ],
)
def test_buckets_and_exemplars_that_cannot_be_are_refused(more: dict[str, Any], where: str) -> None:
    ((at, _),) = derive({"name": "s", "type": "histogram", "value": "v", **more}).check()
    assert at == f"metrics[0].{where}"


def test_the_label_that_makes_too_many_series_is_named() -> None:
    stage = derive({"name": "n_total", "type": "counter", "labels": {"a": "{a}", "b": "{b}"}, "max_series": 3})
    run_stage(stage, rows(*({"a": f"v-{n}", "b": "x"} for n in range(6))))
    assert {
        tuple(sample.labels.values()): sample.value
        for family in stage.collect()
        if family.name == "tailrace_derive_metrics_folded"
        for sample in family.samples
    } == {("derive", "n_total", "a"): 3}
