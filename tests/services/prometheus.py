"""Prometheus and promtool: scrapes what a test names, answers PromQL, checks a metrics page."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from ._install import debian_package
from ._server import HERE, HttpError, Server


class Sample(NamedTuple):
    """One value of an instant query."""

    labels: dict[str, str]
    value: float


class Exemplar(NamedTuple):
    """One exemplar: of which series, its own labels, its value."""

    series: dict[str, str]
    labels: dict[str, str]
    value: float


class Prometheus(Server):
    """Prometheus with exemplars, scraping twice a second."""

    name = "prometheus"
    version = "2.42"
    programs = ("prometheus", "promtool")
    images = {
        "prom/prometheus:v2.42.0": ("/bin/prometheus", "/bin/promtool"),
    }

    @classmethod
    def build(cls, into: Path, scratch: Path) -> None:
        """From Debian's package, whose version is about the same."""
        unpacked = debian_package("prometheus", scratch)
        for program in cls.programs:
            shutil.copy(unpacked / "usr/bin" / program, into / program)

    def command(self) -> list[str]:
        """The config file is copied, for it names the targets' file relative to itself."""
        config = Path(shutil.copy(HERE / "prometheus.yml", self.folder))
        self._targets.touch()
        return [
            str(self.program("prometheus")),
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.ports[0]}",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
            *self.flags,
        ]

    def ready(self) -> bool:
        """True when it says so itself."""
        try:
            self.get("/-/ready")
        except (HttpError, OSError):
            return False
        return True

    @property
    def _targets(self) -> Path:
        return self.folder / "targets.json"

    def scrape(self, *targets: str, seconds: float = 30) -> None:
        """Scrape also these (`host:port`) from now on, and wait until each was scraped once (up to 5 s)."""
        text = self._targets.read_text()
        known = set(json.loads(text)[0]["targets"]) if text else set()
        new = self._targets.with_suffix(".new")
        new.write_text(json.dumps([{"targets": sorted(known | set(targets))}]))
        new.replace(self._targets)
        for target in targets:
            self.wait(f'up{{instance="{target}"}} == 1', seconds)

    def query(self, promql: str) -> list[Sample]:
        """The samples of an instant query, now. Raises `HttpError` for bad PromQL."""
        data = json.loads(self.get("/api/v1/query", {"query": promql}))["data"]
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(one["metric"], float(one["value"][1])) for one in data["result"]]

    def wait(self, promql: str, seconds: float = 30) -> list[Sample]:
        """Ask until the query gives something (`lines_total == 3`). Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if samples := self.query(promql):
                return samples
            time.sleep(0.1)
        raise TimeoutError(f"{promql} gave nothing for {seconds:g} s")

    def exemplars(self, promql: str, seconds: float = 3600) -> list[Exemplar]:
        """The exemplars of the series of a query, of the last so many seconds."""
        now = time.time()
        told = self.get(
            "/api/v1/query_exemplars", {"query": promql, "start": f"{now - seconds:.3f}", "end": f"{now + 60:.3f}"}
        )
        return [
            Exemplar(one["seriesLabels"], exemplar["labels"], float(exemplar["value"]))
            for one in json.loads(told)["data"]
            for exemplar in one["exemplars"]
        ]

    @classmethod
    def problems(cls, page: str) -> list[str]:
        """What `promtool check metrics` finds wrong with a metrics page in the text format; empty when all is well."""
        command = [str(cls.program("promtool")), "check", "metrics"]
        told = subprocess.run(command, input=page, capture_output=True, text=True, check=False)
        words = [line for line in (told.stdout + told.stderr).splitlines() if line]
        return words if words or not told.returncode else [f"promtool: exit code {told.returncode}"]
