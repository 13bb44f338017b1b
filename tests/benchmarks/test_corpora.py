from __future__ import annotations

import hashlib
import json
import re
from itertools import islice

import pytest

from tailrace.benchmarks.corpora import MIXES, Author

SECRET = re.compile(r"AKIA|Bearer eyJ|\.leak@|4539-?1488")


def texts(mix: str, events: int, seed: int = 7) -> list[str]:
    return [event.text for event in islice(MIXES[mix](Author(mix, seed)), events)]


@pytest.mark.parametrize(
    ("mix", "digest"),
    [
        ("json", "b9e161e5a65890b7"),
        ("plain", "a51dcabb5b02f510"),
        ("traceback", "3b0e7363bb30dc48"),
        ("llm", "1ae9d811957e09d1"),
    ],
)
def test_a_corpus_is_the_same_everywhere_and_for_good(mix: str, digest: str) -> None:
    assert hashlib.sha256("".join(texts(mix, 500)).encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize("mix", MIXES)
def test_another_seed_makes_another_corpus(mix: str) -> None:
    assert texts(mix, 3, seed=8) != texts(mix, 3, seed=7)


@pytest.mark.parametrize("mix", MIXES)
def test_the_secrets_that_are_counted_are_those_in_the_text(mix: str) -> None:
    author = Author(mix, 7)
    text = "".join(event.text for event in islice(MIXES[mix](author), 1000))
    assert len(SECRET.findall(text)) == author.secrets.total() > 0


@pytest.mark.parametrize("mix", MIXES)
def test_an_event_knows_its_lines(mix: str) -> None:
    events = list(islice(MIXES[mix](Author(mix, 7)), 300))
    assert [event.lines for event in events] == [event.text.count("\n") for event in events]


@pytest.mark.parametrize("mix", ["json", "llm"])
def test_json_lines_are_json(mix: str) -> None:
    assert all("timestamp" in json.loads(text) for text in texts(mix, 300))


def test_two_in_a_hundred_events_are_tracebacks() -> None:
    tracebacks = [text for text in texts("traceback", 2000) if "\nTraceback (most recent call last):\n" in text]
    assert 20 < len(tracebacks) < 60
    assert {text.count("\n") for text in tracebacks} == {21}
