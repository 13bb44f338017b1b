"""The archive index: for each file its time range, sessions, values and a Bloom filter, so that most files stay shut.

For a search of its own: `may_match(paths, start_ns=…, end_ns=…, needles=[…])` gives the files worth opening.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from stat import S_ISREG
from typing import Any, NamedTuple

import msgspec

from ..pipeline.batch import Batch
from ..pipeline.match import text_of
from ..pipeline.record import Fields
from . import _bloom
from .records import Reader, is_error, kind_of
from .search import ARCHIVE, archives

FOLDER = ".tailrace-index"
VERSION = 1
"""Of what is kept: an index of another version is made anew."""
LISTED = ("stage", "call_label", "model", "status", "event", "event_type", "error_type", "channel_id", "function")
"""Fields whose values are kept as they are, as long as a file has few of them."""
SOUGHT = (*LISTED, "session_key", "thread_ts", "trace_id", "span_id", "agent", "level", "error_fingerprint")
"""Fields that can be asked for; their values are in the Bloom filter."""
_MOST_VALUES = 100
_SAVE_EVERY = 500
_DIGITS = re.compile("([0-9]+)")


class Session(msgspec.Struct, array_like=True, gc=False):
    """What one file says of one session."""

    key: str
    first_ns: int = 0
    last_ns: int = 0
    events: int = 0
    llm_calls: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    thread_ts: str = ""
    channel_id: str = ""
    user_id: str = ""
    planned_date: str = ""
    stage: str = ""
    """The last one; so are date and status."""
    status: str = ""
    log_path: str = ""
    """Of a row of an index that lists session logs."""


class Entry(msgspec.Struct, array_like=True, gc=False):
    """What is known of a file without opening it."""

    count: int = 0
    first_ns: int = 0
    last_ns: int = 0
    errors: int = 0
    kinds: dict[str, int] = {}
    values: dict[str, list[str] | None] = {}
    """Values of the fields of `LISTED`; None where there are too many."""
    sessions: list[Session] = []
    unsure: bool = False
    """Words are written in a way that the filter does not know: it says nothing."""


class Indexed(NamedTuple):
    """A file and its entry."""

    path: Path
    number: int
    """In the order in which files were written."""
    entry: Entry


class _Stamp(NamedTuple):
    """By what a change of a file is seen."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, stat: os.stat_result) -> _Stamp:
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ino)


class Index:
    """The index of files and folders, made or brought up to date by `files`. Raises OSError for what cannot be read."""

    def __init__(
        self, paths: Iterable[Path], reader: Reader | None = None, progress: Callable[[int], None] | None = None
    ) -> None:
        self.reader = reader or Reader()
        self._paths = list(paths)
        self._progress = progress or (lambda left: None)

    def files(self) -> list[Indexed]:
        """Every file with its entry; what is new or was changed is read. Raises FileNotFoundError for a wrong path."""
        found: dict[Path, Entry] = {}
        for path in self._paths:
            root, files = _listed(path)
            with closing(_Store(root, self.reader.timezone)) as store:
                found.update(self._refreshed(store, files, whole=root == path))
        return [Indexed(path, number, entry) for number, (path, entry) in enumerate(found.items())]

    def _refreshed(self, store: _Store, files: Mapping[str, _Stamp], *, whole: bool) -> dict[Path, Entry]:
        known = store.entries()
        found: dict[Path, Entry] = {}
        stale: list[tuple[Path, str, _Stamp]] = []
        for name, stamp in files.items():
            path, before = store.root / name, known.get(name)
            if before is not None and before[0] == stamp:
                found[path] = before[1]
            else:
                stale.append((path, name, stamp))
                found[path] = Entry()
        made = []
        for number, (path, name, stamp) in enumerate(stale):
            self._progress(len(stale) - number)
            try:
                entry, bloom = examine(path, self.reader)
            except FileNotFoundError:
                del found[path]
                continue
            found[path] = entry
            made.append((name, stamp, entry, bloom))
            if len(made) >= _SAVE_EVERY:
                store.save(made)
                made = []
        if made:
            store.save(made)
        if whole and (gone := known.keys() - files.keys()):
            store.drop(gone)
        return found

    def worth_opening(self, files: Iterable[Indexed], exact: Mapping[str, str], needles: Iterable[str]) -> set[Path]:
        """Of these files those that may have a record with all these values of `SOUGHT`, and all the needles."""
        left = [one for one in files if all(_may_have(one.entry, field, value) for field, value in exact.items())]
        tokens = {_pair(field, value) for field, value in exact.items() if field in SOUGHT}
        tokens.update(*(_bloom.sure_words(needle) for needle in needles))
        if not tokens:
            return {one.path for one in left}
        worth = {one.path for one in left}  # those whose filter cannot be had, too
        certain = {one.path for one in left if not one.entry.unsure}
        for root in {path if path.is_dir() else path.parent for path in self._paths}:
            with closing(_Store(root, self.reader.timezone)) as store:
                worth.difference_update(certain.intersection(store.excluded(tokens)))
        return worth


def may_match(
    paths: Iterable[Path],
    *,
    start_ns: int | None = None,
    end_ns: int | None = None,
    needles: Iterable[str] = (),
) -> list[Path]:
    """The files of these paths (as `archives` gives them) that may hold a line that is asked for.

    A line is if its time is in the range from `start_ns` up to, not including, `end_ns` (Unix ns), and all `needles`,
    as they are written in the file, stand in it. Builds nothing: a file of which the index knows nothing, or nothing
    that is still true, may hold it. Raises FileNotFoundError for a path that is not there.
    """
    tokens = set[bytes]().union(*map(_bloom.sure_words, needles))
    found: dict[Path, None] = {}
    for path in paths:
        files = archives([path])
        root = path if path.is_dir() else path.parent
        if not (tokens or start_ns is not None or end_ns is not None) or not _Store.exists(root):
            found.update(dict.fromkeys(files))
            continue
        with closing(_Store(root, "UTC")) as store:
            known, out = store.entries(), set[Path]()
            sure = set[Path]()
            for file in files:
                entry = known.get(store.name(file))
                if entry is None or entry[0] != _Stamp.of(file.stat()):
                    continue
                one = entry[1]
                if (start_ns is not None and one.last_ns < start_ns) or (end_ns is not None and one.first_ns >= end_ns):
                    out.add(file)
                elif not one.unsure:
                    sure.add(file)
            if tokens:
                out |= sure.intersection(store.excluded(tokens))
            found.update(dict.fromkeys(file for file in files if file not in out))
    return list(found)


def examine(path: Path, reader: Reader) -> tuple[Entry, bytes]:
    """Read a whole file: its entry and its Bloom filter. Raises OSError."""
    entry = Entry(kinds={}, values={field: [] for field in LISTED}, sessions=[])
    sessions: dict[str, Session] = {}
    values: dict[str, set[str]] = {field: set() for field in (*SOUGHT, "agent")}
    tokens: set[bytes] = set()
    first: int | None = None
    kinds: Counter[str] = Counter()
    for batch, times in reader.batches(path):
        _take_words(batch, tokens, entry)
        low, entry.last_ns = min(times), max(entry.last_ns, max(times))
        first = low if first is None else min(first, low)
        rows = batch.fields
        entry.count += len(rows)
        for field in SOUGHT:
            own = {value if value.__class__ is str else text_of(value) for value in _distinct(rows, field)}
            values[field] |= own
        for fields, time in zip(rows, times, strict=True):
            kind = kind_of(fields)
            kinds[kind] += 1
            wrong = is_error(fields)
            entry.errors += wrong
            if key := text_of(fields.get("session_key")):
                session = sessions.get(key)
                if session is None:
                    session = sessions[key] = Session(key, time, time)
                _take(session, fields, time, kind, wrong)
    entry.first_ns, entry.kinds, entry.sessions = first or 0, dict(kinds), list(sessions.values())
    for field, own in values.items():
        own.discard("")
        tokens |= {_pair(field, value) for value in own}
        if field in LISTED:
            entry.values[field] = sorted(own) if len(own) <= _MOST_VALUES else None
    tokens |= {_pair("agent", value.partition("/")[0]) for value in values["agent"]}
    return entry, _bloom.make(tokens)


def _take_words(batch: Batch, tokens: set[bytes], entry: Entry) -> None:
    lines = b"\n".join(batch.lines)
    shipped = batch.shipped("json")
    texts = [lines] if shipped is batch.lines else [lines, b"\n".join(shipped)]
    for text in texts:
        tokens |= _bloom.words(text)
        entry.unsure = entry.unsure or _bloom.unsure(text)


def _distinct(rows: Sequence[Fields], field: str) -> Iterable[Any]:
    try:
        return {fields.get(field) for fields in rows}
    except TypeError:  # lists and objects
        return [fields.get(field) for fields in rows]


def _take(session: Session, fields: Fields, time: int, kind: str, wrong: bool) -> None:
    if kind == "index":  # one row about the whole session
        session.log_path = session.log_path or text_of(fields.get("log_path"))
    else:
        session.first_ns, session.last_ns = min(session.first_ns, time), max(session.last_ns, time)
        session.events += kind == "event"
        session.errors += wrong
        if kind == "llm":
            session.llm_calls += 1
            for name in ("prompt_tokens", "completion_tokens"):
                if type(number := fields.get(name)) is int and number > 0:
                    setattr(session, name, getattr(session, name) + number)
    for name in ("thread_ts", "channel_id", "user_id", "planned_date"):
        if value := text_of(fields.get(name)):
            setattr(session, name, value)
    if kind == "event":
        session.stage = text_of(fields.get("stage")) or session.stage
        session.status = text_of(fields.get("status")) or session.status


def _pair(field: str, value: str) -> bytes:
    return f"{field}\0{value}".encode("utf-8", "replace")


def _may_have(entry: Entry, field: str, value: str) -> bool:
    known = entry.values.get(field)
    return known is None or value in known


def _listed(path: Path) -> tuple[Path, dict[str, _Stamp]]:
    """The folder that a path is or is in, and its files as `archives` gives them, by name: in a fifth of the time."""
    if not path.is_dir():
        (file,) = archives([path])
        return path.parent, {path.name: _Stamp.of(file.stat())}
    found: dict[str, _Stamp] = {}
    folders = [(str(path), "")]
    while folders:
        folder, inside = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append((entry.path, f"{inside}{entry.name}/"))
                elif ARCHIVE.fullmatch(entry.name):
                    with suppress(FileNotFoundError):  # gone since the folder was listed, or a link that leads nowhere
                        stat = entry.stat()
                        if S_ISREG(stat.st_mode):
                            found[inside + entry.name] = _Stamp.of(stat)
    return path, {name: found[name] for name in sorted(found, key=_order)}


def _order(name: str) -> tuple[list[str | int], int]:
    """Numbers by their size, `a.jsonl` before `a.1.jsonl`."""
    match = ARCHIVE.fullmatch(name)
    assert match  # each was asked
    parts: list[str | int] = _DIGITS.split(match["stem"])
    parts[1::2] = map(int, parts[1::2])
    return parts, int(match["part"] or 0)


class _Store:
    """Where entries are kept: a file of SQLite next to the archives, or in the user's cache; if broken, made anew."""

    def __init__(self, root: Path, timezone: str) -> None:
        self.root = root
        self._rows: sqlite3.Connection | None = None
        for folder in _folders(root):
            self._path = folder / f"{timezone.replace('/', '_')}.sqlite"
            with suppress(OSError, sqlite3.Error):
                folder.mkdir(parents=True, exist_ok=True)
                self._rows = _opened(self._path)
                return

    @staticmethod
    def exists(root: Path) -> bool:
        """Whether there may be anything in it."""
        return any(folder.is_dir() for folder in _folders(root))

    def name(self, path: Path) -> str:
        """What a file is called in it."""
        return path.name if path.parent == self.root else path.relative_to(self.root).as_posix()

    def close(self) -> None:
        """Let the file go."""
        if self._rows is not None:
            self._rows.close()

    def entries(self) -> dict[str, tuple[_Stamp, Entry]]:
        """What it knows, by name; rows that were damaged are left out."""
        found: dict[str, tuple[_Stamp, Entry]] = {}
        decode = msgspec.msgpack.Decoder(Entry).decode
        for name, size, mtime, inode, data, crc in self._ask("SELECT name, size, mtime, inode, entry, crc FROM files"):
            with suppress(msgspec.DecodeError, TypeError, ValueError):
                if zlib.crc32(data) == crc:
                    found[name] = (_Stamp(size, mtime, inode), decode(data))
        return found

    def excluded(self, tokens: set[bytes]) -> set[Path]:
        """The files that cannot have all of the tokens."""
        return {
            self.root / name
            for name, bloom, crc in self._ask("SELECT name, bloom, crc FROM blooms")
            if isinstance(bloom, bytes) and bloom and zlib.crc32(bloom) == crc and not _bloom.may_hold(bloom, tokens)
        }

    def save(self, made: Iterable[tuple[str, _Stamp, Entry, bytes]]) -> None:
        """Keep entries; where that cannot be, the next query makes them again."""
        made = list(made)
        blooms = [(name, bloom, zlib.crc32(bloom)) for name, _, _, bloom in made]
        rows = [
            (name, *stamp, data := msgspec.msgpack.encode(entry), zlib.crc32(data)) for name, stamp, entry, _ in made
        ]
        # In this order: an entry without its filter does no harm, one with that of the file before would.
        self._change("INSERT OR REPLACE INTO blooms VALUES (?, ?, ?)", blooms)
        self._change("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows)

    def drop(self, names: Iterable[str]) -> None:
        """Forget files that are gone."""
        rows = [(name,) for name in names]
        self._change("DELETE FROM files WHERE name = ?", rows)
        self._change("DELETE FROM blooms WHERE name = ?", rows)

    def _ask(self, question: str) -> list[Any]:
        try:
            return [] if self._rows is None else self._rows.execute(question).fetchall()
        except sqlite3.OperationalError:
            return []
        except sqlite3.DatabaseError:  # damaged
            self.close()
            self._rows = None
            with suppress(OSError, sqlite3.Error):
                self._path.unlink()
                self._rows = _opened(self._path)
            return []

    def _change(self, change: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if self._rows is not None:
            with suppress(sqlite3.Error, OverflowError, UnicodeEncodeError), self._rows:
                self._rows.executemany(change, rows)


def _folders(root: Path) -> Iterator[Path]:
    if os.access(root, os.W_OK | os.X_OK):
        yield root / FOLDER
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    yield cache / "tailrace" / "index" / hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:16]


def _opened(path: Path) -> sqlite3.Connection:
    """The file, made anew when it cannot be read or is of another version. Raises sqlite3.Error and OSError."""
    for again in (False, True):
        rows = sqlite3.connect(path, timeout=5)
        try:
            rows.execute("PRAGMA synchronous = OFF")  # what a power cut breaks is made anew
            if rows.execute("PRAGMA user_version").fetchone() != (VERSION,):
                with rows:
                    rows.execute("DROP TABLE IF EXISTS files")
                    rows.execute("DROP TABLE IF EXISTS blooms")
                    rows.execute(
                        "CREATE TABLE files (name TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, inode INTEGER, "
                        "entry BLOB, crc INTEGER)"
                    )
                    rows.execute("CREATE TABLE blooms (name TEXT PRIMARY KEY, bloom BLOB, crc INTEGER)")
                    rows.execute(f"PRAGMA user_version = {VERSION}")
            return rows
        except sqlite3.DatabaseError as error:
            rows.close()
            if again or isinstance(error, sqlite3.OperationalError):  # locked, read-only: not ours to remove
                raise
            path.unlink()
    raise AssertionError
