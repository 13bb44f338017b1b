"""Gives fields other names."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from ..pipeline.batch import Batch
from ..pipeline.component import Stage
from ..pipeline.record import Fields


class Rename(Stage):
    """Rename top-level fields, all at once: `{a: b, b: a}` swaps two.

    A JSON line is written anew, each field in its old place; of a text record only the fields change. A record
    without the field stays as it is. A field that already had the new name gives way.
    """

    fields: dict[str, str]
    """Old name to new name, such as `{ lvl: level, msg: message }`."""

    def check(self) -> Iterable[tuple[str, str]]:
        """Names are not empty, not the same, and no two fields get one name."""
        taken: dict[str, str] = {}
        for old, new in self.fields.items():
            if not old or not new:
                yield f"fields.{old}", "a field name cannot be empty"
            elif old == new:
                yield f"fields.{old}", f"{old!r} already has this name: leave it out"
            elif new in taken:
                yield f"fields.{old}", f"{taken[new]!r} and {old!r} cannot both become {new!r}: give each its own name"
            taken.setdefault(new, old)

    def reads(self) -> Iterable[str]:
        """The old names."""
        return tuple(self.fields)

    def writes(self) -> Iterable[str]:
        """The new names."""
        return tuple(self.fields.values())

    def removes(self) -> Iterable[str]:
        """The old names that are not new names too."""
        return tuple(old for old in self.fields if old not in self._news)

    def process(self, batch: Batch) -> Batch:
        """Rename in the records that have one of the fields."""
        olds = self.fields.keys()
        changed = [record for record in batch.records if not olds.isdisjoint(record.fields)]
        # All are worked out before the first is changed: should one raise, none is half done.
        renamed = [self._renamed(record.whole()) for record in changed]
        for record, fields in zip(changed, renamed, strict=True):
            # Copies of nested values under dotted names are no fields of the line: they must not get into it.
            nested = {
                name: value
                for name, value in record.fields.items()
                if "." in name and name not in olds and name.partition(".")[0] not in olds
            }
            if record.added:
                record.added = self._renamed(record.added)
            record.replace(fields)
            record.fields.update(nested)
        return batch

    def _renamed(self, fields: Fields) -> Fields:
        gone = {self.fields[name] for name in fields if name in self.fields}.difference(self.fields)
        return {self.fields.get(name, name): value for name, value in fields.items() if name not in gone}

    @cached_property
    def _news(self) -> frozenset[str]:
        return frozenset(self.fields.values())
