"""What cannot go on is written down, whole, once, and without what was to be hidden."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from tailrace.pipeline.batch import Dead
from tailrace.pipeline.dead_letter import DeadLetter, Letter
from tailrace.pipeline.record import Record
from tailrace.testing import batch_of


def letters(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """A disk that is full at this length, as far as one file can feel it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_letter_says_what_where_and_why(tmp_path: Path) -> None:
    batch = batch_of(b"first", b"second", labels={"source": "app"})
    batch.records[1].time_ns = 1
    dead_letter = DeadLetter(tmp_path / "dead.jsonl")
    dead_letter.write(batch, [Dead(batch.records[1], "loki", "too old", hint="see limits")])
    assert letters(dead_letter.path) == [
        {
            "source": "app",
            "partition": "test",
            "offset": 6,
            "where": "loki",
            "reason": "too old",
            "hint": "see limits",
            "time": "1970-01-01T00:00:00.000000001Z",
            "line": "second",
        }
    ]
    assert dead_letter.written == 1


def test_letters_are_appended(tmp_path: Path) -> None:
    batch = batch_of(b"a", b"b")
    for record in batch.records:
        DeadLetter(tmp_path / "dead.jsonl").write(batch, [Dead(record, "parse", "odd")])
    assert [letter["line"] for letter in letters(tmp_path / "dead.jsonl")] == ["a", "b"]


def test_bytes_that_are_not_utf_8_are_kept_in_base64(tmp_path: Path) -> None:
    batch = batch_of(b"caf\xe9")
    DeadLetter(tmp_path / "dead.jsonl").write(batch, [Dead(batch.records[0], "parse", "odd")])
    (letter,) = (tmp_path / "dead.jsonl").read_bytes().splitlines()
    assert msgspec.json.decode(letter, type=Letter).raw == b"caf\xe9"
    assert "line" not in json.loads(letter)


@pytest.mark.parametrize("line", [b"password=hunter2", b"hunter2 \xff"], ids=["text", "not UTF-8"])
def test_what_may_hold_a_secret_is_withheld(tmp_path: Path, line: bytes) -> None:
    batch = batch_of(line)
    DeadLetter(tmp_path / "dead.jsonl").write(batch, [Dead(batch.records[0], "redact", "ValueError", withheld=True)])
    assert letters(tmp_path / "dead.jsonl") == [
        {"source": "test", "partition": "test", "offset": 0, "where": "redact", "reason": "ValueError"}
    ]


@pytest.mark.parametrize("time_ns", [-1, 10**30], ids=["before 1970", "beyond all times"])
def test_a_time_that_is_none_is_left_out(tmp_path: Path, time_ns: int) -> None:
    batch = batch_of(b"x")
    DeadLetter(tmp_path / "dead.jsonl").write(batch, [Dead(Record(b"x", time_ns=time_ns), "custom", "odd")])
    assert "time" not in letters(tmp_path / "dead.jsonl")[0]


@pytest.mark.parametrize("size", [5_000, 50_000])
def test_a_full_disk_leaves_whole_letters_only_and_the_next_try_works(tmp_path: Path, size: int) -> None:
    dead_letter = DeadLetter(tmp_path / "dead.jsonl")
    batch = batch_of(b"first", b"x" * size)
    first, second = ([Dead(record, "loki", "too long")] for record in batch.records)
    dead_letter.write(batch, first)
    with no_file_longer_than(size // 2), pytest.raises(OSError, match="too large"):
        dead_letter.write(batch, second)
    assert [letter["line"] for letter in letters(dead_letter.path)] == ["first"]
    assert dead_letter.written == 1
    dead_letter.write(batch, second)
    assert [len(letter["line"]) for letter in letters(dead_letter.path)] == [5, size]
    assert dead_letter.written == 2


def test_a_letter_that_failed_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead_letter = DeadLetter(tmp_path / "dead.jsonl")
    batch = batch_of(b"lost", b"kept")
    lost, kept = ([Dead(record, "sink", "no")] for record in batch.records)
    other = Thread(target=dead_letter.write, args=(batch, kept))
    fsync = os.fsync

    def fail_while_another_writes(fd: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        other.start()
        other.join(0.05)  # it waits for this one to be over
        raise OSError("no")

    monkeypatch.setattr(os, "fsync", fail_while_another_writes)
    with pytest.raises(OSError, match="no"):
        dead_letter.write(batch, lost)
    other.join()
    assert [letter["line"] for letter in letters(dead_letter.path)] == ["kept"]
    assert dead_letter.written == 1


def test_letters_of_several_sinks_at_once_stay_whole(tmp_path: Path) -> None:
    dead_letter = DeadLetter(tmp_path / "dead.jsonl")
    batch = batch_of(b"x" * 20_000)

    def write(sink: str) -> None:
        for _ in range(10):
            dead_letter.write(batch, [Dead(batch.records[0], sink, "no")])

    threads = [Thread(target=write, args=(sink,)) for sink in ("loki", "archive")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = [letter["where"] for letter in letters(dead_letter.path)]
    assert sorted(written) == ["archive"] * 10 + ["loki"] * 10
    assert dead_letter.written == 20
