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
from tailrace.pipeline.record import Record, rfc3339
from tailrace.testing import READ_AT, batch_of


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
            "read": rfc3339(READ_AT),
            "labels": {"source": "app"},
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
    batch = batch_of(line, labels={"source": "app"})
    batch.records[0].set("user", "hunter2")
    batch.span = (0, len(line) + 1)
    dead = Dead(batch.records[0], "redact", "ValueError", withheld=True)
    DeadLetter(tmp_path / "dead.jsonl").write(batch, [dead], "stage")
    assert letters(tmp_path / "dead.jsonl") == [
        {
            "source": "app",
            "partition": "test",
            "offset": 0,
            "where": "redact",
            "reason": "ValueError",
            "labels": {"source": "app"},
            "kind": "stage",
            "read": rfc3339(READ_AT),
            "position": {"offset": len(line) + 1},
            "span": [0, len(line) + 1],
        }
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


def write(dead_letter: DeadLetter, *lines: bytes, where: str = "loki", offset: int = 0) -> None:
    """One letter for each line."""
    batch = batch_of(*lines)
    for place, record in enumerate(batch.records):
        record.offset = offset + place
        dead_letter.write(batch, [Dead(record, where, "no")])


def kept(dead_letter: DeadLetter) -> list[str | None]:
    return [letter.line for letter in dead_letter.letters()]


def test_what_was_written_down_twice_is_shown_once(tmp_path: Path) -> None:
    dead_letter = DeadLetter(tmp_path / "dead_letter.jsonl")
    for _ in range(2):
        write(dead_letter, b"a", b"b")
        write(dead_letter, b"a", where="archive")
    write(dead_letter, b"first half", b"second half", offset=7)
    shown = [(letter.line, letter.where) for letter in dead_letter.letters()]
    halves = [("first half", "loki"), ("second half", "loki")]
    assert shown == [("a", "loki"), ("b", "loki"), ("a", "archive"), *halves]
    assert dead_letter.counts() == {"archive": 1, "loki": 4}


def test_parts_of_one_record_are_letters_of_their_own(tmp_path: Path) -> None:
    dead_letter = DeadLetter(tmp_path / "dead_letter.jsonl")
    batch = batch_of(b"x")
    parts = [Record(b"left"), Record(b"right")]
    dead_letter.write(batch, [Dead(part, "loki", "no") for part in parts])
    assert kept(dead_letter) == ["left", "right"]


def test_a_letter_cut_short_by_a_crash_is_left_out_and_the_next_one_is_whole(tmp_path: Path) -> None:
    dead_letter = DeadLetter(tmp_path / "dead_letter.jsonl")
    write(dead_letter, b"a", b"b")
    whole = dead_letter.path.read_bytes()
    dead_letter.path.write_bytes(whole[:-10])
    write(dead_letter, b"c", offset=5)
    assert kept(dead_letter) == ["a", "c"]


def test_a_dead_letter_that_is_not_there_is_empty(tmp_path: Path) -> None:
    dead_letter = DeadLetter(tmp_path / "dead_letter.jsonl")
    assert (kept(dead_letter), dead_letter.counts(), dead_letter.drop(lambda letter: True)) == ([], {}, 0)
    dead_letter.recover(9)
    assert list(tmp_path.iterdir()) == []


def test_when_it_is_full_nothing_more_is_written_until_there_is_room(tmp_path: Path) -> None:
    dead_letter = DeadLetter(tmp_path / "dead_letter.jsonl", max_bytes=500)
    write(dead_letter, b"a", b"b")
    with pytest.raises(OSError, match=r"full: .*tailrace dlq"):
        write(dead_letter, b"x" * 400, offset=2)
    assert kept(dead_letter) == ["a", "b"]
    assert dead_letter.drop(lambda letter: letter.line == "a") == 1
    assert dead_letter.drop(lambda letter: True) == 1
    write(dead_letter, b"x" * 1000, offset=2)  # one is taken whatever its size
    assert (kept(dead_letter), dead_letter.written, dead_letter.dropped) == (["x" * 1000], 3, 0)


def test_the_oldest_letters_give_way_when_that_is_asked_for(tmp_path: Path) -> None:
    dead_letter = DeadLetter(tmp_path / "dead_letter.jsonl", max_bytes=2000, when_full="drop_oldest")
    lines = [b"%03d" % number for number in range(100)]
    write(dead_letter, *lines)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2000
    shown = kept(dead_letter)
    assert shown == [line.decode() for line in lines[-len(shown) :]]
    assert len(shown) >= 5
    assert (dead_letter.written, dead_letter.dropped) == (100, 100 - len(shown))
    assert {path.name for path in tmp_path.iterdir()} == {"dead_letter.jsonl", "dead_letter.1.jsonl"}


def test_the_older_generation_counts_when_it_waits(tmp_path: Path) -> None:
    write(DeadLetter(tmp_path / "dead_letter.jsonl", 600, "drop_oldest"), b"a", b"b", b"c", b"d")
    held = sum(path.stat().st_size for path in tmp_path.iterdir())
    with pytest.raises(OSError, match="full"):
        write(DeadLetter(tmp_path / "dead_letter.jsonl", held), b"e", offset=4)


def test_dropping_keeps_what_others_write_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "dead_letter.jsonl"
    write(DeadLetter(path), b"old")

    def write_more() -> None:
        for n in range(1, 50):
            write(DeadLetter(path), b"new", offset=n)

    written = Thread(target=write_more)
    written.start()
    while written.is_alive():
        DeadLetter(path).drop(lambda letter: letter.line == "old")
    written.join()
    DeadLetter(path).drop(lambda letter: letter.line == "old")
    assert [letter.offset for letter in DeadLetter(path).letters()] == list(range(1, 50))


def test_a_letter_gives_the_record_back_as_the_sink_got_it(tmp_path: Path) -> None:
    dead_letter = DeadLetter(tmp_path / "dead_letter.jsonl")
    batch = batch_of(b"text", b'{"a": {"b": 1}}', b"caf\xe9", labels={"source": "app", "file": "a.log"})
    text, data, odd = batch.records
    text.parsed = {"message": "text", "level": "info"}
    data.format = "json"
    data.set("app", "shop")
    for place, record in enumerate(batch.records):
        record.time_ns = READ_AT + place
    dead_letter.write(batch, [Dead(record, "loki", "no") for record in batch.records])
    back = [letter.record() for letter in dead_letter.letters()]
    assert [(one.line, one.offset, one.time_ns, one.format, one.added) for one in back] == [
        (b"text", 0, READ_AT, "text", None),
        (b'{"a": {"b": 1}}', 5, READ_AT + 1, "json", {"app": "shop"}),
        (b"caf\xe9", 21, READ_AT + 2, "text", None),
    ]
    assert [one.to_json() for one in back] == [one.to_json() for one in (text, data, odd)]
    assert [letter.labels for letter in dead_letter.letters()] == [batch.labels] * 3


def test_a_record_that_a_stage_failed_on_comes_back_as_a_bare_line(tmp_path: Path) -> None:
    dead_letter = DeadLetter(tmp_path / "dead_letter.jsonl")
    batch = batch_of(b"text")
    batch.records[0].set("half", "done")
    dead_letter.write(batch, [Dead(batch.records[0], "parse", "odd")], "stage")
    (letter,) = dead_letter.letters()
    record = letter.record()
    assert (record.line, record.time_ns, record.fields) == (b"text", None, {"message": "text"})
    assert letter.read_at_ns == READ_AT


@pytest.mark.parametrize("value", ["\ud800", object, {1: 2}, 10**400], ids=["surrogate", "object", "keys", "number"])
def test_whatever_a_stage_puts_into_a_record_is_written_down(tmp_path: Path, value: object) -> None:
    dead_letter = DeadLetter(tmp_path / "dead_letter.jsonl")
    batch = batch_of(b"text")
    batch.records[0].set("odd", value)
    dead_letter.write(batch, [Dead(batch.records[0], "loki", f"cannot take {value!r}")])
    (letter,) = dead_letter.letters()
    assert (letter.line, list(letter.fields)) == ("text", ["message", "odd"])


@pytest.mark.parametrize("crash", ["before", "after"])
def test_a_change_that_a_crash_cut_off_is_made_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    dead_letter = DeadLetter(tmp_path / "dead_letter.jsonl", 550, "drop_oldest")
    write(dead_letter, b"a", b"b", b"c")
    assert (kept(dead_letter), dead_letter.older.exists()) == (["b", "c"], True)
    gone = {letter.key for letter in dead_letter.letters() if letter.line != "b"}
    born = [Letter("app", "p", 0, "loki", "new", line="new")]

    def save() -> None:
        if crash == "before":
            raise OSError("no")
        monkeypatch.setattr(dead_letter, "_put", lambda suffix: (_ for _ in ()).throw(OSError("no")))

    with pytest.raises(OSError, match="no"):
        dead_letter.replace(gone, born, 7, save)
    assert kept(dead_letter) == ["b", "c"]
    again = DeadLetter(dead_letter.path)
    again.recover(6 if crash == "before" else 7)
    assert kept(again) == (["b", "c"] if crash == "before" else ["b", "new"])
    assert {path.name for path in tmp_path.iterdir()} == {"dead_letter.jsonl", "dead_letter.1.jsonl"}


def test_who_reads_the_letters_is_not_disturbed_by_a_change(tmp_path: Path) -> None:
    dead_letter = DeadLetter(tmp_path / "dead_letter.jsonl", 550, "drop_oldest")
    write(dead_letter, b"a", b"b", b"c")
    reading = dead_letter.letters()
    first = next(reading)
    dead_letter.replace({first.key}, [Letter("app", "p", 0, "loki", "new", line="new")], 1, lambda: None)
    assert [first.line, *(letter.line for letter in reading)] == ["b", "c"]
    assert kept(dead_letter) == ["c", "new"]
