"""Source `file`: follows log files by pattern, through rotation and restart."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Literal

import msgspec

from ..batch import Chunk, Position
from ..component import Lag, ProbeError, Source
from ..framing import StartPattern, framer
from ..log import log
from ..options import Duration, Size
from ._content import open_content
from ._folder import Folder, base_of, rotations_of
from ._followed import HEAD_BYTES, Followed, Identity, Rewritten, continues
from ._watch import Watch


class File(Source):
    """Reads files that match the patterns, follows them as they grow, and resumes where delivery stopped.

    A file is known by device, inode and content, so it is read once through every kind of rotation: a renamed file is
    read to its end wherever it is, of one that was copied and cut the rest is read from the copy, and a compressed copy
    is recognised by what is in it. Compressed files (gzip, bzip2, zstd) are read too. Each record knows `source` and
    `file` (the path it was first seen at).
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
    max_open: Annotated[int, msgspec.Meta(ge=8)] = 512
    """Files held open at once; more are followed, but those quiet for the longest are opened again when they grow."""

    _followed: dict[Identity, Followed] = {}
    _copies: dict[Identity, tuple[Followed, int]] = {}
    """Files that hold what another one holds, and their size when that was seen: not read, unless the other is cut."""
    _bystanders: set[Identity] = set()
    """Rotated files that were there before the file they came from was followed: nobody asked for them."""
    _repeat: Mapping[str, Sequence[int]] = {}
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
        if folder := Folder(self.include, self.exclude).forbidden():
            raise ProbeError(f"no permission to read {folder}: run as a user who may", "include")

    async def chunks(self, resume: Mapping[str, Position], *, once: bool) -> AsyncGenerator[Chunk, None]:
        """Read all files in turn, one chunk each, so that a large one does not starve the others."""
        folder = Folder(self.include, self.exclude)
        try:
            for chunk in self._adopt(folder, resume):
                yield chunk
            async with (
                Watch(self.include, poll_only=self.watch == "poll" or once) as changes,
                aclosing(self._follow_all(folder, changes, not resume, once=once)) as followed,
            ):
                async for chunk in followed:
                    yield chunk
        finally:
            for file in self._followed.values():
                file.close()

    async def _follow_all(
        self, folder: Folder, changes: Watch, first_start: bool, *, once: bool
    ) -> AsyncGenerator[Chunk, None]:
        at_end = self.start_at == "end" and first_start
        while True:
            for chunk in self._discover(folder, at_end=at_end):
                yield chunk
            at_end = False
            discovered = time.monotonic()
            read = True
            while read and time.monotonic() - discovered < self.poll:
                read = False
                for file in list(self._followed.values()):
                    if more := self._next(folder, file, final=False):
                        read = True
                        yield more
            if read:
                continue
            if once:
                for file in list(self._followed.values()):
                    for chunk in self._drain(folder, file):
                        yield chunk
                return
            self._park()
            await changes.wait(self._until_idle())

    def repeat(self, ends: Mapping[str, Sequence[int]]) -> None:
        """Where chunks ended that were on their way at a crash: they are read in the same pieces again."""
        self._repeat = ends

    def forgotten(self) -> Iterable[str]:
        """Files read to their end that are no longer there."""
        gone, self._gone = self._gone, set()
        return gone

    def lag(self) -> Iterable[Lag]:
        """Bytes behind the end of each file, and for how long."""
        return [file.lag() for file in self._followed.values()]

    def _adopt(self, folder: Folder, resume: Mapping[str, Position]) -> Iterable[Chunk]:
        """Open again what was read before, wherever and in whatever form it is now."""
        there = self._stat(folder)
        self._used.update(resume)
        for key, position in resume.items():
            if path := self._find(folder, position, there):
                if (file := self._open(key, path, position)) and path != position["path"]:
                    yield file.mark(self._labels(file))
            elif folder.exists(str(position["path"])):
                log.warning("gone while tailrace was down", source=self.name, path=position["path"])
                self._gone.add(key)  # else its folder may only be missing for now: keep the position
        for key, position in resume.items():
            if key not in self._gone:
                self._follow_between(folder, str(position["path"]), newer_than=int(position["mtime_ns"]))

    def _find(self, folder: Folder, position: Position, there: Mapping[Identity, str]) -> str | None:
        """Where the content of a saved position is: by identity, else by content alone, if that is telling enough."""
        last = str(position["path"])
        identity = (int(position["device"]), int(position["inode"]))
        rotated = folder.stat(rotations_of(last))
        by_identity = [files[identity] for files in (there, rotated) if identity in files]
        telling = int(position["head_bytes"]) + int(position["tail_bytes"]) >= 64
        for path in (*by_identity, *((last, *rotated.values(), *there.values()) if telling else ())):
            if self._holds(path, position):
                return path
        return None

    def _holds(self, path: str, position: Position) -> bool:
        try:
            content = open_content(path)
            try:
                return continues(content, position)
            finally:
                content.close()
        except OSError:
            return False

    def _discover(self, folder: Folder, *, at_end: bool) -> Iterable[Chunk]:
        """Follow files that are new, note renames, and let go of those that are gone and quiet."""
        there = self._stat(folder)
        for identity, path in there.items():
            if file := self._followed.get(identity):
                if file.path != path:
                    rotated_from, file.path = file.path, path
                    self._follow_between(folder, rotated_from)
            elif (file := self._follow(path)) and at_end:
                yield file.seek_end(self._labels(file))
        for identity, file in list(self._followed.items()):
            if identity in there:
                continue
            moved = folder.path_of(identity, rotations_of(file.first_path))
            if moved and moved != file.path:
                rotated_from, file.path = file.path, moved
                self._follow_between(folder, rotated_from)
            if file.quiet_for() > self.rotate_wait and file.at_end():
                if copy := self._copy_of(folder, file):
                    yield from self._move(file, copy)
                else:
                    yield from self._drain(folder, file)
                    self._close(file)
        for identity in [one for one in self._copies if one not in there]:
            del self._copies[identity]

    def _follow(self, path: str) -> Followed | None:
        """Follow a new file from its beginning, unless it is a copy of one that is followed."""
        family = [file for file in self._followed.values() if base_of(file.first_path) == base_of(path)]
        try:
            content = open_content(path)
            try:
                status = content.status()
                identity = (status.st_dev, status.st_ino)
                if self._copies.get(identity, (None, -1))[1] == status.st_size:
                    return None
                self._copies.pop(identity, None)
                head = content.read(0, HEAD_BYTES)
                if content.torn and len(head) < HEAD_BYTES:
                    return None  # still being compressed: it cannot yet be told whose content it is
                for file in family:
                    if file.is_being_copied_to(content, head):
                        self._copies[identity] = (file, status.st_size)
                        return None
            finally:
                content.close()
        except OSError as error:
            self._report(path, error)
            return None
        if not family:
            self._bystanders.update(Folder.stat(rotations_of(path)))
        return self._open(self._new_key(path, identity[1]), path, None)

    def _follow_between(self, folder: Folder, path: str, newer_than: int = -1) -> None:
        """After a rotation: files that came and went at this path since the last look were logs too."""
        for identity, rotated in folder.stat(rotations_of(path)).items():
            if identity in self._followed or identity in self._bystanders:
                continue
            if folder.mtime_ns(rotated) > newer_than:
                self._follow(rotated)
            else:
                self._bystanders.add(identity)

    def _drain(self, folder: Folder, file: Followed) -> Iterable[Chunk]:
        """What is left, its end taken as the end of an event."""
        while chunk := self._next(folder, file, final=True):
            yield chunk

    def _next(self, folder: Folder, file: Followed, *, final: bool) -> Chunk | None:
        """The next whole events of one file, or None."""
        wait = 0.0 if self.multiline == "off" else self.multiline_wait
        try:
            return file.read(self._labels(file), self.chunk_bytes, final=final, idle=self.idle, wait=wait)
        except Rewritten:
            if copy := self._copy_of(folder, file):
                # Copied and cut: what was not read yet is in the copy, and the path holds a new file.
                log.info("file was copied and cut, reading on in the copy", source=self.name, path=copy)
                return next(iter(self._move(file, copy)), None)
            log.warning("file was cut or rewritten, reading it anew", source=self.name, path=file.path)
            chunk = file.finish(self._labels(file))
            self._close(file)
            self._open(self._new_key(file.path, file.identity[1]), file.path, None)
            return chunk
        except OSError as error:
            self._report(file.path, error)
            return None

    def _copy_of(self, folder: Folder, file: Followed) -> str | None:
        """A file that holds all that was read of this one and is not followed itself."""
        for identity, path in folder.stat(rotations_of(file.first_path)).items():
            if identity != file.identity and identity not in self._followed:
                try:
                    content = open_content(path)
                except OSError:
                    continue
                try:
                    if file.is_in(content):
                        return path
                finally:
                    content.close()
        return None

    def _move(self, file: Followed, path: str) -> Iterable[Chunk]:
        del self._followed[file.identity]
        file.move_to(path)
        self._copies.pop(file.identity, None)
        self._followed[file.identity] = file
        yield file.mark(self._labels(file))

    def _park(self) -> None:
        """Let go of the handles over the limit, the quietest first."""
        held = [file for file in self._followed.values() if not file.parked]
        if len(held) > self.max_open:
            held.sort(key=Followed.quiet_for, reverse=True)
            for file in held[: len(held) - self.max_open]:
                if file.at_end():
                    file.close()

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
            framing = framer(self.multiline, self.max_event, self.on_long)
            file = Followed(key, path, framing, position, self._repeat.get(key, ()))
        except OSError as error:
            self._report(path, error)
            return None
        self._failed.pop(path, None)
        self._used.add(key)
        self._followed[file.identity] = file
        return file

    def _close(self, file: Followed) -> None:
        del self._followed[file.identity]
        self._gone.add(file.key)
        file.close()

    def _stat(self, folder: Folder) -> dict[Identity, str]:
        """The files that match now; each that cannot be looked at is told once."""
        return folder.matching(self._report)

    def _report(self, path: str, error: OSError) -> None:
        """Say once per file and reason that it cannot be read; it is tried again at every look."""
        reason = error.strerror or str(error)
        if self._failed.get(path) != reason:
            self._failed[path] = reason
            log.warning("cannot read, trying again", source=self.name, path=path, error=reason)
