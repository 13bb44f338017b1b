"""The chain: a batch through every stage in turn, each counted, a failing record set apart."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from time import perf_counter

import msgspec

from . import clock
from .batch import Batch, Dead
from .component import Stage
from .meter import Meter


class Chain:
    """The stages of a config. Synchronous: what comes out was decided by the batch and its partition's state alone."""

    def __init__(self, stages: Sequence[Stage], wanted: Sequence[frozenset[str] | None]) -> None:
        self.stages = stages
        self.meters = [Meter("stage", stage.name) for stage in stages]
        for stage, fields in zip(stages, wanted, strict=True):
            stage.prepare(fields)
        self.clean = lru_cache(maxsize=4096)(self._clean)
        """Text that is no record (a reason, a path, a word of the log) without what the stages hide."""
        self.see: Callable[[int, Batch], None] | None = None
        """Shown each batch after so many stages, and once more with its times, while somebody taps it."""
        self._protected_from = max((i + 1 for i, stage in enumerate(stages) if stage.protects), default=0)

    def run(self, batch: Batch) -> Batch:
        """Return the batch as it ships: what is left of its records, each with its final time."""
        size = batch.size = batch.measure()
        see = self.see
        for place, (stage, meter) in enumerate(zip(self.stages, self.meters, strict=True)):
            if see:
                see(place, batch)
            before = len(batch)
            dead = len(batch.dead)
            start = perf_counter()
            try:
                batch = stage.process(batch)
            except Exception:
                del batch.dead[dead:]
                batch = self._one_by_one(stage, batch, withhold=place < self._protected_from)
            if place < self._protected_from and len(batch.dead) > dead:
                batch.dead[dead:] = [_withheld(one) for one in batch.dead[dead:]]
            meter.count_in(before, size)
            if stage.rewrites or len(batch) != before:
                size = batch.measure()
            batch.size = size
            meter.count_out(len(batch), size, perf_counter() - start)
            meter.dead += len(batch.dead) - dead
            if left := before - len(batch) - (len(batch.dead) - dead):
                meter.drop(stage.reason, left)
        if batch.dead:
            batch.dead[:] = self.clean_dead(batch.dead)
        if see:
            see(len(self.stages), batch)
        clock.set_times(batch)
        if see:
            see(len(self.stages) + 1, batch)
        batch.forget()
        return batch

    def clean_dead(self, dead: Sequence[Dead]) -> list[Dead]:
        """The same with reasons that quote no secret: those of a stage or sink may quote whatever came to it."""
        clean = self.clean
        return [
            msgspec.structs.replace(
                one, reason=clean(one.reason), hint=clean(one.hint), traceback=tuple(map(clean, one.traceback))
            )
            for one in dead
        ]

    def _clean(self, text: str) -> str:
        try:
            for stage in self.stages:
                if stage.protects:
                    text = stage.clean(text)
        except Exception:
            return "(not told, for it cannot be redacted)"
        return text

    def _one_by_one(self, stage: Stage, batch: Batch, *, withhold: bool) -> Batch:
        """Find the records that the stage raises on; the others of the batch go on."""
        kept = []
        for record in batch.records:
            try:
                kept += stage.process(batch.with_records([record])).records
            except Exception as error:
                # The message may quote the record, so where secrets are not yet hidden only the kind of error is told.
                reason = type(error).__name__ if withhold else f"{type(error).__name__}: {error}"
                calls = _calls(error)
                hint = f"raised at {calls[-1].partition(': ')[0]}"
                batch.dead.append(Dead(record, stage.name, reason, hint, withhold, calls))
        return batch.with_records(kept)


def _calls(error: Exception) -> tuple[str, ...]:
    """The traceback from the stage on (the first entry is the engine's); it holds code, never data."""
    frames = traceback.extract_tb(error.__traceback__)
    return tuple(f"{Path(f.filename).name}:{f.lineno}, in {f.name}: {f.line}" for f in frames[1:] or frames)


_WORD = re.compile(r"\w{4,}")
"""What may be a secret, or a part of one."""


def _withheld(dead: Dead) -> Dead:
    """Without its line, and without a reason of the stage's own that quotes it."""
    if dead.withheld:
        return dead
    line = dead.record.text
    quoted = any(word in line for word in _WORD.findall(f"{dead.reason} {dead.hint}"))
    if not quoted:
        return msgspec.structs.replace(dead, withheld=True)
    return msgspec.structs.replace(dead, withheld=True, reason="not told, for it quotes the record", hint="")
