"""Some records of a batch and their fields as columns, each read once, however many metrics look at it."""

from __future__ import annotations

from itertools import compress
from typing import Any, Final, TypeVar

from ..pipeline.batch import Batch
from ..pipeline.match import And, Field, Match, Node, Number, Or
from ..pipeline.record import Record

_TEXT: Final = frozenset({str, type(None)})
_T = TypeVar("_T")


class Selection:
    """Records of one batch, for as long as nobody changes them. A batch without records gets none by this."""

    def __init__(self, batch: Batch, whole: Selection | None = None, keep: list[bool] | None = None) -> None:
        self._batch = batch
        self._whole = whole
        """What this is a part of."""
        self._keep = keep or []
        """For each record of the whole, whether it is in here."""
        self._length = len(batch) if whole is None else self._keep.count(True)
        self._columns: dict[str, list[Any]] = {}
        self._texts: dict[str, frozenset[str | None] | None] = {}
        self._records: list[Record] | None = None

    def __len__(self) -> int:
        """How many records there are."""
        return self._length

    def __getitem__(self, name: str) -> list[Any]:
        """One field of every record, None where it is missing; partition labels count as fields."""
        column = self._columns.get(name)
        if column is None:
            column = self._batch.values(name) if self._whole is None else self._part(self._whole[name])
            self._columns[name] = column
        return column

    @property
    def times(self) -> list[int | None]:
        """The time that was found for each record, in ns."""
        if self._whole is not None:
            return self._part(self._whole.times)
        found = self._batch.found_times
        return [None] * len(self) if found is None else list(found)

    def is_text(self, name: str) -> bool:
        """Whether all values of a field are text or null, so that equal ones also read alike (1 and true do not)."""
        column = self[name]
        try:
            "".join(column)  # takes nothing but text, in a quarter of the time of asking each for its type
        except TypeError:
            return _TEXT.issuperset(map(type, column))
        return True

    def select(self, match: Match) -> Selection:
        """Those of the records that match, in their order; itself where all do."""
        return self._select(match.expression)

    def _select(self, node: Node) -> Selection:
        if isinstance(node, And):
            left = self
            for part in node.parts:
                left = left._select(part) if len(left) else left
            return left
        if isinstance(node, Or):
            found = [some for part in node.parts if len(some := self._select(part))]
            if len(found) < 2:
                return found[0] if found else self._none()
        elif isinstance(node, Field | Number) and "." not in node.name:
            column = self[node.name]
            if isinstance(node, Number):
                if column.count(None) == len(column):
                    return self._none()
            elif not node.value and node.op in ("=", "!="):
                return self._filled(column, node.op == "!=")
            elif (texts := self._different(node.name)) is not None:
                passing = {text for text in texts if node.test(text or "")}
                if len(passing) == len(texts):
                    return self
                return self._having([text in passing for text in column]) if passing else self._none()
        return self._asked(node)

    def _filled(self, column: list[Any], want: bool) -> Selection:
        """Those whose field is there and not empty, or the others."""
        if all(column):
            return self if want else self._none()
        if column.count(None) == len(column):
            return self._none() if want else self
        return self._having([(value is not None and value != "") is want for value in column])

    def _different(self, name: str) -> frozenset[str | None] | None:
        """The different values of a field; None where one of them is neither text nor null."""
        if name not in self._texts:
            self._texts[name] = frozenset(self[name]) if self.is_text(name) else None
        return self._texts[name]

    def _asked(self, node: Node) -> Selection:
        """What is no matter of a single column is asked record by record."""
        records = self._made()
        chosen = set(map(id, node.select(self._batch.with_records(records))))
        return self._having([id(record) in chosen for record in records])

    def _made(self) -> list[Record]:
        """The records; of a batch that has none yet they are made for this alone."""
        if self._records is None:
            if self._whole is not None:
                self._records = self._part(self._whole._made())
            else:
                columns = self._batch.columns
                self._records = self._batch.records if columns is None else columns.records()
        return self._records

    def _part(self, whole: list[_T]) -> list[_T]:
        return list(compress(whole, self._keep))

    def _having(self, keep: list[bool]) -> Selection:
        return Selection(self._batch, self, keep)

    def _none(self) -> Selection:
        return self._having([False] * len(self))
