"""Reads any log file as records, through the stages' own parsers: raw logs, archives, llm_io files, also compressed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ..pipeline.ack import Ack
from ..pipeline.batch import Batch, Chunk
from ..pipeline.framing import Framer, framer
from ..pipeline.match import text_of
from ..pipeline.record import Fields, rfc3339
from ..stages.classify import Classify
from ..stages.parse import Parse
from .search import chunks

LLM = frozenset(("LLMCall", "LLMStreamEnd", "review_llm_call", "MessageHandlerException", "AgentConstructionException"))
"""What `event_type` says in the rows of llm_io files."""
INDEXES = frozenset(("timeboxing_session", "timebox_patcher", "llm_io"))
"""What `type` says in the rows of the files that list others."""
PATCHER = "timebox_patcher request_id="
_LONGEST = 1 << 26
_BY_LINE = re.compile(r"\.(?:jsonl|ndjson)(?:\.gz|\.zst)?$")
"""Names of files in which a line is a record; in others it may have more lines."""


class Found(NamedTuple):
    """One record of a file; they sort by time, then by file and place."""

    time_ns: int
    """Of the record, or of the one before it in the file; of the file's last change where none has one."""
    file: int
    """The file's number in the order in which files were written."""
    place: int
    """Bytes before it in the decompressed file."""
    kind: str
    """`llm`, `tool`, `event`, `patcher`, `index` or `log`."""
    path: str
    fields: Fields
    """What the line says; never changed."""

    @property
    def shown(self) -> Fields:
        """The fields with `timestamp` (UTC), and with `log_path` where the record has none itself."""
        return {**self.fields, "timestamp": rfc3339(self.time_ns), "log_path": self.fields.get("log_path", self.path)}

    def text(self, field: str) -> str:
        """A field as text, empty where it is missing."""
        return text_of(self.fields.get(field))

    def number(self, field: str) -> int:
        """A field that counts something; 0 where it is no such number."""
        value = self.fields.get(field)
        return value if type(value) is int and value > 0 else 0


def kind_of(fields: Fields) -> str:
    """Which of the channels a record belongs to."""
    what = fields.get("event_type") or fields.get("event")
    if what.__class__ is str:
        if what in LLM:
            return "llm"
        if what == "ToolCall":
            return "tool"
        return "event" if "event" in fields else "log"
    if "tool_name" in fields:
        return "tool"
    if "log_path" in fields and text_of(fields.get("type")) in INDEXES:
        return "index"
    message = fields.get("message")
    return "patcher" if isinstance(message, str) and message.startswith(PATCHER) else "log"


def is_error(fields: Fields) -> bool:
    """Something went wrong: a traceback, an error that is named, or a call that failed."""
    return bool(fields.get("error_type") or fields.get("error") or fields.get("status") == "error")


def json_text(fields: Fields) -> str:
    """The text in which `contains` is searched, in lower case."""
    return json.dumps(fields, ensure_ascii=False, default=str).lower()


class Reader:
    """Parses files one after the other. `timezone`: of times that name none (IANA)."""

    def __init__(self, timezone: str = "UTC", warn: Callable[[str], None] = lambda message: None) -> None:
        self.timezone = timezone
        self._warn = warn

    def problems(self) -> Iterable[tuple[str, str]]:
        """What is wrong with the options, as components say it."""
        return self._parse.check()

    def batches(self, path: Path) -> Iterator[tuple[Batch, list[int]]]:
        """The records of a file, parsed and classified, each with its time. Raises OSError."""
        read_at, state = path.stat().st_mtime_ns, dict[str, object]()
        before: int | None = None
        events = self._lines if _BY_LINE.search(path.name) else self._events
        for chunk in _framed(path, chunks(path, self._warn), events):
            batch = Batch.of_chunk(chunk, "", Ack({}, 0, ()), read_at, state)
            batch = self._classify.process(self._parse.process(batch))
            found = batch.found_times or [None] * len(batch)
            if None in found:
                before = before or next((time for time in found if time is not None), None)
                times = []
                for time in found:
                    before = before if time is None else time
                    times.append(read_at if before is None else before)
            else:
                times = list(found)  # type: ignore[arg-type]  # there is no None
                before = times[-1]
            yield batch, times

    def records(self, path: Path, file: int = 0) -> Iterator[Found]:
        """The records of a file. Raises OSError."""
        name = str(path)
        for batch, times in self.batches(path):
            offsets = batch.columns.offsets if batch.columns else [record.offset for record in batch.records]
            for fields, time, offset in zip(batch.fields, times, offsets, strict=True):
                yield Found(time, file, offset, kind_of(fields), name, fields)

    # Made when a file is read: what the index answers alone need not wait for them.
    @cached_property
    def _parse(self) -> Parse:
        return Parse(name="parse", timezone=self.timezone)

    @cached_property
    def _classify(self) -> Classify:
        return Classify(name="classify")

    @cached_property
    def _lines(self) -> Framer:
        return framer("off", _LONGEST, "split")

    @cached_property
    def _events(self) -> Framer:
        return framer("traceback", _LONGEST, "split")


def _framed(path: Path, pieces: Iterable[bytes], events: Framer) -> Iterator[Chunk]:
    rest, offset, skip = b"", 0, 0
    for data, final in _with_end(pieces):
        data = rest + data
        framed = events.split(data, offset, final, skip)
        rest, skip, offset = data[framed.taken :], framed.skip, offset + framed.taken
        if framed.lines:
            yield Chunk(str(path), {}, framed.lines, framed.offsets, {}, framed.taken, long=framed.long)


def _with_end(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    for piece in pieces:
        yield piece, False
    yield b"", True
