"""A replay from files to an archive, through kills and repeats; Loki is in tests/live/test_replay.py."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tailrace.pipeline.checkpoint import StateError
from tailrace.pipeline.component import Source, Stage
from tailrace.pipeline.options import Template
from tailrace.pipeline.sinks.jsonl import Jsonl
from tailrace.pipeline.sources.file import File
from tailrace.replay.plan import Plan
from tailrace.replay.receipt import Receipt
from tailrace.replay.run import Replay
from tailrace.replay.target import Target
from tailrace.stages.parse import Parse


def replay(folder: Path) -> Replay:
    sink = Jsonl(name="archive", path=Template("live/{date}.jsonl"))
    return Replay(folder / "state", Target(sink, into=f"{folder}/new/{{date}}.jsonl"))


def sources(folder: Path) -> dict[str, Source]:
    return {"app": File(name="app", include=[f"{folder}/logs/*"])}


def stages() -> list[Stage]:
    return [Parse(name="parse", format="json")]


def write(folder: Path, count: int) -> list[bytes]:
    """Two files, whose lines alternate."""
    (folder / "logs").mkdir(exist_ok=True)
    lines = [b'{"timestamp":"2026-01-01T00:%02d:%02dZ","id":%d}\n' % (*divmod(n, 60), n) for n in range(count)]
    (folder / "logs" / "a").write_bytes(b"".join(lines[::2]))
    (folder / "logs" / "b").write_bytes(b"".join(lines[1::2]))
    return lines


async def whole(folder: Path) -> tuple[Plan, Receipt]:
    with replay(folder) as work:
        if not work.known():
            await work.gather(sources(folder), stages())
        plan = await work.plan(time.time_ns())
        return plan, await work.run(plan)


async def test_records_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    lines = write(tmp_path, 600)
    plan, receipt = await whole(tmp_path)
    assert (tmp_path / "new" / "2026-01-01.jsonl").read_bytes() == b"".join(lines)
    assert (receipt.delivered, receipt.complete, receipt.refused) == (600, True, 0)
    assert (plan.records, plan.read.events, len(plan.streams)) == (600, 600, 1)


async def test_what_was_replayed_is_not_replayed_again(tmp_path: Path) -> None:
    lines = write(tmp_path, 100)
    first = await whole(tmp_path)
    assert (await whole(tmp_path))[1].delivered == first[1].delivered == 100
    assert (tmp_path / "new" / "2026-01-01.jsonl").read_bytes() == b"".join(lines)


async def test_nothing_is_sent_in_a_dry_run(tmp_path: Path) -> None:
    write(tmp_path, 100)
    with replay(tmp_path) as work:
        await work.gather(sources(tmp_path), stages())
        receipt = await work.run(await work.plan(time.time_ns()), dry=True)
        assert (receipt.records, receipt.complete) == (100, True)
        assert work.receipt is None
        assert not work.begun
    assert not (tmp_path / "new").exists()


async def test_the_same_records_have_the_same_name_wherever_they_are(tmp_path: Path) -> None:
    names = []
    for place, swap in (("one", False), ("two", True)):
        folder = tmp_path / place
        folder.mkdir()
        write(folder, 50)
        if swap:
            (folder / "logs" / "a").rename(folder / "logs" / "z")
        names.append((await whole(folder))[0].name)
    assert names[0] == names[1]
    write(tmp_path / "one", 51)
    with replay(tmp_path / "one") as work:
        await work.gather(sources(tmp_path / "one"), stages())
        assert work.name != names[0]


async def test_other_files_are_read_anew_unless_it_was_begun(tmp_path: Path) -> None:
    write(tmp_path, 10)
    with replay(tmp_path) as work:
        assert not work.known("v1")
        await work.gather(sources(tmp_path), stages(), fingerprint="v1")
        assert work.known("v1")
        assert not work.known("v2")
        (work.folder / "ship").mkdir()
        assert work.known("v2")


async def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with replay(tmp_path), pytest.raises(StateError, match="in use"):
        await asyncio.to_thread(replay(tmp_path).__enter__)
