"""Every fault at once, and every line counted; `make torture` is the long version."""

import pytest

from tailrace.cli.torture import trials

from .torture import own_loki


@pytest.mark.parametrize("seed", [1001, 1003, 1007])
def test_through_every_fault_each_line_is_there_once(seed: int) -> None:
    assert trials(own_loki, seed, 1, 6.0, json=False) == 0
