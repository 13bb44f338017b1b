"""The story of a line: what each stage makes of it, and what every sink gets."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, Literal

import msgspec

from ..config.load import Config
from ..pipeline.batch import Batch
from ..pipeline.record import Fields, Record, rfc3339
from .rehearsal import Rehearsal, all_fields


class Change(msgspec.Struct, kw_only=True):
    """What became of a field."""

    field: str
    kind: Literal["added", "changed", "removed"]
    value: Any = None
    withheld: bool = False
    """It was not in the line, and secrets are not yet hidden here: the value is not told."""


class Step(msgspec.Struct, kw_only=True):
    """What one stage did."""

    stage: str
    changes: list[Change] = []
    line: str | None = None
    """The line after it, if it changed."""
    time: str = ""
    """The time that it gave the record, RFC 3339."""
    dropped: str = ""
    """Why the record ends here."""
    dead: str = ""
    """Why the stage gave it up."""


class Arrival(msgspec.Struct, kw_only=True):
    """What one sink does with it."""

    sink: str
    takes: bool
    why: str = ""
    """Why it does not."""
    line: str = ""
    time: str = ""
    labels: dict[str, str] = {}
    metadata: dict[str, str] = {}
    path: str = ""


class Story(msgspec.Struct, kw_only=True):
    """One event from the source to the sinks."""

    source: str
    read: str
    """As it was given."""
    steps: list[Step]
    """Up to the stage where it ends, or all."""
    sinks: list[Arrival]


class _Seen(msgspec.Struct):
    """A record between two stages."""

    line: str
    fields: Fields
    time_ns: int | None


def tell(config: Config, data: bytes, source: str = "", *, file: str = "", read_at_ns: int) -> list[Story]:
    """The story of every event in what a source reads, in the order in which stages see them."""
    name = source or next(iter(config.sources))
    stories: list[Story] = []
    seen: list[list[_Seen]] = []

    def watch(place: int, batch: Batch) -> None:
        seen.append([_look(record) for record in batch.records])

    rehearsal = Rehearsal(config, watch)
    chunk = rehearsal.chunk(data, name, file=file)
    starts = [*chunk.offsets, int(chunk.position["offset"])]
    for line, (start, end) in zip(chunk.lines, pairwise(starts), strict=True):
        seen.clear()
        one = msgspec.structs.replace(chunk, lines=[line], offsets=[start], position={"offset": end}, size=len(line))
        batch = rehearsal.follow(name, one, read_at_ns)
        stories += _stories(rehearsal, name, line, seen, batch)
    return stories


def _look(record: Record) -> _Seen:
    return _Seen(record.text, all_fields(record), record.time_ns)


def _stories(rehearsal: Rehearsal, source: str, line: bytes, seen: list[list[_Seen]], batch: Batch) -> list[Story]:
    """Of one event: several where a stage makes several records of one."""
    raw = line.decode("utf-8", "replace")
    count = max(1, len(batch))
    return [_story(rehearsal, source, raw, seen, batch, place) for place in range(count)]


def _story(rehearsal: Rehearsal, source: str, raw: str, seen: list[list[_Seen]], batch: Batch, place: int) -> Story:
    stages = rehearsal.stages
    hidden_from = max((at + 1 for at, stage in enumerate(stages) if stage.protects), default=0)
    dead = {one.where: one for one in batch.dead}
    steps: list[Step] = []
    before = seen[0][0]
    for at, stage in enumerate(stages):
        step = Step(stage=stage.name)
        steps.append(step)
        if letter := dead.get(stage.name):
            step.dead = letter.reason
        # A stage that raised was tried again with each record alone: what was seen last is what counts.
        here = seen[at + 1] if at + 1 < len(seen) else []
        if not here:
            step.dropped = "" if step.dead else _why(stage)
            break
        after = here[min(place, len(here) - 1)]
        if after.line != before.line:
            step.line = after.line if at + 1 >= hidden_from or after.line in raw else "(shown once secrets are hidden)"
        if after.time_ns is not None and after.time_ns != before.time_ns:
            step.time = rfc3339(after.time_ns)
        step.changes = _changes(before.fields, after.fields, raw if at + 1 < hidden_from else None)
        before = after
    sinks = [_arrival(rehearsal, name, batch, place) for name in rehearsal.sinks] if len(batch) else []
    return Story(source=source, read=raw, steps=steps, sinks=sinks)


def _why(stage: Any) -> str:
    match = getattr(stage, "match", None)
    told = f"{stage.word()} {match.text}" if match is not None else f"by {stage.name}"
    return told if stage.reason == "dropped" else f"{told} ({stage.reason})"


def _changes(before: Fields, after: Fields, raw: str | None) -> list[Change]:
    """`raw`: the line in which values must stand to be told; None: all are."""
    found = [Change(field=name, kind="removed") for name in before if name not in after]
    for name, value in after.items():
        if name not in before or before[name] != value:
            told = raw is None or _is_in(value, raw)
            kind: Literal["added", "changed"] = "changed" if name in before else "added"
            found.append(Change(field=name, kind=kind, value=value if told else None, withheld=not told))
    return found


def _is_in(value: Any, raw: str) -> bool:
    if isinstance(value, str):
        return value in raw or value.lower() in raw.lower() or json.dumps(value)[1:-1] in raw
    if isinstance(value, dict):
        return all(_is_in(inner, raw) for inner in (*value, *value.values()))
    if isinstance(value, list):
        return all(_is_in(inner, raw) for inner in value)
    return True


def _arrival(rehearsal: Rehearsal, name: str, batch: Batch, place: int) -> Arrival:
    one = batch.with_records(batch.records[place : place + 1])
    sent = rehearsal.sent(name, one)
    if not sent:
        match = rehearsal.sinks[name].match
        return Arrival(sink=name, takes=False, why=f"does not match {match.text}" if match else "does not take it")
    (it,) = sent
    return Arrival(
        sink=name,
        takes=True,
        line=it.line,
        time=rfc3339(it.time_ns),
        labels=it.labels,
        metadata=it.metadata,
        path=it.path,
    )
