from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tailrace.config.data_flow import wanted
from tailrace.config.load import check, load
from tailrace.pipeline.match import Match
from tailrace.testing import ListSink

Write = Callable[[str], Path]


def told(path: Path) -> list[tuple[str, str, str, str]]:
    """What is marked, severity, message and hint of each problem."""
    return [(p.source[p.column - 1 : p.column - 1 + p.width], p.severity, p.message, p.hint) for p in check(path)[1]]


@pytest.mark.parametrize(
    "stages",
    [
        "- { use: shape, takes: [message, timestamp, source, file, topic, partition] }",
        "- { use: shape, gives: [level] }\n- { use: shape, takes: [level] }",
        "- { use: shape, gives: ['*'] }\n- { use: shape, takes: [whatever] }",
        "- { use: shape, takes: ['*'] }",
        "- { use: shape, gives: [a] }\n- { use: shape, loses: [a] }\n"
        "- { use: shape, gives: [a] }\n- { use: shape, takes: [a] }",
        "- { use: shape, gives: ['*'] }\n- { use: shape, loses: ['*'], gives: [a] }\n"
        "- { use: shape, takes: [a, message] }",
        "- { use: shape, gives: ['*'] }\n- { use: shape, takes: [files, messages, timestamps] }",
    ],
    ids=["given", "written", "open", "reads all", "written anew", "kept of all", "near to what is given only"],
)
def test_a_field_that_records_can_have_is_no_problem(staged: Write, stages: str) -> None:
    assert told(staged(stages)) == []


@pytest.mark.parametrize(
    ("stages", "marked", "message", "hint"),
    [
        (
            "- { use: shape, takes: [event] }",
            "event",
            "no record has the field 'event' here",
            "fields known here: file",
        ),
        (
            "- { use: shape, gives: [level] }\n- { use: shape, takes: [message, levle] }",
            "levle",
            "no record has the field 'levle' here",
            "did you mean 'level'?",
        ),
        (
            "- { use: shape, takes: [level] }\n- { use: shape, gives: [level] }",
            "level",
            "no record has the field 'level' here",
            "the stage 'shape.2' writes it, but later: move that stage up",
        ),
        (
            "- { use: shape, rules: [{ name: stgae, labels: { stgae: 'is {stgae}' } }] }",
            "stgae",
            "no record has the field 'stgae' here",
            "fields known here",
        ),
        (
            "- { use: shape, gives: ['*'] }\n- { use: shape, loses: [msg] }\n- { use: shape, takes: [msg] }",
            "msg",
            "the field 'msg' is gone: stage 'shape.2' removed it",
            "before that stage",
        ),
        (
            "- { use: shape, gives: ['*'] }\n- { use: shape, loses: ['*'], gives: [a] }\n- { use: shape, takes: [b] }",
            "b",
            "no record has the field 'b' here",
            "fields known here: a, file",
        ),
    ],
    ids=["closed", "misspelt", "written later", "in a template", "removed", "all removed"],
)
def test_a_field_that_no_record_can_have_is_an_error(
    staged: Write, stages: str, marked: str, message: str, hint: str
) -> None:
    ((at, severity, said, would_do),) = told(staged(stages))
    assert (at, severity, said) == (marked, "error", message)
    assert hint in would_do


def test_the_name_is_marked_inside_of_a_template(staged: Write) -> None:
    (problem,) = check(staged("- { use: shape, rules: [{ name: stgae, labels: { stgae: 'is {stgae}' } }] }"))[1]
    assert problem.source[: problem.column - 1].endswith("'is {")


def test_a_near_miss_of_a_written_field_is_a_warning_where_any_field_may_come(staged: Write) -> None:
    path = staged("- { use: shape, gives: ['*', error_type] }\n- { use: shape, takes: [eror_type, other] }")
    ((marked, severity, _, hint),) = told(path)
    assert (marked, severity, hint) == ("eror_type", "warning", "did you mean 'error_type', which 'shape' writes?")
    assert load(path).stages


@pytest.mark.parametrize("wrong", ["- { use: nope }", "- { use: shape, gives: [level], count: x }"])
def test_a_broken_stage_does_not_make_the_next_ones_wrong(staged: Write, wrong: str) -> None:
    assert len(told(staged(f"{wrong}\n- {{ use: shape, takes: [anything] }}"))) == 1


def test_a_stage_with_another_mistake_is_followed_too(staged: Write) -> None:
    found = told(staged("- { use: shape, count: x, takes: [event] }"))
    assert [marked for marked, *_ in found] == ["x", "event"]


def test_a_sink_reads_what_its_match_names(write: Write) -> None:
    path = write("""
        stage_files: [list_source.py, list_sink.py]
        sources: { app: { use: list_source } }
        sinks: { out: { use: list_sink, match: '{event="x"}' } }
    """)
    assert [(marked, severity) for marked, severity, *_ in told(path)] == [("event", "error")]


def test_paths_of_sinks_know_the_date(write: Write) -> None:
    path = write("""
        stage_files: [list_source.py]
        sources: { app: { use: list_source } }
        sinks: { out: { use: jsonl, path: "archive/{source}/{date}/{hour}.jsonl" } }
    """)
    assert told(path) == []


def test_a_component_that_looks_for_fields_by_itself_and_can_find_none_is_told(staged: Write) -> None:
    path = staged("- { use: look }")
    Path("look.py").write_text(
        "from tailrace.pipeline.component import Stage\n"
        "class Look(Stage):\n"
        "    def reads(self): return ('exc_info', 'stack')\n"
    )
    path.write_text(path.read_text().replace("[shape.py,", "[look.py,"))
    ((marked, severity, message, _),) = told(path)
    assert (marked, severity) == ("look", "warning")
    assert message == "'look' looks for exc_info, stack, and no record has any of them here"


def test_each_stage_is_told_what_is_read_or_written_after_it(staged: Write) -> None:
    config = load(
        staged("""
        - { use: shape, gives: ['*'] }
        - { use: shape, takes: [a], gives: [b] }
        - { use: shape, takes: [c] }
        """)
    )
    assert wanted(config.stages, config.sinks.values()) == [frozenset("abc"), frozenset("c"), frozenset()]


def test_who_reads_every_field_wants_them_all(staged: Write) -> None:
    config = load(staged("- { use: shape }\n- { use: shape, takes: ['*'] }\n- { use: shape }"))
    assert wanted(config.stages, config.sinks.values()) == [None, frozenset(), frozenset()]


def test_what_a_match_reads_is_wanted(staged: Write) -> None:
    config = load(staged("- { use: shape }"))
    assert wanted(config.stages, [ListSink(match=Match.decode('{level="error"}'))]) == [frozenset({"level"})]


# ---- fields that are others at every attempt ------------------------------------------------------------------------

STAMP = """
from collections.abc import Iterable
from tailrace.pipeline.batch import Batch
from tailrace.pipeline.component import Stage


class Stamp(Stage):
    takes: list[str] = []
    gives: tuple[str, ...] = ("read_at",)
    loses: list[str] = []
    moves: list[str] = []

    def reads(self) -> Iterable[str]:
        return self.takes

    def writes(self) -> Iterable[str]:
        return self.gives

    def removes(self) -> Iterable[str]:
        return self.loses

    def varies(self) -> Iterable[str]:
        return self.moves

    def process(self, batch: Batch) -> Batch:
        return batch
"""


@pytest.fixture
def stamped(write: Write) -> Callable[[str, str], Path]:
    """Write a config of these stages, where `stamp` can be used, and this sink on the last line."""

    def written(stages: str, sink: str) -> Path:
        Path("stamp.py").write_text(STAMP)
        head = "stage_files: [stamp.py, list_source.py]\nsources: { app: { use: list_source } }\n"
        return write(f"{head}stages: [{stages}]\nsinks: {{ out: {sink} }}\n")

    return written


JSONL = '{ use: jsonl, path: "archive/{date}.jsonl" }'
LOKI = "{ use: loki, url: 'http://x:3100', labels: { app: '{source}' } }"


@pytest.mark.parametrize(
    ("sink", "marked", "message"),
    [
        (
            "{ use: loki, url: 'http://x:3100', labels: { at: 'on {read_at}' } }",
            "read_at",
            "the field 'read_at', which",
        ),
        ("{ use: loki, url: 'http://x:3100', labels: { a: b }, metadata: [read_at] }", "read_at", "'stamp' writes, is"),
        ("{ use: jsonl, path: 'archive/{read_at}.jsonl' }", "read_at", "another one at every attempt"),
        ("{ use: stdout, match: '{read_at=\"x\"}' }", "read_at", "another one at every attempt"),
        (JSONL, "jsonl", "'out' ships all fields, and of these some are others at every attempt: 'read_at' ('stamp'"),
        (LOKI, "loki", "'out' ships all fields"),
    ],
    ids=["label", "metadata", "path", "match", "archive", "line"],
)
def test_a_field_that_varies_may_not_reach_a_sink(
    stamped: Callable[[str, str], Path], sink: str, marked: str, message: str
) -> None:
    path = stamped("{ use: stamp, moves: [read_at] }", sink)
    ((at, severity, said, hint),) = told(path)
    assert (at, severity) == (marked, "error")
    assert message in said
    assert "`removes`" in hint
    assert check(path)[0] is None


@pytest.mark.parametrize(
    "stages",
    [
        "{ use: stamp }",
        "{ use: stamp, moves: [read_at] }, { use: stamp, takes: [read_at], gives: [], loses: [read_at] }",
        "{ use: stamp, moves: [read_at] }, { use: stamp, gives: [], loses: ['*'] }",
    ],
    ids=["does not vary", "removed", "all removed"],
)
def test_a_field_that_does_not_reach_a_sink_may_vary(stamped: Callable[[str, str], Path], stages: str) -> None:
    assert told(stamped(stages, JSONL)) == []


def test_what_is_made_of_a_field_that_varies_varies_too(stamped: Callable[[str, str], Path]) -> None:
    stages = "{ use: stamp, moves: [read_at] }, { use: rename, fields: { read_at: seen } }"
    ((_, severity, message, _),) = told(stamped(stages, JSONL))
    assert severity == "error"
    assert "'seen' ('rename' writes it)" in message
    assert "read_at" not in message


def test_what_is_written_over_where_it_is_missing_still_varies(stamped: Callable[[str, str], Path]) -> None:
    stages = "{ use: stamp, moves: [read_at] }, { use: enrich, fields: { read_at: never } }"
    assert [severity for _, severity, *_ in told(stamped(stages, JSONL))] == ["error"]
