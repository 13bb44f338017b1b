"""Torture against a real Loki that is stopped and killed as well; `make torture` does more of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tailrace.torture.trial import Plan, trial

from ..services.loki import Loki
from .torture import own_loki

SEEDS = (2, 4, 11, 112)
"""The first two with a symbolic link that is switched."""


@pytest.mark.parametrize("seed", SEEDS, ids=[f"{seed}-{Plan.of(seed).kind}" for seed in SEEDS])
def test_every_line_is_in_loki_and_in_the_archive_once(loki: Loki, tmp_path: Path, seed: int) -> None:
    """`loki` is there for its check that the server is installed; the trial has one of its own, to stop and kill."""
    with own_loki() as target:
        outcome = asyncio.run(trial(seed, 6, tmp_path, target))
    print(f"{outcome.lines} lines in {outcome.seconds} s, {outcome.done}, {Plan.of(seed)}")
    assert outcome.problems == []
    assert outcome.exact
    assert outcome.lines > 1000
    assert outcome.looks > 5
