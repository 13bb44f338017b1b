"""Tempo, one process for everything, its data in a folder: takes OTLP, finds traces by their id."""

from __future__ import annotations

import base64
import json
import shutil
import time
from pathlib import Path
from typing import Any

from ._install import go_build, go_source
from ._server import HERE, HttpError, Server
from .jaeger import Span


class Tempo(Server):
    """Tempo's API at `url`, OTLP at `otlp_http` and `otlp_grpc`. It answers for what it took before a kill as well."""

    name = "tempo"
    version = "1.5.0"
    """The newest that the Go proxy gives out as a whole; what it is asked here is the same in later ones."""
    programs = ("tempo",)
    images = {"grafana/tempo:1.5.0": ("/tempo",)}
    tells_version = ("-version",)
    ports_needed = 4

    @classmethod
    def build(cls, into: Path, scratch: Path) -> None:
        """From its Go module, of a time when Go did two things in another way."""
        source = go_source("github.com/grafana/tempo", f"v{cls.version}", scratch)
        shutil.rmtree(source / "vendor", ignore_errors=True)  # only a list, without the modules themselves
        # Its own codec takes the place of that of gRPC, which must be there first; Go now goes by the packages' paths.
        codec = source / "pkg/gogocodec/gogocodec.go"
        before = 'import (\n\t_ "google.golang.org/grpc/encoding/proto"'
        codec.write_text(codec.read_text().replace("import (", before, 1))
        # Its golang.org/x/net reaches into the runtime by name, which the linker forbids today.
        go_build(source, "./cmd/tempo", into / "tempo", "-checklinkname=0")

    def command(self) -> list[str]:
        """The config file is beside this one."""
        config = HERE / "tempo.yaml"
        return [str(self.program("tempo")), f"-config.file={config}", "-config.expand-env=true", *self.flags]

    def environment(self) -> dict[str, str]:
        """What the config file asks for."""
        names = ("TEMPO_HTTP_PORT", "TEMPO_GRPC_PORT", "TEMPO_OTLP_HTTP_PORT", "TEMPO_OTLP_GRPC_PORT")
        return {"TEMPO_DATA": str(self.folder), **dict(zip(names, map(str, self.ports), strict=True))}

    def stop(self, *, kill: bool = False) -> None:
        """Kill it: its own way to an end takes more than 20 s."""
        super().stop(kill=True)

    @property
    def otlp_http(self) -> str:
        """The URL for OTLP over HTTP."""
        return f"http://127.0.0.1:{self.ports[2]}"

    @property
    def otlp_grpc(self) -> str:
        """The URL for OTLP over gRPC."""
        return f"http://127.0.0.1:{self.ports[3]}"

    def flush(self) -> None:
        """Have the ingester write what it holds into blocks."""
        self.post("/flush")

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of a trace, in the order of their start; none where it does not know it."""
        try:
            found = json.loads(self.get(f"/api/traces/{trace_id}"))
        except HttpError as error:
            if error.status != 404:
                raise
            return []
        spans = []
        for batch in found["batches"]:
            service = _plain(batch["resource"].get("attributes", ())).get("service.name", "")
            groups = batch.get("scopeSpans") or batch.get("instrumentationLibrarySpans") or ()
            spans += [_span(one, service) for group in groups for one in group["spans"]]
        return sorted(spans, key=lambda span: (span.start_us, -span.duration_us))

    def wait(self, trace_id: str, spans: int, seconds: float = 20) -> list[Span]:
        """Ask until the trace has so many spans. Raises TimeoutError with what there is."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.trace(trace_id)
            if len(found) >= spans:
                return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"trace {trace_id} has {len(found)} of {spans} spans after {seconds:g} s")
            time.sleep(0.05)


def _span(one: dict[str, Any], service: str) -> Span:
    start_us, end_us = (int(one[f"{end}TimeUnixNano"]) // 1000 for end in ("start", "end"))
    failed = {"error": True} if one.get("status", {}).get("code") == "STATUS_CODE_ERROR" else {}  # as Jaeger tells it
    return Span(
        _hex(one["spanId"]),
        _hex(one.get("parentSpanId", "")),
        one["name"],
        service,
        start_us,
        end_us - start_us,
        _plain(one.get("attributes", ())) | failed,
        [_plain(event.get("attributes", ())) for event in one.get("events", ())],
    )


def _hex(text: str) -> str:
    """Tempo's JSON has bytes as base64."""
    return base64.b64decode(text).hex()


def _plain(pairs: Any) -> dict[str, Any]:
    return {pair["key"]: _value(pair["value"]) for pair in pairs}


def _value(one: dict[str, Any]) -> Any:
    ((kind, value),) = one.items()
    if kind == "intValue":
        return int(value)
    return [_value(each) for each in value.get("values", ())] if kind == "arrayValue" else value
