"""The OpenTelemetry collector, with the few parts that tests and `deploy/otelcol.yaml` need."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ._install import go_build, run
from ._server import HERE, HttpError, Server

SIGNALS = ("traces", "logs")


class Item(NamedTuple):
    """What the collector took of one span or one log record."""

    trace: str
    id: str
    """Of the span; of a log record, that of the span it belongs to."""
    parent: str
    """Empty for a log record, and for the first span of a trace."""
    name: str
    """Of a span; the body of a log record."""
    service: str
    schema: str
    """The `schema_url` of its scope."""
    attributes: dict[str, Any]


class Otelcol(Server):
    """The collector: takes OTLP at `otlp_http` and `otlp_grpc`; what it acknowledged stands in a file.

    `tls`: encrypted, or with certificates on both sides. `token`: only who shows it is let in. `config` is merged into
    all that, e.g. `Otelcol(folder, config={"exporters": {…}})`.
    """

    name = "otelcol"
    version = "0.159.0"
    programs = ("otelcol",)
    images = {"otel/opentelemetry-collector-contrib:0.159.0": ("/otelcol-contrib",)}
    ports_needed = 3

    def __init__(
        self,
        folder: Path,
        *flags: str,
        tls: Literal["", "server", "both"] = "",
        token: str = "",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(folder, *flags)
        self._tls = tls
        self._token = token
        self._config = config or {}

    @classmethod
    def build(cls, into: Path, scratch: Path) -> None:
        """By its own builder, which writes the program that has just these parts."""
        program = f"go.opentelemetry.io/collector/cmd/builder@v{cls.version}"
        run(["nice", "-n", "5", "env", f"GOBIN={scratch}", "CGO_ENABLED=0", "go", "install", program], scratch)
        parts = str(HERE / "otelcol-builder.yaml")
        run([str(scratch / "builder"), "--skip-compilation", "--config", parts], scratch)
        go_build(scratch / "dist", ".", into / "otelcol")

    @classmethod
    def complete(cls, into: Path) -> None:
        """In the image the program has another name."""
        named = into / "otelcol-contrib"
        if named.exists():
            named.rename(into / "otelcol")

    def start(self, seconds: float = 90) -> None:
        """Start it, with certificates of its own where it needs some."""
        if self._tls and not self.authority.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sign()
        super().start(seconds)

    def command(self) -> list[str]:
        """The config is written anew for each start; YAML takes JSON."""
        path = self.folder / "otelcol.yaml"
        path.write_text(json.dumps(merged(self._own(), self._config), indent=1))
        return [str(self.program("otelcol")), f"--config=file:{path}", *self.flags]

    def _own(self) -> dict[str, Any]:
        health, http, grpc = (f"127.0.0.1:{port}" for port in self.ports)
        common: dict[str, Any] = {}
        if self._tls:
            common["tls"] = {"cert_file": f"{self.folder}/server.crt", "key_file": f"{self.folder}/server.key"}
        if self._tls == "both":
            common["tls"]["client_ca_file"] = str(self.authority)
        extensions: dict[str, Any] = {"health_check": {"endpoint": health}}
        if self._token:
            extensions["bearertokenauth"] = {"token": self._token}
            common["auth"] = {"authenticator": "bearertokenauth"}
        protocols = {"http": {"endpoint": http, **common}, "grpc": {"endpoint": grpc, **common}}
        # With `rotation` each write is in the file before it is acknowledged; without, up to a second later.
        files = {
            f"file/{signal}": {"path": str(self._file(signal)), "rotation": {"max_megabytes": 1000}}
            for signal in SIGNALS
        }
        return {
            "receivers": {"otlp": {"protocols": protocols}},
            "exporters": files,
            "extensions": extensions,
            "service": {
                "extensions": list(extensions),
                "pipelines": {name: {"receivers": ["otlp"], "exporters": [f"file/{name}"]} for name in SIGNALS},
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            },
        }

    def ready(self) -> bool:
        """True when its health check says so."""
        try:
            self.get("/")
        except (HttpError, OSError):
            return False
        return True

    @property
    def otlp_http(self) -> str:
        """The URL for OTLP over HTTP."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.ports[1]}"

    @property
    def otlp_grpc(self) -> str:
        """The URL for OTLP over gRPC."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.ports[2]}"

    @property
    def authority(self) -> Path:
        """The certificate of who signed those of the server, and `client.crt` with `client.key` beside it."""
        return self.folder / "ca.crt"

    def taken(self, signal: Literal["traces", "logs"]) -> list[Item]:
        """All spans or log records that it acknowledged, in the order that they came; a repeat stands there twice."""
        path = self._file(signal)
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [item for line in lines if line.endswith("\n") for item in _items(json.loads(line))]

    @classmethod
    def problems(cls, config: Path) -> str:
        """What `otelcol validate` says about a config; empty when all is well."""
        command = [str(cls.program("otelcol")), "validate", f"--config=file:{config}"]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        return told.stderr or told.stdout if told.returncode else ""

    def _file(self, signal: str) -> Path:
        return self.folder / f"{signal}.jsonl"

    def _sign(self) -> None:
        """Make an authority, and the certificates of server and client."""

        def openssl(*arguments: str) -> None:
            subprocess.run(["openssl", *arguments], check=True, cwd=self.folder, stderr=subprocess.DEVNULL)

        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        openssl("req", "-x509", *key, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt")
        signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1")
        for name in ("server", "client"):
            files = ("-keyout", f"{name}.key", "-out", f"{name}.crt")
            openssl("req", "-x509", *key, *signed, "-subj", f"/CN={name}", *files)


def merged(own: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Both; `more` where they differ."""
    both = {**own, **more}
    for key in own.keys() & more.keys():
        if isinstance(own[key], Mapping) and isinstance(more[key], Mapping):
            both[key] = merged(own[key], more[key])
    return both


def _items(request: dict[str, Any]) -> Iterator[Item]:
    """Of one request in OTLP's JSON."""
    for resource in request.get("resourceSpans", []) + request.get("resourceLogs", []):
        service = _plain(resource["resource"]).get("service.name", "")
        for scope in resource.get("scopeSpans", []) + resource.get("scopeLogs", []):
            for one in scope.get("spans", []) + scope.get("logRecords", []):
                name = one["name"] if "name" in one else one["body"]["stringValue"]
                ids = (one.get("traceId", ""), one.get("spanId", ""), one.get("parentSpanId", ""))
                yield Item(*ids, name, service, scope.get("schemaUrl", ""), _plain(one))


def _plain(one: dict[str, Any]) -> dict[str, Any]:
    """Its attributes; numbers are text in OTLP's JSON."""
    return {pair["key"]: next(iter(pair["value"].values())) for pair in one.get("attributes", [])}
