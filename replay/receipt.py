"""What a replay read, foretold and did: told as JSON, and kept in its folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..pipeline.checkpoint import replace

VERSION = 1


class ReadFile(msgspec.Struct):
    """One file that was read."""

    path: str
    events: int = 0
    bytes: int = 0
    """Plain ones, whatever it is compressed with."""
    records: int = 0
    """Of its events, those that are replayed."""
    redacted: int = 0
    """Records in which the rules of today hid something."""
    sha256: str = ""
    """Of its events, a line break behind each."""


class Read(msgspec.Struct):
    """What was read, and what became of it before anything is sent."""

    events: int = 0
    bytes: int = 0
    records: int = 0
    """What is to be replayed: events without all that the others here count."""
    dropped: int = 0
    """By a stage."""
    no_match: int = 0
    """Not for this sink."""
    out_of_range: int = 0
    """Not between `--from` and `--to`."""
    dead: int = 0
    """What a stage could not take: in `dead_letter.jsonl` of the replay's folder."""
    untimed: int = 0
    """Without a time of their own: they have that of the event before them in their file, or that of the file."""
    redacted: int = 0
    """Records in which the rules of today hid something."""
    redactions: dict[str, int] = {}
    """How often, by rule."""
    unreadable: dict[str, str] = {}
    """Files that could not be read, and why."""


class Stream(msgspec.Struct):
    """One stream (or archive path) of what is replayed."""

    labels: str
    records: int
    bytes: int
    first_ns: int
    last_ns: int
    sha256: str
    """Of its lines in their order, a line break behind each."""
    times_sha256: str = ""
    """Of its times, each in ns as a little-endian integer of 8 bytes."""
    newest_ns: int | None = None
    """Of what Loki has in it before the replay."""


class Manifest(msgspec.Struct):
    """What stands beside the sorted file, from the moment on that it is whole."""

    keys: list[list[str | None]]
    read: Read
    files: list[ReadFile]
    streams: list[Stream]
    """By the number of their key; labels without that of the replay."""
    name: str
    """From the content alone: the same records have the same name."""
    fingerprint: str = ""
    """Of the files as they were when they were read."""
    version: int = VERSION


class Verified(msgspec.Struct):
    """What Loki was asked afterwards."""

    wanted: int = 0
    found: int = 0
    buckets: int = 0
    """Of how many streams and spans of time it was counted."""
    missing: int = 0
    missing_in: list[str] = []
    """Where, the first ones."""
    unseen: int = 0
    """Of the missing ones those that Loki by its settings shows only once their chunks are flushed."""


class Receipt(msgspec.Struct):
    """What became of a replay."""

    name: str
    sink: str
    records: int
    delivered: int
    """Acknowledged, or found there."""
    refused: int = 0
    reasons: dict[str, int] = {}
    read: Read = msgspec.field(default_factory=Read)
    files: list[ReadFile] = []
    streams: list[Stream] = []
    seconds: float = 0.0
    complete: bool = False
    verified: Verified | None = None
    version: int = VERSION


def save(path: Path, what: Manifest | Receipt) -> None:
    """In one step that survives a power cut. Raises OSError."""
    replace(path, msgspec.json.encode(what))


def load_manifest(path: Path) -> Manifest | None:
    """None where there is none, or one of another version."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.version == VERSION else None


def load_receipt(path: Path) -> Receipt | None:
    """None where there is none, or one of another version."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Receipt)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.version == VERSION else None
