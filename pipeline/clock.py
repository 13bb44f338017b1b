"""Gives every record the time it ships with, the same at every attempt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from operator import lt

from .batch import Batch

NAME = "clock"
"""Its place in the partition's state."""
END = 1 << 63
"""Times from here on (the year 2262), as those before 1970, fit no destination: they count as missing."""


def set_times(batch: Batch) -> None:
    """Fill in missing times and tell equal ones apart.

    A record without a time takes that of the event before it in its partition, else the batch's read time. Loki drops
    an entry equal to another in time and line, so each next equal time ticks 1 ns further, below the source's digits.
    For the same reason partitions that may feed one stream are kept apart by their slot, as far as the digits go: 1000
    partitions where times come in ms, 62 where they come in µs, one where the source uses all nine.
    """
    state = batch.state.setdefault(NAME, {})
    event: int | None = state.get("event")
    last: int = state.get("last", -1)
    tick: int = state.get("tick", 0)
    # Reads within one ns of the clock, or a clock set back, must not repeat a time that was given before.
    read_at = batch.read_at_ns if batch.read_at_ns > last + tick else last
    found = batch.found_times
    if event is None and (found is None or not any(time_ns is not None for time_ns in found)):
        # No record of the partition ever had a time: the same as below, for all of them at once.
        first = read_at + tick + 1 if read_at == last else read_at
        batch.set_times(range(first, first + len(batch)))
        if len(batch):
            state["last"], state["tick"] = read_at, first - read_at + len(batch) - 1
        return
    if found is None:
        found = [None] * len(batch)
    if newest := _increasing(found, max(last + tick, -1)):
        # Each has a time of its own already: again the same as below, in a third of the time.
        if batch.slot:
            batch.set_times(_apart(found, batch.slot))  # type: ignore[arg-type]  # there is no None
        elif batch.sent[0]:  # its source's, which the records do not have yet
            batch.set_times(found)  # type: ignore[arg-type]  # there is no None
        state["event"], state["last"], state["tick"] = newest, newest, 0
        return
    times, event = _filled(found, event, read_at)
    ticks, last, tick = _ticks(times, last, tick)
    if batch.slot:
        times = _apart(times, batch.slot)
    for place, more in ticks.items():
        times[place] += more
    batch.set_times(times)
    if last >= 0:
        state["last"], state["tick"] = last, tick
    if event is not None:
        state["event"] = event


def _apart(times: Sequence[int], slot: int) -> list[int]:
    """Room for 1000 or 16 ticks a slot, below the last digit that the source uses."""
    of_ms, of_us = slot % 1000 * 1000, slot % 62 * 16
    return [time if time % 1000 else time + (of_us if time % 1_000_000 else of_ms) for time in times]


def _increasing(times: Sequence[int | None], after: int) -> int:
    """The last of these times if there is one of each, later than that before it; else 0."""
    if not times or None in times:
        return 0
    known: Sequence[int] = times  # type: ignore[assignment]  # there is no None
    return known[-1] if after < known[0] and known[-1] < END and all(map(lt, known, islice(known, 1, None))) else 0


def _filled(found: Sequence[int | None], event: int | None, read_at: int) -> tuple[list[int], int | None]:
    """Every record's time, a missing one as that of the event before; and the last time that was found."""
    if None not in found and len(found) > 0:
        known: Sequence[int] = found  # type: ignore[assignment]  # there is no None
        if min(known) >= 0 and max(known) < END:
            return list(known), known[-1]
    times = []
    for time_ns in found:
        if time_ns is not None and 0 <= time_ns < END:
            event = time_ns
        times.append(read_at if event is None else event)
    return times, event


def _ticks(times: list[int], last: int, tick: int) -> tuple[dict[int, int], int, int]:
    """By place how far equal times are to tick on from the first of them, which becomes theirs; and the new state.

    A time that is later than the one before it, which does not tick, stays: only the others are looked at one by one,
    which takes half of the time.
    """
    ticks: dict[int, int] = {}
    later = bytes(map(lt, times, islice(times, 1, None)))
    place = 0
    while place < len(times):
        if last <= times[place] <= last + tick:
            tick += 1
            times[place], ticks[place] = last, tick
            place += 1
        else:
            place = later.find(0, place) + 1 or len(times)
            last, tick = times[place - 1], 0
    return ticks, last, tick
