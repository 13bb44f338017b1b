"""Archives as agents see them: every record redacted before a question looks at it, and an index in memory alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ...pipeline.batch import Batch
from .. import _bloom
from ..index import SOUGHT, Entry, Index, Indexed, _may_have, _pair, _Stamp, examine
from ..local import Reader as LogqlReader
from ..records import Reader
from ..row import Row
from ..search import chunks
from .calls import Deadline
from .folders import Folders, Held
from .outgoing import Outgoing


class RedactedReader(Reader):
    """Reads records as they may leave: what is hidden cannot be searched for either."""

    def __init__(self, outgoing: Outgoing, deadline: Deadline, timezone: str, warn: Callable[[str], None]) -> None:
        super().__init__(timezone, warn)
        self._outgoing = outgoing
        self._deadline = deadline

    def batches(self, path: Path) -> Iterator[tuple[Batch, list[int]]]:
        """As of any reader. Raises TimeUp as well."""
        for batch, times in super().batches(path):
            self._deadline.check()
            yield self._outgoing.batch(batch), times


class MemoryIndex(Index):
    """The index of files that are open to agents. It is kept in memory, over calls, and never on disk."""

    def __init__(self, reader: RedactedReader) -> None:
        super().__init__((), reader)
        self._known: dict[Path, tuple[_Stamp, Entry, bytes]] = {}

    def of(self, files: Sequence[Held]) -> list[Indexed]:
        """The files with their entries; what is new is read. What was read before a TimeUp need not be read again."""
        found = []
        for number, file in enumerate(files):
            try:
                stamp = _Stamp.of(file.stat())
                known = self._known.get(file)
                if known is None or known[0] != stamp:
                    known = self._known[file] = (stamp, *examine(file, self.reader))
            except FileNotFoundError:
                self._known.pop(file, None)
                continue
            found.append(Indexed(file, number, known[1]))
        return found

    def worth_opening(self, files: Iterable[Indexed], exact: Mapping[str, str], needles: Iterable[str]) -> set[Path]:
        """As of any index."""
        tokens = {_pair(field, value) for field, value in exact.items() if field in SOUGHT}
        tokens.update(*(_bloom.sure_words(needle) for needle in needles))
        return {
            one.path
            for one in files
            if all(_may_have(one.entry, field, value) for field, value in exact.items())
            and (one.entry.unsure or _bloom.may_hold(self._known[one.path][2], tokens))
        }


class Archive:
    """The folders, read for agents. For one thread at a time."""

    def __init__(
        self,
        folders: Folders,
        outgoing: Outgoing,
        deadline: Deadline,
        timezone: str = "UTC",
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.folders = folders
        self._outgoing = outgoing
        self._deadline = deadline
        self._warn = warn
        self.index = MemoryIndex(RedactedReader(outgoing, deadline, timezone, warn))

    def indexed(self, path: str) -> list[Indexed]:
        """The files at a path, with their entries. Raises Outside, TimeUp, OSError."""
        return self.index.of(self.folders.files(path))

    def rows(self, reader: LogqlReader, files: Iterable[Held]) -> Iterator[tuple[Held, list[Row]]]:
        """What a LogQL query finds in redacted lines. Raises TimeUp, OSError."""
        for file in files:
            try:
                for chunk in chunks(file, self._warn):
                    self._deadline.check()
                    yield file, reader.found(self._outgoing.chunk(chunk))
            except FileNotFoundError:  # gone since the folder was listed
                continue
