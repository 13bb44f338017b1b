"""The real OpenTelemetry collector takes spans and log records, each once, however it is protected and treated."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..services._server import free_ports
from ..services.loki import Entry, Loki
from ..services.otelcol import Otelcol, merged
from ..services.tempo import Tempo
from .session import TREE, story, tree, write
from .shipper import Shipper, new_app

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
TOKEN = "a-token-of-the-tests"
CONFIG = """
sources:
  app: { use: file, include: ["logs/*.jsonl"] }
stages:
  - { use: parse, format: json }
  - { use: redact }
  - { use: enrich, trace_id: [trace_id] }
sinks:
  collector: { use: otlp, url: "@URL@", protocol: @PROTOCOL@, service: "{app}"@MORE@ }
exporter: { listen: "127.0.0.1:@PORT@" }
"""

Own = Callable[..., Otelcol]


@pytest.fixture(params=["http", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Of OTLP."""
    name: str = request.param
    return name


@pytest.fixture
def own(otelcol: Otelcol, tmp_path: Path) -> Iterator[Own]:
    """Starts collectors of this test's own; `otelcol` skips where there is no program."""
    with ExitStack() as running:
        yield lambda **options: running.enter_context(type(otelcol)(tmp_path / "otelcol", **options))


def to(server: Otelcol, protocol: str, **more: object) -> str:
    """A config that ships to it."""
    url = server.otlp_http if protocol == "http" else server.otlp_grpc
    options = "".join(f", {name}: {json.dumps(value)}" for name, value in more.items())
    return CONFIG.replace("@URL@", url).replace("@PROTOCOL@", protocol).replace("@MORE@", options)


def arrived(server: Otelcol, rows: list[dict[str, Any]], trace: str) -> None:
    """All of a story is there, each once, the log records beside their spans."""
    spans = [span for span in server.taken("traces") if span.trace == trace]
    logs = [record for record in server.taken("logs") if record.trace == trace]
    assert (len(spans), tree(spans)) == (len(TREE), TREE)
    assert [json.loads(record.name) for record in logs] == rows
    assert {record.id for record in logs} == {span.id for span in spans}


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_each_span_and_each_log_record_arrives_once(
    otelcol: Otelcol, protocol: str, compression: str, tmp_path: Path
) -> None:
    trace, app = uuid.uuid4().hex, new_app()
    rows = story(trace, app)
    with Shipper(tmp_path, to(otelcol, protocol, compression=compression)) as shipper:
        write(shipper, rows)
        assert shipper.once().code == 0
        assert shipper.once().code == 0  # nothing is left to send
    arrived(otelcol, rows, trace)
    spans = [span for span in otelcol.taken("traces") if span.trace == trace]
    assert {span.service for span in spans} == {app}
    assert {span.schema for span in spans} == {"https://opentelemetry.io/schemas/1.41.1"}


@pytest.mark.parametrize("tls", ["server", "both"])
def test_with_certificates_on_one_side_or_on_both(own: Own, protocol: str, tls: str, tmp_path: Path) -> None:
    server = own(tls=tls)
    trace, rows = (trace := uuid.uuid4().hex), story(trace, new_app())
    files = {"ca": str(server.authority)}
    if tls == "both":
        files |= {"cert": f"{server.folder}/client.crt", "key": f"{server.folder}/client.key"}
    with Shipper(tmp_path / "run", to(server, protocol, tls=files)) as shipper:
        write(shipper, rows)
        assert shipper.once().code == 0
    arrived(server, rows, trace)


def test_an_authority_that_did_not_sign_is_told_at_the_start(own: Own, protocol: str, tmp_path: Path) -> None:
    server = own(tls="server")
    wrong = f"{server.folder}/client.crt"
    with Shipper(tmp_path / "run", to(server, protocol, tls={"ca": wrong}, timeout="5s")) as shipper:
        write(shipper, story(uuid.uuid4().hex, new_app()))
        ended = shipper.once()
    assert ended.code == 78
    assert "`tls: { ca: FILE }` names the authority that signed its certificate" in ended.stderr
    assert server.taken("logs") == []


def test_a_missing_certificate_of_the_client_is_told_at_the_start(own: Own, protocol: str, tmp_path: Path) -> None:
    server = own(tls="both")
    with Shipper(tmp_path / "run", to(server, protocol, tls={"ca": str(server.authority)}, timeout="5s")) as shipper:
        write(shipper, story(uuid.uuid4().hex, new_app()))
        ended = shipper.once()
    assert ended.code == 78
    assert "`tls: { cert: FILE, key: FILE }` names ours" in ended.stderr
    assert server.taken("logs") == []


def test_a_token_lets_in_and_a_wrong_one_is_told_at_the_start(own: Own, protocol: str, tmp_path: Path) -> None:
    server = own(token=TOKEN)
    trace, rows = (trace := uuid.uuid4().hex), story(trace, new_app())
    text = to(server, protocol, headers={"Authorization": {"env": "OTLP_AUTHORIZATION"}})
    with Shipper(tmp_path / "wrong", text, OTLP_AUTHORIZATION="Bearer another-word") as shipper:
        write(shipper, rows)
        ended = shipper.once()
    assert ended.code == 78
    assert "check the token in `headers`" in ended.stderr
    assert "another-word" not in ended.stderr
    assert server.taken("logs") == []
    with Shipper(tmp_path / "right", text, OTLP_AUTHORIZATION=f"Bearer {TOKEN}") as shipper:
        write(shipper, rows)
        assert shipper.once().code == 0
    arrived(server, rows, trace)


def test_nothing_is_lost_when_the_collector_is_killed(own: Own, protocol: str, tmp_path: Path) -> None:
    server, app = own(), new_app()
    told = {trace: story(trace, app) for trace in (uuid.uuid4().hex for _ in range(60))}
    traces = list(told)
    with Shipper(tmp_path / "run", to(server, protocol)) as shipper:
        write(shipper, told[traces[0]])
        shipper.start()
        for first, last in ((1, 30), (30, 60)):
            shipper.until(lambda so_far=first: len(server.taken("logs")) >= 5 * so_far)  # type: ignore[misc]  # a default binds it
            for trace in traces[first:last]:
                write(shipper, told[trace])
            server.stop(kill=True)
            shipper.until(lambda: shipper.value("tailrace_sink_up", sink="collector") == 0)
            server.start()
        shipper.until(lambda: shipper.value("tailrace_events_out_total", component="collector") == 300)
        shipper.until(lambda: shipper.value("tailrace_in_flight_events") == 0)
        assert shipper.value("tailrace_books_residual_events") == 0
        assert shipper.stop().code == 0
    spans, logs = server.taken("traces"), server.taken("logs")
    assert {json.dumps(row) for rows in told.values() for row in rows} == {record.name for record in logs}
    assert {span.trace for span in spans} == set(told)
    for trace in traces:  # a request whose answer the kill took is there twice, by the same ids
        assert tree({span.id: span for span in spans if span.trace == trace}.values()) == TREE
    assert set(Counter(span.id for span in spans).values()) <= {1, 2}


def test_a_repeat_after_tailrace_was_killed_has_the_same_ids(own: Own, protocol: str, tmp_path: Path) -> None:
    server, app = own(), new_app()
    told = {trace: story(trace, app) for trace in (uuid.uuid4().hex for _ in range(200))}
    with Shipper(tmp_path / "run", to(server, protocol)) as shipper:
        for number, rows in enumerate(told.values()):
            write(shipper, rows, f"app{number % 5}")
        shipper.start()
        shipper.until(lambda: server.taken("traces"), every=0.001)
        shipper.kill()
        assert shipper.once().code == 0
    ids = {(span.trace, span.id, span.parent, span.name) for span in server.taken("traces")}
    assert len(ids) == 4 * len(told)
    assert {span[0] for span in ids} == set(told)
    records = {(record.trace, record.id, record.name) for record in server.taken("logs")}
    assert len(records) == 5 * len(told)


def test_what_the_collector_cannot_pass_on_is_tried_again(
    own: Own, tempo: Tempo, protocol: str, tmp_path: Path
) -> None:
    """Without a queue it answers 503 and UNAVAILABLE while the one behind it is away."""
    with type(tempo)(tmp_path / "tempo") as behind:
        passes = {"endpoint": behind.otlp_grpc, "tls": {"insecure": True}}
        passes |= {"sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}, "timeout": "1s"}
        config = {
            "exporters": {"otlp": passes},
            "service": {"pipelines": {"traces": {"exporters": ["otlp"]}}},
        }
        server = own(config=config)
        first, then = uuid.uuid4().hex, uuid.uuid4().hex
        with Shipper(tmp_path / "run", to(server, protocol)) as shipper:
            write(shipper, story(first, new_app()))
            shipper.start()
            behind.wait(first, len(TREE))
            behind.stop(kill=True)
            write(shipper, story(then, new_app()))
            shipper.until(lambda: shipper.value("tailrace_sink_up", sink="collector") == 0)
            behind.start()
            assert tree(behind.wait(then, len(TREE))) == TREE
            shipper.until(lambda: shipper.value("tailrace_in_flight_events") == 0)
            assert shipper.value("tailrace_dead_lettered_events_total") == 0
            assert shipper.stop().code == 0


def test_a_receiver_without_tls_is_told_at_the_start(otelcol: Otelcol, protocol: str, tmp_path: Path) -> None:
    with Shipper(tmp_path, to(otelcol, protocol).replace("http://", "https://")) as shipper:
        write(shipper, story(uuid.uuid4().hex, new_app()))
        ended = shipper.once()
    assert ended.code == 78
    assert "it speaks no TLS on this port: write http://" in ended.stderr


class DeployedTempo(Tempo):
    """Tempo with the config of compose.yaml: other addresses, other folders, and no waiting before it is ready."""

    def command(self) -> list[str]:
        http, grpc, otlp_http, otlp_grpc = self.ports
        protocols = {"http": {"endpoint": f"127.0.0.1:{otlp_http}"}, "grpc": {"endpoint": f"127.0.0.1:{otlp_grpc}"}}
        ring = {"kvstore": {"store": "inmemory"}}
        own = {
            "server": {"http_listen_port": http, "grpc_listen_port": grpc, "grpc_listen_address": "127.0.0.1"},
            "distributor": {"receivers": {"otlp": {"protocols": protocols}}},
            "ingester": {"lifecycler": {"ring": ring | {"replication_factor": 1}, "min_ready_duration": "0s"}},
            "compactor": {"ring": ring | {"wait_stability_min_duration": "0s"}},
            "querier": {"frontend_worker": {"frontend_address": f"127.0.0.1:{grpc}"}},
            "memberlist": {"bind_addr": ["127.0.0.1"], "bind_port": free_ports(1)[0]},
            "storage": {
                "trace": {"local": {"path": f"{self.folder}/blocks"}, "wal": {"path": f"{self.folder}/wal"}},
            },
        }
        path = self.folder / "tempo.json"
        path.write_text(json.dumps(merged(yaml.safe_load((DEPLOY / "tempo.yaml").read_text()), own)))
        return [str(self.program("tempo")), f"-config.file={path}"]


class DeployedOtelcol(Otelcol):
    """The collector with the config of compose.yaml, and other addresses."""

    def __init__(self, folder: Path, tempo: Tempo, loki: Loki) -> None:
        super().__init__(folder)
        self._exporters = {
            "otlp": {"endpoint": tempo.otlp_grpc},
            "otlphttp/loki": {"endpoint": f"{loki.url}/otlp"},
        }

    def _own(self) -> dict[str, Any]:
        health, http, grpc = ({"endpoint": f"127.0.0.1:{port}"} for port in self.ports)
        own = {
            "receivers": {"otlp": {"protocols": {"http": http, "grpc": grpc}}},
            "extensions": {"health_check": health},
            "exporters": self._exporters,
            "service": {"telemetry": {"metrics": {"level": "none"}}},
        }
        return merged(yaml.safe_load((DEPLOY / "otelcol.yaml").read_text()), own)


def test_the_collector_takes_the_config_of_compose_yaml(otelcol: Otelcol) -> None:
    assert otelcol.problems(DEPLOY / "otelcol.yaml") == ""


def test_the_way_of_compose_yaml_over_the_collector_to_tempo_and_loki(
    otelcol: Otelcol, tempo: Tempo, loki: Loki, protocol: str, tmp_path: Path
) -> None:
    trace, app = uuid.uuid4().hex, new_app()
    rows = story(trace, app)
    with (
        DeployedTempo(tmp_path / "tempo") as store,
        DeployedOtelcol(tmp_path / "otelcol", store, loki) as collector,
        Shipper(tmp_path / "run", to(collector, protocol)) as shipper,
    ):
        write(shipper, rows)
        assert shipper.once().code == 0
        spans = {span.id: span.name for span in store.wait(trace, len(TREE))}
        assert tree(store.trace(trace)) == TREE
        lines = wait_for_lines(loki, app, trace, len(rows))
    assert [json.loads(line.line) for line in lines] == rows
    assert {line.metadata["span_id"] for line in lines} == set(spans)


def wait_for_lines(loki: Loki, app: str, trace: str, count: int, seconds: float = 20) -> list[Entry]:
    """Ask until Loki has so many lines of a trace: the collector passes them on when it likes."""
    deadline = time.monotonic() + seconds
    while True:
        found = loki.query(f'{{service_name="{app}"}} | trace_id="{trace}"')
        if len(found) >= count or time.monotonic() > deadline:
            return found
        time.sleep(0.05)
