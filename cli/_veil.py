"""What may be shown of records at any point: the stages of the config that hide secrets, on copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..config.load import Config
from ..pipeline.batch import Batch
from ..pipeline.component import Stage
from ..pipeline.record import Record
from ..pipeline.tap import Shown
from ..stages.redact import Redact
from ..testing.rehearsal import all_fields, anew

PARTITIONS = 1000
"""Whose state is kept."""
TEXTS = 4096
"""Cleaned texts to remember."""


class Veil:
    """Redacts as the config does, by stages of its own; a config without a stage that hides secrets gets `redact`.

    In front of that stage a record goes through what is still to come up to there: only what `parse` finds in a line
    tells which part of it a field is that is to be hidden. Shown is then the line as it leaves, and of the fields those
    that it has at the point.
    """

    def __init__(self, config: Config) -> None:
        stages: list[Stage] = [anew(stage) for stage in config.stages]
        self._hidden_from = max((at for at, stage in enumerate(stages, 1) if stage.protects), default=0)
        self._stages = stages[: self._hidden_from]
        self._guards = [stage for stage in stages if stage.protects] or [Redact(name="redact")]
        for stage in {id(stage): stage for stage in (*self._stages, *self._guards)}.values():
            stage.prepare(None)
        self._states: dict[tuple[str, str], dict[str, Any]] = {}
        self._cleaned: dict[str, str] = {}
        self.clean("")  # rules are compiled now, in the thread that makes this, and not between two batches

    def clean(self, text: str) -> str:
        """A text that is no record: an id, a path, a label."""
        known = self._cleaned.get(text)
        if known is None:
            if len(self._cleaned) >= TEXTS:
                self._cleaned.clear()
            known = text
            try:
                for stage in self._guards:
                    known = stage.clean(known)
            except Exception:
                known = "(not told, for it cannot be redacted)"
            self._cleaned[text] = known
        return known

    def veil(self, batch: Batch, done: int) -> list[Shown | None]:
        """See `pipeline.tap.Veil`."""
        records: list[Record | None] = list(batch.records)
        names = [_names(record) for record in batch.records]
        for place, own_record in enumerate(batch.records):
            own_record.offset = place  # stages may leave some out, or make several of one
        key = (batch.source, batch.partition)
        if key not in self._states and len(self._states) >= PARTITIONS:
            self._states.clear()
        own = batch.with_records([])
        own.state, own.dead = self._states.setdefault(key, {}), []
        before = done < self._hidden_from
        bare = [record.format == "text" and not record.parsed for record in batch.records]
        for stage in self._stages[done:] if before else self._guards:
            if stage.protects or stage.rewrites or any(stage.writes()):
                records = _through(stage, own, records)
        if not before:
            return [_shown(record) for record in records]
        shown: list[Shown | None] = []
        for record, known, unread in zip(records, names, bare, strict=True):
            if record is not None and unread:  # nothing was read in it yet: it is its own message
                shown.append(Shown(record, {"message": record.text}))
            else:
                shown.append(_shown(record, known))
        return shown


def _through(stage: Stage, batch: Batch, records: Sequence[Record | None]) -> list[Record | None]:
    """The records after a stage; one that it leaves out as it was before, None for one that it raises on."""
    held = [record for record in records if record is not None]
    saved = [msgspec.structs.replace(record) for record in held]  # an error may leave them half done
    try:
        after = {record.offset: record for record in reversed(stage.process(batch.with_records(held)).records)}
    except Exception:
        after = {}
        held = []
        for one in saved:
            try:
                after |= {new.offset: new for new in reversed(stage.process(batch.with_records([one])).records)}
                held.append(one)
            except Exception:
                continue
    dead = {one.record.offset for one in batch.dead}
    # What a stage that hides secrets leaves out was not redacted by it.
    left = {} if stage.protects else {record.offset: record for record in held if record.offset not in dead}
    return [None if record is None else after.get(record.offset, left.get(record.offset)) for record in records]


def _names(record: Record) -> frozenset[str]:
    try:
        return frozenset(all_fields(record))
    except Exception:
        return frozenset()


def _shown(record: Record | None, names: frozenset[str] | None = None) -> Shown | None:
    """`names`: the fields that it had at the point, and no others."""
    if record is None:
        return None
    try:
        fields = all_fields(record)
    except Exception:
        return None
    return Shown(record, {name: fields[name] for name in fields if names is None or name in names})
