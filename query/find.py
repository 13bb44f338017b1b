"""Finds records by exact fields, text and time, in the files that the index says may have them: the last ones first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator

import msgspec

from .index import Index, Indexed
from .records import Found, is_error, json_text


class Wanted(msgspec.Struct, frozen=True):
    """Which records are asked for: those to which all of it applies."""

    exact: dict[str, str] = {}
    """Fields and what each must be, case and all. `agent` may leave out what follows a `/`."""
    contains: str = ""
    """Found in the record's JSON, whatever its case."""
    start_ns: int | None = None
    end_ns: int | None = None
    """Unix ns, the end included."""
    has_error: bool | None = None
    kinds: frozenset[str] = frozenset()
    """Of `records.kind_of`; empty: all."""

    def takes(self, record: Found) -> bool:
        """Whether a record is one of them."""
        if self.kinds and record.kind not in self.kinds:
            return False
        for field, value in self.exact.items():
            own = record.text(field)
            if own != value and (field != "agent" or own.partition("/")[0] != value):
                return False
        if (self.start_ns is not None and record.time_ns < self.start_ns) or (
            self.end_ns is not None and record.time_ns > self.end_ns
        ):
            return False
        if self.has_error is not None and is_error(record.fields) != self.has_error:
            return False
        return not self.contains or self.contains.lower() in json_text(record.fields)

    def may_be_in(self, one: Indexed) -> bool:
        """Whether a file may have one of them, as far as its entry tells."""
        entry = one.entry
        return not (
            not entry.count
            or (self.start_ns is not None and entry.last_ns < self.start_ns)
            or (self.end_ns is not None and entry.first_ns > self.end_ns)
            or (self.has_error and not entry.errors)
            or (self.kinds and self.kinds.isdisjoint(entry.kinds))
        )


def find(index: Index, files: Iterable[Indexed], wanted: Wanted, limit: int | None = None) -> list[Found]:
    """The records, oldest first; of more than `limit` the last ones. Raises OSError for what cannot be read."""
    if limit is None:
        return sorted(each(index, files, wanted), key=_order)
    best: list[tuple[tuple[int, int, int], Found]] = []

    def enough(one: Indexed) -> bool:
        return len(best) == limit and one.entry.last_ns < best[0][0][0]

    for record in each(index, files, wanted, enough):
        if len(best) < limit:
            heapq.heappush(best, (_order(record), record))
        elif _order(record) > best[0][0]:
            heapq.heapreplace(best, (_order(record), record))
    return [record for _, record in sorted(best, key=lambda one: one[0])]


def each(
    index: Index,
    files: Iterable[Indexed],
    wanted: Wanted,
    enough: Callable[[Indexed], bool] = lambda one: False,
) -> Iterator[Found]:
    """The records file by file, that with the newest record first. `enough`: nothing of a file is of use any more."""
    left = [one for one in files if wanted.may_be_in(one)]
    worth = index.worth_opening(left, wanted.exact, [wanted.contains] if wanted.contains else [])
    for one in sorted(left, key=lambda one: one.entry.last_ns, reverse=True):
        if one.path in worth and not enough(one):
            try:
                yield from filter(wanted.takes, index.reader.records(one.path, one.number))
            except FileNotFoundError:  # gone since it was listed
                continue


def _order(record: Found) -> tuple[int, int, int]:
    return record.time_ns, record.file, record.place
