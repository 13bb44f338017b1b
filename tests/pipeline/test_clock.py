"""Every record ships with one time, the same at every attempt."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.batch import Batch
from tailrace.pipeline.clock import END, set_times
from tailrace.pipeline.columns import Columns
from tailrace.testing import READ_AT, batch_of

T = 1_772_667_360_179_000_000
TIMES = st.lists(st.none() | st.integers(-2, 12).map(lambda n: n if n < 0 else T + n), max_size=30)


def timed(times: list[int | None], state: dict[str, Any] | None = None, read_at: int = READ_AT) -> Batch:
    batch = batch_of(*[b"same"] * len(times), state=state)
    batch.read_at_ns = read_at
    for record, time_ns in zip(batch.records, times, strict=True):
        record.time_ns = time_ns
    set_times(batch)
    return batch


def one_by_one(
    times: list[int | None], state: dict[str, int], slot: int, read_at: int
) -> tuple[list[int], dict[str, int]]:
    """What `set_times` is to give, said as simply as it can be."""
    event, last, tick = state.get("event"), state.get("last", -1), state.get("tick", 0)
    read_at = max(read_at, last) if read_at > last + tick else last
    shipped = []
    for time_ns in times:
        if time_ns is not None and 0 <= time_ns < END:
            event = time_ns
        base = read_at if event is None else event
        if last <= base <= last + tick:
            tick += 1
        else:
            last, tick = base, 0
        room = slot % 1000 * 1000 if last % 1_000_000 == 0 else slot % 62 * 16 if last % 1000 == 0 else 0
        shipped.append(last + tick + room)
    if times:
        state = {"last": last, "tick": tick} | ({} if event is None else {"event": event})
    return shipped, state


def given_times(batch: Batch) -> list[int]:
    assert all(record.time_ns is not None for record in batch.records)
    return [record.time_ns or 0 for record in batch.records]


@pytest.mark.parametrize(
    ("times", "shipped"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([T, T + 5], [T, T + 5], id="times of their own stay"),
        pytest.param([T + 5, T], [T + 5, T], id="also out of order"),
        pytest.param([T, T, T], [T, T + 1, T + 2], id="equal times tick"),
        pytest.param([T, T, T + 1, T + 2], [T, T + 1, T + 2, T + 3], id="a tick does not run into the next time"),
        pytest.param([T, T, T + 2], [T, T + 1, T + 2], id="a time behind the ticks stays"),
        pytest.param([T, None, None], [T, T + 1, T + 2], id="a missing time is that of the event before"),
        pytest.param([None, None, T], [READ_AT, READ_AT + 1, T], id="before the first time it is the read time"),
        pytest.param([None, None], [READ_AT, READ_AT + 1], id="without any time too"),
        pytest.param([0, 0], [0, 1], id="the epoch is a time"),
        pytest.param([T, -1], [T, T + 1], id="a time before 1970 is a missing one"),
        pytest.param([-1], [READ_AT], id="also the very first"),
        pytest.param([END, T], [READ_AT, T], id="a time beyond the last one is a missing one"),
        pytest.param([END - 1], [END - 1], id="the last one is a time"),
    ],
)
def test_each_record_gets_its_time(times: list[int | None], shipped: list[int]) -> None:
    assert given_times(timed(times)) == shipped


def test_the_next_batch_goes_on_where_the_last_one_ended() -> None:
    state: dict[str, Any] = {}
    timed([T, T], state)
    assert given_times(timed([None, T, T + 1], state)) == [T + 2, T + 3, T + 4]


def test_the_partitions_have_states_of_their_own() -> None:
    timed([T])
    assert given_times(timed([T])) == [T]


@pytest.mark.parametrize("back", [0, 1, 5 * 10**9], ids=["the same ns", "one ns back", "set back"])
def test_a_clock_that_stands_or_is_set_back_repeats_no_time(back: int) -> None:
    state: dict[str, Any] = {}
    first = given_times(timed([None, None, None], state))
    second = given_times(timed([None, None], state, READ_AT - back))
    assert len({*first, *second}) == 5


def test_a_read_time_inside_the_ticks_before_it_repeats_no_time() -> None:
    state: dict[str, Any] = {}
    first = given_times(timed([None, None, None], state))
    second = given_times(timed([None], state, READ_AT + 1))
    assert not set(first) & set(second)


@given(times=TIMES, cuts=st.lists(st.integers(0, 30)))
def test_how_the_records_were_chunked_does_not_show(times: list[int | None], cuts: list[int]) -> None:
    whole = given_times(timed(times))
    state: dict[str, Any] = {}
    pieces: list[int] = []
    bounds = sorted({0, len(times), *(cut for cut in cuts if cut < len(times))})
    for start, end in pairwise(bounds):
        pieces += given_times(timed(times[start:end], state))
        state = json.loads(json.dumps(state))  # as a restart would find it
    assert pieces == whole


@given(
    batches=st.lists(st.lists(st.none() | st.sampled_from([-1, 0, 1, T, T, T + 1, T + 2, T + 1000, T + 10**6, END]))),
    slot=st.sampled_from([0, 1, 62, 999, 1234]),
    read_at=st.sampled_from([T + 1, T + 7]),  # no clock stands at a whole µs for long: such times know no slots
)
def test_all_at_once_they_get_what_they_would_get_one_by_one(
    batches: list[list[int | None]], slot: int, read_at: int
) -> None:
    state: dict[str, Any] = {}
    expected: dict[str, int] = {}
    for times in batches:
        batch = batch_of(*[b"same"] * len(times), state=state)
        batch.read_at_ns, batch.slot = read_at, slot
        for record, time_ns in zip(batch.records, times, strict=True):
            record.time_ns = time_ns
        set_times(batch)
        shipped, expected = one_by_one(times, expected, slot, read_at)
        assert given_times(batch) == shipped
        assert state["clock"] == expected


@given(times=TIMES)
def test_a_record_is_moved_by_no_more_than_there_are_records(times: list[int | None]) -> None:
    for time_ns, shipped in zip(times, given_times(timed(times)), strict=True):
        if time_ns is not None and time_ns >= 0:
            assert time_ns <= shipped < time_ns + len(times)


@given(times=st.lists(st.integers(0, 12).map(lambda n: T + n), max_size=30).map(sorted))
def test_records_in_order_never_share_a_time_and_stay_in_order(times: list[int | None]) -> None:
    shipped = given_times(timed(times))
    assert len(set(shipped)) == len(shipped)
    assert shipped == sorted(shipped)


@given(times=st.lists(st.none() | st.just(-1), max_size=20), state=TIMES)
def test_records_without_any_time_get_what_one_by_one_they_would_get(
    times: list[int | None], state: list[int | None]
) -> None:
    together: dict[str, Any] = {}
    alone: dict[str, Any] = {}
    timed(state, together)
    timed(state, alone)
    batch = given_times(timed(times, together))
    assert batch == [given_times(timed([one], alone))[0] for one in times]
    assert together == alone


def test_times_that_only_the_source_knows_become_those_of_the_records() -> None:
    batch = batch_of(b"a", b"b")
    batch.columns, batch.sent = Columns([b"a", b"b"], [0, 2]), ([0, 2], [T, T + 1])
    set_times(batch)
    assert [record.time_ns for record in batch.records] == [T, T + 1]
