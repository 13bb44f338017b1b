"""What Loki refused of a replay, each record counted once however often it was killed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..pipeline.batch import Batch, Dead
from ..pipeline.dead_letter import DeadLetter, Kind


class Lost(msgspec.Struct, array_like=True):
    """Some records that were refused for one reason."""

    reason: str
    places: list[int]
    """Their numbers in the replay."""


class Refused(DeadLetter):
    """A dead letter of which the newest are kept, and beside it the numbers of all."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        super().__init__(folder / "dead_letter.jsonl", max_bytes, "drop_oldest")
        self.more = 0
        """Refused since the start."""
        self._log = folder / "refused.jsonl"

    def write(self, batch: Batch, dead: Sequence[Dead], kind: Kind = "sink") -> None:
        """Append; raises OSError."""
        if kind == "sink":
            reasons: dict[str, list[int]] = {}
            for one in dead:
                reasons.setdefault(short(one.reason), []).append(one.record.offset)
            lines = [msgspec.json.encode(Lost(reason, places)) + b"\n" for reason, places in reasons.items()]
            with open(self._log, "ab") as file:
                file.write(b"\n" + b"".join(lines))  # the line before may be torn
                file.flush()
                os.fsync(file.fileno())
            self.more += len(dead)
        super().write(batch, dead, kind)

    def counted(self, records: int) -> tuple[bytearray, dict[str, int]]:
        """A byte for each record of the replay, not 0 where it was refused; and how many, by reason."""
        there, reasons = bytearray(records), dict[str, int]()
        try:
            lines = self._log.read_bytes().split(b"\n")
        except FileNotFoundError:
            return there, reasons
        for line in lines:
            try:
                lost = msgspec.json.decode(line, type=Lost)
            except msgspec.DecodeError:  # torn by a kill, and written again since
                continue
            new = [place for place in lost.places if place < records and not there[place]]
            for place in new:
                there[place] = 1
            if new:
                reasons[lost.reason] = reasons.get(lost.reason, 0) + len(new)
        return there, reasons


KINDS = {
    "too old": "too old",
    "too new": "too new",
    "too far behind": "too far behind",
    "out of order": "too far behind",
    "max entry size": "line too long",
    "structured metadata": "too much metadata",
    "label names; limit": "too many labels",
    "label value too long": "label value too long",
}


def short(reason: str) -> str:
    """The plan's words for Loki's."""
    return next((kind for words, kind in KINDS.items() if words in reason), reason[:200])
