"""Components are found by the names of their files."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tailrace.pipeline import discover
from tailrace.pipeline.component import Sink, Source, Stage
from tailrace.pipeline.options import decode_option
from tailrace.testing import batch_of, lines_of, run_stage

CUSTOM = '''
from __future__ import annotations
from tailrace.pipeline.batch import Batch
from tailrace.pipeline.component import Stage
from tailrace.pipeline.options import Size

class Shout(Stage):
    """Upper case."""
    at_most: Size = Size(4)
    """Longer lines stay."""
    def process(self, batch: Batch) -> Batch:
        for record in batch.records:
            if len(record.line) <= self.at_most:
                record.line = record.line.upper()
        return batch
'''


def test_the_words_are_the_names_of_the_public_files() -> None:
    assert {"jsonl", "loki", "stdout"} <= set(discover.words("sink"))
    assert {"file", "stdin"} <= set(discover.words("source"))
    for kind in discover.PLACES:
        words = discover.words(kind)
        assert words == sorted(words)
        assert not [word for word in words if word.startswith("_")]


@pytest.mark.parametrize(("kind", "base"), [("stage", Stage), ("source", Source), ("sink", Sink)])
def test_every_word_leads_to_a_class_of_that_name_and_kind(kind: str, base: type) -> None:
    for word in discover.words(kind):
        cls = discover.component(kind, word)
        assert cls.word() == word
        assert issubclass(cls, base)


@pytest.mark.parametrize("word", ["nothing", "_archive_file", "../runner", ""])
def test_a_word_without_a_file_is_a_key_error(word: str) -> None:
    with pytest.raises(KeyError):
        discover.component("sink", word)


def test_a_stage_of_ones_own_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "shout.py").write_text(CUSTOM)
    cls = discover.custom(tmp_path / "shout.py")
    stage = msgspec.convert({"at_most": "3"}, cls, dec_hook=decode_option)
    assert isinstance(stage, Stage)
    assert lines_of(run_stage(stage, batch_of(b"abc", b"abcd"))) == [b"ABC", b"abcd"]


def test_a_file_without_the_class_says_so(tmp_path: Path) -> None:
    (tmp_path / "whisper.py").write_text(CUSTOM)
    with pytest.raises(ImportError, match=r"whisper\.py has no component class named for 'whisper'"):
        discover.custom(tmp_path / "whisper.py")


def test_a_file_that_is_not_python_says_so(tmp_path: Path) -> None:
    (tmp_path / "shout.txt").write_text(CUSTOM)
    with pytest.raises(ImportError, match="is not a Python file"):
        discover.custom(tmp_path / "shout.txt")


def test_what_a_file_of_ones_own_raises_comes_through(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        discover.custom(tmp_path / "broken.py")
