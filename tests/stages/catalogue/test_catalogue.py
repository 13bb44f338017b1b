"""The bar for the built-in rules: nearly all credentials of many services hidden, next to nothing else touched."""

from __future__ import annotations

import pytest

from .credentials import KINDS, left
from .measure import leaks, touched
from .ordinary import FAMILIES, code, events


@pytest.mark.parametrize("seed", [1, 20_260_304])
def test_at_least_98_of_100_planted_credentials_are_hidden(seed: int) -> None:
    number, still = leaks(seed)
    assert len(still) <= 0.02 * number, sorted({(row.kind.service, row.kind.form) for row in still})
    assert len({kind.service for kind in KINDS}) >= 60


def test_fewer_than_one_of_1000_ordinary_events_is_touched() -> None:
    number, wrong = touched(text for _, text in events(20_000))
    assert number == 20_000
    assert len(wrong) < 0.001 * number, wrong[:5]
    assert len(FAMILIES) >= 15


def test_fewer_than_one_of_1000_lines_of_code_is_touched() -> None:
    number, wrong = touched(code(100_000))
    assert number > 10_000
    assert len(wrong) < 0.001 * number, wrong[:5]


@pytest.mark.parametrize(
    ("text", "is_left"),
    [
        pytest.param("key AKIA" + "QWERTYUIOPASDFGH", True, id="whole"),
        pytest.param("key [REDACTED:x]IOPASDFGH", True, id="its end"),
        pytest.param("key AKIAQW[REDACTED:x]", False, id="its prefix only"),
        pytest.param("key [REDACTED:x]", False, id="nothing"),
    ],
)
def test_what_is_left_of_a_secret_is_seen(text: str, is_left: bool) -> None:
    assert left("AKIA" + "QWERTYUIOPASDFGH", text) is is_left
