from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailrace.query.find import Wanted, find
from tailrace.query.local import Reader
from tailrace.query.logql import Logs, parse
from tailrace.query.mcp.archive import Archive
from tailrace.query.mcp.calls import Deadline, TimeUp
from tailrace.query.mcp.folders import Folders
from tailrace.query.mcp.outgoing import Outgoing
from tailrace.stages.redact import Redact

TOKEN = "ghp_" + "a1B2" * 9


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    logs = tmp_path / "logs"
    logs.mkdir()
    rows = [{"ts": "2026-03-04T23:36:00Z", "level": "info", "message": f"with {TOKEN}", "session_key": "s1"}]
    rows += [{"ts": "2026-03-04T23:36:01Z", "level": "info", "message": "without", "session_key": "s2"}]
    (logs / "app.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return logs


@pytest.fixture
def deadline() -> Deadline:
    return Deadline()


@pytest.fixture
def archive(logs: Path, deadline: Deadline) -> Iterator[Archive]:
    archive = Archive(Folders([logs]), Outgoing(Redact(name="redact"), 8000), deadline)
    yield archive
    archive.folders.close()


def contained(archive: Archive, text: str) -> list[str]:
    found = find(archive.index, archive.indexed(""), Wanted(contains=text))
    return [record.text("session_key") for record in found]


def test_records_are_redacted_before_they_are_searched(archive: Archive) -> None:
    assert contained(archive, "with") == ["s1", "s2"]
    assert contained(archive, TOKEN) == []
    assert contained(archive, TOKEN[:8]) == []
    assert contained(archive, "[redacted:github-token]") == ["s1"]


@pytest.mark.parametrize(
    "query",
    [
        '{level="info"} |= "ghp_a"',
        '{level="info"} |~ "ghp_[a-f]"',
        '{message=~".*ghp_a1.*"}',
        '{level="info"} | regexp "ghp_(?P<piece>..)" | piece="a1"',
        '{level="info"} | json | message=~".*a1B2.*"',
        '{level="info"} | pattern "<_>ghp_<piece>" | piece!=""',
    ],
)
def test_no_query_finds_a_secret_or_takes_it_apart(archive: Archive, query: str) -> None:
    logs = parse(query)
    assert isinstance(logs, Logs)
    assert [rows for _, rows in archive.rows(Reader(logs), archive.folders.files()) if rows] == []
    plain = parse('{level="info"} |= "with"')
    assert isinstance(plain, Logs)
    assert [len(rows) for _, rows in archive.rows(Reader(plain), archive.folders.files())] == [2]


def test_the_index_is_kept_over_calls_and_never_on_disk(
    archive: Archive, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = archive.indexed("")
    assert archive.indexed("")[0].entry is first[0].entry
    with (logs / "app.jsonl").open("a") as file:
        file.write('{"ts": "2026-03-04T23:36:02Z", "session_key": "s3"}\n')
    assert archive.indexed("")[0].entry.count == 3
    assert contained(archive, "s3") == ["s3"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["app.jsonl", "logs"]


def test_the_index_knows_which_files_need_not_be_opened(archive: Archive, logs: Path) -> None:
    (logs / "other.jsonl").write_text(
        '{"ts": "2026-03-04T23:36:02Z", "session_key": "other", "message": "lonely word"}\n'
    )
    files = archive.indexed("")
    worth = archive.index.worth_opening(files, {"session_key": "other"}, [])
    assert [path.name for path in worth] == ["other.jsonl"]
    assert [path.name for path in archive.index.worth_opening(files, {}, [" lonely "])] == ["other.jsonl"]


def test_what_takes_too_long_ends_and_the_index_keeps_what_was_read(archive: Archive, deadline: Deadline) -> None:
    deadline.start(0)
    with pytest.raises(TimeUp):
        archive.indexed("")
    logs = parse('{level="info"}')
    assert isinstance(logs, Logs)
    with pytest.raises(TimeUp):
        list(archive.rows(Reader(logs), archive.folders.files()))
    deadline.start(60)
    assert len(archive.indexed("")) == 1


def test_a_file_that_is_gone_is_no_error(archive: Archive, logs: Path) -> None:
    files = archive.folders.files()
    (logs / "app.jsonl").unlink()
    assert archive.index.of(files) == []
    query = parse('{level="info"}')
    assert isinstance(query, Logs)
    assert list(archive.rows(Reader(query), files)) == []
