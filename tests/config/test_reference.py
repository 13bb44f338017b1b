from __future__ import annotations

from collections import Counter

from tailrace.config.reference import reference
from tailrace.pipeline import discover


def test_the_reference_names_every_component_once() -> None:
    page = reference()
    words = Counter(word for kind in discover.PLACES for word in discover.words(kind))  # kafka is a source and a sink
    assert {word: page.count(f"\n### {word}\n") for word in words} == words


def test_options_stand_in_tables_with_type_default_and_sentence() -> None:
    page = reference()
    assert "| `drain` | duration | `30s` | When stopped, how long to go on delivering what was read. |" in page
    assert "| `batch_bytes` | size | `1MiB` | Send when this many bytes of lines wait. |" in page
    assert "| `exporter.listen` | address | `127.0.0.1:9464` |" in page


def test_every_row_has_four_cells() -> None:
    rows = [line.replace("\\|", "") for line in reference().splitlines() if line.startswith("|")]
    assert len(rows) > 20
    assert {row.count("|") for row in rows} == {5}


def test_the_reference_is_the_same_each_time() -> None:
    assert reference() == reference()
