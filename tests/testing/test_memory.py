"""What tests are built from does what it says."""

from __future__ import annotations

import pytest

from tailrace.pipeline.batch import Batch, Position
from tailrace.pipeline.component import Rejected, Stage
from tailrace.testing import READ_AT, ListSink, ListSource, batch_of, lines_of, run_stage


class Tag(Stage):
    def process(self, batch: Batch) -> Batch:
        for record in batch.records:
            record.set("by", self.name)
            record.set("wanted", None if self._wanted is None else sorted(self._wanted))
        return batch


@pytest.mark.parametrize(
    ("lines", "offsets"),
    [
        pytest.param([], [], id="no lines"),
        pytest.param([b"a"], [0], id="one"),
        pytest.param([b"a", b"", b"bc"], [0, 2, 3], id="an empty one between"),
        pytest.param([b"a\nb", b"c"], [0, 4], id="an event of several lines"),
        pytest.param([b""], [0], id="an empty one"),
    ],
)
def test_a_batch_of_lines_is_what_a_file_source_would_give(lines: list[bytes], offsets: list[int]) -> None:
    batch = batch_of(*lines)
    assert lines_of(batch) == lines
    assert [record.offset for record in batch.records] == offsets
    assert batch.ack.end == sum(map(len, lines)) + len(lines)
    assert batch.ack.position == {"offset": batch.ack.end}
    assert (batch.source, batch.partition, batch.read_at_ns, batch.ack.owed) == ("test", "test", READ_AT, set())


def test_a_batch_has_the_labels_and_the_state_that_it_is_given() -> None:
    state = {"stage": 1}
    batch = batch_of(b"a", labels={"source": "app", "file": "a.log"}, state=state)
    assert (batch.source, batch.labels["file"]) == ("app", "a.log")
    assert batch.state is state


@pytest.mark.parametrize(("wanted", "told"), [(None, None), (["b", "a"], ["a", "b"])])
def test_a_stage_runs_as_the_engine_runs_it(wanted: list[str] | None, told: list[str] | None) -> None:
    (record,) = run_stage(Tag(), batch_of(b"x"), wanted).records
    assert record.fields == {"message": "x", "by": "tag", "wanted": told}


def test_a_stage_keeps_the_name_it_has() -> None:
    (record,) = run_stage(Tag(name="mine"), batch_of(b"x")).records
    assert record.fields["by"] == "mine"


@pytest.mark.parametrize(
    ("resume", "lines"),
    [
        ({}, [[b"a", b"b"], [], [b"c"]]),
        ({"list": {"offset": 2}}, [[], [b"c"]]),
        ({"list": {"offset": 3}}, []),
        ({"another": {"offset": 3}}, [[b"a", b"b"], [], [b"c"]]),
    ],
)
async def test_a_list_source_goes_on_where_it_is_told(resume: dict[str, Position], lines: list[list[bytes]]) -> None:
    source = ListSource(name="app", lines=[[b"a", b"b"], [], [b"c"]])
    chunks = [chunk async for chunk in source.chunks(resume, once=True)]
    assert [chunk.lines for chunk in chunks] == lines
    assert all(chunk.labels == {"source": "app"} and chunk.partition == "list" for chunk in chunks)
    assert not chunks or (chunks[-1].position, chunks[-1].offsets, chunks[-1].size) == ({"offset": 3}, [2], 2)


async def test_a_list_sink_fails_as_often_as_it_is_told() -> None:
    sink = ListSink(fail_times=1)
    with pytest.raises(OSError, match="told to fail"):
        await sink.send([batch_of(b"a")])
    await sink.send([batch_of(b"a"), batch_of(b"b")])
    assert [record.line for record in sink.got] == [b"a", b"b"]


async def test_a_list_sink_rejects_what_it_is_told_to_and_takes_the_rest() -> None:
    sink = ListSink(reject="bad")
    batch = batch_of(b"good", b"bad", b"bad too")
    with pytest.raises(Rejected) as caught:
        await sink.send([batch])
    assert [record.line for record in sink.got] == [b"good"]
    assert [record for record, _ in caught.value.records] == batch.records[1:]


def test_no_two_list_sinks_share_what_they_got() -> None:
    assert ListSink().got is not ListSink().got
