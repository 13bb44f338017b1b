"""Leaves out what does not match."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from ..pipeline.batch import Batch
from ..pipeline.component import Stage
from ..pipeline.match import Match


class Keep(Stage):
    """Keep only the records that match; the others are counted as dropped."""

    rewrites: ClassVar[bool] = False
    reason: ClassVar[str] = "no_match"

    match: Match
    """LogQL over the fields, such as `{level=~"error|critical"}`: what goes on."""

    def reads(self) -> Iterable[str]:
        """What the match looks at."""
        return self.match.fields

    def process(self, batch: Batch) -> Batch:
        """The batch with the matching records, in their order."""
        return batch.where(self.match.mask(batch))
