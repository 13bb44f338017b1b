"""Records become traces that Jaeger and Tempo find, logs that Loki takes; from a number in PromQL to a traceback."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import pytest

from ..services.jaeger import Jaeger
from ..services.loki import Entry, Loki
from ..services.prometheus import Prometheus
from ..services.tempo import Tempo
from .session import TRACEBACK, TREE, config, story, tree, write
from .shipper import Shipper, new_app


@pytest.fixture(params=["jaeger", "tempo"])
def store(request: pytest.FixtureRequest) -> Jaeger | Tempo:
    """Each of them."""
    server: Jaeger | Tempo = request.getfixturevalue(request.param)
    return server


@pytest.fixture(params=["http", "grpc"])
def receiver(request: pytest.FixtureRequest, store: Jaeger | Tempo) -> tuple[str, str]:
    """The URL and the protocol."""
    return (store.otlp_http if request.param == "http" else store.otlp_grpc), request.param


def test_a_trace_is_found_by_its_id(store: Jaeger | Tempo, receiver: tuple[str, str], tmp_path: Path) -> None:
    trace, app = uuid.uuid4().hex, new_app()
    with Shipper(tmp_path, config(*receiver)) as shipper:
        write(shipper, story(trace, app))
        assert shipper.once().code == 0
        spans = store.wait(trace, len(TREE))
        assert (len(spans), tree(spans)) == (len(TREE), TREE)
        assert {span.service for span in spans} == {app}
        call = next(span for span in spans if span.name == "chat m1")
        assert (call.duration_us, call.tags["gen_ai.usage.input_tokens"]) == (900_000, 7)
        rmtree(tmp_path / "state")  # all that it knows: everything is sent again
        assert shipper.once().code == 0
        assert store.trace(trace) == spans  # both take equal spans for one, and others with their ids for more


def test_what_comes_while_the_receiver_is_down_arrives(
    store: Jaeger | Tempo, receiver: tuple[str, str], tmp_path: Path
) -> None:
    protocol = receiver[1]
    traces, app = [uuid.uuid4().hex for _ in range(20)], new_app()
    with type(store)(tmp_path / "store") as own:
        url = own.otlp_http if protocol == "http" else own.otlp_grpc
        with Shipper(tmp_path / "run", config(url, protocol)) as shipper:
            write(shipper, story(traces[0], app))
            shipper.start()
            own.wait(traces[0], len(TREE))
            own.stop(kill=True)
            for trace in traces[1:10]:
                write(shipper, story(trace, app))
            shipper.until(lambda: shipper.value("tailrace_sink_up", sink="traces") == 0)
            shipper.kill()
            for trace in traces[10:]:
                write(shipper, story(trace, app))
            own.start()
            shipper.start()
            for trace in traces[1:]:
                spans = own.wait(trace, len(TREE))
                assert (len(spans), tree(spans)) == (len(TREE), TREE)
            shipper.until(lambda: shipper.value("tailrace_in_flight_events") == 0)
            assert shipper.value("tailrace_books_residual_events") == 0
            assert shipper.stop().code == 0


def test_a_receiver_that_takes_no_logs_is_told_at_the_start(receiver: tuple[str, str], tmp_path: Path) -> None:
    with Shipper(tmp_path, config(*receiver).replace("signals: [traces]", "signals: [traces, logs]")) as shipper:
        ended = shipper.once()
    assert ended.code == 78
    assert "signals: [traces]" in ended.stderr


def test_loki_takes_the_logs_over_otlp(jaeger: Jaeger, loki: Loki, tmp_path: Path) -> None:
    trace, app = uuid.uuid4().hex, new_app()
    logs = f'  logs: {{ use: otlp, url: "{loki.url}/otlp", signals: [logs], service: "{{app}}" }}'
    rows = story(trace, app)
    with Shipper(tmp_path, config(jaeger.otlp_http, more=logs)) as shipper:
        write(shipper, rows)
        assert shipper.once().code == 0
    entries = loki.query(f'{{service_name="{app}"}} | trace_id="{trace}"')
    assert [json.loads(entry.line) for entry in entries] == rows
    spans = {span.id: span for span in jaeger.wait(trace, len(TREE))}
    assert {entry.metadata["span_id"] for entry in entries} == set(spans)
    by_uid = {span.tags["log.record.uid"]: span.name for span in spans.values()}
    linked = [by_uid[entry.metadata["log_record_uid"]] for entry in entries if "log_record_uid" in entry.metadata]
    assert linked == ["chat m1", "execute_tool search", "stage Refine", "session"]


@pytest.fixture
def observed(store: Jaeger | Tempo, loki: Loki, tmp_path: Path) -> Iterator[tuple[Shipper, str]]:
    """A run that ships to all of them, and its application."""
    app = new_app()
    options = f'url: "{loki.url}", labels: {{ app: "{{app}}" }}, metadata: [trace_id, error_type]'
    more = f"  loki: {{ use: loki, {options} }}"
    with Shipper(tmp_path, config(store.otlp_http, more=more)) as shipper:
        write(shipper, story(uuid.uuid4().hex, app))
        shipper.start()
        shipper.until(lambda: shipper.value("tailrace_events_out_total", component="loki") == 5)
        yield shipper, app
        assert shipper.stop().code == 0


def test_a_number_in_promql_leads_to_the_traceback(
    prometheus: Prometheus, store: Jaeger | Tempo, loki: Loki, observed: tuple[Shipper, str]
) -> None:
    shipper, app = observed
    target = f"127.0.0.1:{shipper.port}"
    prometheus.scrape(target)
    failures = f'failures_total{{instance="{target}",type="KeyError"}}'
    prometheus.wait(f"{failures} == 1")
    (exemplar,) = prometheus.exemplars(failures)
    trace = exemplar.labels["trace_id"]
    assert tree(store.wait(trace, len(TREE))) == TREE
    lines: list[Entry] = loki.query(f'{{app="{app}"}} | trace_id="{trace}"')
    assert len(lines) == 5
    (failed,) = loki.query(f'{{app="{app}"}} | trace_id="{trace}" | error_type="KeyError"')
    assert json.loads(failed.line)["exc"] == TRACEBACK
