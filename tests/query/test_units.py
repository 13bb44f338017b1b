from __future__ import annotations

import pytest

from tailrace.query import units


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", 1), ("-1.5", -1.5), ("2.", 2), (".5", 0.5), ("1e3", 1000), ("x", None), ("1_000", None), (" 1", None)],
)
def test_a_number_is_read_as_go_reads_it(text: str, expected: float | None) -> None:
    assert units.number(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250ms", 250_000_000),
        ("1h30m", 5_400 * 10**9),
        ("1.5s", 1_500_000_000),
        ("-2us", -2000),
        ("0", 0),
        ("5", None),
        ("1d", None),
        ("s", None),
        ("1s!", None),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, expected: int | None) -> None:
    assert units.duration(text) == expected


def test_days_are_read_where_loki_reads_them() -> None:
    assert units.duration("1d12h", days=True) == 36 * 3600 * 10**9


@pytest.mark.parametrize(
    ("text", "expected"),
    [("512B", 512), ("5KB", 5000), ("5 KiB", 5120), ("1.5mib", 1572864), ("7", 7), ("1,000", 1000), ("5 apples", None)],
)
def test_a_size_is_read_in_bytes(text: str, expected: int | None) -> None:
    assert units.size(text) == expected
