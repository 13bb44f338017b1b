from __future__ import annotations

import msgspec
import pytest

from tailrace.benchmarks.measure import status_of
from tailrace.benchmarks.result import Result

GOOD = Result(rival="x", scenario="s2", mix="json", input_mb=1.0, want=10, got=10, alive=True, status="cannot")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "ok"),
        ({"got": 9}, "short"),
        ({"got": 11}, "more"),
        ({"alive": False}, "ended"),
        ({"leaks": {"email": 1}}, "leaks"),
        ({"wrong_lines": 2}, "wrong"),
        ({"scenario": "s5", "leaks": {"email": 1}}, "ok"),
        ({"scenario": "s6", "archived": 10, "leaks": {"email": 1}}, "ok"),
        ({"scenario": "s6", "archived": 10, "leaks": {"aws": 1}}, "leaks"),
        ({"scenario": "s6", "archived": 9}, "short"),
        ({"scenario": "s6", "archived": 11}, "more"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_run_is_its_status(changes: dict[str, object], status: str) -> None:
    assert status_of(msgspec.structs.replace(GOOD, **changes)) == status
