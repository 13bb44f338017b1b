"""Where a replay goes: what it keeps of each record, and the sink that gets it in the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from ..pipeline.batch import Batch
from ..pipeline.component import Sink
from ..pipeline.options import Template
from ..pipeline.sinks.jsonl import Jsonl
from ..pipeline.sinks.loki import Loki
from .block import Rows

Key = tuple[str | None, ...]


class Unfit(ValueError):
    """A sink that nothing can be replayed into like that; the message says what would do."""


class Keys(dict[Key, int]):
    """Numbers for the few different values that labels, or a path, are made of; one for those that come to the same."""

    def __init__(self, result: Callable[[Key], object]) -> None:
        self.values_of: list[Key] = []
        """By number."""
        self._result = result
        self._numbers: dict[object, int] = {}

    def __missing__(self, key: Key) -> int:
        number = self[key] = self._numbers.setdefault(self._result(key), len(self.values_of))
        if number == len(self.values_of):
            self.values_of.append(key)
        return number


class Target:
    """One sink of a config, and how its records are kept until they are sorted."""

    def __init__(self, sink: Sink, label: str = "replay", into: str = "") -> None:
        """`label`: the one that Loki's streams of a replay have beside their own; empty for none.

        Raises Unfit.
        """
        self.sink = sink
        result: Callable[[Key], object] = tuple
        self._label = label
        self.fields: tuple[str, ...]
        """What `keys` are the values of."""
        if isinstance(sink, Loki):
            if label in sink.labels:
                raise Unfit(f"the sink {sink.name!r} has a label {label!r} of its own: choose another by --label")
            if into:
                raise Unfit("--into is for archives: Loki has no folder")
            self.fields, self.names, result = sink.streams.fields, list(sink.streams.names), sink.streams.labels_of
        elif isinstance(sink, Jsonl):
            if not into:
                raise Unfit("say with --into where the new archive goes, such as --into 'clean/{date}.jsonl.zst'")
            if into == sink.path.text:
                raise Unfit(f"--into: the sink {sink.name!r} writes there already: name another place")
            sink = self.sink = msgspec.structs.replace(sink, path=_template(into))
            if wrong := [message for _, message in sink.check()]:
                raise Unfit(f"--into: {wrong[0]}")
            self.fields = tuple(field for field in sink.path.fields if field not in ("date", "hour"))
            self.names = []
        else:
            raise Unfit(f"the sink {sink.name!r} is a {sink.word()}: a replay goes to a loki or a jsonl sink")
        self.keys = Keys(result)

    def rows(self, batch: Batch, file: int) -> Rows:
        """What is kept of a batch that has left the chain: lines as they will be sent."""
        sink, numbers = self.sink, self.keys
        columns: list[list[str | None]] = []
        keys: Sequence[Key]
        if isinstance(sink, Loki):
            keys, lines, columns = sink.streams.taken_apart(batch)
        else:
            assert isinstance(sink, Jsonl)
            lines = batch.shipped(sink.line)
            values = [[None if v is None else str(v) for v in batch.values(field)] for field in self.fields]
            keys = list(zip(*values, strict=True)) if values else [()] * len(lines)
        return Rows(list(batch.times), [numbers[key] for key in keys], [file] * len(lines), lines, columns)

    def final(self, name: str) -> Sink:
        """The sink for what was kept. `name`: of the replay, as the value of its label."""
        stored = {field: f"@{place}" for place, field in enumerate(self.fields)}
        if isinstance(self.sink, Loki):
            labels = {label: _renamed(template, stored) for label, template in self.sink.labels.items()}
            if self._label:
                labels[self._label] = Template(name)
            # One batch a push: it was cut so that it fits.
            own = {"line": "raw", "max_line": None, "match": None, "batch_bytes": 1}
            return msgspec.structs.replace(self.sink, labels=labels, metadata=self.names, **own)
        assert isinstance(self.sink, Jsonl)
        return msgspec.structs.replace(self.sink, path=_renamed(self.sink.path, stored), line="raw", match=None)

    def fields_of(self, rows: Rows) -> dict[str, list[str | None]]:
        """What the final sink reads of these, by field."""
        known = self.keys.values_of
        found: dict[str, list[str | None]] = {}
        for place in range(len(self.fields)):
            values = [key[place] for key in known]
            found[f"@{place}"] = [values[number] for number in rows.keys]
        columns = zip(self.names, rows.columns, strict=False)
        return found | {name: column for name, column in columns if column.count(None) < len(column)}


def _template(text: str) -> Template:
    try:
        return Template(text)
    except ValueError as error:
        raise Unfit(f"--into: {error}") from None


def _renamed(template: Template, names: dict[str, str]) -> Template:
    """With other names for its fields; they are no names that metadata can have."""
    parts = ["{" + names.get(part, part) + "}" if place % 2 else part for place, part in enumerate(template.parts)]
    return Template("".join(parts))
