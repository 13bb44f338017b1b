"""Loki, one process for everything, with pushing and reading back for tests."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ._install import go_build, go_source, run
from ._server import HERE, Server

BEGINNING = 1_577_836_800_000_000_000
"""2020-01-01 in ns. The schema in `loki.yaml` goes back to 2015, but each year makes every query slower."""


class Entry(NamedTuple):
    """What Loki holds of one record."""

    labels: dict[str, str]
    time_ns: int
    line: str
    metadata: dict[str, str]


class Loki(Server):
    """Loki without its own additions (no service_name label, no detected_level) and without limits on age and rate.

    Further flags override the file, e.g. `Loki(folder, "-validation.reject-old-samples=true")`.
    """

    name = "loki"
    version = "3.7.8"
    programs = ("loki", "logcli")
    images = {
        "grafana/loki:3.7.8": ("/usr/bin/loki",),
        "grafana/logcli:3.7.8": ("/usr/bin/logcli",),
    }
    ports_needed = 2
    _torn: int | None = None
    """The segment of its journal that a kill may have torn."""

    @classmethod
    def build(cls, into: Path, scratch: Path) -> None:
        """From its Go module."""
        source = go_source("github.com/grafana/loki/v3", f"v{cls.version}", scratch)
        # This package is a module of its own, so the module's archive lacks the folder it is replaced with.
        run(["go", "mod", "edit", "-dropreplace=github.com/grafana/loki/pkg/push"], cwd=source)
        for program in cls.programs:
            go_build(source, f"./cmd/{program}", into / program)

    def command(self) -> list[str]:
        """The config file is beside this one."""
        return [
            str(self.program("loki")),
            f"-config.file={HERE / 'loki.yaml'}",
            "-config.expand-env=true",
            *self.flags,
        ]

    def environment(self) -> dict[str, str]:
        """What the config file asks for."""
        http, grpc = map(str, self.ports)
        return {"LOKI_DATA": str(self.folder), "LOKI_HTTP_PORT": http, "LOKI_GRPC_PORT": grpc}

    def stop(self, *, kill: bool = False) -> None:
        """End it; what it takes after a kill and acknowledges is not lost with the next stop: see `loki.yaml`."""
        wal = self.folder / "wal"
        deadline = time.monotonic() + 30
        while self._process is not None and self._torn is not None and time.monotonic() < deadline:
            if any(int(path.suffix[1:]) >= self._torn for path in wal.glob("checkpoint.[0-9]*[0-9]")):
                break
            time.sleep(0.05)
        super().stop(kill=kill)
        segments = [int(path.name) for path in wal.glob("[0-9]*")]
        self._torn = max(segments) if kill and segments else None

    def push(self, labels: Mapping[str, str], *entries: tuple[int, str] | tuple[int, str, Mapping[str, str]]) -> None:
        """Push entries of one stream: time in ns, line, and metadata if any. Raises `HttpError` when refused."""
        values = [[str(time_ns), *rest] for time_ns, *rest in entries]
        body = json.dumps({"streams": [{"stream": labels, "values": values}]}).encode()
        self.post("/loki/api/v1/push", body, **{"Content-Type": "application/json"})

    def flush(self) -> None:
        """Have the ingester write its open chunks."""
        self.post("/flush")

    def query(
        self,
        logql: str,
        start: int = BEGINNING,
        end: int | None = None,
        limit: int | None = None,
        *,
        page: int = 10_000,
    ) -> list[Entry]:
        """All entries of a log query, oldest first, or the first `limit`.

        Times in ns, `end` is exclusive; by default it is tomorrow. Repeats are not taken out here: what Loki returns
        twice stands in the list twice.
        """
        end = time.time_ns() + 86_400 * 10**9 if end is None else end
        found: list[Entry] = []
        while limit is None or len(found) < limit:
            entries = self._page(logql, start, end, page)
            if len(entries) < page:
                found += entries
                break
            last = entries[-1].time_ns  # the page may end among equal times: the next one begins with all of them
            whole = [entry for entry in entries if entry.time_ns < last]
            found += whole
            if not whole:
                page *= 2
            start = last
        return found[:limit]

    def _page(self, logql: str, start: int, end: int, limit: int) -> list[Entry]:
        answer = self.get(
            "/loki/api/v1/query_range",
            {"query": logql, "start": start, "end": end, "limit": limit, "direction": "forward"},
            **{"X-Loki-Response-Encoding-Flags": "categorize-labels"},  # metadata apart from the labels
        )
        data = json.loads(answer)["data"]
        if data["resultType"] != "streams":
            raise ValueError(f"{logql} is not a log query: it gives a {data['resultType']}")
        entries = [
            Entry(stream["stream"], int(time_ns), line, more.get("structuredMetadata", {}))
            for stream in data["result"]
            for time_ns, line, more in stream["values"]
        ]
        return sorted(entries, key=lambda entry: entry.time_ns)
