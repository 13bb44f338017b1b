from __future__ import annotations

import hashlib
from pathlib import Path

from tailrace.benchmarks.generate import about, write


def test_a_corpus_is_written_with_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "traceback.log"
    corpus = write(path, "traceback", 0.1)
    written = path.read_bytes()
    assert corpus.bytes == len(written) >= 100_000
    assert corpus.lines == written.count(b"\n") > corpus.events
    assert corpus.sha256 == hashlib.sha256(written).hexdigest()
    assert about(path) == corpus


def test_the_same_size_and_seed_make_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, "json", 0.05) for name in ("a.log", "b.log"))
    assert first == second


def test_a_corpus_that_was_cut_off_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "json.log"
    write(path, "json", 0.01)
    path.write_bytes(path.read_bytes()[:-1])
    assert about(path) is None


def test_a_corpus_that_is_not_there_is_not_taken(tmp_path: Path) -> None:
    assert about(tmp_path / "json.log") is None
