"""One field of a whole batch, read and added as a column, whether or not the batch has records yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..pipeline.batch import Batch
from ..pipeline.record import Record


def own(batch: Batch, name: str) -> list[Any]:
    """The field of every record, None where it is missing; what is known of the partition is no record's own."""
    if batch.columns is not None and name not in batch.labels:
        return batch.columns.values(name)
    # `parsed` first: an attribute costs a quarter of a property, and it is nearly always there.
    return [(record.parsed or record.fields).get(name) for record in batch.records]


def add(batch: Batch, name: str, values: Sequence[Any]) -> None:
    """Put a field beside the records' own; None leaves a record as it is."""
    if batch.columns is None:
        for record, value in zip(batch.records, values, strict=True):
            if value is not None:
                record.set(name, value)
    elif values.count(None) < len(values):
        batch.columns.add(name, values)


def add_to(batch: Batch, found: Mapping[int, Mapping[str, Any]]) -> None:
    """Put fields beside those of a few records, by the records' places in the batch."""
    if batch.columns is None:
        for place, fields in found.items():
            for name, value in fields.items():
                batch.records[place].set(name, value)
        return
    batch.columns.add_to({place: dict(fields) for place, fields in found.items()})


def record_at(batch: Batch, place: int) -> Record:
    """One record, to be looked at only: a batch without records gets none by this."""
    columns = batch.columns
    if columns is None:
        return batch.records[place]
    added = {name: values[place] for name, values in columns.added.items() if values[place] is not None}
    added |= columns.rows.get(place, {})
    parsed = None if columns.parsed is None else columns.parsed[place] | added
    record = Record(columns.lines[place], columns.offsets[place], None, columns.format, added or None, parsed)
    if added and parsed is None:
        record.fields.update(added)
    return record
