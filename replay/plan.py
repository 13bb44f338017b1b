"""What Loki would do with a replay, from its settings and its newest entries, before anything is sent."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

import msgspec

from .block import Outline
from .limits import NANOS, Limits
from .newest import pairs
from .receipt import Read, Stream
from .retention import rule_for


class Plan(msgspec.Struct):
    """The foretelling. Counts are exact at the moment `at_ns`: what is near a limit on age grows older meanwhile."""

    name: str
    sink: str
    label: str
    """With which the streams of the replay differ from those of live logs; empty: they do not."""
    at_ns: int
    records: int
    bytes: int
    first_ns: int | None
    last_ns: int | None
    read: Read
    streams: list[Stream]
    limits: Limits | None = None
    refused: dict[str, int] = {}
    """How many Loki will refuse, by reason …"""
    refused_records: int = 0
    """… and all of them together."""
    too_many_streams: int = 0
    """Streams over the tenant's limit: their pushes would wait for ever."""
    deleted: int = 0
    """Accepted, and then deleted by retention …"""
    deleted_by: dict[str, int] = {}
    """… by `retention_period`, or the selector of a rule of `retention_stream`."""
    invisible: int = 0
    """Accepted, and in no answer before their chunks are flushed."""
    there: bool = False
    """Something already is in the streams at these times: Loki is asked first about each record."""
    already: int = 0
    """Records that Loki has."""
    rate: float = 0.0
    """Bytes a second that the replay keeps to; 0: as fast as Loki takes them."""
    seconds: float = 0.0
    """How long that takes."""
    advice: list[str] = []

    def leave(self, why: str, number: int) -> None:
        """Of those refused for this reason only so many are."""
        self.refused_records -= self.refused.pop(why) - number
        if number:
            self.refused[why] = number
        self.advice = advice(self)


def foretell(plan: Plan, blocks: Iterable[Outline], names: Sequence[str]) -> None:
    """Count what Loki refuses, deletes and does not show at first. `names`: of the metadata."""
    limits = plan.limits
    assert limits is not None
    now, refused = plan.at_ns, dict[str, int]()
    whole: dict[int, str] = {}
    """Streams of which everything is refused, and why."""
    behind: dict[int, int] = {}
    """By stream, the time before which Loki takes nothing."""
    for number, stream in enumerate(plan.streams):
        own = pairs(stream.labels)
        if len(own) > limits.max_labels:
            whole[number] = "too many labels"
        elif any(len(value) > limits.max_label_value for _, value in own):
            whole[number] = "label value too long"
        if stream.newest_ns is not None:
            behind[number] = stream.newest_ns - limits.window_ns
    old = now - int(limits.max_age * NANOS) if limits.reject_old else -1
    new = now + int(limits.grace * NANOS)
    gone: dict[int, tuple[int, str]] = {}
    """By stream, the time before which retention deletes, and by which rule."""
    for number, stream in enumerate(plan.streams):
        rule = rule_for(dict(pairs(stream.labels)), limits.retention_rules, limits.retention)
        if rule.period:
            gone[number] = now - int(rule.period * NANOS), rule.selector
    most_gone = max((time_ns for time_ns, _ in gone.values()), default=-1)
    dark = -1 if limits.shown is None else now - int(limits.shown * NANOS)
    most = 0 if limits.truncates else limits.max_line
    most_behind = max(behind.values(), default=-1)
    overhead = sum(map(len, names))
    for block in blocks:
        times, total = block.times, len(block.times)
        start, end = bisect_left(times, old), bisect_right(times, new)
        _add(refused, "too old", start)
        _add(refused, "too new", total - end)
        odd: set[int] = set()
        if most and max(block.sizes) > most:
            odd.update(place for place in range(start, end) if block.sizes[place] > most)
            _add(refused, "line too long", len(odd))
        if (names and max(block.metadata) + overhead > limits.max_metadata) or max(block.pairs) > limits.max_pairs:
            over = {
                place
                for place in range(start, end)
                if place not in odd
                and (block.metadata[place] + overhead > limits.max_metadata or block.pairs[place] > limits.max_pairs)
            }
            _add(refused, "too much metadata", len(over))
            odd |= over
        if whole:
            of_them = [place for place in range(start, end) if place not in odd and block.keys[place] in whole]
            for place in of_them:
                _add(refused, whole[block.keys[place]], 1)
            odd.update(of_them)
        if start < end and times[start] < most_behind:
            late = [
                place
                for place in range(start, min(end, bisect_left(times, most_behind)))
                if times[place] < behind.get(block.keys[place], -1) and place not in odd
            ]
            _add(refused, "too far behind", len(late))
            odd.update(late)
        for place in range(start, min(end, bisect_left(times, most_gone))):
            before, selector = gone.get(block.keys[place], (-1, ""))
            if times[place] < before and place not in odd:
                plan.deleted += 1
                _add(plan.deleted_by, selector, 1)
        upto = min(end, bisect_left(times, dark))
        plan.invisible += max(0, upto - start) - sum(start <= place < upto for place in odd)
    plan.refused = {why: number for why, number in refused.items() if number}
    plan.refused_records = sum(plan.refused.values())
    plan.too_many_streams = max(0, len(plan.streams) - limits.max_streams) if limits.max_streams else 0
    slowest = max((stream.bytes for stream in plan.streams), default=0)
    plan.seconds = max(plan.bytes / plan.rate if plan.rate else 0.0, slowest / limits.stream_rate)
    plan.there = any(stream.newest_ns is not None for stream in plan.streams)
    plan.advice = advice(plan)


def advice(plan: Plan) -> list[str]:
    """What would do about each of these."""
    limits, said = plan.limits, list[str]()
    assert limits is not None
    if plan.refused.get("too old"):
        said.append(
            "too old: set `reject_old_samples: false` in Loki's limits_config for this tenant while the replay runs, "
            "or raise reject_old_samples_max_age"
        )
    if plan.refused.get("too far behind"):
        said.append(
            "too far behind: Loki's streams have newer entries than these; leave out `--label ''`, so that the replay "
            "gets streams of its own, or raise ingester.max_chunk_age"
        )
    if plan.refused.get("line too long"):
        said.append("line too long: set the sink's `max_line`, or raise limits_config.max_line_size")
    if plan.refused.get("too much metadata"):
        said.append("too much metadata: take long fields out of the sink's `metadata`")
    if plan.refused.get("too many labels") or plan.refused.get("label value too long"):
        said.append("labels: move some of them to the sink's `metadata`")
    if plan.too_many_streams:
        said.append("too many streams: move labels to the sink's `metadata`, or raise max_global_streams_per_user")
    if plan.deleted:
        label = f'{{{plan.label}="{plan.name}"}}' if plan.label else "these streams"
        said.append(
            f"deleted: give {label} a rule of its own in Loki's retention_stream, with the highest priority and a "
            "period that reaches back so far"
        )
    if plan.invisible:
        said.append(
            "old entries show once Loki has flushed their chunks: about "
            f"{limits.idle / 60:g} minutes after the last push, or at once after a POST to /flush"
        )
    if not limits.told:
        said.append("Loki does not tell its settings (/config): its defaults are assumed")
    return said


def _add(counts: dict[str, int], why: str, number: int) -> None:
    if number:
        counts[why] = counts.get(why, 0) + number
