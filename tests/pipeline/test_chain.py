"""Batches go through every stage; a record that fails goes alone; every record is counted."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import pytest

from tailrace.pipeline.batch import Batch, Dead
from tailrace.pipeline.chain import Chain
from tailrace.pipeline.component import Stage
from tailrace.testing import READ_AT, batch_of, lines_of


class Shout(Stage):
    def process(self, batch: Batch) -> Batch:
        for record in batch.records:
            record.line = record.line.upper()
        return batch


class Keep(Stage):
    text: bytes
    reason: ClassVar[str] = "not_kept"

    def process(self, batch: Batch) -> Batch:
        return batch.with_records([record for record in batch.records if self.text in record.line])


class Choke(Stage):
    """Raises on a record with its text, after it has worked on those before."""

    text: bytes = b"bad"
    give_up: bytes = b"hopeless"

    def process(self, batch: Batch) -> Batch:
        kept = []
        for record in batch.records:
            if self.give_up in record.line:
                batch.dead.append(Dead(record, self.name, "given up"))
                continue
            if self.text in record.line:
                raise ValueError(f"cannot swallow {record.text}")
            kept.append(record)
        return batch.with_records(kept)


class Hide(Choke):
    protects: ClassVar[bool] = True


def chain_of(*stages: Stage) -> Chain:
    for place, stage in enumerate(stages):
        stage.name = stage.name or f"{stage.word()}{place}"
    return Chain(stages, [None] * len(stages))


def test_without_stages_a_batch_gets_its_times_only() -> None:
    out = chain_of().run(batch_of(b"a", b"b"))
    assert lines_of(out) == [b"a", b"b"]
    assert [record.time_ns for record in out.records] == [READ_AT, READ_AT + 1]
    assert out.size == 2


def test_stages_work_one_after_the_other() -> None:
    batch = batch_of(b"one ok", b"two", b"three ok")
    assert lines_of(chain_of(Keep(text=b"ok"), Shout()).run(batch)) == [b"ONE OK", b"THREE OK"]


def test_every_stage_is_prepared_with_what_is_wanted_after_it() -> None:
    wanted = []

    class Ask(Stage):
        def prepare(self, after: frozenset[str] | None) -> None:
            wanted.append(after)

    Chain([Ask(), Ask()], [frozenset({"level"}), None])
    assert wanted == [frozenset({"level"}), None]


def test_each_stage_is_measured() -> None:
    chain = chain_of(Keep(text=b"ok"), Shout())
    out = chain.run(batch_of(b"one ok", b"two"))
    keep, shout = chain.meters
    assert (keep.events_in, keep.bytes_in, keep.events_out, keep.bytes_out) == (2, 9, 1, 6)
    assert keep.dropped == {"not_kept": 1}
    assert (shout.events_in, shout.bytes_in, shout.events_out, shout.dropped) == (1, 6, 1, {})
    assert sum(keep.batches) == sum(shout.batches) == 1
    assert out.size == 6


def test_a_record_that_a_stage_raises_on_goes_alone() -> None:
    chain = chain_of(Choke(), Shout())
    out = chain.run(batch_of(b"good", b"bad", b"fine"))
    assert lines_of(out) == [b"GOOD", b"FINE"]
    assert [(one.record.line, one.where, one.reason, one.withheld) for one in out.dead] == [
        (b"bad", "choke0", "ValueError: cannot swallow bad", False)
    ]
    assert (chain.meters[0].dead, chain.meters[0].dropped) == (1, {})


def test_what_a_stage_gave_up_before_it_raised_is_counted_once() -> None:
    chain = chain_of(Choke())
    out = chain.run(batch_of(b"hopeless", b"bad", b"good"))
    assert lines_of(out) == [b"good"]
    assert [one.reason for one in out.dead] == ["given up", "ValueError: cannot swallow bad"]
    assert (chain.meters[0].dead, chain.meters[0].events_out, chain.meters[0].dropped) == (2, 1, {})


def test_before_the_secrets_are_hidden_no_dead_record_is_written_out() -> None:
    chain = chain_of(Choke(), Hide(text=b"key"), Choke(text=b"late"))
    out = chain.run(batch_of(b"bad", b"hopeless", b"key", b"late", b"good"))
    assert lines_of(out) == [b"good"]
    told = {one.record.line: (one.withheld, one.reason) for one in out.dead}
    assert told == {
        b"bad": (True, "ValueError"),
        b"hopeless": (True, "given up"),
        b"key": (True, "ValueError"),
        b"late": (False, "ValueError: cannot swallow late"),
    }


@pytest.mark.parametrize("reason", ["bad value hunter2 in it", "at hunter2!", "pass:hunter"], ids=str)
def test_a_reason_that_quotes_what_is_not_hidden_yet_is_not_told(reason: str) -> None:
    class Tell(Hide):
        def process(self, batch: Batch) -> Batch:
            batch.dead.append(Dead(batch.records[0], self.name, reason, hint="or hunter2"))
            return batch.with_records([])

    (dead,) = chain_of(Tell()).run(batch_of(b"password=hunter2")).dead
    assert (dead.withheld, dead.reason, dead.hint) == (True, "not told, for it quotes the record", "")


def test_an_empty_batch_passes_a_stage_that_raises_on_it() -> None:
    class Strict(Stage):
        def process(self, batch: Batch) -> Batch:
            return batch.with_records([max(batch.records, key=lambda record: record.offset)])

    out = chain_of(Strict()).run(batch_of())
    assert (out.records, out.dead) == ([], [])


def test_a_stage_may_return_more_records_than_it_got() -> None:
    class Double(Stage):
        def process(self, batch: Batch) -> Batch:
            return batch.with_records(
                [r for record in batch.records for r in (record, msgspec.structs.replace(record))]
            )

    chain = chain_of(Double())
    out = chain.run(batch_of(b"x"))
    assert len({record.time_ns for record in out.records}) == 2
    assert chain.meters[0].events_out == 2
    assert sum(chain.meters[0].dropped.values()) == -1  # so that the books close


class Mask(Stage):
    protects: ClassVar[bool] = True

    def process(self, batch: Batch) -> Batch:
        return batch

    def clean(self, text: str) -> str:
        if "hopeless" in text:
            raise ValueError(text)
        return text.replace("hunter2", "***")


def test_a_reason_that_quotes_a_secret_is_told_without_it() -> None:
    chain = chain_of(Mask(), Choke())
    batch = batch_of(b"bad hunter2", b"good")
    chain.run(batch)
    assert [dead.reason for dead in batch.dead] == ["ValueError: cannot swallow bad ***"]


def test_what_cannot_be_cleaned_is_not_told() -> None:
    assert chain_of(Mask()).clean("hopeless hunter2") == "(not told, for it cannot be redacted)"
    assert chain_of(Choke()).clean("hunter2") == "hunter2"
