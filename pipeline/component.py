"""What every stage, source and sink is: a class whose fields are its options and whose file name is its `use:` word."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

import msgspec

from .batch import Batch, Chunk, Position
from .match import Match
from .options import Duration, Size
from .record import Record

if TYPE_CHECKING:  # only the exporter needs it at run time
    from prometheus_client.core import Metric

ANY = "*"
"""In `reads`: every field. In `writes`: fields that cannot be known before the first record."""


class Component(msgspec.Struct, kw_only=True, dict=True, eq=False, forbid_unknown_fields=True):
    """One class in one file: `DeriveMetrics` in `derive_metrics.py` is `use: derive_metrics`.

    Fields are options, each with a docstring below it; a field that starts with `_` is the component's own.
    Costly things that follow from the options go into `functools.cached_property`.
    """

    name: str = ""
    """What metrics, messages and saved state call it."""

    @classmethod
    def word(cls) -> str:
        """The word for `use:`, from the class name."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def check(self) -> Iterable[tuple[str, str]]:
        """Say what is wrong with the options together: pairs of an option's path and a message with what would do."""
        return ()

    def reads(self) -> Iterable[str]:
        """Names of the fields that it looks at (`ANY`: all)."""
        return ()

    def writes(self) -> Iterable[str]:
        """Names of the fields that records have after it and did not have before (`ANY`: only the data can tell)."""
        return ()

    def removes(self) -> Iterable[str]:
        """Names of the fields that records no longer have after it."""
        return ()

    def varies(self) -> Iterable[str]:
        """Names of fields that it writes and that a second attempt would make different (a host, a time of reading).

        Such a field may feed metrics; a config in which it reaches a sink is refused: no repeat would be told as one.
        """
        return ()

    def collect(self) -> Iterable[Metric]:
        """Metric families of its own for the exporter; asked at each scrape."""
        return ()


class Stage(Component, kw_only=True):
    """A step of the chain: batch in, batch out. No I/O, no clock (use `batch.read_at_ns`), nothing held back.

    The same instance serves all partitions: what it must remember of one belongs into `batch.state[self.name]`.
    A record it raises on goes to the dead letter alone; the rest of its batch goes on.
    """

    _wanted: frozenset[str] | None = None

    reason: ClassVar[str] = "dropped"
    """Why a record that this stage leaves out was left out, for the counters."""
    rewrites: ClassVar[bool] = True
    """False for a stage that leaves every line as it is: the batch need not be measured again."""
    protects: ClassVar[bool] = False
    """True for a stage that hides secrets: a record that fails before it is done is never written out as it is."""

    def prepare(self, wanted: frozenset[str] | None) -> None:
        """Called once before the first batch with the fields that are read or written after it (None: any may be)."""
        self._wanted = wanted

    def clean(self, text: str) -> str:
        """The text without what this stage hides, for what is no record: a reason, a path, a word of the log."""
        return text

    def process(self, batch: Batch) -> Batch:
        """Return the batch, its records changed in place, or `batch.with_records(…)` with fewer of them."""
        raise NotImplementedError


class Lag(msgspec.Struct, frozen=True):
    """How far the reading of one partition is behind its end."""

    partition: str
    bytes: int
    seconds: float


class Share(NamedTuple):
    """What one of several processes is told, of which each reads a part of a source."""

    worker: int
    """Its number, from 0."""
    workers: int
    """How many there are."""
    begun: bool = False
    """This is not the very first start: some of them has read of the source before."""
    elsewhere: Callable[[], Iterable[Position]] = tuple
    """Where the others are in the source, as far as it is on disk by now."""


class Held(Protocol):
    """What the run holds of a source's partitions, for one that shares them with other processes."""

    def read_to(self, partition: str) -> Position | None:
        """The position up to which it was read, in this run or the last; None where nothing is known of it."""

    def settled(self, partition: str) -> bool:
        """Every sink has taken all that was read of it."""

    def restart(self, partition: str, position: Position, state: bytes, slot: int, taken: Mapping[str, int]) -> None:
        """Go on from this position with this state of the stages (JSON), whatever was known of the partition.

        `taken`: for each sink the offset before which it has everything, where that is further on.
        """

    def let_go(self, partition: str) -> bool:
        """Send no more of it than what was begun; True when nothing of it is being sent."""

    def save(self) -> Awaitable[None]:
        """Save what is settled by now, and have it committed."""


class Source(Component, kw_only=True):
    """Where records come from."""

    grouped: ClassVar[bool] = False
    """Processes of which this one knows nothing may read parts of it too, told apart by what `tells_apart` says."""

    def tells_apart(self) -> Iterable[str]:
        """Fields by which its partitions are told apart, where several processes can read it; else one process does."""
        return ()

    def share(self, share: Share) -> None:
        """Told before `chunks` when several processes read it: this one has to leave to the others what is theirs."""

    @classmethod
    def owner(cls, partition: str, position: Position, workers: int) -> int | None:
        """Which of so many processes goes on with a partition that was read up to this position; None: who had it."""
        return None

    async def probe(self) -> None:
        """Try before the first byte what can be tried; raise `ProbeError` saying what would do."""

    def chunks(self, resume: Mapping[str, Position], *, once: bool) -> AsyncGenerator[Chunk, None]:
        """Yield chunks from the given positions on; `once`: end when all that is there has been read.

        Is cancelled at any await when the run stops: what was not yielded is read again.
        """
        raise NotImplementedError

    def repeat(self, ends: Mapping[str, Sequence[int]]) -> None:
        """Told before `chunks`: at these offsets chunks ended that were on their way when the last run crashed.

        A source that can ends a chunk there again, so that the events it repeats are the same to the byte.
        """

    async def reread(self, position: Position, span: tuple[int, int]) -> Chunk | None:
        """A chunk that was read before, the same to the byte; None where it is no longer to be had.

        `position` is that of its end, `span` its first offset and the one after its last. For records whose lines may
        not be written down: they are fetched from where they came from.
        """
        return None

    def leave_whole(self) -> None:
        """Told before `chunks` that nobody looks at single lines: to leave them in one piece saves half of the time."""

    def hold(self, held: Held) -> None:
        """Told before `chunks`; for a source whose partitions may go to another process."""

    async def commit(
        self,
        positions: Mapping[str, Position],
        states: Mapping[str, bytes],
        taken: Mapping[str, Mapping[str, int]],
    ) -> None:
        """Told after the checkpoint was saved; for sources whose server keeps the position too.

        `states`: for each partition what stages carry beyond this position, as JSON. `taken`: for each partition and
        sink the offset before which it has everything.
        """

    async def close(self) -> None:
        """Called once after the last `commit`."""

    def forgotten(self) -> Iterable[str]:
        """Partitions read to their end that never come back (a deleted file): their positions are dropped."""
        return ()

    def lag(self) -> Iterable[Lag]:
        """How far behind each partition is; asked when the exporter is scraped."""
        return ()

    def failing(self) -> Mapping[str, str]:
        """What it cannot read at present, by path or the like, and why."""
        return {}

    @classmethod
    def extent(cls, position: Position) -> int | None:
        """The offset up to which there is something now in the partition with this position; None where unknown."""
        return None


class Sink(Component, kw_only=True):
    """Where records go. Options that every sink has are here; batching is the sink's side's business."""

    match: Match | None = None
    """LogQL: takes only the records that match, e.g. `{level=~"error|critical"} or {error_type!=""}`."""
    batch_bytes: Size = Size(1 << 20)
    """Send when this many bytes of lines wait."""
    batch_wait: Duration = Duration(0.2)
    """Send what waits after this time, however little."""
    queue_bytes: Size = Size(2 << 20)
    """Holds the sources when this many bytes wait for this sink."""

    concurrency: ClassVar[int] = 1
    """How many sends may be under way at once; more than one gives up the order between them."""

    def shared(self, apart: Iterable[frozenset[str]]) -> Iterable[tuple[str, str]]:
        """Say why several processes cannot use it at once, as `check` does.

        `apart`: for each source that they share the fields that tell its partitions apart.
        """
        return ()

    def beside(self, apart: Iterable[frozenset[str]]) -> Iterable[tuple[str, str]]:
        """Told when the config is read that other processes of a group may write to the same place.

        Says why that cannot be, as `check` does; `apart` as in `shared`, for each source that has a group.
        """
        return ()

    def share(self, worker: int) -> None:
        """Told first where several processes do the work: this is the one with this number."""

    def cuts(self) -> bool:
        """Whether it looks at single lines; where neither a sink nor a stage does they are left in one piece."""
        return True

    def position(self) -> Position:
        """What it must find again after a crash, true for what it has taken; saved in one step with the sources'."""
        return {}

    def resume(self, position: Position, save: Callable[[], Awaitable[None]]) -> None:
        """Told before `open` what `position` gave when it was last saved, and how to have it saved at once."""

    async def open(self) -> None:
        """Called once in the running loop, before `probe` and `send`."""

    async def probe(self) -> None:
        """Try the endpoint, token, folder before the first byte is read; raise `ProbeError` saying what would do."""

    async def send(self, batches: Sequence[Batch]) -> None:
        """Deliver. Returning means delivered for good.

        Raises:
            Rejected: these records can never be taken; all others of the call were delivered.
            RetryAfter: the other side said when to come again.
            Gone: there is nobody left to deliver to.
            Exception: anything else is tried again with backoff, as long as it takes. Only where an error in saying
                a record (TypeError, ValueError …) stays, the records to blame go to the dead letter.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Called once after the last `send`."""


class ProbeError(Exception):
    """What was tried at the start does not work; the message says what would do."""

    def __init__(self, message: str, option: str = "") -> None:
        super().__init__(message)
        self.option = option


class Rejected(Exception):
    """Records that the other side will never take; the rest of the send was delivered."""

    def __init__(self, records: Sequence[tuple[Record, str]], hint: str = "") -> None:
        super().__init__(f"{len(records)} records rejected")
        self.records = records
        """Each record with the reason."""
        self.hint = hint


class RetryAfter(Exception):
    """The other side asked to wait this many seconds."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Gone(Exception):
    """The other side has ended for good (a closed pipe): the run stops, as it does on a signal."""
