"""Source `file`: follows log files by pattern, through rotation and restart."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing, closing, suppress
from typing import Annotated, Literal

import msgspec

from ..batch import Chunk, Position
from ..component import Lag, ProbeError, Share, Source
from ..framing import StartPattern, framer
from ..log import log
from ..options import Duration, Size
from ._content import TAIL_BYTES, Content, open_content
from ._folder import Folder, base_of, owner_of, rotations_of
from ._followed import HEAD_BYTES, Followed, Identity, Rewritten, continues
from ._reread import extent, find, is_telling
from ._watch import Watch

SETTLE_SECONDS = 0.2
"""A new file of less than its head has so long to become known, before anything of it is delivered."""
LOOKS = 3
"""A file of the last run is looked for so many times at least."""


class Hidden(Exception):
    """What is looked for is there, but it passes for something else as yet."""


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
    multiline: Literal["off", "traceback", "container"] | StartPattern = "off"
    """`traceback` joins stack traces and their header line into one event; `container` does so inside the lines that
    Kubernetes and Docker write, and joins lines that these cut; `{ start: REGEX }` joins up to the next line that
    matches."""
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
    """How long a renamed or deleted file must be quiet before its handle is let go."""
    max_open: Annotated[int, msgspec.Meta(ge=8)] = 512
    """Files held open at once; more are followed, but those quiet for the longest are opened again when they grow."""

    _followed: dict[Identity, Followed] = {}
    """All whose content is still there under some name, those read to their end and put away included."""
    _missing: dict[str, Position] = {}
    """Positions of the last run whose file was not found yet: it may just be changing its name."""
    _give_up_at: float = 0.0
    """Monotonic time after which these are given up …"""
    _looks: int = 0
    """… if they were looked for often enough: a look while files are renamed may miss some."""
    _copies: dict[Identity, int] = {}
    """Files that hold what another one holds, and their size when that was seen: not read, unless the other is cut."""
    _newer_than: dict[str, int] = {}
    """By the log that they belong to: generations last written to at this time (in ns) or before are not asked for."""
    _rotated: set[str] = set()
    """Logs of which generations may have come that were never seen under a name that matches."""
    _look_again: bool = False
    _room: int = 0
    """So many more files may be opened in this look."""
    _settle: float = SETTLE_SECONDS
    _repeat: Mapping[str, Sequence[int]] = {}
    _used: set[str] = set()
    _gone: set[str] = set()
    _failed: dict[str, str] = {}
    _whole: bool = False
    _share: Share | None = None
    _others: list[Position] | None = None
    """Where other processes are, once asked for in this look."""

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

    def tells_apart(self) -> Iterable[str]:
        """Each log is read by one process, with all its generations."""
        return ("file",)

    def share(self, share: Share) -> None:
        """New files are followed only where their log is this process's, and no other one follows them."""
        self._share = share

    @classmethod
    def owner(cls, partition: str, position: Position, workers: int) -> int:
        """By the name that the file was first seen under."""
        return owner_of(str(position.get("first_path") or partition.rpartition("#")[0]), workers)

    async def probe(self) -> None:
        """A pattern without any match may match later; a folder that may not be read is told at once."""
        if folder := Folder(self.include, self.exclude).forbidden():
            raise ProbeError(f"no permission to read {folder}: run as a user who may", "include")

    async def chunks(self, resume: Mapping[str, Position], *, once: bool) -> AsyncGenerator[Chunk, None]:
        """Read all files in turn, one chunk each, so that a large one does not starve the others."""
        folder = Folder(self.include, self.exclude)
        first_start = not (self._share.begun if self._share else resume)
        try:
            for chunk in self._adopt(folder, resume):
                yield chunk
            async with (
                Watch(self.include, poll_only=self.watch == "poll" or once) as changes,
                aclosing(self._follow_all(folder, changes, first_start, once=once)) as followed,
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
        self._settle = 0.0 if once else SETTLE_SECONDS
        while True:
            for chunk in self._discover(folder, at_end=at_end):
                yield chunk
            at_end = False
            discovered = time.monotonic()
            read = True
            while read and time.monotonic() - discovered < self.poll:
                read = False
                for file in self._in_turn():
                    for chunk in self._next(folder, file, final=False):
                        read = True
                        yield chunk
            if read or self._look_again:
                continue
            if once:
                for file in list(self._followed.values()):
                    for chunk in self._drain(folder, file):
                        yield chunk
                    if file.torn:
                        self._failed[file.path] = "ends in the middle of a compressed block"
                for key in list(self._missing):
                    self._give_up(folder, key)
                return
            self._park(self.max_open)
            await changes.wait(self._until_idle())

    def leave_whole(self) -> None:
        """Lines are found, and cut when somebody looks at one after all."""
        self._whole = True

    def repeat(self, ends: Mapping[str, Sequence[int]]) -> None:
        """Where chunks ended that were on their way at a crash: they are read in the same pieces again."""
        self._repeat = ends

    def forgotten(self) -> Iterable[str]:
        """Files read to their end that are no longer there."""
        gone, self._gone = self._gone, set()
        return gone

    async def reread(self, position: Position, span: tuple[int, int]) -> Chunk | None:
        """From the file, wherever it is now, if it still begins with what was read of it."""
        content = find(Folder(self.include, self.exclude), position)
        if content is None:
            return None
        with closing(content):
            data = content.read(span[0], span[1] - span[0])
        framed = framer(self.multiline, self.max_event, self.on_long).split(data, span[0], final=True)
        labels = {"source": self.name, "file": str(position["first_path"])}
        return Chunk("", position, framed.lines, framed.offsets, labels, len(data))

    def failing(self) -> Mapping[str, str]:
        """Files that cannot be opened or read, and why."""
        return dict(self._failed)

    @classmethod
    def extent(cls, position: Position) -> int | None:
        """The size of the file, unless it is compressed or no longer there under its name."""
        return extent(position)

    def lag(self) -> Iterable[Lag]:
        """Bytes behind the end of each file, and for how long."""
        return [file.lag() for file in self._followed.values() if not file.parked]

    def _adopt(self, folder: Folder, resume: Mapping[str, Position]) -> Iterable[Chunk]:
        """Open again what was read before, wherever and in whatever form it is now."""
        self._give_up_at = time.monotonic() + self.rotate_wait
        self._used.update(resume)
        for key, position in resume.items():
            base = base_of(str(position["first_path"]))
            newer_than = int(position.get("newer_than", position["mtime_ns"]))
            self._newer_than[base] = min(self._newer_than.get(base, newer_than), newer_than)
            self._missing[key] = position
        self._rotated.update(self._newer_than)
        yield from self._find_missing(folder, self._stat(folder), {})

    def _find_missing(
        self, folder: Folder, there: Mapping[Identity, str], generations: dict[str, Mapping[Identity, str]]
    ) -> Iterable[Chunk]:
        """First by identity, then by content alone, the most telling first: two files may have begun alike."""
        self._looks += 1
        self._room = self._park(self.max_open)
        for by_content in (False, True):
            for key in sorted(self._missing, key=lambda key: -int(self._missing[key]["offset"])):
                position = self._missing[key]
                base = base_of(str(position["first_path"]))
                own = self._generations(folder, base, generations)
                identity = (int(position["device"]), int(position["inode"]))
                if not by_content:
                    paths = [files[identity] for files in (there, own) if identity in files]
                else:
                    paths = [path for path in own.values() if folder.mtime_ns(path) > self._newer_than[base]]
                    if is_telling(position):
                        paths = [str(position["path"]), *paths, *filter(self._is_own, there.values())]
                    if not self._was_delivered(key, position):
                        paths = []  # read under its own name then, whatever it is
                for path in paths:
                    if file := self._open(key, path, position):
                        del self._missing[key]
                        if path != position["path"]:
                            yield file.mark(self._labels(file))
                        break
                else:
                    if by_content and self._looks >= LOOKS and time.monotonic() > self._give_up_at:
                        self._give_up(folder, key)

    def _give_up(self, folder: Folder, key: str) -> None:
        position = self._missing.pop(key)
        if folder.exists(str(position["path"])):
            log.warning("gone while tailrace was down", source=self.name, path=position["path"])
            self._gone.add(key)  # else its folder may only be missing for now: keep the position

    def _discover(self, folder: Folder, *, at_end: bool) -> Iterable[Chunk]:
        """Follow files that are new, note renames, and let go of those that are gone and quiet."""
        self._look_again = False
        there = self._stat(folder)
        generations: dict[str, Mapping[Identity, str]] = {}  # one listing a look: a rotation may be under way
        yield from self._find_missing(folder, there, generations)
        for identity, path in there.items():
            if file := self._followed.get(identity):
                self._note_path(file, path)
            elif self._is_own(path) and (file := self._follow(folder, path)) and at_end:
                yield file.seek_end(self._labels(file))
        for identity, file in list(self._followed.items()):
            if identity in there:
                continue
            path = self._generations(folder, base_of(file.first_path), generations).get(identity, "")
            self._note_path(file, path)
            if file.quiet_for() <= self.rotate_wait or not file.at_end():
                continue
            if path:
                file.close()  # opened again if it grows
            elif time.monotonic() - file.missing_since > self.rotate_wait:
                yield from self._let_go(folder, file)
        self._follow_between(folder, generations)
        seen = there.keys() | {identity for files in generations.values() for identity in files}
        for identity in self._copies.keys() - seen:
            del self._copies[identity]

    def _let_go(self, folder: Folder, file: Followed) -> Iterable[Chunk]:
        """It is read to its end and no longer there, unless compressed."""
        try:
            copy = self._copy_of(file)
        except Hidden:
            return
        if copy:
            yield self._move(file, *copy)
        else:
            yield from self._drain(folder, file)
            self._close(file)

    def _note_path(self, file: Followed, path: str) -> None:
        """The file is at this path now (empty: not found); a new one means that its log was rotated."""
        if not path and not file.missing_since:
            file.missing_since = time.monotonic()
            self._rotated.add(base_of(file.first_path))
        elif path:
            file.missing_since = 0.0
            if path != file.path:
                file.path = path
                self._rotated.add(base_of(file.first_path))

    def _generations(
        self, folder: Folder, base: str, known: dict[str, Mapping[Identity, str]]
    ) -> Mapping[Identity, str]:
        """The older generations of a log, as of this look."""
        if base not in known:
            known[base] = folder.stat(rotations_of(base))
        return known[base]

    def _follow(self, folder: Folder, path: str) -> Followed | None:
        """Follow a new file from its beginning, unless it is a copy of one that is followed."""
        base = base_of(path)
        family = [file for file in self._followed.values() if base_of(file.first_path) == base]
        try:
            content = open_content(path)
        except OSError as error:
            self._report(path, error)
            return None
        try:
            status = content.status()
            identity = (status.st_dev, status.st_ino)
            if identity in self._followed or self._copies.get(identity) == status.st_size:
                content.close()
                return None
            head = content.read(0, HEAD_BYTES)
            if path != base and family and (not head or (content.torn and len(head) < HEAD_BYTES)):
                self._rotated.add(base)  # still being copied or compressed: it cannot yet be told whose content it is
                content.close()
                return None
            if path != base and any(file.path == base and file.was_cut() for file in family):
                self._look_again = True  # it may be a copy of what is in the log now and was not looked at yet
                content.close()
                return None
            # Few bytes tell little: looked for in them is a copy of the log itself, of what was cut, or compressed.
            few, packed = len(head) < TAIL_BYTES, not content.rewinds
            likely = [
                file
                for file in family
                if file.begins_like(head)
                and (not few or file.path == base or (file.is_all(head) if packed else file.was_cut()))
            ]
            # What stands in the place of the log is no copy.
            if path != base and any(file.is_being_copied_to(content, head) for file in likely):
                self._copies[identity] = status.st_size
                content.close()
                return None
            missing = self._missing_as(path, content)
            if not missing and self._is_elsewhere(identity, content):
                self._copies[identity] = status.st_size
                content.close()
                return None
        except OSError as error:
            content.close()
            self._report(path, error)
            return None
        self._copies.pop(identity, None)
        if missing:
            file = self._take_up(missing, path, content, self._missing.pop(missing))
            file.tell()
            return file
        if base not in self._newer_than:
            self._newer_than[base] = max(map(folder.mtime_ns, rotations_of(path)), default=-1)
        return self._take_up(self._new_key(path, identity[1]), path, content, None)

    def _missing_as(self, path: str, content: Content) -> str:
        """The partition of the last run that this generation of its log goes on, if a look missed it."""
        base = base_of(path)
        for key, position in self._missing.items():
            own = path != base == base_of(str(position["first_path"]))
            if own and self._was_delivered(key, position) and continues(content, position):
                return key
        return ""

    def _is_own(self, path: str) -> bool:
        """No other process reads this log."""
        return self._share is None or owner_of(path, self._share.workers) == self._share.worker

    def _is_elsewhere(self, identity: Identity, content: Content) -> bool:
        """Another process follows this file, which had the name of another log before."""
        if self._share is None:
            return False
        if self._others is None:
            self._others = list(self._share.elsewhere())
        return any(
            identity == (position.get("device"), position.get("inode")) and continues(content, position)
            for position in self._others
        )

    def _was_delivered(self, key: str, position: Position) -> bool:
        """Some of it, perhaps."""
        return bool(int(position["offset"]) or self._repeat.get(key))

    def _follow_between(self, folder: Folder, generations: dict[str, Mapping[Identity, str]]) -> None:
        """After a rotation: files that came and went since the last look were logs too."""
        bases, self._rotated = self._rotated, set()
        for base in bases & self._newer_than.keys():
            for identity, path in self._generations(folder, base, generations).items():
                if identity not in self._followed and folder.mtime_ns(path) > self._newer_than[base]:
                    self._follow(folder, path)

    def _drain(self, folder: Folder, file: Followed) -> Iterable[Chunk]:
        """What is left, its end taken as the end of an event."""
        read = True
        while read and self._followed.get(file.identity) is file:
            read = False
            for chunk in self._next(folder, file, final=True):
                read = True
                yield chunk

    def _next(self, folder: Folder, file: Followed, *, final: bool) -> Iterable[Chunk]:
        """The next whole events of one file, if there are any."""
        wait = 0.0 if self.multiline == "off" else self.multiline_wait
        labels = self._labels(file)
        try:
            chunk = file.read(labels, self.chunk_bytes, final=final, idle=self.idle, wait=wait, settle=self._settle)
        except Rewritten:
            yield from self._leave(folder, file)
        except OSError as error:
            self._report(file.path, error)
        else:
            if chunk:
                yield chunk

    def _leave(self, folder: Folder, file: Followed) -> Iterable[Chunk]:
        """The path of this file holds other content now."""
        self._rotated.add(base_of(file.first_path))
        try:
            copy = self._copy_of(file)
        except Hidden:
            return
        self._look_again = True
        if copy:
            # Copied and cut: what was not read yet is in the copy, and the path holds a new file.
            log.info("file was copied and cut, reading on in the copy", source=self.name, path=copy[0])
            yield self._move(file, *copy)
            return
        log.warning("file was cut or rewritten, reading it anew", source=self.name, path=file.path)
        yield from file.finish(self._labels(file))
        self._close(file)

    def _copy_of(self, file: Followed) -> tuple[str, Content] | None:
        """A file that holds all that was read of this one and is not followed itself, and its content.

        Raises:
            Hidden: it got the inode of a file that is gone, which was not noticed yet; the next look will find it.
        """
        newer_than, hidden = self._newer_than[base_of(file.first_path)], False
        paths: list[str] = []
        while paths != (now := rotations_of(file.first_path)):  # renamed meanwhile: one may have been missed
            paths = now
            for path in paths:
                with suppress(OSError):
                    content = open_content(path)
                    status = content.status()
                    other = self._followed.get((status.st_dev, status.st_ino))
                    if status.st_mtime_ns > newer_than and other is not file and file.is_in(content):
                        if other is None:
                            return path, content
                        hidden = hidden or (other.parked and not other.is_in(content))
                    content.close()
        if hidden:
            raise Hidden
        return None

    def _move(self, file: Followed, path: str, content: Content) -> Chunk:
        del self._followed[file.identity]
        file.move_to(path, content)
        self._copies.pop(file.identity, None)
        self._followed[file.identity] = file
        return file.mark(self._labels(file))

    def _in_turn(self) -> Iterable[Followed]:
        """All that are followed; but while too many are open and behind, others wait for their handles."""
        room = self._park(self.max_open)
        for file in list(self._followed.values()):
            if parked := file.parked:
                if room == 0:
                    room = self._park(self.max_open * 3 // 4) or -1
                if room < 0:
                    continue
            yield file
            room -= parked and not file.parked

    def _park(self, most: int) -> int:
        """Let go of the handles over this number, the quietest first. Returns how many more may be opened."""
        held = [file for file in self._followed.values() if not file.parked]
        if len(held) > most:
            held.sort(key=Followed.quiet_for, reverse=True)
            for file in held[: len(held) - most]:
                if file.at_end():
                    file.close()
        return max(0, self.max_open - sum(not file.parked for file in held))

    def _until_idle(self) -> float:
        """Seconds until something has to be looked at even if nothing changes."""
        limit = self.idle if self.multiline == "off" else min(self.idle, self.multiline_wait)
        waiting = [file.due_in(limit) for file in self._followed.values() if file.rest]
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

    def _open(self, key: str, path: str, position: Position) -> Followed | None:
        """Go on in the file at this path, if it is the one and nobody else does."""
        try:
            content = open_content(path)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._report(path, error)
            return None
        try:
            status = content.status()
            identity = (status.st_dev, status.st_ino)
            # Looked at again, for another file may have this name by now.
            own = identity == (position["device"], position["inode"]) or self._was_delivered(key, position)
            if own and identity not in self._followed and continues(content, position):
                return self._take_up(key, path, content, position)
        except OSError as error:
            self._report(path, error)
        content.close()
        return None

    def _take_up(self, key: str, path: str, content: Content, position: Position | None) -> Followed:
        framing = framer(self.multiline, self.max_event, self.on_long, whole=self._whole)
        file = Followed(key, path, content, framing, position, self._repeat.get(key, ()))
        file.newer_than = self._newer_than[base_of(file.first_path)]
        self._failed.pop(path, None)
        self._used.add(key)
        self._followed[file.identity] = file
        self._room -= 1
        if self._room < 0:
            file.close()  # opened again when it is its turn
        return file

    def _close(self, file: Followed) -> None:
        self._followed.pop(file.identity, None)
        self._gone.add(file.key)
        file.close()

    def _stat(self, folder: Folder) -> dict[Identity, str]:
        """The files that match now; each that cannot be looked at is told once."""
        self._others = None
        return folder.matching(self._report)

    def _report(self, path: str, error: OSError) -> None:
        """Say once per file and reason that it cannot be read; it is tried again at every look."""
        reason = error.strerror or str(error)
        if self._failed.get(path) != reason:
            self._failed[path] = reason
            log.warning("cannot read, trying again", source=self.name, path=path, error=reason)
