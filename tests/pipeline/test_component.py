"""A component is its options; its word follows from its name."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import pytest

from tailrace.pipeline.component import Component, Gone, ProbeError, Rejected, RetryAfter, Sink, Source, Stage
from tailrace.pipeline.options import decode_option
from tailrace.pipeline.record import Record
from tailrace.testing import ListSink, ListSource, batch_of


class DeriveMetrics(Stage):
    limit: int = 3
    seen: ClassVar[int] = 0


class Mp3ToWav(Stage):
    pass


@pytest.mark.parametrize(
    ("component", "word"),
    [(DeriveMetrics, "derive_metrics"), (Stage, "stage"), (ListSink, "list_sink"), (Mp3ToWav, "mp3_to_wav")],
)
def test_the_word_follows_from_the_class_name(component: type[Component], word: str) -> None:
    assert component.word() == word


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="limt"):
        msgspec.convert({"limt": 4}, DeriveMetrics)


def test_options_are_decoded_by_their_types() -> None:
    sink = msgspec.convert(
        {"batch_wait": "50ms", "batch_bytes": "2KiB", "match": '{level="error"}'}, ListSink, dec_hook=decode_option
    )
    assert sink.batch_wait == 0.05
    assert sink.batch_bytes == 2048
    assert sink.match is not None
    assert set(sink.match.fields) == {"level"}


def test_two_components_with_the_same_options_are_two() -> None:
    assert Mp3ToWav() != Mp3ToWav()


@pytest.mark.parametrize("component", [Stage(), Source(), Sink()], ids=lambda c: c.word())
def test_a_component_declares_nothing_unless_it_says_so(component: Component) -> None:
    told = [component.check(), component.reads(), component.writes(), component.removes(), component.collect()]
    assert [list(one) for one in told] == [[], [], [], [], []]


async def test_what_every_component_must_write_itself_says_so() -> None:
    with pytest.raises(NotImplementedError):
        Stage().process(batch_of(b"x"))
    with pytest.raises(NotImplementedError):
        Source().chunks({}, once=True)
    with pytest.raises(NotImplementedError):
        await Sink().send([])


async def test_a_source_and_a_sink_need_nothing_else() -> None:
    source, sink = ListSource(), ListSink()
    await source.probe()
    await source.commit({"p": {"offset": 1}}, {"p": b"{}"}, {"p": {"out": 1}})
    await sink.open()
    await sink.probe()
    await sink.close()
    assert list(source.forgotten()) == []
    assert list(source.lag()) == []


def test_errors_carry_what_the_engine_needs() -> None:
    record = Record(b"x")
    assert ProbeError("no such host", "url").option == "url"
    assert RetryAfter("later", 2.5).seconds == 2.5
    assert str(Gone("closed")) == "closed"
    rejected = Rejected([(record, "too old")], hint="see limits")
    assert (rejected.records, rejected.hint, str(rejected)) == (
        [(record, "too old")],
        "see limits",
        "1 records rejected",
    )


def test_a_stage_remembers_which_fields_are_wanted_after_it() -> None:
    class Parse(Stage):
        def wanted(self) -> frozenset[str] | None:
            return self._wanted

    stage = Parse()
    stage.prepare(frozenset({"level"}))
    assert stage.wanted() == frozenset({"level"})
