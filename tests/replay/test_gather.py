"""Files through the chain, once, into one order."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

from tailrace.pipeline.component import Stage
from tailrace.pipeline.dead_letter import DeadLetter
from tailrace.pipeline.match import Match
from tailrace.pipeline.options import Template
from tailrace.pipeline.sinks.loki import Loki
from tailrace.pipeline.sources.file import File
from tailrace.replay.block import blocks
from tailrace.replay.gather import Gather
from tailrace.replay.merge import Sorter
from tailrace.replay.target import Target
from tailrace.stages.drop import Drop
from tailrace.stages.parse import Parse
from tailrace.stages.redact import Redact

SECOND = 1_000_000_000


def line(second: int, **fields: str) -> str:
    more = "".join(f',"{name}":"{value}"' for name, value in fields.items())
    return f'{{"timestamp":"2026-01-01T00:00:{second:02d}Z"{more}}}\n'


async def gathered(
    tmp_path: Path, *stages: Stage, match: str = "", start: int = 0, end: int | None = None
) -> tuple[Gather, list[tuple[int, bytes]]]:
    sink = Loki(
        name="loki", url="http://x", labels={"app": Template("{app}")}, match=Match.decode(match) if match else None
    )
    sorter = Sorter(tmp_path / "runs")
    source = File(name="app", include=[str(tmp_path / "*.log*")])
    gather = Gather(
        {"app": source},
        [Parse(name="parse", format="json"), *stages],
        Target(sink),
        sorter,
        DeadLetter(tmp_path / "dead.jsonl"),
        start_ns=start,
        end_ns=end,
    )
    await gather.run()
    for _ in sorter.finish(tmp_path / "sorted"):
        pass
    found = [one for rows in blocks(tmp_path / "sorted") for one in zip(rows.times, rows.lines, strict=True)]
    return gather, found


async def test_rotated_and_compressed_files_become_one_sequence(tmp_path: Path) -> None:
    (tmp_path / "a.log.1.gz").write_bytes(gzip.compress((line(1) + line(5)).encode()))
    (tmp_path / "a.log").write_text(line(9) + line(3))
    gather, found = await gathered(tmp_path)
    assert [text for _, text in found] == [line(second).strip().encode() for second in (1, 3, 5, 9)]
    assert (gather.read.events, gather.read.records, gather.read.untimed) == (4, 4, 0)
    assert {file.path.rpartition("/")[2]: file.sha256 for file in gather.files} == {
        "a.log.1.gz": hashlib.sha256((line(1) + line(5)).encode()).hexdigest(),
        "a.log": hashlib.sha256((line(9) + line(3)).encode()).hexdigest(),
    }


async def test_the_books_of_the_reading_close(tmp_path: Path) -> None:
    begin = 1_767_225_600 * SECOND
    text = [line(at, app=app) for at, app in enumerate(["web", "drop", "other", "web", "web", "web"])]
    (tmp_path / "a.log").write_text("".join(text))
    gather, found = await gathered(
        tmp_path,
        Drop(name="drop", match=Match.decode('{app="drop"}')),
        match='{app="web"}',
        start=begin + SECOND,
        end=begin + 5 * SECOND,
    )
    read = gather.read
    assert (read.events, read.dropped, read.no_match, read.out_of_range, read.records) == (6, 1, 1, 2, 2)
    assert [at - begin for at, _ in found] == [3 * SECOND, 4 * SECOND]


async def test_lines_without_a_time_get_the_same_one_at_every_replay(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text('{"a":1}\n{"a":2}\n')
    os.utime(path, ns=(5 * SECOND, 7 * SECOND))
    gather, found = await gathered(tmp_path)
    assert [at for at, _ in found] == [7 * SECOND, 7 * SECOND + 1]
    assert gather.read.untimed == 2


async def test_what_the_rules_of_today_hide_is_counted_and_never_told(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(line(1, message="fine") + line(2, password="hunter2hunter2"))
    gather, found = await gathered(tmp_path, Redact(name="redact", pii=["email"]))
    assert gather.read.redacted == gather.files[0].redacted == 1
    assert gather.read.redactions == {"key-name": 1}
    assert b"hunter2" not in b"".join(text for _, text in found)


async def test_a_compressed_file_that_is_cut_short_is_told(tmp_path: Path) -> None:
    whole = gzip.compress("".join(line(second) for second in range(60)).encode() * 100)
    (tmp_path / "a.log.1.gz").write_bytes(whole[: len(whole) * 2 // 3])
    (tmp_path / "a.log").write_text(line(9))
    gather, found = await gathered(tmp_path)
    assert gather.read.unreadable == {f"{tmp_path}/a.log.1.gz": "ends in the middle of a compressed block"}
    assert len(found) > 1


async def test_a_compressed_copy_of_a_file_is_not_replayed_twice(tmp_path: Path) -> None:
    text = "".join(line(second, text="x" * 90) for second in range(60)).encode()
    (tmp_path / "a.log.1").write_bytes(text)
    (tmp_path / "a.log.1.gz").write_bytes(gzip.compress(text))
    (tmp_path / "a.log").write_text(line(59))
    gather, found = await gathered(tmp_path)
    assert (gather.read.events, len(found)) == (61, 61)
    assert [file.path.rpartition("/")[2] for file in gather.files] == ["a.log.1", "a.log"]
