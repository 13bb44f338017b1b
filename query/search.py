"""Reads archives back: the lines of JSONL files, also compressed ones, that a LogQL expression matches."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias, TypedDict

import cramjam
import msgspec
import re2

from ..pipeline.ack import Ack
from ..pipeline.batch import Batch
from ..pipeline.match import And, Field, Line, Match, Node, Or, line_scanner
from ..pipeline.record import Fields, Record
from ..stages._timestamps import Clock

TIMES = ("timestamp", "ts", "time", "@timestamp", "asctime", "created_at", "datetime")
"""Fields that may hold a record's time; the first that is there does."""
ARCHIVE = re.compile(r"(?P<stem>.+?)(?:\.(?P<part>\d+))?\.(?:jsonl|ndjson|json|log)(?:\.gz|\.zst)?")
"""Names of the files that are read in a folder; `part` counts the rotated ones."""

_READ = 1 << 20
_SMALL = 16 << 10
"""Frames that take less time than handing them over."""
_AHEAD = 3
_MANY = 400
ESCAPED = re2.compile(rb"\\u00[2-7]").search
_LEADING = re.compile(rb"\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?)").match
GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
_decode = msgspec.json.Decoder(Fields).decode


def search(
    match: Match,
    paths: Iterable[Path],
    *,
    start_ns: int | None = None,
    end_ns: int | None = None,
    limit: int | None = None,
    direction: Literal["forward", "backward"] = "forward",
    sha256: str = "",
    warn: Callable[[str], None] = lambda message: None,
) -> Iterator[bytes]:
    """The lines of the records that match, as they are stored, file by file; `backward`: the last one first.

    A record is in the range from `start_ns` up to, not including, `end_ns` (Unix time in ns); one without a time is
    in no range. `sha256`: the first hex digits of that of the line as it is stored. `warn` is told of files that end
    before they should. Raises OSError for what cannot be read.
    """
    return search_node(
        match.expression,
        archives(paths),
        start_ns=start_ns,
        end_ns=end_ns,
        limit=limit,
        direction=direction,
        sha256=sha256,
        warn=warn,
    )


def search_node(
    node: Node,
    files: Sequence[Path],
    *,
    start_ns: int | None = None,
    end_ns: int | None = None,
    limit: int | None = None,
    direction: Literal["forward", "backward"] = "forward",
    sha256: str = "",
    warn: Callable[[str], None] = lambda message: None,
) -> Iterator[bytes]:
    """As `search`, for an expression that is read already, in files that are found already."""
    finder = Finder(node, start_ns, end_ns, sha256)
    if direction == "forward":
        yield from islice((line for file in files for line in finder.lines(file, warn)), limit)
        return
    left = limit
    for file in reversed(files):
        found = deque(finder.lines(file, warn), maxlen=left)
        yield from reversed(found)
        if left is not None:
            left -= len(found)
            if left <= 0:
                return


def archives(paths: Iterable[Path]) -> list[Path]:
    """The files meant by paths and folders, each folder's in the order in which they were written.

    Raises FileNotFoundError for a path that is not there.
    """
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = [file.relative_to(path) for file in path.rglob("*") if file.is_file()]
            names = [n for n in inside if ARCHIVE.fullmatch(n.name) and not any(p.startswith(".") for p in n.parts)]
            files.update(dict.fromkeys(path / name for name in sorted(names, key=written_order)))
        elif path.exists():
            files[path] = None
        else:
            raise FileNotFoundError(f"no such file or folder: {path}")
    return list(files)


def written_order(name: Path) -> tuple[list[list[tuple[int, str]]], int, str]:
    """A key that sorts names as their files were written: numbers by value, rotated files behind each other."""
    found = ARCHIVE.fullmatch(name.name)
    stem, part = (found["stem"], int(found["part"] or 0)) if found else (name.name, 0)
    pieces = [re.findall(r"(\d*)(\D*)", text) for text in (*name.parent.parts, stem)]
    return [[(int(digits or 0), text) for digits, text in piece] for piece in pieces], part, str(name)


class Finder:
    """A query made ready: what must stand in the raw bytes, which fields are decoded, what the time must be."""

    def __init__(self, node: Node, start_ns: int | None, end_ns: int | None, sha256: str = "") -> None:
        self._node = node
        self._sha256 = sha256.lower()
        self._start, self._end = start_ns, end_ns
        self._timed = start_ns is not None or end_ns is not None
        self._clock = Clock()
        needle = _needle(node)
        self._scanner: Any = line_scanner(needle.pattern) if needle else None
        self._escapable = needle is not None and needle.escapable
        self._literal = needle.literal if needle else b""
        wanted = (*node.fields, *(TIMES if self._timed else ()))
        shape = TypedDict("shape", dict.fromkeys(wanted, Any), total=False)  # type: ignore[misc]  # known at run time
        self._decoder: msgspec.json.Decoder[Any] | None = msgspec.json.Decoder(shape) if wanted else None

    def lines(self, file: Path, warn: Callable[[str], None]) -> Iterator[bytes]:
        """The lines of one file that match."""
        for chunk in chunks(file, warn):
            candidates = [line for line in self.candidates(chunk) if line]
            if self._sha256:
                candidates = [line for line in candidates if hashlib.sha256(line).hexdigest().startswith(self._sha256)]
            records = self._records(candidates)
            selected = self._node.select(_batch(records))
            yield from [r.line for r in (self._in_time(selected) if self._timed else selected)]

    def candidates(self, chunk: bytes) -> list[bytes]:
        """The lines that may match, or all."""
        if self._scanner is None or (self._escapable and ESCAPED(chunk)):
            return chunk.split(b"\n")
        found: list[bytes] = []
        place = 0
        if literal := self._literal:  # a tenth of the time that RE2 takes for a hit
            while (place := chunk.find(literal, place)) >= 0:
                start = chunk.rfind(b"\n", 0, place) + 1
                end = chunk.find(b"\n", place)
                place = len(chunk) if end < 0 else end
                found.append(chunk[start:place])
            return found
        while place < len(chunk) and (hit := self._scanner.search(chunk, place)):
            if len(found) == _MANY:  # to look at each is faster than to jump from hit to hit
                return chunk.split(b"\n")
            start = chunk.rfind(b"\n", 0, hit.start()) + 1
            end = chunk.find(b"\n", hit.end())
            end = len(chunk) if end < 0 else end
            found.append(chunk[start:end])
            place = end + 1
        return found

    def _records(self, lines: list[bytes]) -> list[Record]:
        if self._decoder is None:
            return [Record(line) for line in lines]
        fields, _ = decoded(lines, self._decoder)
        return [Record(line, parsed=found) for line, found in zip(lines, fields, strict=True)]

    def _in_time(self, records: list[Record]) -> list[Record]:
        first, end = self._start or 0, self._end or 1 << 63
        times = self._clock.read_all(time_values(records))
        return [r for r, ns in zip(records, times, strict=True) if ns is not None and first <= ns < end]


def time_values(records: Iterable[Record]) -> list[Any]:
    """What says when each record was made: one of its fields, or the beginning of a line of text; None if nothing."""
    return [
        next((v for name in TIMES if (v := record.fields.get(name)) is not None), None) or _leading(record.line)
        for record in records
    ]


def _leading(line: bytes) -> str | None:
    found = None if line.startswith(b"{") else _LEADING(line)
    return found[1].decode() if found else None


def _batch(records: list[Record]) -> Batch:
    return Batch(records, "", "", {}, Ack(None, 0, ()), 0, {})


def _loads(line: bytes, decode: Callable[[bytes], Any] = _decode) -> Fields | None:
    """The line's fields; None when it is no JSON object."""
    try:
        return dict(decode(line))
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:  # more lenient: lone surrogates, NaN, bytes that are not UTF-8, a byte order mark
        fields = json.loads(line.decode("utf-8-sig", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def fields_of(line: bytes, decode: Callable[[bytes], Any] = _decode) -> Fields:
    """The fields of a stored line; what is no JSON object is text: `{"message": …}`."""
    fields = _loads(line, decode)
    return {"message": line.decode("utf-8-sig", "replace")} if fields is None else fields


_Inflated: TypeAlias = tuple[bytes, str]


def decoded(lines: list[bytes], decoder: msgspec.json.Decoder[Any]) -> tuple[list[Any], bool]:
    """The fields of lines of which none is empty, and whether each is one JSON object.

    Where each begins and ends as one no object goes on in the next line: the decoder takes a line break for a space.
    """
    if set(map(_first, lines)) == {0x7B} and set(map(_last, lines)) == {0x7D}:
        try:
            fields = decoder.decode_lines(b"\n".join(lines))
        except (msgspec.DecodeError, UnicodeDecodeError):
            fields = []
        if len(fields) == len(lines):
            return fields, True
    return [fields_of(line, decoder.decode) for line in lines], False


_first, _last = itemgetter(0), itemgetter(-1)


class _Needle(NamedTuple):
    """A pattern that the raw line of every selected record contains."""

    pattern: str
    escapable: bool
    r"""JSON may also write its letters as `\u0061`, which hardly anybody does."""
    literal: bytes = b""
    """The pattern, where it is a text."""


def literals(node: Node) -> list[str]:
    """Texts that all stand in the raw line of every selected record."""
    parts = node.parts if isinstance(node, And) else (node,)
    found = [_needle(part) for part in parts]
    return [needle.literal.decode() for needle in found if needle and needle.literal]


def _needle(node: Node) -> _Needle | None:
    match node:
        case And(parts):
            return max(filter(None, map(_needle, parts)), key=lambda needle: len(needle.pattern), default=None)
        case Or(parts):
            return _either([_needle(part) for part in parts])
        case Line(op) if op in ("|=", "|~"):
            ready = line_scanner(node.pattern)
            literal = node.values[0].encode() if op == "|=" and len(node.values) == 1 else b""
            found = ready is not None and not ready.search(b"") and b"\n" not in literal
            return _Needle(node.pattern, False, literal) if found else None
        case Field(_, "=", value):
            return _stored(value)
        case Field(_, "=~", value) if re.fullmatch(r"[\w -]+(\|[\w -]+)*", value, re.ASCII):
            return _either([_stored(word) for word in value.split("|")])
    return None


def _either(needles: list[_Needle | None]) -> _Needle | None:
    all_of_them = [needle for needle in needles if needle]
    if len(all_of_them) < len(needles):
        return None
    if len(all_of_them) == 1:
        return all_of_them[0]
    return _Needle("|".join(n.pattern for n in all_of_them), any(n.escapable for n in all_of_them))


def _stored(value: str) -> _Needle | None:
    if not re.fullmatch(r"(?![\[{])[ !#-.0-\[\]-~]+", value) or re.fullmatch(r"[-+.\deE]*[.eE][-+.\deE]*", value):
        return None  # JSON may write these in another way
    return _Needle(re2.escape(value), True, value.encode())


def chunks(file: Path, warn: Callable[[str], None]) -> Iterator[bytes]:
    """The content of a file, whole lines at a time. Raises OSError; `warn` is told where it is damaged."""
    return _chunks(_pieces(file, warn))


def _chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines, many at once; a JSON line that was never finished is left out."""
    rest: list[bytes] = []
    for piece in pieces:
        cut = piece.rfind(b"\n") + 1
        if cut:
            yield b"".join([*rest, piece[:cut]])
            rest = [piece[cut:]]
        else:
            rest.append(piece)
    last = b"".join(rest)
    if last and not (last.lstrip().startswith(b"{") and _loads(last) is None):
        yield last


def _pieces(path: Path, warn: Callable[[str], None]) -> Iterator[bytes]:
    """The file's content, decompressed, piece by piece."""
    with open(path, "rb") as file:
        first = file.read(_READ)
        if first.startswith(ZSTD) or _SKIPPABLE.match(first):
            yield from _zstd(first, file, path, warn)
        elif first.startswith(GZIP):
            yield from _gzip(first, file, path, warn)
        else:
            while first:
                yield first
                first = file.read(_READ)


def _gzip(data: bytes, file: BinaryIO, path: Path, warn: Callable[[str], None]) -> Iterator[bytes]:
    member = zlib.decompressobj(31)
    whole = False
    try:
        while data:
            yield member.decompress(data, _READ)
            if whole := member.eof:
                data = member.unused_data.lstrip(b"\0") or file.read(_READ)
                member = zlib.decompressobj(31)
            else:
                data = member.unconsumed_tail or file.read(_READ)
        if not whole:
            yield member.flush()
            whole = member.eof
        damage = "" if whole else "ends before it should"
    except zlib.error as error:
        damage = str(error)
    if damage:
        warn(f"{path}: {damage}; what stands before was searched")


def _zstd(data: bytes, file: BinaryIO, path: Path, warn: Callable[[str], None]) -> Iterator[bytes]:
    """Large frames are decompressed beside: it is half of the time of a search, and needs no Python."""
    with ThreadPoolExecutor(1, "tailrace zstd") as beside:
        ahead: deque[_Inflated | Future[_Inflated]] = deque()
        for frame in _frames(data, file):
            ahead.append(_inflated(frame) if len(frame) < _SMALL else beside.submit(_inflated, frame))
            if len(ahead) > _AHEAD:
                first = ahead.popleft()
                text, damage = first.result() if isinstance(first, Future) else first
                yield text
                if damage:
                    warn(f"{path}: {damage}; what stands before was searched")
                    return
        for first in ahead:
            text, damage = first.result() if isinstance(first, Future) else first
            yield text
            if damage:
                warn(f"{path}: {damage}; what stands before was searched")
                return


def _inflated(frame: bytes) -> _Inflated:
    """The content of a frame, and what is wrong with it; then as far as it went."""
    out = cramjam.Buffer()
    try:
        cramjam.zstd.decompress_into(frame, out)
        return bytes(out), ""
    except cramjam.DecompressionError as error:
        return bytes(out), str(error)


def _frames(data: bytes, file: BinaryIO) -> Iterator[bytes]:
    start = 0
    while True:
        end = frame_end(data, start)
        if end is None and (more := file.read(max(_READ, len(data)))):
            data, start = data[start:] + more, 0
            continue
        frame = data[start:end]
        if not frame:
            return
        start = end or len(data)
        if not _SKIPPABLE.match(frame):
            yield frame


def frame_end(data: bytes, start: int) -> int | None:
    """Where the zstd frame (RFC 8878) ends that begins here; None where the data ends before, or is none."""
    if _SKIPPABLE.match(data, start):
        end = start + 8 + int.from_bytes(data[start + 4 : start + 8], "little")
        return end if end <= len(data) else None
    if len(data) < start + 5 or not data.startswith(ZSTD, start):
        return None
    flags = data[start + 4]
    single = flags >> 5 & 1
    place = start + 5 + (not single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
    last = 0
    while not last:
        if place + 3 > len(data):
            return None
        header = int.from_bytes(data[place : place + 3], "little")
        last, kind = header & 1, header >> 1 & 3
        place += 3 + (1 if kind == 1 else header >> 3)
    place += 4 * (flags >> 2 & 1)
    return place if place <= len(data) else None
