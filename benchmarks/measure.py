"""One measurement: a shipper, started fresh on an existing file, until its last record has arrived."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..tests.services._server import free_ports
from .arrivals import Arrivals, Arrived, AtSink, Exporter, InFile, OfBoth, archived, occurrences
from .generate import Corpus
from .process import Meter, has_ended, running, stop
from .result import Result
from .shipper import Shipper, fill, find, programs
from .verify import wrong_lines

SCENARIOS = {"s1": "json", "s2": "json", "s3": "traceback", "s4": "json", "s5": "json", "s6": "json"}
"""Each with the mix that it reads."""
TO_FILE = "s4"
WITH_ARCHIVE = "s6"
JOINING = ("s3", "s6")
SECRET_KINDS = {"s2": ("aws", "bearer", "email", "card"), "s6": ("aws", "bearer")}
"""What may not arrive. S6 redacts by tailrace's default rules, to which personal data is no secret."""
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
    verify: bool = False
    """Compare every line that arrived with what should have: for checking only, as it is slow."""
    keep: bool = False
    """Keep the folder of each run: state, config, log, output."""

    @classmethod
    def of_this_machine(cls) -> Bench:
        """The first core for the shipper; the sink and the benchmark on the last one, this process included."""
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[-1]})
        return cls(core=cores[0], sink_core=cores[-1])


class Running(NamedTuple):
    """A shipper at work, and where its records go."""

    process: subprocess.Popen[bytes]
    meter: Meter
    began: float
    """Unix time just before it was started."""
    sink: AtSink
    sink_process: subprocess.Popen[bytes]
    exporter: Exporter
    """tailrace's own metrics, where the config has them."""
    folder: Path
    """State, config, log and output."""
    output: Path
    """The output file of S4; the archive of S6 is beside it."""

    def said(self) -> str:
        """The end of what the shipper printed."""
        return (self.folder / "shipper.log").read_bytes()[-1200:].decode(errors="replace")


@contextmanager
def started(
    name: str, shipper: Shipper, scenario: str, source: Path | str, bench: Bench, sink_flags: Sequence[str] = ()
) -> Iterator[Running]:
    """A sink, and a shipper that reads `source`, a file or a pattern. Raises RuntimeError when the sink does not start,
    ValueError when the shipper has no config for the scenario or one that needs more."""
    template = shipper.config_file(name, scenario)
    if template is None:
        raise ValueError(f"{name} has no config for {scenario}")
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{name}-{scenario}-"))
    with ExitStack() as stack:
        if not bench.keep:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        port, aux1, aux2 = free_ports(3)
        output = folder / "out" / "out.log"
        output.parent.mkdir()
        values: dict[str, object] = {
            "IN": source,
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
        sink_command = [str(programs() / "bench-sink"), "-address", f"127.0.0.1:{port}", *sink_flags]
        sink_process = stack.enter_context(running(sink_command, core=bench.sink_core, nice=bench.nice, cwd=folder))
        sink = AtSink(port)
        sink.wait_ready(sink_process)
        log = stack.enter_context((folder / "shipper.log").open("wb"))
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
        yield Running(process, meter, began, sink, sink_process, Exporter(aux1), folder, output)


def measure(name: str, shipper: Shipper, scenario: str, path: Path, corpus: Corpus, bench: Bench) -> Result:
    """Run a shipper once. Raises RuntimeError when the sink does not start, ValueError for a config that needs more."""
    result = Result(
        rival=name,
        scenario=scenario,
        mix=corpus.mix,
        input_mb=round(corpus.bytes / 1e6, 3),
        want=corpus.events if scenario in JOINING else corpus.lines,
        status="cannot",
    )
    if shipper.config_file(name, scenario) is None:
        return result
    _into_page_cache(path)
    result.load1 = round(os.getloadavg()[0], 1)
    with started(name, shipper, scenario, path, bench, ["-dump", "arrived.log"] if bench.verify else []) as run:
        arrivals: Arrivals
        if scenario == TO_FILE:
            arrivals = InFile(run.output, corpus.bytes)
        elif scenario == WITH_ARCHIVE:
            arrivals = OfBoth(run.sink, run.exporter, result.want)
        else:
            arrivals = run.sink.expecting(result.want)
        seen = _follow(run, arrivals, bench)
        result.peak_rss_mb = round(run.meter.peak_mb(), 1)
        result.alive = not has_ended(run.process)
        if scenario == WITH_ARCHIVE and result.alive:
            result.stage_s = run.exporter.stage_seconds()
        stop(run.process)
        result.exit = run.process.returncode
        if scenario == TO_FILE:
            _note_file(result, run.output, shipper.s4_mark, corpus)
        else:
            _note_sink(result, run)
        if scenario == WITH_ARCHIVE:
            result.archived = archived(run.output.parent)
        if bench.verify:
            result.wrong_lines = wrong_lines(scenario, path, run.folder / "arrived.log", run.output, result.kinds)
        _note_costs(result, seen, run.began, corpus)
        if result.status != "ok":
            result.log_tail = run.said()
    return result


def environment(shipper: Shipper, values: Mapping[str, object]) -> dict[str, str]:
    """The environment of a shipper: a Python that may write its bytecode, as an installed one has it."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | dict(zip(shipper.env, fill(list(shipper.env.values()), values), strict=True))


class Seen(NamedTuple):
    """The last look that found something new."""

    arrived: Arrived
    cpu: float


def _follow(run: Running, arrivals: Arrivals, bench: Bench) -> Seen:
    """Look until everything has arrived, nothing has for too long, or the shipper has ended."""
    seen = Seen(Arrived(0, None, run.began), 0.0)
    changed = run.began
    while True:
        time.sleep(LOOK_EVERY)
        cpu = run.meter.cpu()
        arrived = arrivals.look()
        now = time.time()
        if arrived.amount != seen.arrived.amount:
            seen, changed = Seen(arrived, cpu), now
        if arrivals.complete(arrived) or has_ended(run.process):
            return seen
        if now - changed > bench.stall or now - run.began > bench.limit:
            return seen


def _note_sink(result: Result, run: Running) -> None:
    stats = run.sink.stats()
    result.got = stats.entries
    result.requests = stats.requests
    result.wire_mb = round(stats.wire_bytes / 1e6, 1)
    result.line_mb = round(stats.line_bytes / 1e6, 3)
    result.kinds = stats.kinds
    result.leaks = {kind: count for kind, count in stats.leaks.items() if count}
    result.labels = len(stats.labels)
    result.sink_errors = stats.errors
    result.sink_cpu_s = round(Meter(run.sink_process.pid).cpu(), 2)


def _note_file(result: Result, output: Path, mark: str, corpus: Corpus) -> None:
    if output.exists():
        size = output.stat().st_size
        result.got = occurrences(output, mark.encode())
        result.same_bytes = size == corpus.bytes
        result.out_mb = round(size / 1e6, 1)


def _note_costs(result: Result, seen: Seen, began: float, corpus: Corpus) -> None:
    result.status = status_of(result)
    wall = seen.arrived.last - began
    result.wall_s, result.cpu_s = round(wall, 2), round(seen.cpu, 2)
    if seen.arrived.first:
        result.start_s = round(seen.arrived.first - began, 3)
    mb = corpus.bytes / 1e6
    if seen.cpu > 0:
        result.mb_per_cpu_s, result.rec_per_cpu_s = round(mb / seen.cpu, 2), round(result.got / seen.cpu)
    if wall > 0:
        result.mb_per_s, result.rec_per_s = round(mb / wall, 2), round(result.got / wall)


def status_of(result: Result) -> str:
    """The first thing that is wrong with a run, or `ok`."""
    if result.got != result.want:
        return "short" if result.got < result.want else "more"
    if result.archived is not None and result.archived != result.want:
        return "short" if result.archived < result.want else "more"
    if not result.alive:
        return "ended"
    if any(kind in result.leaks for kind in SECRET_KINDS.get(result.scenario, ())):
        return "leaks"
    return "wrong" if result.wrong_lines else "ok"


def _into_page_cache(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 22):
            pass
