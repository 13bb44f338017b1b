"""Source `file`: follows log files by pattern, through rotation and restart."""

from __future__ import annotations

import fnmatch
import glob
import os
import stat
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ..batch import Chunk, Position
from ..component import Lag, ProbeError, Source
from ..framing import StartPattern, framer
from ..log import log
from ..options import Duration, Size
from ._followed import Followed, find
from ._watch import Watch


class File(Source):
    """Reads files that match the patterns, follows them as they grow, and resumes where delivery stopped.

    A renamed file is read to its end under its new name, a new one is picked up without a restart, and one that was
    cut to nothing is read from its beginning. Each record knows `source` and `file` (the path it was first seen at).
    """

    include: Annotated[list[str], msgspec.Meta(min_length=1)]
    """Paths or glob patterns (`*`, `?`, `[…]`, `**` for any depth of folders)."""
    exclude: list[str] = []
    """Patterns of files to leave out, matched against the whole path."""
    start_at: Literal["beginning", "end"] = "beginning"
    """Where to start in files that are there at the very first start; later ones are read from the beginning."""
    multiline: Literal["off", "traceback"] | StartPattern = "off"
    """`traceback` joins stack traces and their header line into one event; `{ start: REGEX }` joins up to the next line
    that matches."""
    max_event: Size = Size(1 << 20)
    """An event longer than this is handled by `on_long`."""
    on_long: Literal["split", "truncate"] = "split"
    """`split` ships a too long event in pieces, `truncate` its first piece only (the rest is counted)."""
    idle: Duration = Duration(5.0)
    """A last line without a line break is taken when the file has not grown for this long."""
    multiline_wait: Duration = Duration(1.0)
    """The last event of a file is whole when nothing was added to it for this long."""
    chunk_bytes: Size = Size(1 << 20)
    """Read this much of a file at once."""
    watch: Literal["auto", "poll"] = "auto"
    """`auto` is told of changes by the kernel and polls besides; `poll` only polls (network file systems)."""
    poll: Duration = Duration(1.0)
    """How often to look for new files and growth that nobody told of."""
    rotate_wait: Duration = Duration(5.0)
    """How long a renamed or deleted file must be quiet before it is let go."""

    _followed: dict[str, Followed] = {}
    _used: set[str] = set()
    _gone: set[str] = set()
    _failed: dict[str, str] = {}

    def check(self) -> Iterable[tuple[str, str]]:
        """Patterns that cannot match anything."""
        for name in ("include", "exclude"):
            for place, pattern in enumerate(getattr(self, name)):
                if not pattern.strip():
                    yield f"{name}[{place}]", "empty: write a path such as /var/log/app/*.log"
        if self.max_event < 1024:
            yield "max_event", "at least 1KiB: shorter events could not hold a log line"

    def writes(self) -> Iterable[str]:
        """Every record of a file knows the path."""
        return ("source", "file")

    async def probe(self) -> None:
        """A pattern without any match may match later; a folder that may not be read is told at once."""
        for pattern in self.include:
            folder = Path(pattern).parent
            if not glob.has_magic(str(folder)) and folder.exists() and not os.access(folder, os.R_OK | os.X_OK):
                raise ProbeError(f"no permission to read {folder}: run as a user who may", "include")

    async def chunks(self, resume: Mapping[str, Position], *, once: bool) -> AsyncGenerator[Chunk, None]:
        """Read all files in turn, one chunk each, so that a large one does not starve the others."""
        at_end = self.start_at == "end" and not resume
        self._adopt(resume)
        async with Watch(self.include, poll_only=self.watch == "poll" or once) as changes:
            while True:
                for chunk in self._discover(at_end=at_end):
                    yield chunk
                at_end = False
                discovered = time.monotonic()
                read = True
                while read and time.monotonic() - discovered < self.poll:
                    read = False
                    for file in list(self._followed.values()):
                        if more := self._next(file, final=False):
                            read = True
                            yield more
                if read:
                    continue
                if once:
                    for file in list(self._followed.values()):
                        for chunk in self._drain(file):
                            yield chunk
                    return
                await changes.wait(self._until_idle())

    def forgotten(self) -> Iterable[str]:
        """Files read to their end that are no longer there."""
        gone, self._gone = self._gone, set()
        return gone

    def lag(self) -> Iterable[Lag]:
        """Bytes behind the end of each file, and for how long."""
        return [file.lag() for file in self._followed.values()]

    def _adopt(self, resume: Mapping[str, Position]) -> None:
        """Open again what was read before, wherever it is now."""
        there = self._matching()
        self._used.update(resume)
        for key, position in resume.items():
            if path := find(position, there):
                self._open(key, path, position)
            elif Path(str(position["path"])).parent.exists():
                self._gone.add(key)  # else its folder may only be missing for now: keep the position

    def _discover(self, *, at_end: bool) -> Iterable[Chunk]:
        """Follow files that are new, note renames, and let go of those that are gone and quiet."""
        there = self._matching()
        known = {file.identity: file for file in self._followed.values()}
        for identity, path in there.items():
            if identity in known:
                known[identity].path = path
            elif (file := self._open(self._new_key(path, identity[1]), path, None)) and at_end:
                yield file.seek_end(self._labels(file))
        for file in list(self._followed.values()):
            if file.identity not in there and file.quiet_for() > self.rotate_wait and file.at_end():
                yield from self._drain(file)
                self._close(file)

    def _drain(self, file: Followed) -> Iterable[Chunk]:
        """What is left, its end taken as the end of an event."""
        while chunk := self._next(file, final=True):
            yield chunk

    def _next(self, file: Followed, *, final: bool) -> Chunk | None:
        """The next whole events of one file, or None."""
        try:
            if file.was_cut():
                if file.rest:
                    return file.finish(self._labels(file))
                log.warning("file was cut, reading it from the beginning", source=self.name, path=file.path)
                self._close(file)
                if (reopened := self._open(self._new_key(file.path, file.identity[1]), file.path, None)) is None:
                    return None
                file = reopened
            wait = 0.0 if self.multiline == "off" else self.multiline_wait
            return file.read(self._labels(file), self.chunk_bytes, final=final, idle=self.idle, wait=wait)
        except OSError as error:
            self._report(file.path, error)
            return None

    def _until_idle(self) -> float:
        """Seconds until something has to be looked at even if nothing changes."""
        limit = self.idle if self.multiline == "off" else min(self.idle, self.multiline_wait)
        waiting = [limit - file.quiet_for() for file in self._followed.values() if file.rest]
        return max(0.01, min([self.poll, *(seconds for seconds in waiting if seconds > 0)]))

    def _labels(self, file: Followed) -> Mapping[str, str]:
        return {"source": self.name, "file": file.first_path}

    def _new_key(self, path: str, inode: int) -> str:
        """A name that no other partition had: the path and inode where it was first seen."""
        key, n = f"{path}#{inode}", 1
        while key in self._used:
            n += 1
            key = f"{path}#{inode}.{n}"
        return key

    def _open(self, key: str, path: str, position: Position | None) -> Followed | None:
        try:
            file = Followed(key, path, framer(self.multiline, self.max_event, self.on_long), position)
        except OSError as error:
            self._report(path, error)
            return None
        self._failed.pop(path, None)
        self._used.add(key)
        self._followed[key] = file
        return file

    def _close(self, file: Followed) -> None:
        del self._followed[file.key]
        self._gone.add(file.key)
        file.close()

    def _report(self, path: str, error: OSError) -> None:
        """Say once per file and reason that it cannot be read; it is tried again at every look."""
        reason = error.strerror or str(error)
        if self._failed.get(path) != reason:
            self._failed[path] = reason
            log.warning("cannot read, trying again", source=self.name, path=path, error=reason)

    def _matching(self) -> dict[tuple[int, int], str]:
        """Paths of the files that match now by device and inode, so that a file matched twice is read once."""
        paths = {p for pattern in self.include for p in glob.glob(pattern, recursive=True)}  # noqa: PTH207  # absolute
        there: dict[tuple[int, int], str] = {}
        for path in sorted(paths):
            if not any(fnmatch.fnmatchcase(path, pattern) for pattern in self.exclude):
                try:
                    status = Path(path).stat()
                except OSError as error:
                    self._report(path, error)
                    continue
                if stat.S_ISREG(status.st_mode):
                    there.setdefault((status.st_dev, status.st_ino), path)
        return there
