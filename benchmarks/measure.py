"""One measurement: a shipper, started fresh on an existing file, until its last record has arrived."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..tests.services._server import free_ports
from .arrivals import Arrivals, Arrived, AtSink, InFile, occurrences
from .generate import Corpus
from .process import Meter, has_ended, running, stop
from .result import Result
from .shipper import Shipper, fill, find, programs

SCENARIOS = {"s1": "json", "s2": "json", "s3": "traceback", "s4": "json", "s5": "json"}
"""Each with the mix that it reads."""
TO_FILE = "s4"
REDACTING = "s2"
JOINING = "s3"
LOOK_EVERY = 0.05


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """How to measure."""

    core: int
    """The shipper's core."""
    sink_core: int
    """The core of the sink and of the benchmark itself."""
    nice: int = 0
    stall: float = 20.0
    """Seconds without an arrival after which a run is given up."""
    limit: float = 300.0
    """Seconds that a run may take."""
    dump: Path | None = None
    """Where the sink writes each line that arrives: for checking only, as it is slow."""
    keep: bool = False
    """Keep the folder of each run: state, config, log, output."""


def measure(name: str, shipper: Shipper, scenario: str, path: Path, corpus: Corpus, bench: Bench) -> Result:
    """Run a shipper once. Raises RuntimeError when the sink does not start, ValueError for a config that needs more."""
    wanted = corpus.events if scenario == JOINING else corpus.lines
    result = Result(
        rival=name,
        scenario=scenario,
        mix=corpus.mix,
        input_mb=round(corpus.bytes / 1e6, 3),
        want=wanted,
        status="cannot",
    )
    template = shipper.config_file(name, scenario)
    if template is None:
        return result
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{name}-{scenario}-"))
    try:
        return _run(result, shipper, template, path, corpus, bench, folder)
    finally:
        if not bench.keep:
            shutil.rmtree(folder, ignore_errors=True)


def _run(
    result: Result, shipper: Shipper, template: Path, path: Path, corpus: Corpus, bench: Bench, folder: Path
) -> Result:
    port, aux1, aux2 = free_ports(3)
    output = folder / "out" / "out.log"
    output.parent.mkdir()
    values: dict[str, object] = {
        "IN": path,
        "PORT": port,
        "AUX1": aux1,
        "AUX2": aux2,
        "STATE": folder,
        "OUT": output,
        "OUTDIR": output.parent,
        "CFG": folder / template.name,
        **shipper.vars,
    }
    (folder / template.name).write_text(fill([template.read_text()], values)[0])
    command = fill(shipper.cmd, values)
    command[0] = find(command[0]) or command[0]
    to_file = result.scenario == TO_FILE
    with ExitStack() as stack:
        sink = AtSink(port, result.want)
        sink_meter = None
        if not to_file:
            sink_command = [str(programs() / "bench-sink"), "-address", f"127.0.0.1:{port}"]
            if bench.dump:
                sink_command += ["-dump", str(bench.dump.absolute())]
            sink_process = stack.enter_context(running(sink_command, core=bench.sink_core, nice=bench.nice))
            sink.wait_ready(sink_process)
            sink_meter = Meter(sink_process.pid)
        _into_page_cache(path)
        result.load1 = round(os.getloadavg()[0], 1)
        log = stack.enter_context((folder / "shipper.log").open("w+b"))
        began = time.time()
        process = stack.enter_context(
            running(
                command,
                core=bench.core,
                nice=bench.nice,
                output=log,
                env=environment(shipper, values),
                cwd=folder,
            )
        )
        meter = Meter(process.pid)
        arrivals: Arrivals = InFile(output, corpus.bytes) if to_file else sink
        seen = _follow(process, meter, arrivals, began, bench)
        result.peak_rss_mb = round(meter.peak_mb(), 1)
        result.alive = not has_ended(process)
        stop(process)
        result.exit = process.returncode
        if sink_meter:
            _note_sink(result, sink, sink_meter)
        elif output.exists():
            _note_file(result, output, shipper.s4_mark, corpus)
        if bench.dump:
            result.label_sets = sink.stats().labels
        _note_costs(result, seen, began, corpus)
        if result.status != "ok":
            log.seek(0)
            result.log_tail = log.read()[-1200:].decode(errors="replace")
    return result


def environment(shipper: Shipper, values: Mapping[str, object]) -> dict[str, str]:
    """The environment of a shipper: a Python that may write its bytecode, as an installed one has it."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | dict(zip(shipper.env, fill(list(shipper.env.values()), values), strict=True))


class Seen(NamedTuple):
    """The last look that found something new."""

    arrived: Arrived
    cpu: float


def _follow(process: subprocess.Popen[bytes], meter: Meter, arrivals: Arrivals, began: float, bench: Bench) -> Seen:
    """Look until everything has arrived, nothing has for too long, or the shipper has ended."""
    seen = Seen(Arrived(0, None, began), 0.0)
    changed = began
    while True:
        time.sleep(LOOK_EVERY)
        cpu = meter.cpu()
        arrived = arrivals.look()
        now = time.time()
        if arrived.amount != seen.arrived.amount:
            seen, changed = Seen(arrived, cpu), now
        if arrivals.complete(arrived) or has_ended(process):
            return seen
        if now - changed > bench.stall or now - began > bench.limit:
            return seen


def _note_sink(result: Result, sink: AtSink, meter: Meter) -> None:
    stats = sink.stats()
    result.got = stats.entries
    result.requests = stats.requests
    result.wire_mb = round(stats.wire_bytes / 1e6, 1)
    result.kinds = stats.kinds
    result.leaks = {kind: count for kind, count in stats.leaks.items() if count}
    result.labels = len(stats.labels)
    result.sink_errors = stats.errors
    result.sink_cpu_s = round(meter.cpu(), 2)


def _note_file(result: Result, output: Path, mark: str, corpus: Corpus) -> None:
    size = output.stat().st_size
    result.got = occurrences(output, mark.encode())
    result.same_bytes = size == corpus.bytes
    result.out_mb = round(size / 1e6, 1)


def _note_costs(result: Result, seen: Seen, began: float, corpus: Corpus) -> None:
    if result.got == result.want:
        result.status = "leaks" if result.scenario == REDACTING and result.leaks else "ok"
    else:
        result.status = "short" if result.got < result.want else "more"
    wall = seen.arrived.last - began
    result.wall_s, result.cpu_s = round(wall, 2), round(seen.cpu, 2)
    if seen.arrived.first:
        result.start_s = round(seen.arrived.first - began, 3)
    mb = corpus.bytes / 1e6
    if seen.cpu > 0:
        result.mb_per_cpu_s, result.rec_per_cpu_s = round(mb / seen.cpu, 2), round(result.got / seen.cpu)
    if wall > 0:
        result.mb_per_s, result.rec_per_s = round(mb / wall, 2), round(result.got / wall)


def _into_page_cache(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 22):
            pass
