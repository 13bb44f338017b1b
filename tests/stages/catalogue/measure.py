"""What the built-in rules hide, what they touch by mistake, and what `redact` costs: the figures in the docs.

From the repository: python -m tests.stages.catalogue.measure [LOG …]. Each log (JSON lines with `level`) is shipped
to a Loki that throws everything away, as in the benchmark's second scenario, but with the whole catalogue.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from time import process_time, thread_time

from tailrace.cli._ship import ship
from tailrace.pipeline.batch import Batch
from tailrace.stages.parse import Parse
from tailrace.stages.redact import Redact
from tailrace.testing import batch_of, run_stage

from .credentials import Planted, left, planted
from .ordinary import code, events

TOGETHER = 2000
"""Lines in one batch."""
CONFIG = """
sources:
  in: {{ use: file, include: ["{log}"] }}
stages:
  - {{ use: parse, format: json }}
  - {{ use: redact }}
sinks:
  loki: {{ use: loki, url: "http://127.0.0.1:{port}", labels: {{ job: bench, level: "{{level}}" }} }}
state: "{state}"
"""
NOWHERE = """
import http.server

class Take(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def do_GET(self):
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *told):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Take)
print(server.server_port, flush=True)
server.serve_forever()
"""


def leaks(seed: int = 1) -> tuple[int, list[Planted]]:
    """How many credentials were planted, and those of which something is left."""
    rows = list(planted(seed))
    lines = redacted([row.line for row in rows])
    return len(rows), [row for row, line in zip(rows, lines, strict=True) if left(row.secret, line)]


def touched(texts: Iterable[str]) -> tuple[int, list[str]]:
    """How many of these there are, and those that were changed, as they are then."""
    rows = list(texts)
    return len(rows), [new for old, new in zip(rows, redacted(rows), strict=True) if new != old]


def redacted(texts: Iterable[str]) -> list[str]:
    """Each event after `parse` and `redact` as they are without options; what cannot be redacted would stop here."""
    parse, redact, rest, out = Parse(), Redact(), iter(texts), []
    while some := list(islice(rest, TOGETHER)):
        batch = batch_of(*[text.encode("utf-8", "surrogatepass") for text in some])
        out += [record.text for record in run_stage(redact, run_stage(parse, batch)).records]
    return out


def cost(log: Path) -> tuple[float, float]:
    """CPU seconds of the stage, and of the whole run, its start included."""
    spent = 0.0
    process = Redact.process

    def timed(self: Redact, batch: Batch) -> Batch:
        nonlocal spent
        start = thread_time()
        batch = process(self, batch)
        spent += thread_time() - start
        return batch

    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([sys.executable, "-c", NOWHERE], stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        config = Path(folder) / "tailrace.yaml"
        port = int(server.stdout.readline())
        config.write_text(CONFIG.format(log=log.absolute(), port=port, state=Path(folder) / "state"))
        Redact.process = timed  # type: ignore[method-assign]  # only while this runs
        start = process_time()
        try:
            assert ship(config, once=True, offline=True) == 0
        finally:
            Redact.process = process  # type: ignore[method-assign]  # as it was
            server.terminate()
        return spent, process_time() - start


def main(logs: list[str]) -> None:
    many, still = leaks()
    kinds = {row.kind for row in planted()}
    print(f"{len({kind.service for kind in kinds})} services, {len(kinds)} forms, {many} credentials planted:", end=" ")
    print(f"{100 * (1 - len(still) / many):.2f} % hidden")
    for (service, form), number in Counter((row.kind.service, row.kind.form) for row in still).most_common():
        print(f"  left: {number} x {service} {form}")
    for name, rows in (("events", (text for _, text in events(60_000))), ("lines of Python", code(400_000))):
        number, wrong = touched(rows)
        print(f"{number} ordinary {name}: {len(wrong)} touched, {100 * len(wrong) / number:.4f} %")
    for log in map(Path, logs):
        stage, whole = cost(log)
        size = log.stat().st_size / 1e6
        print(
            f"{log.name}, {size:.0f} MB: redact {stage:.2f} s of {whole:.2f} s CPU, {100 * stage / whole:.0f} %", end=""
        )
        print(f" ({size / stage:.0f} MB/s; the run {size / whole:.0f} MB per CPU-second)")


if __name__ == "__main__":
    main(sys.argv[1:])
