"""A replay from the command line to the exit code, and how it is told."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgspec
import typer

from ..config.load import Config, check
from ..config.problem import EXIT_CODE
from ..pipeline.component import Sink, Stage
from ..pipeline.log import log
from ..pipeline.options import Size
from ..pipeline.record import rfc3339
from ..pipeline.sinks.loki import Loki
from ..replay.backfill import Backfill, Family, write
from ..replay.bounded import NoSource, fingerprint, sources_of
from ..replay.plan import Plan
from ..replay.receipt import Receipt
from ..replay.run import Replay
from ..replay.target import Target, Unfit
from ..stages.derive_metrics import DeriveMetrics
from ._found import read_time
from ._ship import guarded, in_loop
from .check import show

NOT_ALL = 3
"""Exit code: Loki would not keep all of it."""
EVERY_SECONDS = 15.0
"""A line of progress, where nobody looks."""


class Asked(NamedTuple):
    """The command line."""

    config: Path
    sources: list[str]
    sink: str
    start: str | None
    end: str | None
    plan: bool
    dry_run: bool
    verify: bool
    partial: bool
    label: str
    name: str
    into: str
    rate: str
    metrics: Path | None
    json: bool


class Progress:
    """A bar on a terminal, a line of the log now and then elsewhere."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._told = time.monotonic()
        self._began = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def begin(self, what: str, total: int | None = None) -> None:
        """Of something new."""
        self.end()
        self._began = time.monotonic()
        if self.terminal:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            more = (TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
            self._bar = Bar(*columns, *more, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(what, total=total, note="")

    def to(self, done: int, note: str, total: int | None = None) -> None:
        """So far."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, note=note)
        elif time.monotonic() - self._told > EVERY_SECONDS:
            self._told = time.monotonic()
            log.info("replaying", records=done, of=total or "?", so_far=note)

    def end(self) -> None:
        """Of it."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def go(asked: Asked, progress: Progress) -> int:
    """Do what was asked. Returns the exit code."""
    config, problems = check(asked.config)
    show(problems, sys.stderr)
    if config is None:
        return EXIT_CODE
    start_ns, end_ns = _moment(asked.start, "--from"), _moment(asked.end, "--to")
    try:
        rate = float(Size.decode(asked.rate)) if asked.rate else None
        target = Target(_sink(config, asked.sink), asked.label, asked.into)
        sources = sources_of(config.sources, asked.sources)
    except (Unfit, NoSource, ValueError) as error:
        _refuse(str(error))
    if not isinstance(target.sink, Loki) and asked.verify:
        _refuse("--verify asks Loki; a new archive is read by `tailrace query`")
    stages: list[Stage] = []
    backfills: list[Backfill] = []
    for stage in config.stages:
        if not isinstance(stage, DeriveMetrics):
            stages.append(stage)
        elif asked.metrics:  # never into live counters
            backfills.append(Backfill(name=stage.name, inner=stage))
            stages.append(backfills[-1])
    spec = (asked.config.read_bytes(), asked.sources, target.sink.name, asked.start, asked.end, asked.label, asked.into)
    known = hashlib.sha256(repr((*spec, asked.name, str(asked.metrics))).encode()).hexdigest()[:12]
    work = Replay(config.state / "replay" / known, target, name=asked.name, label=asked.label)

    async def run() -> int:
        with work:
            return await _run(asked, work, sources, stages, backfills, progress, (start_ns, end_ns), rate)

    try:
        return guarded(config, lambda: in_loop(run()))
    except OSError as error:
        progress.end()
        log.error("replay stopped", error=error)
        return 1
    finally:
        progress.end()


async def _run(
    asked: Asked,
    work: Replay,
    sources: Mapping[str, Any],
    stages: list[Stage],
    backfills: list[Backfill],
    progress: Progress,
    span: tuple[int | None, int | None],
    rate: float | None,
) -> int:
    await _probe(work.target.sink)
    prints = fingerprint(sources)
    if not work.known(prints):
        progress.begin("reading")
        await work.gather(
            sources,
            stages,
            fingerprint=prints,
            start_ns=span[0],
            end_ns=span[1],
            told=lambda read: progress.to(read.events, size(read.bytes)),
        )
        if asked.metrics:
            families: dict[str, Family] = {}
            for backfill in backfills:
                families |= backfill.families
            log.info("metrics written", path=asked.metrics, samples=write(asked.metrics, families))
        progress.end()
    receipt = work.receipt
    done = receipt is not None and receipt.complete and not (asked.plan or asked.dry_run)
    if receipt is None or not done or asked.verify:
        plan = await work.plan(time.time_ns(), rate, whole=asked.plan)
    if asked.plan:
        _print(msgspec.json.encode(plan).decode() if asked.json else "\n".join(told_plan(plan)))
        return NOT_ALL if lost(plan) else 0
    if receipt is None or not done:
        if not asked.json:
            print("\n".join(told_plan(plan)), file=sys.stderr)
        if lost(plan) and not asked.partial and not asked.dry_run and not work.begun:
            log.error("nothing was sent, for Loki would not keep all of it: see --plan; --partial sends the rest")
            return NOT_ALL
        receipt = await _push(work, plan, progress, dry=asked.dry_run)
    elif not asked.json:
        print("replayed before: nothing is sent", file=sys.stderr)
    if asked.verify and not asked.dry_run and receipt.complete:
        receipt = await work.verify(plan, receipt)
    _print(msgspec.json.encode(receipt).decode() if asked.json else "\n".join(told_receipt(receipt)))
    missing = receipt.verified.missing if receipt.verified else 0
    for path, why in receipt.read.unreadable.items():
        log.error("not replayed, for it cannot be read", path=path, error=why)
    return 0 if receipt.complete and not missing and not receipt.read.unreadable else 1


async def _push(work: Replay, plan: Plan, progress: Progress, *, dry: bool) -> Receipt:
    """With its progress."""
    progress.begin("encoding" if dry else "replaying", plan.records)
    began = time.monotonic()

    _, before = ({}, {}) if dry else work.refused.counted(plan.records)

    async def tell() -> None:
        first: int | None = None
        while True:
            await asyncio.sleep(0.5)
            first = work.done if first is None and work.done else first
            per_second = (work.done - (first or 0)) / max(0.5, time.monotonic() - began)
            refused = sum(before.values()) + work.refused.more
            left = (plan.records - work.done) / per_second if per_second else 0.0
            note = f"{per_second:,.0f}/s, {refused:,} refused, {left:,.0f} s left"
            progress.to(work.done, note, plan.records)

    async with asyncio.TaskGroup() as group:
        telling = group.create_task(tell())
        receipt = await work.run(plan, dry=dry)
        telling.cancel()
    progress.end()
    return receipt


async def _probe(sink: Sink) -> None:
    """Raises ProbeError."""
    trial = msgspec.structs.replace(sink)
    await trial.open()
    try:
        await trial.probe()
    finally:
        await trial.close()


def lost(plan: Plan) -> int:
    """How much Loki would not keep."""
    return plan.refused_records + plan.too_many_streams + plan.deleted


def told_plan(plan: Plan) -> list[str]:
    """For people."""
    read = plan.read
    lines = [f"read        {read.events:,} events, {size(read.bytes)}"]
    for number, what in (
        (read.dropped, "dropped by stages"),
        (read.no_match, "not for this sink"),
        (read.out_of_range, "out of the time asked for"),
        (read.dead, "that a stage could not take"),
        (read.untimed, "without a time of their own"),
        (len(read.unreadable), "files that cannot be read"),
    ):
        if number:
            lines.append(f"            {number:,} {what}")
    if read.redactions:
        lines.append(f"redacted    {read.redacted:,} records by the rules of today")
        lines += [f"            {number:,} by {rule}" for rule, number in read.redactions.items()]
    lines.append(f"replay      {plan.records:,} records, {size(plan.bytes)}, in {len(plan.streams)} streams")
    if plan.first_ns is not None and plan.last_ns is not None:
        lines.append(f"            from {rfc3339(plan.first_ns)} to {rfc3339(plan.last_ns)}")
    lines.append(
        f"to          {plan.sink}, " + (f'{plan.label}="{plan.name}"' if plan.label else "no label of its own")
    )
    if plan.limits is not None:
        lines.append(f"refused     {plan.refused_records:,}")
        lines += [f"            {number:,} {why}" for why, number in plan.refused.items()]
        lines.append(f"deleted     {plan.deleted:,} by retention")
        lines.append(f"invisible   {plan.invisible:,} until they are flushed")
        if plan.rate:
            lines.append(f"rate        {size(int(plan.rate))} a second, {plan.seconds:,.0f} s")
        if plan.there:
            lines.append(f"there       something, {plan.already:,} of these at least: Loki is asked for each first")
    return lines + [f"advice      {advice}" for advice in plan.advice]


def told_receipt(receipt: Receipt) -> list[str]:
    """For people."""
    state = "complete" if receipt.complete else "not complete: start it again, it goes on where it was"
    lines = [
        f"replay {receipt.name} to {receipt.sink}: {state}",
        f"  {receipt.delivered:,} of {receipt.records:,} delivered, {receipt.refused:,} refused",
        f"  in {receipt.seconds:.0f} s",
    ]
    lines += [f"  {number:,} refused: {why}" for why, number in receipt.reasons.items()]
    if (found := receipt.verified) is not None:
        lines.append(f"  verified: {found.found:,} of {found.wanted:,} found in {found.buckets:,} counts")
        lines += [f"  missing in {place}" for place in found.missing_in]
        if found.unseen:
            lines.append(f"  {found.unseen:,} of them show once Loki has flushed them: --verify again later")
    return lines


def size(number: int) -> str:
    """Bytes for people."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number} B"


def _sink(config: Config, name: str) -> Sink:
    if name in config.sinks:
        return config.sinks[name]
    if name:
        raise Unfit(f"no sink {name!r}: there are {', '.join(config.sinks)}")
    found = [sink for sink in config.sinks.values() if isinstance(sink, Loki)]
    if len(found) != 1:
        raise Unfit(f"say with --sink where to: {', '.join(config.sinks)}")
    return found[0]


def _moment(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    found = read_time(text) or read_time(f"{text}T00:00")
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time: write 2026-11-01T08:00Z, or 2026-11-01", param_hint=option)
    return found


def _print(text: str) -> None:
    with suppress(BrokenPipeError):
        print(text, flush=True)


def _refuse(message: str) -> NoReturn:
    typer.echo(f"tailrace replay: {message}", err=True)
    raise typer.Exit(2)
