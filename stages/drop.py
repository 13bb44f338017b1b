"""Leaves out what matches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from ..pipeline.batch import Batch
from ..pipeline.component import Stage
from ..pipeline.match import Match


class Drop(Stage):
    """Leave out the records that match; they are counted as dropped."""

    rewrites: ClassVar[bool] = False
    reason: ClassVar[str] = "match"

    match: Match
    """LogQL over the fields, such as `{level="debug"} |= "healthz"`: what ends here."""

    def reads(self) -> Iterable[str]:
        """What the match looks at."""
        return self.match.fields

    def process(self, batch: Batch) -> Batch:
        """The batch with the records that do not match, in their order."""
        return batch.where([not gone for gone in self.match.mask(batch)])
