"""The index says which files cannot have what is asked for; it is never wrong, whatever happens to it."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.query import _bloom
from tailrace.query import index as module
from tailrace.query.find import Wanted, each
from tailrace.query.index import Index, Indexed, examine, may_match
from tailrace.query.records import Reader, json_text
from tailrace.query.search import archives

from . import agent_logs

SECOND = 10**9


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return agent_logs.write(tmp_path / "logs")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read for the index."""
    read: list[Path] = []

    def examined(path: Path, reader: Reader) -> object:
        read.append(path)
        return examine(path, reader)

    monkeypatch.setattr(module, "examine", examined)
    return read


def entries(folder: Path) -> dict[str, Indexed]:
    return {one.path.name: one for one in Index([folder]).files()}


def store(folder: Path) -> Path:
    return folder / module.FOLDER / "UTC.sqlite"


def test_an_entry_says_what_is_in_the_file(logs: Path) -> None:
    entry = entries(logs)["llm_io_20260304_233600_1.jsonl"].entry
    assert (entry.count, entry.errors, entry.kinds) == (4, 1, {"llm": 3, "tool": 1})
    assert (entry.first_ns, entry.last_ns) == ((agent_logs.START + 5) * SECOND, (agent_logs.START + 605) * SECOND)
    assert entry.values["model"] == ["google_gemini-3-flash-preview", "openai_gpt-4o-mini"]
    assert [(s.key, s.llm_calls, s.prompt_tokens, s.completion_tokens) for s in entry.sessions] == [
        (agent_logs.key(1), 2, 200, 40),
        (agent_logs.key(2), 1, 100, 0),
    ]


def test_the_files_are_those_of_archives_in_their_order(tmp_path: Path) -> None:
    names = ["a.10.jsonl", "a.jsonl", "a.2.jsonl", "b/2.log", "b/10.log", "b/.hidden.log", "x.txt", ".state/c.jsonl"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}\n")
    assert [one.path for one in Index([tmp_path]).files()] == archives([tmp_path])


def test_only_what_changed_is_read_again(logs: Path, counted: list[Path]) -> None:
    entries(logs)
    first = len(counted)
    entries(logs)
    assert len(counted) == first == len(archives([logs]))
    changed = logs / "app.log"
    changed.write_text(changed.read_text() + "2026-03-04 23:59:59,000 INFO app: more\n")
    assert entries(logs)["app.log"].entry.count == 4
    assert counted[first:] == [changed]


def test_a_file_of_equal_size_and_time_in_its_place_is_another_one(logs: Path) -> None:
    entries(logs)
    path = logs / "app.log"
    stat = path.stat()
    other = logs / "other"
    other.write_text(path.read_text().replace("job 1 begun", "job 9 begun"))
    other.replace(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    index = Index([logs])
    assert index.worth_opening(index.files(), {}, ["app.jobs: job 9 begun"]) >= {path}


def test_a_file_that_is_gone_is_forgotten(logs: Path) -> None:
    entries(logs)
    (logs / "app.log").unlink()
    assert "app.log" not in entries(logs)
    with sqlite3.connect(store(logs)) as rows:
        assert rows.execute("SELECT count(*) FROM blooms WHERE name = 'app.log'").fetchone() == (0,)
    rows.close()


def test_the_archives_themselves_are_left_as_they_are(logs: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in logs.iterdir()}
    entries(logs)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
    assert set(logs.iterdir()) - before.keys() == {logs / module.FOLDER}


@pytest.mark.parametrize(
    "break_it",
    [
        lambda path: path.write_bytes(b"no database at all, but long enough to be looked at as one" * 40),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(path.read_bytes()[:1000] + b"\xff" * 6000 + path.read_bytes()[7000:]),
        lambda path: path.write_bytes(b""),
        lambda path: changed(path, "PRAGMA user_version = 999"),
        lambda path: changed(path, "UPDATE files SET entry = x'c0'"),
        lambda path: changed(path, "UPDATE files SET entry = 'text'"),
        lambda path: changed(path, "UPDATE files SET size = NULL"),
        lambda path: changed(path, "UPDATE files SET entry = (SELECT entry FROM files LIMIT 1)"),
    ],
    ids=["text", "half", "holes", "empty", "version", "entry", "type", "stamp", "another's"],
)
def test_a_broken_index_is_made_anew(logs: Path, break_it: object) -> None:
    good = {name: one.entry for name, one in entries(logs).items()}
    assert callable(break_it)
    break_it(store(logs))
    for _ in range(2):
        index = Index([logs])
        files = index.files()
        assert {one.path.name: one.entry for one in files} == good
        worth = index.worth_opening(files, {"session_key": agent_logs.key(2)}, [])
        assert {path.name for path in worth} >= {"llm_io_20260304_233600_1.jsonl"}


def changed(path: Path, statement: str) -> None:
    rows = sqlite3.connect(path)
    with rows:
        rows.execute(statement)
    rows.close()


def test_a_filter_that_was_damaged_excludes_nothing(logs: Path) -> None:
    index = Index([logs])
    files = index.files()
    changed(store(logs), "UPDATE blooms SET bloom = zeroblob(length(bloom))")
    assert index.worth_opening(files, {"trace_id": "nowhere"}, []) == {one.path for one in files}


def test_where_the_folder_takes_no_files_the_cache_of_the_user_does(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[Path]
) -> None:
    (logs / module.FOLDER).write_text("a file where the folder would be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    entries(logs)
    first = len(counted)
    entries(logs)
    assert len(counted) == first
    assert len([*(tmp_path / "cache/tailrace/index").rglob("*.sqlite")]) == 1


def test_without_any_place_it_works_all_the_same(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    (logs / module.FOLDER).write_text("")
    index = Index([logs])
    files = index.files()
    assert index.worth_opening(files, {"trace_id": agent_logs.TRACE}, []) == {one.path for one in files}


@pytest.mark.parametrize(
    ("exact", "needles", "names"),
    [
        ({"trace_id": agent_logs.TRACE}, [], ["llm_io"]),
        ({"session_key": agent_logs.key(3)}, [], ["timeboxing_session_20260304_233600_C0AA6HC1RJL_1772600003"]),
        ({"agent": "timeboxing_agent"}, [], ["llm_io"]),
        ({"status": "committed"}, [], ["timeboxing_session_20260304_233600_C0AA6HC1RJL_1772600001"]),
        ({"error_type": "TimeoutError"}, [], ["app", "timeboxing_session_20260304_233600_C0AA6HC1RJL_1772600002"]),
        ({}, ['"calendar.list"'], ["llm_io"]),
        ({}, ["RATE LIMIT reached"], ["llm_io"]),
        ({}, ["nothing has this word"], []),
    ],
    ids=["trace", "session", "agent", "status", "classified", "needle", "case", "nothing"],
)
def test_only_files_that_may_have_it_are_worth_opening(
    logs: Path, exact: dict[str, str], needles: list[str], names: list[str]
) -> None:
    index = Index([logs])
    worth = index.worth_opening(index.files(), exact, needles)
    assert sorted(path.name for path in worth) == sorted(
        path.name for path in archives([logs]) if any(path.name.startswith(name) for name in names)
    )


TEXTS = st.text(alphabet=st.sampled_from('abCDkK0_ "\\\n\t/.:-\u212aé中<'), max_size=30)


@given(rows=st.lists(st.dictionaries(st.sampled_from(["message", "event", "stage"]), TEXTS), min_size=1, max_size=5))
@settings(max_examples=25)
def test_whatever_stands_in_a_record_its_file_is_worth_opening_for_it(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "b.log").write_text("".join(f"2026-03-04 23:36:00,179 WARN {json.dumps(row)}\n" for row in rows))
    index = Index([folder])
    files = index.files()
    for record in each(index, files, Wanted()):
        text = json_text(record.fields)
        for start in range(0, len(text), 7):
            needle = text[start : start + 20]
            assert record in list(each(index, files, Wanted(contains=needle))), needle
        for field in ("event", "stage"):
            if value := record.text(field):
                assert record in list(each(index, files, Wanted({field: value})))


def test_a_search_opens_only_files_that_may_match(logs: Path) -> None:
    files = archives([logs])
    assert may_match([logs], needles=["nothing has this word"]) == files  # there is no index yet
    entries(logs)
    assert may_match([logs]) == files
    assert may_match([logs], needles=["nothing has this word"]) == []
    assert [path.name for path in may_match([logs], needles=[" = client.create(messages)"])] == ["app.log"]
    late = may_match([logs], start_ns=(agent_logs.START + 1201) * SECOND)
    assert [path.name for path in late if path.name.startswith(("llm", "app"))] == []
    assert may_match([logs], end_ns=agent_logs.START * SECOND) == []
    (logs / "app.log").write_text("2026-03-04 23:36:20,000 INFO app: changed since\n")
    assert logs / "app.log" in may_match([logs], needles=["nothing has this word"])
    assert may_match([logs / "app.log"], needles=["nothing has this word"]) == [logs / "app.log"]


def test_a_path_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        Index([tmp_path / "missing"]).files()


@given(tokens=st.sets(st.binary(min_size=1, max_size=20), max_size=50))
def test_a_bloom_filter_never_denies_what_it_was_made_of(tokens: set[bytes]) -> None:
    table = _bloom.make(tokens)
    assert all(_bloom.may_hold(table, [token]) for token in tokens)


def test_a_bloom_filter_is_seldom_wrong() -> None:
    table = _bloom.make(b"in-%d" % n for n in range(2000))
    assert sum(_bloom.may_hold(table, [b"out-%d" % n]) for n in range(2000)) < 60


def test_words_at_the_ends_of_a_needle_may_be_parts_of_longer_ones() -> None:
    assert _bloom.sure_words('time "whole" out') == {b"whole"}
    assert _bloom.sure_words(r"x\nlater_word y") == set()
    assert _bloom.words(b"Time OUT_x 123") == {b"time", b"out_x"}
