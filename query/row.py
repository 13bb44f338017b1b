"""One record on its way through the steps of a query: its line, and the labels that are known of it so far."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ..pipeline.match import text_of

ERROR = "__error__"
"""The label that says what a step could not do."""
DETAILS = "__error_details__"
EXTRACTED = "_extracted"
"""What a parser adds to a name that the stream has already."""

_decode = msgspec.json.Decoder(dict[str, Any], float_hook=str).decode
_OTHER = re.compile(r"[^a-zA-Z0-9_]")


class Row:
    """A record: `get` gives a label's value; steps change `line` and `labels`."""

    __slots__ = ("fields", "labels", "line", "loose", "open", "parsed", "simple", "stored", "stream", "time_ns")

    def __init__(
        self, line: bytes, stream: Mapping[str, str], fields: Mapping[str, Any], time_ns: int | None, *, open: bool
    ) -> None:
        self.stored = self.line = line
        self.time_ns = time_ns
        """When it was made, in Unix ns; None where that is not known or nobody asks."""
        self.stream = stream
        """What stands for the labels and the metadata that Loki has of it."""
        self.labels: dict[str, str | None] = dict(stream)
        """What is known of it; None for a label that was taken away."""
        self.fields = fields
        """The fields of the stored line that somebody reads."""
        self.open = self.loose = open
        """Whether these fields count as labels too."""
        self.parsed = False
        """Whether they do because a parser found them."""
        self.simple = False
        """Whether `fields` have all that `| json` would find under the names that somebody reads."""

    def get(self, name: str) -> str | None:
        """A label's value; None where it has none."""
        if name in self.labels:
            return self.labels[name]
        if not self.open:
            return None
        value = self.fields.get(name)
        if value is None:
            if name.endswith(EXTRACTED):
                plain = name.removesuffix(EXTRACTED)
                value = self.fields.get(plain) if self.loose or plain in self.stream else None
            elif "." in name:
                value = self.fields
                for key in name.split("."):
                    value = value.get(key) if isinstance(value, Mapping) else None
        if value is None or value.__class__ is str:
            return value
        return None if isinstance(value, dict | list) else text_of(value)

    def add(self, name: str, value: str) -> None:
        """What a parser found, unless one before it did; where the stream has such a label, under another name."""
        if name in self.stream:
            name += EXTRACTED
        if not self.labels.get(name) and not (self.parsed and name not in self.labels and self.get(name)):
            self.labels[name] = value

    def fail(self, error: str, details: str = "") -> None:
        """Note what could not be done; the first error stays."""
        if ERROR not in self.labels:
            self.labels[ERROR] = error
            if details:
                self.labels[DETAILS] = details

    def known(self) -> dict[str, str]:
        """All labels with a value."""
        return {name: value for name, value in self.labels.items() if value}


def sanitized(name: str) -> str:
    """A key as the name of a label."""
    name = _OTHER.sub("_", name.strip())
    return f"_{name}" if name[:1].isdigit() else name


def flattened(line: bytes, row: Row) -> None:
    """Add what `| json` finds in a line. Raises ValueError when it is no JSON object."""
    try:
        fields = _decode(line)
    except UnicodeDecodeError:
        fields = _decode(line.decode("utf-8", "replace").encode())
    _walk(fields, "", row)


def _walk(fields: dict[str, Any], prefix: str, row: Row) -> None:
    for key, value in fields.items():
        name = sanitized(f"{prefix}{key.strip()}") if key.strip() else prefix.rstrip("_")
        if value.__class__ is str:
            if name:
                row.add(name, value.replace("\ufffd", " "))
        elif isinstance(value, dict):
            _walk(value, f"{name}_" if name else "", row)
        elif name and value is not None and not isinstance(value, list):
            row.add(name, text_of(value))
