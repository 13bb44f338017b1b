from __future__ import annotations

from pathlib import Path

from tailrace.benchmarks.query import FILES, RARE, counted, write
from tailrace.pipeline.match import Match
from tailrace.query.search import search


def test_the_archive_has_the_corpus_in_each_file_and_one_rare_line(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.log"
    corpus.write_bytes(b'{"a":1}\n' * 100)
    folder = tmp_path / "archive"
    folder.mkdir()
    write(corpus, folder)
    assert len(list(search(Match("{}"), [folder]))) == FILES * 101
    assert len(list(search(Match(f'{{}} |= "{RARE}"'), [folder]))) == FILES


def test_what_was_counted_is_told_by_stage() -> None:
    lines = b'{"labels":{"stage":"plan"},"value":2}\n{"labels":{},"value":1}\n'
    assert counted(lines) == {"plan": 2, "null": 1}
