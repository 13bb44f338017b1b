"""One replay: read and sorted once, planned, pushed oldest first, resumed where it was killed."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from ..pipeline.checkpoint import Checkpoint
from ..pipeline.component import Sink, Source, Stage
from ..pipeline.runner import Runner
from ..pipeline.sinks.loki import Loki
from . import receipt
from ._refused import Refused
from .block import outlines
from .gather import END, Gather
from .limits import NANOS, ask_limits
from .merge import Sorter
from .newest import ask_newest
from .pace import Pace
from .plan import Plan, foretell
from .push import PARTITION, AskFirst, Dry, Sorted
from .receipt import Manifest, Read, Receipt, Verified
from .survey import survey
from .target import Target
from .verify import STEP_NS, Bucket, counted, verify

SHARE = 0.5
"""Of the tenant's rate, which the live logs need as well."""
STREAM_SHARE = 0.8
"""Of a stream's rate: nobody else has streams of these."""


class Replay:
    """A replay in a folder of its own, which is what makes it the same one when it is started again.

    Raises StateError when another process is at it.
    """

    def __init__(self, folder: Path, target: Target, *, name: str = "", label: str = "replay") -> None:
        self.folder = folder
        self.target = target
        self._label = label
        self._name = name
        self._state = Checkpoint(folder)
        self.sorted = folder / "sorted.rows"
        self._manifest: Manifest | None = None
        self.done = 0
        """Records that are settled, for the progress."""
        self.refused = Refused(folder, 64 << 20)

    def __enter__(self) -> Replay:
        self._state.lock()
        return self

    def __exit__(self, *_: object) -> None:
        self._state.unlock()

    @property
    def manifest(self) -> Manifest:
        """What was read; only once it was."""
        assert self._manifest is not None
        return self._manifest

    @property
    def name(self) -> str:
        """The value of the label that its streams have."""
        return self._name or self.manifest.name

    @property
    def begun(self) -> bool:
        """Something of it may have been sent."""
        return (self.folder / "ship").exists()

    @property
    def receipt(self) -> Receipt | None:
        """Of the last run, if there was one."""
        return receipt.load_receipt(self.folder / "receipt.json")

    def known(self, fingerprint: str = "") -> bool:
        """Whether all was read and sorted before; of other files only where something of it was sent, and not all."""
        self._manifest = receipt.load_manifest(self.folder / "manifest.json")
        if self._manifest is None or not self.sorted.exists():
            return False
        begun = self.begun and not (self.receipt and self.receipt.complete)
        if self._manifest.fingerprint != fingerprint and not begun:
            return False
        for key in self._manifest.keys:
            self.target.keys[tuple(key)]
        return True

    async def gather(
        self,
        sources: Mapping[str, Source],
        stages: Sequence[Stage],
        *,
        fingerprint: str = "",
        start_ns: int | None = None,
        end_ns: int | None = None,
        told: Callable[[Read], None] = lambda read: None,
    ) -> None:
        """Read the sources and sort what is in them. Killed meanwhile, it begins anew: nothing was sent."""
        (self.folder / "manifest.json").unlink(missing_ok=True)  # first: it speaks for all the rest
        for left in ("ship", "dry"):
            shutil.rmtree(self.folder / left, ignore_errors=True)
        for left in ("receipt.json", "refused.jsonl", "dead_letter.jsonl", "ask_first"):
            (self.folder / left).unlink(missing_ok=True)
        sorter = Sorter(self.folder / "runs")
        gather = Gather(sources, stages, self.target, sorter, self.refused, start_ns=start_ns, end_ns=end_ns, told=told)
        await gather.run()
        for _ in sorter.finish(self.sorted):
            await asyncio.sleep(0)
        keys = [list(key) for key in self.target.keys.values_of]
        streams = survey(outlines(self.sorted), len(keys), self._labels_of(self.target.sink), sorter.hashes)
        entries = sorted(repr((stream.labels, stream.sha256, stream.times_sha256)) for stream in streams)
        content = hashlib.sha256("".join(entries).encode())
        self._manifest = Manifest(keys, gather.read, gather.files, streams, content.hexdigest()[:8], fingerprint)
        receipt.save(self.folder / "manifest.json", self._manifest)

    def _labels_of(self, sink: Sink) -> Callable[[int], str]:
        keys = self.target.keys.values_of
        if isinstance(sink, Loki):
            return lambda number: sink.streams.labels_of(keys[number])
        return lambda number: ", ".join(
            f"{field}={value}" for field, value in zip(self.target.fields, keys[number], strict=True)
        )

    def final(self) -> Sink:
        """The sink that gets the sorted records."""
        return self.target.final(self.name)

    async def plan(self, now_ns: int, rate: float | None = None, *, whole: bool = True) -> Plan:
        """Ask Loki and foretell. Raises OSError when it cannot be asked.

        `rate`: bytes a second to keep to, 0 for none; None: what the tenant's limits leave. `whole`: False where only
        the rest of a replay that was begun is to be sent.
        """
        manifest, sink = self.manifest, self.final()
        streams = [msgspec.structs.replace(stream) for stream in manifest.streams]
        plan = Plan(
            self.name,
            sink.name,
            self._label if isinstance(sink, Loki) else "",
            now_ns,
            sum(stream.records for stream in streams),
            sum(stream.bytes for stream in streams),
            min((stream.first_ns for stream in streams), default=None),
            max((stream.last_ns for stream in streams), default=None),
            manifest.read,
            streams,
        )
        if not isinstance(sink, Loki):
            plan.rate = rate or 0.0
            return plan
        fields = [f"@{place}" for place in range(len(self.target.fields))]
        for stream, key in zip(streams, manifest.keys, strict=True):
            known = dict(zip(fields, key, strict=True))
            stream.labels = sink.streams.labels_of(tuple(known[field] for field in sink.streams.fields))
        await sink.open()
        try:
            plan.limits = limits = await ask_limits(sink)
            for stream, newest in zip(streams, await ask_newest(sink, streams, now_ns, limits), strict=True):
                stream.newest_ns = newest
            if rate is None and streams:
                largest = max(stream.bytes for stream in streams) or 1
                rate = min(SHARE * limits.rate, STREAM_SHARE * limits.stream_rate * plan.bytes / largest)
            plan.rate = rate or 0.0
            foretell(plan, outlines(self.sorted), self.target.names)
            if self.begun and not whole:
                plan.there = (self.folder / "ask_first").exists()  # what it has sent itself it knows
            elif self._label and plan.there:
                await self._leave_out_what_is_there(sink, plan)
        finally:
            await sink.close()
        return plan

    async def run(self, plan: Plan, *, dry: bool = False) -> Receipt:
        """Push what is not delivered yet, until all is or a signal comes."""
        began = time.monotonic()
        if plan.already == plan.records and not self._name and not dry:  # and the name says that it is the same
            told = self._receipt(plan, {}, plan.records, True, 0.0)
            receipt.save(self.folder / "receipt.json", told)
            return told
        sink, state = self.final(), self.folder / ("dry" if dry else "ship")
        if plan.there and not self.begun:
            (self.folder / "ask_first").touch()
        window_ns = int(sink.window * NANOS) if isinstance(sink, Loki) else END
        sink = Dry(name=sink.name, inner=sink) if dry else sink
        source = Sorted(name=PARTITION, path=self.sorted, target=self.target, window_ns=window_ns)
        ask_first: list[Stage] = [AskFirst(name="ask_first")] if plan.there else []
        runner = Runner(
            {PARTITION: source},
            ask_first,
            {sink.name: sink},
            wanted=[frozenset() for _ in ask_first],
            state=state,
            dead_letter=self.refused,
        )
        (delivery,) = runner.deliveries
        source.pace = Pace(0.0 if dry else plan.rate, lambda: delivery.meter.retries)
        source.told = lambda read: setattr(self, "done", read - delivery.held_events)
        code = await runner.run(once=True)
        _, reasons = self.refused.counted(plan.records)
        complete = code == 0 and source.whole
        seconds = time.monotonic() - began
        if dry:
            return self._receipt(plan, reasons, source.at, complete, seconds)
        earlier = self.receipt
        seconds += earlier.seconds if earlier else 0.0
        settled = plan.records if complete else max(0, source.at - delivery.held_events)
        told = self._receipt(plan, reasons, settled, complete, seconds)
        receipt.save(self.folder / "receipt.json", told)
        return told

    def _receipt(self, plan: Plan, reasons: dict[str, int], settled: int, complete: bool, seconds: float) -> Receipt:
        refused, manifest = sum(reasons.values()), self.manifest
        return Receipt(
            plan.name,
            plan.sink,
            plan.records,
            max(0, settled - refused),
            refused,
            reasons,
            manifest.read,
            manifest.files,
            plan.streams,
            seconds,
            complete,
        )

    async def verify(self, plan: Plan, told: Receipt) -> Receipt:
        """Count what Loki has. Raises OSError when it cannot be asked."""
        refused, _ = self.refused.counted(plan.records)
        sink = self.final()
        assert isinstance(sink, Loki)
        await sink.open()
        try:
            told.verified, _ = await self._compare(sink, plan, refused)
        finally:
            await sink.close()
        receipt.save(self.folder / "receipt.json", told)
        return told

    async def _compare(self, sink: Loki, plan: Plan, refused: bytearray) -> tuple[Verified, Counter[Bucket]]:
        assert plan.limits is not None
        return await verify(
            sink,
            self.sorted,
            self.target,
            plan.streams,
            counted(outlines(self.sorted), refused),
            refused,
            plan.limits,
            alone=bool(self._label),
            now_ns=plan.at_ns,
        )

    async def _leave_out_what_is_there(self, sink: Loki, plan: Plan) -> None:
        """Loki would refuse it, but it has it: a replay that was killed, or done before."""
        assert plan.limits is not None
        found, missing = await self._compare(sink, plan, bytearray(plan.records))
        plan.already = found.found
        behind = sum(
            number
            for (stream, at), number in missing.items()
            if at * STEP_NS < (plan.streams[stream].newest_ns or 0) - plan.limits.window_ns
        )
        if refused := plan.refused.get("too far behind", 0):
            plan.leave("too far behind", min(behind, refused))
