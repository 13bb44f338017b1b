"""A replay from the command line to the exit code."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec
import typer

from ..config.load import Config, check
from ..config.problem import EXIT_CODE
from ..pipeline.component import Sink, Source, Stage
from ..pipeline.log import log
from ..pipeline.options import Size
from ..pipeline.sinks.loki import Loki
from ..replay.backfill import Backfill, Family, write
from ..replay.bounded import NoSource, fingerprint, sources_of
from ..replay.plan import Plan
from ..replay.receipt import Receipt
from ..replay.run import Replay
from ..replay.target import Target, Unfit
from ..stages.derive_metrics import DeriveMetrics
from ._found import read_time
from ._replay_progress import Progress
from ._replay_told import lost, size, told_plan, told_receipt
from ._ship import guarded, in_loop
from .check import show

NOT_ALL = 3
"""Exit code: Loki would not keep all of it."""


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


class Parts(NamedTuple):
    """What the command line stands for."""

    sources: dict[str, Source]
    stages: list[Stage]
    backfills: list[Backfill]
    """Those of the stages that count for `--metrics`."""
    start_ns: int | None
    end_ns: int | None
    rate: float | None
    """Bytes a second."""


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
        sources = sources_of(config.sources, asked.sources, start_ns, end_ns)
    except (Unfit, NoSource, ValueError) as error:
        _refuse(str(error))
    if not isinstance(target.sink, Loki) and asked.verify:
        _refuse("--verify asks Loki; a new archive is read by `tailrace query`")
    stages, backfills = _stages(config, counting=asked.metrics is not None)
    parts = Parts(sources, stages, backfills, start_ns, end_ns, rate)
    spec = (asked.config.read_bytes(), asked.sources, target.sink.name, asked.start, asked.end, asked.label, asked.into)
    known = hashlib.sha256(repr((*spec, asked.name, str(asked.metrics))).encode()).hexdigest()[:12]
    work = Replay(config.state / "replay" / known, target, name=asked.name, label=asked.label)

    async def run() -> int:
        with work:
            return await _run(asked, work, parts, progress)

    try:
        return guarded(config, lambda: in_loop(run()))
    except OSError as error:
        progress.end()
        log.error("replay stopped", error=error)
        return 1
    finally:
        progress.end()


def _stages(config: Config, *, counting: bool) -> tuple[list[Stage], list[Backfill]]:
    """The stages of a replay, none of which counts into live metrics; and those that count for a file."""
    stages: list[Stage] = []
    backfills: list[Backfill] = []
    for stage in config.stages:
        if not isinstance(stage, DeriveMetrics):
            stages.append(stage)
        elif counting:
            backfills.append(Backfill(name=stage.name, inner=stage))
            stages.append(backfills[-1])
    return stages, backfills


async def _read(asked: Asked, work: Replay, parts: Parts, progress: Progress) -> None:
    """Unless it was read before."""
    prints = await fingerprint(parts.sources)
    if work.known(prints):
        return
    progress.begin("reading")
    await work.gather(
        parts.sources,
        parts.stages,
        fingerprint=prints,
        start_ns=parts.start_ns,
        end_ns=parts.end_ns,
        told=lambda read: progress.to(read.events, size(read.bytes)),
    )
    if asked.metrics:
        families: dict[str, Family] = {}
        for backfill in parts.backfills:
            families |= backfill.families
        log.info("metrics written", path=asked.metrics, samples=write(asked.metrics, families))
    progress.end()


async def _run(asked: Asked, work: Replay, parts: Parts, progress: Progress) -> int:
    await _probe(work.target.sink)
    await _read(asked, work, parts, progress)
    receipt = work.receipt
    done = receipt is not None and receipt.complete and not (asked.plan or asked.dry_run)
    if receipt is None or not done or asked.verify:
        plan = await work.plan(time.time_ns(), parts.rate, whole=asked.plan)
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
