"""Kafka → tailrace → Loki and Kafka, by processes that join, leave and die: `python -m tailrace.tests.live.kafka_bar`.

Numbered messages over twelve partitions; each must be once in Loki, by a log query, and once in a topic that is read
with `read_committed`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from ..services.kafka import Kafka
from ..services.loki import Loki
from .shipper import Shipper

PARTITIONS = 12
PROCESSES = 3
STEP = 10_000
"""Messages are written so many at a time."""
DAY_NS = 86_400 * 10**9


class Outcome(msgspec.Struct):
    """What became of the messages."""

    count: int
    seed: int
    seconds: float
    """From the first message to the last commit."""
    kills: int
    stops: int
    peak_mb: int
    """The most resident memory that was seen of a process."""
    in_loki: dict[str, int]
    in_topic: dict[str, int]
    problems: list[str]

    @property
    def exact(self) -> bool:
        """Nothing was lost, nothing is there twice, and whoever was asked to stop did."""
        return not self.problems and not any((*self.in_loki.values(), *self.in_topic.values()))


def config(brokers: str, loki: str, topic: str) -> str:
    """From a topic through the chain to Loki, a stream for each partition, and to another topic in transactions."""
    return f"""
sources:
  k: {{ use: kafka, brokers: ["{brokers}"], topics: [{topic}], group: {topic}, session_timeout: 3s, drain: 3s }}
stages: [{{ use: parse, format: json }}, {{ use: redact }}]
sinks:
  loki: {{ use: loki, url: "{loki}", labels: {{ app: {topic}, partition: "{{partition}}" }} }}
  out: {{ use: kafka, brokers: ["{brokers}"], topic: {topic}-out, transactional_id: {topic} }}
exporter: {{ listen: "127.0.0.1:@PORT@" }}
state: state
"""


async def bar(kafka: Kafka, loki: Loki, topic: str, count: int, seed: int, folder: Path) -> Outcome:
    """Write the messages while processes come and go, wait until all is committed, and count."""
    chance = random.Random(seed)
    await kafka.create(topic, PARTITIONS)
    await kafka.create(f"{topic}-out", PARTITIONS // 2)
    outcome = Outcome(count, seed, 0.0, 0, 0, 0, {}, {}, [])
    began = time.time()
    with ExitStack() as running:
        text = config(kafka.address, loki.url, topic)
        shippers = [running.enter_context(Shipper(folder / str(place), text)) for place in range(PROCESSES)]
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(_feed(kafka, topic, count))
            up = {shipper.start("--offline") for shipper in shippers}
            while not feeding.done() or await _committed(kafka, topic) < count * 0.9:
                await asyncio.sleep(chance.random() * 2)
                shipper = chance.choice(shippers)
                if shipper not in up:
                    up.add(shipper.start("--offline"))
                    continue
                _look(shipper, outcome)
                if "started" not in shipper.stderr:
                    continue
                up.remove(shipper)
                if chance.random() < 0.6:
                    shipper.kill()
                    outcome.kills += 1
                else:
                    await _stop(shipper, outcome)
        for shipper in shippers:
            if shipper not in up:
                shipper.start("--offline")
        while await _committed(kafka, topic) < count:
            for shipper in shippers:
                _look(shipper, outcome)
            await asyncio.sleep(0.5)
        outcome.seconds = round(time.time() - began, 1)
        for shipper in shippers:
            await _stop(shipper, outcome)
            if (letters := shipper.folder / "state" / "dead_letter.jsonl").exists():
                outcome.problems.append(f"dead letters: {letters.read_text()[:500]}")
    outcome.in_topic = _wrong((json.loads(one.value)["id"] for one in await kafka.read(f"{topic}-out")), count)
    streams = (f'{{app="{topic}", partition="{place}"}}' for place in range(PARTITIONS))
    since = int(began * 1e9) - DAY_NS // 24
    lines = (entry.line for stream in streams for entry in loki.query(stream, since, page=50_000))
    outcome.in_loki = _wrong((json.loads(line)["id"] for line in lines), count)
    return outcome


async def _feed(kafka: Kafka, topic: str, count: int) -> None:
    for start in range(0, count, STEP):
        numbers = range(start, min(count, start + STEP))
        lines = [b'{"id":%d,"level":"info","message":"%s"}' % (number, b"x" * 100) for number in numbers]
        await kafka.fill(topic, lines, compression_type="lz4", linger_ms=20, max_batch_size=64 << 10)


async def _committed(kafka: Kafka, topic: str) -> int:
    return sum((await kafka.committed(topic)).values())


async def _stop(shipper: Shipper, outcome: Outcome) -> None:
    outcome.stops += 1
    ended = await asyncio.to_thread(shipper.stop)
    if ended.code not in (0, -signal.SIGTERM):  # the signal ends one that is not up yet
        outcome.problems.append(f"stopped with {ended.code}: {ended.stderr[-500:]}")


def _look(shipper: Shipper, outcome: Outcome) -> None:
    if not shipper.running():
        raise RuntimeError(f"it ended by itself and said:\n{shipper.stderr}")
    outcome.peak_mb = max(outcome.peak_mb, shipper.peak_rss >> 20)


def _wrong(numbers: Iterable[int], count: int) -> dict[str, int]:
    found = Counter(numbers)
    wanted = set(range(count))
    return {
        "missing": len(wanted - found.keys()),
        "repeated": sum(found.values()) - len(found),
        "strange": len(found.keys() - wanted),
    }


def main() -> int:
    """Exit code 1 when a message was lost, or is there twice."""
    parser = argparse.ArgumentParser(prog="python -m tailrace.tests.live.kafka_bar", description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=1_000_000, help="of messages (%(default)s)")
    parser.add_argument("seed", nargs="?", type=int, default=1, help="of the faults (%(default)s)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kafka-bar-") as name:
        folder = Path(name)
        with Kafka(folder / "kafka") as kafka, Loki(folder / "loki") as loki:
            outcome = asyncio.run(bar(kafka, loki, "bar", chosen.count, chosen.seed, folder))
    print(outcome, "EXACT" if outcome.exact else "WRONG", sep="\n")
    return 0 if outcome.exact else 1


if __name__ == "__main__":
    sys.exit(main())
