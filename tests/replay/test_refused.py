"""What was refused is counted once, however often it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.pipeline.batch import Dead
from tailrace.replay._refused import Refused, short
from tailrace.testing import batch_of


def test_a_record_that_is_refused_again_after_a_kill_counts_once(tmp_path: Path) -> None:
    batch = batch_of(b"a", b"b", b"c")
    for place, record in enumerate(batch.records):
        record.offset = place
    dead = [Dead(record, "loki", "has timestamp too old: x") for record in batch.records]
    refused = Refused(tmp_path, 1 << 20)
    refused.write(batch, dead[:2])
    with (tmp_path / "refused.jsonl").open("ab") as torn:
        torn.write(b'["too o')
    refused.write(batch, dead[1:])
    refused.write(batch, [Dead(batch.records[0], "parse", "no")], "stage")  # which no sink refused
    there, reasons = Refused(tmp_path, 1 << 20).counted(3)
    assert (bytes(there), reasons) == (b"\x01\x01\x01", {"too old": 3})


def test_without_any_nothing_is_counted(tmp_path: Path) -> None:
    assert Refused(tmp_path, 1 << 20).counted(2) == (bytearray(2), {})


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("entry too far behind, oldest acceptable timestamp is: x", "too far behind"),
        ("max entry size '5' bytes exceeded for stream '{}'", "line too long"),
        ("something new", "something new"),
    ],
)
def test_lokis_words_become_those_of_the_plan(reason: str, words: str) -> None:
    assert short(reason) == words
