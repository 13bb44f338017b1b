"""How many records each stream must have in each hour."""

from __future__ import annotations

from collections import Counter

from tailrace.replay.block import Outline
from tailrace.replay.verify import STEP_NS, counted, step_of


def outline(times: list[int], keys: list[int]) -> Outline:
    return Outline(times, keys, [1] * len(times), [0] * len(times), [0] * len(times))


def test_an_hour_ends_with_its_last_moment_as_in_lokis_ranges() -> None:
    assert [step_of(at) for at in (1, STEP_NS, STEP_NS + 1)] == [0, 0, 1]


def test_records_are_counted_by_stream_and_hour_without_the_refused_ones() -> None:
    blocks = [
        outline([1, 5, STEP_NS, STEP_NS + 1], [0, 1, 0, 0]),
        outline([STEP_NS + 2, 9 * STEP_NS], [0, 1]),
    ]
    refused = bytearray(6)
    assert counted(blocks, refused) == Counter({(0, 0): 2, (1, 0): 1, (0, 1): 2, (1, 8): 1})
    refused[0] = refused[4] = 1
    assert counted(blocks, refused) == Counter({(0, 0): 1, (1, 0): 1, (0, 1): 1, (1, 8): 1})
    assert counted(blocks, bytearray(b"\x01" * 6)) == Counter()
