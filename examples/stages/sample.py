"""Stage `sample`: keeps one in so many of the records that are too many."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar
from zlib import crc32

import msgspec

from tailrace.pipeline.batch import Batch
from tailrace.pipeline.component import Stage
from tailrace.pipeline.match import Match


class Sample(Stage):
    """Leave out all but one in `one_in` of the records that match; others pass.

    Which ones stay follows from the line and its place alone, so a repeat after a crash keeps the same.
    """

    reason: ClassVar[str] = "sampled"

    match: Match
    """LogQL: which records are too many, such as `{level="debug"}`."""
    one_in: Annotated[int, msgspec.Meta(ge=2)] = 10
    """One in so many stays."""

    def reads(self) -> Iterable[str]:
        """The fields of `match`."""
        return self.match.fields

    def process(self, batch: Batch) -> Batch:
        """Choose by checksum: no random numbers, which a second attempt would make different."""
        among = {id(record) for record in self.match.select(batch)}
        return batch.with_records(
            [
                record
                for record in batch.records
                if id(record) not in among or crc32(record.line, record.offset & 0xFFFFFFFF) % self.one_in == 0
            ]
        )
