"""Jaeger, all of it in one process and in memory: takes OTLP, finds traces by their id."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any, NamedTuple

from ._install import go_build, go_source
from ._server import HttpError, Server


class Span(NamedTuple):
    """What Jaeger or Tempo holds of one span."""

    id: str
    parent: str
    """Empty for the first of a trace."""
    name: str
    service: str
    start_us: int
    duration_us: int
    tags: dict[str, Any]
    events: list[dict[str, Any]]


class Jaeger(Server):
    """Jaeger's query API at `url`, OTLP at `otlp_http` and `otlp_grpc`. What it took is gone when it stops."""

    name = "jaeger"
    version = "1.76.0"
    programs = ("jaeger",)
    images = {"jaegertracing/all-in-one:1.76.0": ("/go/bin/all-in-one-linux",)}
    tells_version = ("version",)
    ports_needed = 7

    @classmethod
    def build(cls, into: Path, scratch: Path) -> None:
        """From its Go module, which has all but the pages of its UI."""
        source = go_source("github.com/jaegertracing/jaeger", f"v{cls.version}", scratch)
        go_build(source, "./cmd/all-in-one", into / "jaeger")

    @classmethod
    def complete(cls, into: Path) -> None:
        """In the image the program has another name."""
        named = into / "all-in-one-linux"
        if named.exists():
            named.rename(into / "jaeger")

    def command(self) -> list[str]:
        """All its ports are given, or it would take those it always has."""
        names = (
            "query.http-server.host-port",
            "query.grpc-server.host-port",
            "collector.otlp.http.host-port",
            "collector.otlp.grpc.host-port",
            "admin.http.host-port",
            "collector.http-server.host-port",
            "collector.grpc-server.host-port",
        )
        ports = [f"--{name}=127.0.0.1:{port}" for name, port in zip(names, self.ports, strict=True)]
        return [str(self.program("jaeger")), *ports, "--log-level=warn", "--memory.max-traces=10000", *self.flags]

    def environment(self) -> dict[str, str]:
        """Where the spans go."""
        return {"SPAN_STORAGE_TYPE": "memory"}

    def stop(self, *, kill: bool = False) -> None:
        """Kill it: it holds nothing on disk, and its own way to an end takes ten seconds."""
        super().stop(kill=True)

    def ready(self) -> bool:
        """True when both the query API and the receiver answer."""
        try:
            self.get("/api/services")
            for port in self.ports[2:4]:
                socket.create_connection(("127.0.0.1", port), 1).close()
        except (HttpError, OSError):
            return False
        return True

    @property
    def otlp_http(self) -> str:
        """The URL for OTLP over HTTP."""
        return f"http://127.0.0.1:{self.ports[2]}"

    @property
    def otlp_grpc(self) -> str:
        """The URL for OTLP over gRPC."""
        return f"http://127.0.0.1:{self.ports[3]}"

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of a trace, in the order of their start; none where it does not know it."""
        try:
            (found,) = json.loads(self.get(f"/api/traces/{trace_id}"))["data"]
        except HttpError as error:
            if error.status != 404:
                raise
            return []
        services = {key: process["serviceName"] for key, process in found["processes"].items()}
        spans = [
            Span(
                one["spanID"],
                next((ref["spanID"] for ref in one["references"] if ref["refType"] == "CHILD_OF"), ""),
                one["operationName"],
                services[one["processID"]],
                one["startTime"],
                one["duration"],
                {tag["key"]: tag["value"] for tag in one["tags"]},
                [{tag["key"]: tag["value"] for tag in event["fields"]} for event in one["logs"]],
            )
            for one in found["spans"]
        ]
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
