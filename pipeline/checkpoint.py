"""The checkpoint: where every partition was read and delivered up to, on disk, never ahead of delivery."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from threading import Lock
from typing import IO, Any

import msgspec

from .batch import Position

VERSION = 1
"""Of the state format; a file of another version is refused, not guessed at."""


class Saved(msgspec.Struct, omit_defaults=True):
    """One partition at a moment when everything before `position` was taken by every sink."""

    position: Position
    state: msgspec.Raw = msgspec.Raw(b"{}")
    """What stages carry from batch to batch, as JSON."""
    taken: dict[str, int] = {}
    """For each sink the offset before which it has taken everything: what it is not sent again."""
    slot: int = 0
    """The partition's number, which keeps equal times of several partitions apart."""


class State(msgspec.Struct):
    """All that is saved, true at one moment."""

    sources: dict[str, dict[str, Saved]]
    """By source and partition."""
    sinks: dict[str, Position]
    """What sinks must find again to go on where they were: the lengths of archive files."""
    number: int = 0
    """Of the last send that is in this; later ones are in the flight file."""
    version: int = VERSION


class StateError(Exception):
    """The state folder cannot be used; the message says why and what would do."""


class Checkpoint:
    """The state folder of one running tailrace, locked against a second one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "checkpoint.json"
        self._lock: IO[str] | None = None
        self._saving = Lock()

    def lock(self) -> None:
        """Claim the folder, creating it when missing. Raises StateError when it is taken or not writable."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = open(self.folder / "lock", "a+")  # noqa: SIM115  # held as long as the run
        except OSError as error:
            raise StateError(f"{self.folder}: cannot be used as state folder: {error.strerror}") from None
        if not _locked(lock):
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise StateError(
                f"{self.folder}: in use by another tailrace (pid {holder}); stop it, or give this one another `state:`"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def unlock(self) -> None:
        """Give the folder back."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def load(self) -> State:
        """Positions by source and partition; empty at the first start. Raises StateError for a file it cannot read."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return State({}, {})
        except OSError as error:
            raise StateError(f"{self.path}: cannot be read: {error.strerror}") from None
        way_out = "move it and flight.jsonl away to read every source from its start_at again"
        try:
            version = msgspec.json.decode(data, type=dict[str, Any]).get("version")
            if version != VERSION:
                raise StateError(f"{self.path}: state of version {version}, this tailrace reads {VERSION}; {way_out}")
            return msgspec.json.decode(data, type=State)
        except (msgspec.DecodeError, RecursionError) as error:
            raise StateError(f"{self.path}: not a state file ({error}); {way_out}") from None

    def save(self, state: State) -> None:
        """Replace the file in one step that survives a power cut: temp, fsync, rename, fsync of the folder."""
        with self._saving:  # a save whose task was cancelled goes on in its thread
            replace(self.path, msgspec.json.encode(state))


def replace(path: Path, data: bytes) -> None:
    """Have this as the whole content of a file, in one step that survives a power cut. Raises OSError."""
    temp = path.with_suffix(".tmp")
    with open(temp, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temp.replace(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Have on disk which files a folder holds. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _locked(lock: IO[str]) -> bool:
    """Tried more than once: who only looks whether it is free holds it for a moment."""
    for wait in (0.02, 0.05, 0.1):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            time.sleep(wait)
    return False
