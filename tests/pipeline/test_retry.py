"""What is in the dead letter is delivered once it can be; what cannot stays, and nothing comes twice."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from tailrace.pipeline.batch import Batch
from tailrace.pipeline.checkpoint import Checkpoint, StateError
from tailrace.pipeline.component import ProbeError, Rejected, RetryAfter, Sink, Source, Stage
from tailrace.pipeline.dead_letter import FILE, DeadLetter, Letter
from tailrace.pipeline.match import Match
from tailrace.pipeline.options import Duration, Template
from tailrace.pipeline.retry import Outcome, Retry
from tailrace.pipeline.runner import Runner
from tailrace.pipeline.sinks.jsonl import Jsonl
from tailrace.pipeline.sources.file import File
from tailrace.testing import READ_AT, ListSink, ListSource

LINES = [b"good", b"bad", b"refused", b"fine"]


class Choke(Stage):
    """Raises on some records, and adds a field to the others."""

    bad: str = "bad"

    def process(self, batch: Batch) -> Batch:
        for record in batch.records:
            if self.bad and self.bad in record.text:
                raise ValueError(f"cannot swallow {record.text}")
            record.set("app", "shop")
        return batch


class Hide(Choke):
    protects: ClassVar[bool] = True


class Shut(ListSink):
    """Cannot be reached."""

    async def probe(self) -> None:
        raise ProbeError("no way", "url")


class Down(ListSink):
    async def send(self, batches: Sequence[Batch]) -> None:
        raise RetryAfter("down", 0.0)


def named(**sinks: Sink) -> dict[str, Sink]:
    for name, sink in sinks.items():
        sink.name, sink.batch_wait = name, Duration(0)
    return dict(sinks)


async def run(state: Path, source: Source, stages: Sequence[Stage], sinks: dict[str, Sink]) -> Runner:
    source.name = "app"
    for stage in stages:
        stage.name = stage.word()
    runner = Runner(
        {"app": source}, stages, sinks, wanted=[None] * len(stages), state=state, clock_ns=lambda: READ_AT, drain=0.0
    )
    assert await runner.run(once=True) == 0
    return runner


async def retry(
    state: Path,
    source: Source,
    stages: Sequence[Stage],
    sinks: dict[str, Sink],
    *,
    match: str = "",
    patience: float = 9,
) -> Outcome:
    source.name = "app"
    for stage in stages:
        stage.name = stage.word()
    return await Retry(
        {"app": source},
        stages,
        sinks,
        wanted=[None] * len(stages),
        state=state,
        dead_letter=DeadLetter(state / FILE),
        goes=lambda letter: match in letter.where,
        patience=patience,
    ).run()


def letters(state: Path) -> list[Letter]:
    return list(DeadLetter(state / FILE).letters())


def lines(sink: Sink) -> list[bytes]:
    assert isinstance(sink, ListSink)
    return [record.line for record in sink.got]


async def test_what_a_sink_refused_goes_to_that_sink_as_it_was(tmp_path: Path) -> None:
    first = named(loki=ListSink(reject="refused"), other=ListSink())
    await run(tmp_path, ListSource(lines=[LINES]), [Choke(bad="")], first)
    again = named(loki=ListSink(), other=ListSink())
    assert await retry(tmp_path, ListSource(), [Choke()], again) == Outcome(tried=1, delivered=1)
    assert (lines(again["loki"]), lines(again["other"])) == ([b"refused"], [])
    assert isinstance(first["other"], ListSink)
    assert isinstance(again["loki"], ListSink)
    (then,) = [record for record in first["other"].got if record.line == b"refused"]
    (now,) = again["loki"].got
    assert (now.time_ns, now.offset, now.fields) == (then.time_ns, then.offset, then.fields)
    assert letters(tmp_path) == []


async def test_what_a_stage_failed_on_goes_through_all_stages_and_to_every_sink_that_wants_it(tmp_path: Path) -> None:
    first = named(loki=ListSink(), errors=ListSink())
    await run(tmp_path, ListSource(lines=[LINES, [b"bad too"]]), [Choke()], first)
    again = named(loki=ListSink(), errors=ListSink(match=Match('{} |= "too"')), none=ListSink(match=Match('{app="x"}')))
    assert await retry(tmp_path, ListSource(), [Choke(bad="")], again) == Outcome(tried=2, delivered=2)
    assert [lines(sink) for sink in again.values()] == [[b"bad", b"bad too"], [b"bad too"], []]
    loki = again["loki"]
    assert isinstance(loki, ListSink)
    assert [record.fields["app"] for record in loki.got] == ["shop", "shop"]
    assert loki.got[0].time_ns == READ_AT
    assert letters(tmp_path) == []


async def test_what_fails_again_stays_with_the_new_reason(tmp_path: Path) -> None:
    await run(tmp_path, ListSource(lines=[LINES]), [Choke()], named(loki=ListSink(reject="refused")))
    outcome = await retry(tmp_path, ListSource(), [Choke(bad="a")], named(loki=ListSink(reject="ref")))
    assert (outcome.tried, outcome.delivered, outcome.stay) == (2, 0, 2)
    assert outcome.why == {"ValueError: cannot swallow bad": 1, "told to reject": 1}
    assert [(one.where, one.line) for one in letters(tmp_path)] == [("choke", "bad"), ("loki", "refused")]


async def test_what_the_stages_take_now_and_a_sink_refuses_becomes_that_sinks(tmp_path: Path) -> None:
    await run(tmp_path, ListSource(lines=[LINES]), [Choke()], named(loki=ListSink(), other=ListSink()))
    again = named(loki=ListSink(reject="bad"), other=ListSink())
    outcome = await retry(tmp_path, ListSource(), [Choke(bad="")], again)
    assert (outcome.delivered, outcome.stay, lines(again["other"])) == (0, 1, [b"bad"])
    (letter,) = letters(tmp_path)
    assert (letter.where, letter.kind, letter.line, letter.fields["app"]) == ("loki", "sink", "bad", "shop")
    last = named(loki=ListSink(), other=ListSink())
    assert (await retry(tmp_path, ListSource(), [Choke()], last)).delivered == 1
    assert (lines(last["loki"]), lines(last["other"])) == ([b"bad"], [])


async def test_only_the_letters_that_are_meant_are_tried(tmp_path: Path) -> None:
    await run(tmp_path, ListSource(lines=[LINES]), [Choke()], named(loki=ListSink(reject="refused")))
    again = named(loki=ListSink())
    assert await retry(tmp_path, ListSource(), [Choke(bad="")], again, match="choke") == Outcome(1, 1)
    assert lines(again["loki"]) == [b"bad"]
    assert [one.where for one in letters(tmp_path)] == ["loki"]


async def test_letters_for_a_sink_that_is_no_more_stay(tmp_path: Path) -> None:
    await run(tmp_path, ListSource(lines=[LINES]), [], named(old=ListSink(reject="refused")))
    outcome = await retry(tmp_path, ListSource(), [], named(new=ListSink()))
    assert (outcome.delivered, outcome.why) == (0, {"no sink 'old' in the config": 1})
    assert len(letters(tmp_path)) == 1


async def test_a_sink_that_does_not_answer_keeps_its_letters_and_the_others_get_theirs(tmp_path: Path) -> None:
    await run(tmp_path, ListSource(lines=[LINES]), [Choke()], named(loki=ListSink(), other=ListSink()))
    again = named(loki=Down(), other=ListSink())
    outcome = await retry(tmp_path, ListSource(), [Choke(bad="")], again, patience=0.0)
    assert (outcome.delivered, outcome.stay, outcome.failed) == (0, 1, "loki: RetryAfter: down")
    assert lines(again["other"]) == [b"bad"]
    (letter,) = letters(tmp_path)
    assert (letter.where, letter.reason, letter.line) == ("loki", "RetryAfter: down", "bad")


async def test_before_anything_is_sent_the_sinks_are_tried(tmp_path: Path) -> None:
    await run(tmp_path, ListSource(lines=[LINES]), [], named(loki=ListSink(reject="refused")))
    with pytest.raises(ProbeError, match="no way"):
        await retry(tmp_path, ListSource(), [], named(loki=Shut()))
    assert len(letters(tmp_path)) == 1


async def test_a_state_folder_in_use_is_refused(tmp_path: Path) -> None:
    running = Checkpoint(tmp_path)
    running.lock()
    with pytest.raises(StateError, match="in use by another tailrace"):
        await retry(tmp_path, ListSource(), [], named(loki=ListSink()))
    running.unlock()
    assert await retry(tmp_path, ListSource(), [], named(loki=ListSink())) == Outcome()


class Refuse(ListSink):
    async def send(self, batches: Sequence[Batch]) -> None:
        raise Rejected([(record, "no") for batch in batches for record in batch.records])


async def test_many_letters_go_in_their_order(tmp_path: Path) -> None:
    many = [[b"%d" % n for n in range(start, start + 400)] for start in range(0, 2000, 400)]
    await run(tmp_path, ListSource(lines=many), [], named(loki=Refuse()))
    assert len(letters(tmp_path)) == 2000
    again = named(loki=ListSink())
    assert await retry(tmp_path, ListSource(), [], again) == Outcome(2000, 2000)
    assert lines(again["loki"]) == [line for some in many for line in some]


# ---- lines that were not written down ------------------------------------------------------------------------------


def follow(tmp_path: Path) -> File:
    return File(include=[f"{tmp_path}/logs/*.log"])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs" / "a.log"
    path.write_bytes(b"good\nbad password=hunter2\nfine, and long enough to be told from every other file there is\n")
    return path


def rotate(path: Path, name: str) -> None:
    content = path.read_bytes()
    path.rename(path.parent / name)
    if name.endswith(".gz"):
        (path.parent / name).write_bytes(gzip.compress(content))


def replace(path: Path, content: bytes | None) -> None:
    """By a new file, or by none."""
    path.unlink()
    if content is not None:
        path.write_bytes(content)


@pytest.mark.parametrize("moved", ["", "a.log.1", "a.log.1.gz"])
async def test_a_line_that_may_hold_a_secret_is_read_from_its_file_again(tmp_path: Path, log: Path, moved: str) -> None:
    state = tmp_path / "state"
    await run(state, follow(tmp_path), [Hide()], named(loki=ListSink()))
    assert "hunter2" not in (state / FILE).read_text()
    rotate(log, moved or log.name)
    again = named(loki=ListSink())
    assert await retry(state, follow(tmp_path), [Hide(bad="")], again) == Outcome(1, 1)
    assert lines(again["loki"]) == [b"bad password=hunter2"]
    loki = again["loki"]
    assert isinstance(loki, ListSink)
    assert loki.got[0].offset == 5
    assert letters(state) == []


@pytest.mark.parametrize("content", [None, b"another\nbad password=letmein\n" * 9], ids=["gone", "another file"])
async def test_a_line_that_is_no_longer_there_stays(tmp_path: Path, log: Path, content: bytes | None) -> None:
    state = tmp_path / "state"
    await run(state, follow(tmp_path), [Hide()], named(loki=ListSink()))
    replace(log, content)
    again = named(loki=ListSink())
    outcome = await retry(state, follow(tmp_path), [Hide(bad="")], again)
    assert (outcome.stay, outcome.why) == (1, {"what it was read from is not there any more": 1})
    assert (lines(again["loki"]), len(letters(state))) == ([], 1)


async def test_a_line_that_fails_again_is_still_not_written_down(tmp_path: Path, log: Path) -> None:
    state = tmp_path / "state"
    await run(state, follow(tmp_path), [Hide()], named(loki=ListSink()))
    for _ in range(2):
        outcome = await retry(state, follow(tmp_path), [Hide()], named(loki=ListSink()))
        assert outcome.why == {"ValueError": 1}
    assert "hunter2" not in (state / FILE).read_text()
    assert (await retry(state, follow(tmp_path), [Hide(bad="")], named(loki=ListSink()))).delivered == 1


# ---- with an archive, whose length is in the checkpoint --------------------------------------------------------------


def archive(tmp_path: Path) -> dict[str, Sink]:
    return named(archive=Jsonl(path=Template(f"{tmp_path}/archive/{{source}}.jsonl")))


def archived(tmp_path: Path) -> list[str]:
    return [json.loads(line)["message"] for line in (tmp_path / "archive" / "app.jsonl").read_text().splitlines()]


async def test_what_was_retried_into_an_archive_outlives_the_next_start(tmp_path: Path) -> None:
    await run(tmp_path, ListSource(lines=[LINES]), [Choke()], archive(tmp_path))
    assert (await retry(tmp_path, ListSource(), [Choke(bad="")], archive(tmp_path))).delivered == 1
    await run(tmp_path, ListSource(lines=[LINES, [b"later"]]), [Choke()], archive(tmp_path))
    assert archived(tmp_path) == ["good", "refused", "fine", "bad", "later"]


@pytest.mark.parametrize("crash", ["before the checkpoint", "after the checkpoint"])
async def test_a_retry_that_was_killed_repeats_nothing_in_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    await run(tmp_path, ListSource(lines=[LINES]), [Choke()], archive(tmp_path))

    def die(*arguments: object) -> None:
        raise OSError("killed")

    with monkeypatch.context() as broken:
        if crash.startswith("before"):
            broken.setattr(Checkpoint, "save", die)
        else:
            broken.setattr(DeadLetter, "_put", die)
        with pytest.raises(OSError, match="killed"):
            await retry(tmp_path, ListSource(), [Choke(bad="")], archive(tmp_path))
    assert archived(tmp_path)[-1] == "bad"
    await retry(tmp_path, ListSource(), [Choke(bad="")], archive(tmp_path))
    await run(tmp_path, ListSource(lines=[LINES, [b"later"]]), [Choke()], archive(tmp_path))
    assert archived(tmp_path) == ["good", "refused", "fine", "bad", "later"]
    assert letters(tmp_path) == []


async def test_a_retry_stopped_in_the_middle_keeps_what_was_not_delivered(tmp_path: Path) -> None:
    class Wait(ListSink):
        async def send(self, batches: Sequence[Batch]) -> None:
            await asyncio.Event().wait()

    await run(tmp_path, ListSource(lines=[LINES]), [Choke()], named(loki=ListSink(), other=ListSink()))
    again = named(loki=Wait(), other=ListSink())
    retrying = asyncio.ensure_future(retry(tmp_path, ListSource(), [Choke(bad="")], again))
    while not lines(again["other"]):  # noqa: ASYNC110  # what it waits for is plain state
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    retrying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await retrying
    assert [(one.where, one.reason) for one in letters(tmp_path)] == [("loki", "the retry was stopped")]


async def test_what_the_last_run_left_in_flight_is_untouched(tmp_path: Path) -> None:
    """The next run finds the chunks that were on their way as if there had been no retry."""
    sinks = named(loki=ListSink(reject="refused"), other=ListSink())
    await run(tmp_path, ListSource(lines=[LINES]), [], sinks)
    flight = (tmp_path / "flight.jsonl").read_bytes()
    before = Checkpoint(tmp_path).load()
    await retry(tmp_path, ListSource(), [], named(loki=ListSink(), other=ListSink()))
    after = Checkpoint(tmp_path).load()
    assert (tmp_path / "flight.jsonl").read_bytes() == flight
    assert after.number >= before.number
    assert after.sources["app"]["list"].position == before.sources["app"]["list"].position


def test_a_letter_without_a_line_has_no_record() -> None:
    with pytest.raises(ValueError, match="no line"):
        Letter("app", "p", 0, "redact", "ValueError", kind="stage").record()
