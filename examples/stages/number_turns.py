"""Stage `number_turns`: the how-manieth turn of its session a record is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from tailrace.pipeline.batch import Batch
from tailrace.pipeline.component import Stage


class NumberTurns(Stage):
    """Put `turn` (1, 2, 3 …) beside each record that begins a turn, and beside those that follow in its session.

    What it counts is kept in the batch's state: for each file by itself, and saved with the position.
    """

    session: str = "session_key"
    """The field that tells sessions apart."""
    event: str = "turn_start"
    """The value of `event` that begins a turn."""
    max_sessions: Annotated[int, msgspec.Meta(ge=1)] = 1000
    """Sessions to remember of each file; the one without a turn for the longest is forgotten."""

    def reads(self) -> Iterable[str]:
        """The session, and what happened."""
        return (self.session, "event")

    def writes(self) -> Iterable[str]:
        """The number."""
        return ("turn",)

    def process(self, batch: Batch) -> Batch:
        """Count on from where the last batch of this file ended."""
        turns: dict[str, int] = dict(batch.state.get(self.name, {}))
        for record in batch.records:
            session = record.fields.get(self.session)
            if not isinstance(session, str):
                continue
            if record.fields.get("event") == self.event:
                turns[session] = turns.pop(session, 0) + 1
                if len(turns) > self.max_sessions:
                    del turns[next(iter(turns))]
            if session in turns:
                record.set("turn", turns[session])
        batch.state[self.name] = turns
        return batch
