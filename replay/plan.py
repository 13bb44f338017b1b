"""What Loki would do with a replay, from its settings and its newest entries, before anything is sent."""

from __future__ import annotations

import asyncio
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
import yaml

from ..pipeline.options import Duration, Size
from ..pipeline.sinks.loki import Loki
from .block import Outline
from .receipt import Read, Stream

NANOS = 1_000_000_000
HOUR_NS = 3600 * NANOS
FLUSHED_AFTER = 41 * 60.0
"""Seconds: so much longer than `max_chunk_age` Loki itself looks for entries in what was not flushed."""
ASK_AT_ONCE = 4
NO_TENANT = "fake"
"""Loki's own name for who it is told nothing of."""


class Limits(msgspec.Struct):
    """Loki's settings that decide on old logs; its defaults where it does not tell them."""

    told: bool = False
    """By Loki itself."""
    reject_old: bool = True
    max_age: float = 7 * 86_400.0
    """Seconds."""
    grace: float = 600.0
    """Seconds that an entry may lie in the future."""
    max_chunk_age: float = 7200.0
    idle: float = 1800.0
    """Seconds without a push after which a chunk is flushed."""
    max_line: int = 256 << 10
    truncates: bool = False
    max_labels: int = 15
    max_label_value: int = 2048
    max_metadata: int = 64 << 10
    max_pairs: int = 128
    rate: float = 4 * (1 << 20)
    """Bytes a second, of the tenant …"""
    stream_rate: float = 3 * (1 << 20)
    """… and of each stream."""
    max_streams: int = 5000
    retention: float = 0.0
    """Seconds; 0: nothing is deleted."""
    look_back: float = 0.0
    """Seconds up to which entries show before they are flushed, -1: all do; 0: as the age of chunks says."""
    ingesters_within: float = 10_800.0

    @property
    def window_ns(self) -> int:
        """How far behind the newest entry of its stream one may be."""
        return int(self.max_chunk_age / 2 * NANOS)

    @property
    def shown(self) -> float | None:
        """Seconds: what is older shows only once it is flushed. None: all shows at once."""
        if self.look_back < 0 or not self.ingesters_within:
            return None
        return min(self.ingesters_within, self.look_back or self.max_chunk_age + FLUSHED_AFTER)


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
    """Accepted, and then deleted by retention."""
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


def parse_limits(config: str, tenant: str = "") -> Limits:
    """From what Loki says at `/config`, and of a tenant at `/config/tenant/v1/limits`, both YAML."""
    sections = {name: _section(config, name) for name in ("limits_config", "ingester", "querier", "compactor")}
    limits = sections["limits_config"] | _yaml(tenant)
    ingester, querier = sections["ingester"], sections["querier"]
    known = Limits()
    if not limits:
        return known
    look_back = _seconds(ingester.get("query_store_max_look_back_period"), 0.0)
    return Limits(
        told=True,
        reject_old=bool(limits.get("reject_old_samples", True)),
        max_age=_seconds(limits.get("reject_old_samples_max_age"), known.max_age),
        grace=_seconds(limits.get("creation_grace_period"), known.grace),
        max_chunk_age=_seconds(ingester.get("max_chunk_age"), known.max_chunk_age),
        idle=_seconds(ingester.get("chunk_idle_period"), known.idle),
        max_line=_bytes(limits.get("max_line_size"), known.max_line),
        truncates=bool(limits.get("max_line_size_truncate")),
        max_labels=int(limits.get("max_label_names_per_series", known.max_labels)),
        max_label_value=int(limits.get("max_label_value_length", known.max_label_value)),
        max_metadata=_bytes(limits.get("max_structured_metadata_size"), known.max_metadata),
        max_pairs=int(limits.get("max_structured_metadata_entries_count", known.max_pairs)),
        rate=float(limits.get("ingestion_rate_mb", 4)) * (1 << 20),
        stream_rate=_bytes(limits.get("per_stream_rate_limit"), int(known.stream_rate)),
        max_streams=int(limits.get("max_global_streams_per_user", known.max_streams)),
        retention=_seconds(limits.get("retention_period"), 0.0)
        if sections["compactor"].get("retention_enabled")
        else 0.0,
        look_back=-1.0 if look_back < 0 else look_back,
        ingesters_within=_seconds(querier.get("query_ingesters_within"), known.ingesters_within),
    )


async def ask_limits(sink: Loki) -> Limits:
    """Of an open sink's Loki; its defaults where it does not say (a gateway may hide the page). Raises OSError."""
    answers = [await sink.get("/config"), await sink.get("/config/tenant/v1/limits", tenant=NO_TENANT)]
    config, tenant = (answer.body.decode() if answer.status == HTTPStatus.OK else "" for answer in answers)
    return parse_limits(config, tenant)


async def ask_newest(sink: Loki, streams: Sequence[Stream], now_ns: int, limits: Limits) -> list[int | None]:
    """The time of the newest entry that Loki shows in each of these streams. Raises OSError."""
    slots = asyncio.Semaphore(ASK_AT_ONCE)

    async def ask(stream: Stream) -> int | None:
        # An entry that decides on ours is younger than these; one before them all would leave them alone.
        start, end = stream.first_ns, now_ns + int(limits.grace * NANOS) + NANOS
        async with slots:
            return await newest(sink, stream.labels, start, end)

    return await asyncio.gather(*map(ask, streams))


LONGEST_NS = 29 * 24 * HOUR_NS
"""Loki answers no query over more than 30 days (max_query_length)."""


async def newest(sink: Loki, labels: str, start_ns: int, end_ns: int) -> int | None:
    """The time of the newest entry of just this stream from `start_ns` on and before `end_ns`. Raises OSError."""
    while end_ns > start_ns:
        begin = max(start_ns, end_ns - LONGEST_NS)
        span = {"start": str(begin), "end": str(end_ns)}
        answer = await sink.get("/loki/api/v1/series", {"match[]": labels, **span})
        if answer.status != HTTPStatus.OK:
            raise OSError(f"Loki answers {answer.status} when it is asked for streams: {answer.body[:200]!r}")
        own = dict(pairs(labels))
        found = json.loads(answer.body).get("data") or []
        if any(is_own(own, series) for series in found):
            more = sorted({name for series in found for name in series if name not in own and not is_lokis(name)})
            selector = labels[:-1] + "".join(f', {name}=""' for name in more) + "}"
            parameters = {"query": selector, "limit": "1", "direction": "backward", **span}
            answer = await sink.get("/loki/api/v1/query_range", parameters)
            if answer.status != HTTPStatus.OK:
                raise OSError(f"Loki answers {answer.status} to a query: {answer.body[:200]!r}")
            result = json.loads(answer.body)["data"]["result"]
            times = [int(value[0]) for one in result for value in one["values"]]
            if times:
                return max(times)
        end_ns = begin
    return None


def pairs(labels: str) -> list[tuple[str, str]]:
    """Names and values of labels as Loki writes them."""
    return [(name, json.loads(value)) for name, value in re.findall(r'(\w+)=("(?:[^"\\]|\\.)*")', labels)]


def is_lokis(name: str) -> bool:
    """A label that Loki adds by itself."""
    return name == "service_name" or name.startswith("__")


def is_own(own: Mapping[str, str], series: Mapping[str, str]) -> bool:
    """These are the labels of this very stream, but for those that Loki adds."""
    return {name: value for name, value in series.items() if name in own or not is_lokis(name)} == own


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
    gone = now - int(limits.retention * NANOS) if limits.retention else -1
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
        for limit, attribute in ((gone, "deleted"), (dark, "invisible")):
            upto = min(end, bisect_left(times, limit))
            number = max(0, upto - start) - sum(start <= place < upto for place in odd)
            setattr(plan, attribute, getattr(plan, attribute) + number)
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
        days = limits.retention / 86_400
        said.append(f"retention deletes what is older than {days:g} days: give the label a retention_stream of its own")
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


def _section(config: str, name: str) -> dict[str, Any]:
    """One of the sections at the top: reading all 3500 lines takes a second."""
    found = re.search(rf"^{name}:\n((?:[ \t].*\n|\n)+)", config, re.MULTILINE)
    section = _yaml(f"{name}:\n{found[1]}").get(name) if found else None
    return section if isinstance(section, dict) else {}


def _yaml(text: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(value: object, default: float) -> float:
    """A time span as Go writes it, such as 2h0m0s, 1w or -1ns."""
    text = str(value)
    if text.startswith("-"):
        return -1.0
    try:
        return float(Duration.decode(text))
    except ValueError:
        return 0.0 if re.fullmatch(r"0[a-z]*", text) else default


def _bytes(value: object, default: int) -> int:
    """A size as Loki means it: its KB is 1024 bytes."""
    if isinstance(value, int):
        return value
    try:
        return int(Size.decode(re.sub(r"^(\d+(?:\.\d+)?)([KMG])B$", r"\1\2iB", str(value))))
    except ValueError:
        return default
