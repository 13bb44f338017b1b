"""The story of a line: what each stage makes of it, and what every sink gets."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import msgspec

from ..config.case import series_text
from ..config.load import Config
from ..pipeline.batch import Batch, Chunk
from ..pipeline.component import Stage
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
    bytes: tuple[int, int] | None = None
    """How long the line was before and after it, if that changed."""
    redacted: dict[str, int] = {}
    """By rule how often it took something out."""
    cut: dict[str, int] = {}
    """By field how many values it cut."""
    counted: dict[str, float] = {}
    """By series what it added to the metrics that it makes."""


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
    bytes: int


class Teller:
    """Follows events through a config and tells of them; nothing is sent."""

    def __init__(self, config: Config) -> None:
        self.rehearsal = Rehearsal(config, self._watch)
        self._seen: list[list[_Seen]] = []
        self._looking = False

    def pass_over(self, source: str, chunk: Chunk, read_at_ns: int, slot: int = 0) -> None:
        """What stands before the events that are told of: stages may remember something of it."""
        self._looking = False
        self.rehearsal.follow(source, chunk, read_at_ns, slot)

    def tell(self, source: str, chunk: Chunk, read_at_ns: int, slot: int = 0) -> tuple[list[Story], Batch]:
        """The stories of a chunk of one event (several where a stage makes several records of one), and what ships."""
        self._looking = True
        self._seen.clear()
        stages = self.rehearsal.stages
        before = [_samples(stage) for stage in stages]
        batch = self.rehearsal.follow(source, chunk, read_at_ns, slot)
        stories = _stories(self.rehearsal, source, chunk.lines[0], self._seen, batch)
        for place, stage in enumerate(stages):
            more = {key: now - before[place].get(key, 0.0) for key, now in _samples(stage).items()}
            for story in stories:
                if place < len(story.steps):
                    _note(story.steps[place], {key: value for key, value in more.items() if value > 0})
        return stories, batch

    def _watch(self, place: int, batch: Batch) -> None:
        if self._looking:
            self._seen.append([_look(record) for record in batch.records])


def tell(config: Config, data: bytes, source: str = "", *, file: str = "", read_at_ns: int) -> list[Story]:
    """The story of every event in what a source reads, in the order in which stages see them."""
    name = source or next(iter(config.sources))
    stories: list[Story] = []
    teller = Teller(config)
    chunk = teller.rehearsal.chunk(data, name, file=file)
    starts = [*chunk.offsets, int(chunk.position["offset"])]
    for line, (start, end) in zip(chunk.lines, pairwise(starts), strict=True):
        one = msgspec.structs.replace(chunk, lines=[line], offsets=[start], position={"offset": end}, size=len(line))
        stories += teller.tell(name, one, read_at_ns)[0]
    return stories


_Sample: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]


def _samples(stage: Stage) -> dict[_Sample, float]:
    """The numbers that a stage counts by itself, by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in stage.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }


def _note(step: Step, more: dict[_Sample, float]) -> None:
    for (name, pairs), value in more.items():
        labels = dict(pairs)
        if name == "tailrace_redactions_total":
            step.redacted[labels["rule"]] = step.redacted.get(labels["rule"], 0) + int(value)
        elif name == "tailrace_truncations_total":
            step.cut[labels["field"]] = int(value)
        elif not name.startswith("tailrace_"):
            step.counted[series_text(name, labels)] = value


def _look(record: Record) -> _Seen:
    return _Seen(record.text, all_fields(record), record.time_ns, len(record.line))


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
            step.bytes = (before.bytes, after.bytes) if before.bytes != after.bytes else None
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
