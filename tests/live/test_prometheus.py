from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from ..services.prometheus import Prometheus
from .shipper import Shipper

CONFIG = """
sources:
  app: { use: file, include: ["logs/*.log"], multiline: traceback, multiline_wait: 100ms }
stages:
  - { use: parse, format: auto }
  - { use: keep, match: '{level!="debug"}' }
  - { use: classify }
  - use: derive_metrics
    metrics:
      - { name: calls_total, help: Calls., type: counter, match: '{event="call"}', labels: { model: "{model}" } }
      - { name: tokens_total, help: Tokens., type: counter, match: '{event="call"}', value: tokens }
      - name: errors_total
        help: Errors.
        type: counter
        match: '{error_type!=""}'
        labels: { type: "{error_type}" }
      - name: call_duration_seconds
        help: Time of a call.
        type: histogram
        match: '{event="call"}'
        value: duration_ms
        scale: 0.001
        buckets: [0.1, 1, 10]
sinks:
  archive: { use: jsonl, path: "archive/{date}.jsonl" }
  errors: { use: jsonl, path: "archive/errors.jsonl", match: '{level="error"}' }
exporter: { listen: "127.0.0.1:@PORT@" }
"""
CALLS = [
    f'{{"timestamp":"2025-11-03T10:00:0{n}Z","level":"info","event":"call","model":"{model}","tokens":{tokens},'
    f'"duration_ms":{ms}}}'
    for n, (model, tokens, ms) in enumerate([("m1", 100, 50), ("m1", 200, 500), ("m2", 300, 5000), ("m2", 400, 50_000)])
]
OTHERS = [
    '{"timestamp":"2025-11-03T10:00:05Z","level":"debug","event":"tick"}',
    '{"timestamp":"2025-11-03T10:00:06Z","level":"error","event":"failed"}',
    "2025-11-03 10:00:07,000 ERROR app: failed\n"
    'Traceback (most recent call last):\n  File "/srv/app/a.py", line 1, in f\n    g()\nValueError: bad',
]
EVENTS = len(CALLS) + len(OTHERS)


@pytest.fixture(scope="module")
def shipper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipper]:
    """A run that has delivered all and goes on following."""
    with Shipper(tmp_path_factory.mktemp("metrics"), CONFIG) as shipper:
        (shipper.folder / "logs").mkdir()
        (shipper.folder / "logs" / "app.log").write_text("\n".join([*CALLS, *OTHERS, ""]))
        shipper.start()
        shipper.until(lambda: shipper.value("tailrace_events_out_total", component="archive") == EVENTS - 1)
        yield shipper
        assert shipper.stop().code == 0


def answer(prometheus: Prometheus, shipper: Shipper, promql: str) -> dict[tuple[str, ...], float]:
    """The answer to PromQL about this run (`@` stands for its instance): values by the labels, in their order."""
    samples = prometheus.query(promql.replace("@", f'instance="127.0.0.1:{shipper.port}"'))
    return {tuple(labels.values()): value for labels, value in samples}


def test_prometheus_answers_for_derived_metrics(prometheus: Prometheus, shipper: Shipper) -> None:
    prometheus.scrape(f"127.0.0.1:{shipper.port}")
    assert answer(prometheus, shipper, "sum by (model) (calls_total{@})") == {("m1",): 2, ("m2",): 2}
    assert answer(prometheus, shipper, "sum(tokens_total{@})") == {(): 1000}
    assert answer(prometheus, shipper, "sum by (type) (errors_total{@})") == {("ValueError",): 1}
    buckets = answer(prometheus, shipper, "sum by (le) (call_duration_seconds_bucket{@})")
    assert buckets == {("0.1",): 1, ("1.0",): 2, ("10.0",): 3, ("+Inf",): 4}
    assert answer(prometheus, shipper, "sum(call_duration_seconds_sum{@})")[()] == pytest.approx(55.55)
    half = answer(prometheus, shipper, "histogram_quantile(0.5, sum by (le) (call_duration_seconds_bucket{@}))")
    assert half == {(): 1.0}


def test_prometheus_answers_for_tailraces_own_metrics(prometheus: Prometheus, shipper: Shipper) -> None:
    prometheus.scrape(f"127.0.0.1:{shipper.port}")
    assert answer(prometheus, shipper, "sum by (component) (tailrace_events_out_total{kind='sink',@})") == {
        ("archive",): EVENTS - 1,
        ("errors",): 2,
    }
    assert answer(prometheus, shipper, "sum by (kind, reason) (tailrace_events_dropped_total{@})") == {
        ("stage", "no_match"): 1,
        ("sink", "no_match"): EVENTS - 3,
    }
    assert answer(prometheus, shipper, "sum by (sink) (tailrace_books_residual_events{@})") == {
        ("archive",): 0,
        ("errors",): 0,
    }
    assert answer(prometheus, shipper, "sum(tailrace_in_flight_events{@})") == {(): 0}
    assert answer(prometheus, shipper, "sum(tailrace_lag_bytes{@})") == {(): 0}
    assert answer(prometheus, shipper, "sum(tailrace_lag_seconds{@})") == {(): 0}
    assert answer(prometheus, shipper, "min(tailrace_sink_up{@})") == {(): 1}
    assert answer(prometheus, shipper, "max(tailrace_checkpoint_age_seconds{@}) < 10") != {}


def test_prometheus_sees_what_comes_later(prometheus: Prometheus, shipper: Shipper, tmp_path: Path) -> None:
    with Shipper(tmp_path, CONFIG) as other:
        (tmp_path / "logs").mkdir()
        other.start()
        other.until(lambda: other.value("tailrace_sink_up", sink="archive"))
        prometheus.scrape(f"127.0.0.1:{other.port}")
        for count in (1, 3):
            with (tmp_path / "logs" / "app.log").open("a") as log:
                log.write("\n".join([*CALLS[: count - 1], CALLS[0], ""]))
            prometheus.wait(f'sum(calls_total{{instance="127.0.0.1:{other.port}"}}) == {1 if count == 1 else 4}')
        assert other.stop().code == 0


def test_promtool_finds_nothing_to_complain_about(shipper: Shipper) -> None:
    page = shipper.get("/metrics")
    assert page.type.startswith("text/plain; version=0.0.4")
    assert Prometheus.problems(page.text) == []


def test_openmetrics_is_served_when_asked_for(shipper: Shipper) -> None:
    page = shipper.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert page.type.startswith("application/openmetrics-text; version=1.0.0")
    assert page.text.endswith("# EOF\n")
    parsed = text_string_to_metric_families(page.text)  # type: ignore[no-untyped-call]  # the library has no types here
    families = {family.name: family for family in parsed}
    assert families["calls"].type == "counter"
    assert families["call_duration_seconds"].type == "histogram"
    plain = {family.name for family in plain_families(shipper.get("/metrics").text)}
    assert families.keys() == {"tailrace_build" if name == "tailrace_build_info" else name for name in plain}


def test_ready_and_healthy_say_ok(shipper: Shipper) -> None:
    assert shipper.get("/-/ready")[::2] == (200, "ok\n")
    assert shipper.get("/-/healthy")[::2] == (200, "ok\n")
