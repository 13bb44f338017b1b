"""Kafka to Loki beside a loop that only reads: `python -m tailrace.benchmarks.kafka`.

The same messages (JSON, spread over twelve partitions of a topic of a real broker) are read by a bare loop of aiokafka
that throws them away, and shipped by tailrace (JSON parsed, redacted, level and partition as labels: S2 with a stream
for each partition) to the counting sink, each by 1, 2 and 4 processes. The difference of their CPU time is tailrace's
own part; how much of it is that of the chain, a run without a sink tells.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from ..tests.services._server import free_ports
from ..tests.services.kafka import Kafka
from .arrivals import AtSink
from .generate import ensure
from .process import Meter, has_ended, running
from .shipper import fill, known, programs

PARTITIONS = 12
PROCESSES = (1, 2, 4)
IDLE_SECONDS = 2.0
"""The bare loop ends when nothing has come for so long."""
PATIENCE = 300.0


class Rate(msgspec.Struct, kw_only=True):
    """What one run did."""

    what: str
    processes: int
    mb: float
    wall_s: float
    """From the first to the last message, of all processes together."""
    cpu_s: float
    """Of all processes, their start included."""
    rss_mb: float
    missing: int


class Read(msgspec.Struct):
    """What a bare loop has read."""

    messages: int
    first: float
    last: float
    """Unix times."""
    cpu_s: float
    rss_mb: float


async def bare(brokers: str, topic: str, place: int, processes: int) -> Read:
    """Read everything, do nothing with it."""
    from aiokafka import AIOKafkaConsumer, TopicPartition

    read = Read(0, 0.0, 0.0, 0.0, 0.0)
    async with AIOKafkaConsumer(bootstrap_servers=brokers) as consumer:
        # Not as a group, which would give those that began first all, and then again to those that came later.
        own = [TopicPartition(topic, number) for number in range(place, PARTITIONS, processes)]
        consumer.assign(own)
        await consumer.seek_to_beginning(*own)
        while not read.messages or time.time() - read.last < IDLE_SECONDS:
            for messages in (await consumer.getmany(timeout_ms=500, max_records=5000)).values():
                read.messages += len(messages)
                read.last = time.time()
                read.first = read.first or read.last
                read.cpu_s = time.process_time()
    read.rss_mb = Meter(os.getpid()).peak_mb()
    return read


def measure_bare(kafka: Kafka, topic: str, processes: int, mb: float, wanted: int) -> Rate:
    """The loop, in so many processes that begin at once."""
    command = [sys.executable, "-m", "tailrace.benchmarks.kafka", "--bare", kafka.address, topic]
    running = [
        subprocess.Popen([*command, str(place), str(processes)], stdout=subprocess.PIPE) for place in range(processes)
    ]
    reads = [msgspec.json.decode(process.communicate()[0], type=Read) for process in running]
    return Rate(
        what="bare loop",
        processes=processes,
        mb=mb,
        wall_s=round(max(read.last for read in reads) - min(read.first for read in reads if read.first), 2),
        cpu_s=round(sum(read.cpu_s for read in reads), 2),
        rss_mb=round(sum(read.rss_mb for read in reads)),
        missing=wanted - sum(read.messages for read in reads),
    )


def config(template: str, brokers: str, topic: str, group: str) -> str:
    """S2 of the benchmark, with Kafka for its file, and a stream for each partition."""
    file = 'in: { use: file, include: ["@IN@"] }'
    if file not in template or "labels: { " not in template:
        raise ValueError("the config has another source, or no labels")
    text = template.replace(file, f'in: {{ use: kafka, brokers: ["{brokers}"], topics: [{topic}], group: {group} }}')
    return text.replace("labels: { ", 'labels: { partition: "{partition}", ')


def measure(kafka: Kafka, topic: str, processes: int, mb: float, wanted: int, folder: Path) -> Rate:
    """tailrace, in so many processes that begin at once. Raises RuntimeError when one ends too early."""
    (port,) = free_ports(1)
    group = f"tailrace-{uuid.uuid4().hex[:8]}"
    template = known()["tailrace"].config_file("tailrace", "s2")
    assert template
    text = config(template.read_text(), kafka.address, topic, group)
    with ExitStack() as stack:
        sink_process = stack.enter_context(
            running([str(programs() / "bench-sink"), "-address", f"127.0.0.1:{port}"], core=None)
        )
        sink = AtSink(port)
        sink.wait_ready(sink_process)
        started = []
        for number in range(processes):
            own = folder / f"{group}-{number}"
            own.mkdir()
            (own / "tailrace.yaml").write_text(fill([text], {"PORT": port, "STATE": own})[0])
            output = stack.enter_context((own / "log").open("wb"))
            command = [str(Path(sys.executable).parent / "tailrace"), "run", "tailrace.yaml"]
            started.append(stack.enter_context(running(command, core=None, output=output, cwd=own)))
        began = time.time()
        while (stats := sink.stats()).entries < wanted and time.time() - began < PATIENCE:
            if any(map(has_ended, started)):
                raise RuntimeError(f"it ended too early, see {folder}")
            time.sleep(0.05)
        meters = [Meter(process.pid) for process in started]
        return Rate(
            what="tailrace",
            processes=processes,
            mb=mb,
            wall_s=round((stats.last_ns - stats.first_ns) / 1e9, 2),
            cpu_s=round(sum(meter.cpu() for meter in meters), 2),
            rss_mb=round(sum(meter.peak_mb() for meter in meters)),
            missing=wanted - stats.entries,
        )


def measure_chain(kafka: Kafka, mb: float, folder: Path) -> Rate:
    """Only read, parse and redact: to a stdout that nobody reads, less what a run of nothing takes."""
    template = known()["tailrace"].config_file("tailrace", "s2")
    assert template
    taken = []
    for topic in ("nothing", "bench"):
        own = folder / f"chain-{topic}"
        own.mkdir()
        text = config(template.read_text(), kafka.address, topic, f"chain-{topic}")
        # Up to the sinks: what stands behind them is added anew.
        stages = fill([text[: text.index("sinks:")]], {"PORT": 0, "STATE": own})[0]
        (own / "tailrace.yaml").write_text(f"{stages}sinks: {{ out: {{ use: stdout, line: raw }} }}\nstate: state\n")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [str(Path(sys.executable).parent / "tailrace"), "run", "--once", "tailrace.yaml"]
        subprocess.run(command, check=True, cwd=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    idle, whole = taken
    return Rate(
        what="tailrace, no sink, less its start",
        processes=1,
        mb=mb,
        wall_s=0,  # joining the group takes a time of its own
        cpu_s=round(whole - idle, 2),
        rss_mb=0,
        missing=0,
    )


def table(rates: Sequence[Rate]) -> str:
    """One row for each run, in Markdown."""
    rows = ["| | processes | MB/s | MB per CPU-second | memory MB | messages |\n|---|--:|--:|--:|--:|---|\n"]
    for rate in rates:
        arrived = f"FAILED: {rate.missing:,} missing" if rate.missing else "all"
        speed, memory = (
            (f"{rate.mb / rate.wall_s:.0f}" if rate.wall_s else ""),
            (f"{rate.rss_mb:.0f}" if rate.rss_mb else ""),
        )
        rows.append(
            f"| {rate.what} | {rate.processes} | {speed} | {rate.mb / rate.cpu_s:.0f} | {memory} | {arrived} |\n"
        )
    return "".join(rows)


async def spread(kafka: Kafka, topic: str, lines: Sequence[bytes]) -> None:
    """Spread the lines over the partitions, compressed as most producers do."""
    await kafka.create(topic, PARTITIONS)
    size = len(lines) // 20 + 1
    for start in range(0, len(lines), size):
        await kafka.fill(
            topic, lines[start : start + size], compression_type="lz4", linger_ms=20, max_batch_size=128 << 10
        )


def main() -> int:
    """Exit code 0; 1 when a message was lost or came twice."""
    parser = argparse.ArgumentParser(prog="python -m tailrace.benchmarks.kafka", description=__doc__)
    add = parser.add_argument
    add("--mb", type=float, default=100, help="of messages, in 10⁶ bytes (%(default)s)")
    add("--bare", nargs=4, metavar=("BROKERS", "TOPIC", "PLACE", "OF"), help="only the loop, in this process")
    chosen = parser.parse_args()
    if chosen.bare:
        brokers, topic, *place = chosen.bare
        sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(bare(brokers, topic, *map(int, place)))))
        return 0
    source, corpus = ensure("json", chosen.mb)
    lines = source.read_bytes().split(b"\n")[:-1]
    rates: list[Rate] = []
    with tempfile.TemporaryDirectory(prefix="bench-kafka-") as name, Kafka(Path(name, "broker")) as kafka:
        asyncio.run(spread(kafka, "bench", lines))
        asyncio.run(kafka.create("nothing", PARTITIONS))
        rates.append(measure_chain(kafka, corpus.bytes / 1e6, Path(name)))
        for processes in PROCESSES:
            rates.append(measure_bare(kafka, "bench", processes, corpus.bytes / 1e6, len(lines)))
            rates.append(measure(kafka, "bench", processes, corpus.bytes / 1e6, len(lines), Path(name)))
            for rate in rates[-2:]:
                print(rate, file=sys.stderr)
    print(f"{os.cpu_count()} cores, {rates[0].mb:.0f} MB in {PARTITIONS} partitions\n\n{table(rates)}", end="")
    return 1 if any(rate.missing for rate in rates) else 0


if __name__ == "__main__":
    sys.exit(main())
