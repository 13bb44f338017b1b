"""Which files a replay reads."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from tailrace.pipeline.component import Source
from tailrace.pipeline.sources.file import File
from tailrace.pipeline.sources.kafka import Kafka
from tailrace.pipeline.sources.stdin import Stdin
from tailrace.replay.bounded import NoSource, fingerprint, in_order, sources_of
from tailrace.replay.kafka_range import KafkaRange, Wanted

KNOWN: dict[str, Source] = {
    "app": File(name="app", include=["logs/*.log"], exclude=["logs/x.log"], multiline="traceback", start_at="end"),
    "in": Stdin(name="in"),
    "events": Kafka(name="events", brokers=["h:1"], group="g", topics=["orders"]),
}


def included(sources: dict[str, Source]) -> dict[str, tuple[list[str], str]]:
    return {name: (s.include, str(s.multiline)) for name, s in sources.items() if isinstance(s, File)}


def test_without_a_word_all_files_of_the_config_are_read_from_their_beginning() -> None:
    found = sources_of(KNOWN, [])
    assert included(found) == {"app": (["logs/*.log"], "traceback")}
    source = found["app"]
    assert isinstance(source, File)
    assert (source.exclude, source.start_at) == (["logs/x.log"], "beginning")


@pytest.mark.parametrize(
    ("asked", "name", "multiline"),
    [
        pytest.param("app", "app", "traceback", id="by its name"),
        pytest.param("app=old/*.gz", "app", "traceback", id="other files, read the same way"),
        pytest.param("old/*.gz", "app", "traceback", id="files, where one source reads files"),
        pytest.param("old/a.jsonl.zst", "replay", "off", id="an archive has one record a line"),
    ],
)
def test_what_is_asked_for_is_read(asked: str, name: str, multiline: str) -> None:
    (found,) = included(sources_of(KNOWN, [asked])).items()
    assert found == (name, (["logs/*.log" if asked == "app" else asked.partition("=")[2] or asked], multiline))


def test_a_folder_stands_for_its_archives_by_their_names(tmp_path: Path) -> None:
    for name in ("2026-01-02.jsonl", "2026-01-01.[x].jsonl.zst", "other.txt"):
        (tmp_path / name).touch()
    (source,) = sources_of({}, [str(tmp_path)]).values()
    assert isinstance(source, File)
    assert sorted(source.include) == [f"{tmp_path}/2026-01-01.[[]x].jsonl.zst", f"{tmp_path}/2026-01-02.jsonl"]


def test_several_paths_of_one_source_are_read_together() -> None:
    assert included(sources_of(KNOWN, ["a.gz", "b.gz"])) == {"app": (["a.gz", "b.gz"], "traceback")}


@pytest.mark.parametrize(
    ("known", "asked", "words"),
    [
        pytest.param(KNOWN, ["in"], "only files and ranges of Kafka can be replayed", id="standard input"),
        pytest.param({}, [], "say with --source", id="nothing"),
        pytest.param(KNOWN, ["events=orders/0:9-3"], "END is the offset after the last", id="offsets in a wrong order"),
        pytest.param(KNOWN, ["events=orders/0", "events=orders"], "two ranges of orders", id="a partition twice"),
    ],
)
def test_what_cannot_be_read_is_told(known: dict[str, Source], asked: list[str], words: str) -> None:
    with pytest.raises(NoSource, match=words):
        sources_of(known, asked)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoSource, match="no archives"):
        sources_of({}, [str(tmp_path)])


async def test_a_fingerprint_changes_with_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("one\n")
    sources = sources_of(KNOWN, [str(path)])
    first = await fingerprint(sources)
    assert await fingerprint(sources) == first
    path.write_text("one\ntwo\n")
    assert await fingerprint(sources) != first


def test_files_come_one_by_one_the_oldest_first_but_copies_together(tmp_path: Path) -> None:
    text = {"app.log": b"new\n", "app.log.2": b"old\n" * 400, "app.log.1": b"between\n", "[x].log.9": b"oldest\n"}
    for age, (name, data) in enumerate(text.items()):
        (tmp_path / name).write_bytes(data)
        os.utime(tmp_path / name, (9 - age, 9 - age))
    (tmp_path / "app.log.2.gz").write_bytes(gzip.compress(text["app.log.2"]))
    (tmp_path / "app.log.3").touch()
    parts = in_order({"app": File(name="app", include=[f"{tmp_path}/*"], multiline="traceback")})
    names = [sorted(Path(path).name for path in part.include) for _, part in parts if isinstance(part, File)]
    assert names == [["[[]x].log.9"], ["app.log.1"], ["app.log.2", "app.log.2.gz"], ["app.log"], ["app.log.3"]]
    assert {(name, part.multiline) for name, part in parts if isinstance(part, File)} == {("app", "traceback")}


def test_ranges_of_kafka_are_read_by_one_source() -> None:
    (found,) = sources_of(KNOWN, ["events=orders/0:5-", "events=orders/1"], 1, 2).values()
    assert isinstance(found, KafkaRange)
    assert found.wanted == [Wanted("orders", 0, 5), Wanted("orders", 1)]
    assert (found.name, found.start_ns, found.end_ns) == ("events", 1, 2)
