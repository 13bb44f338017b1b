"""What `tailrace check --sample` reads and shows."""

from __future__ import annotations

import asyncio
import glob
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from ..config.load import Config
from ..pipeline.batch import Chunk
from ..pipeline.sources.file import File
from ..testing.survey import Survey, Surveyor


def survey(config: Config, source: str, sample: Path, max_streams: int) -> Survey:
    """Put a file through a config, as if the source read it. Raises OSError when it cannot be read."""
    with sample.open("rb"):  # the source would wait for it
        pass
    surveyor = Surveyor(config, source, max_streams)

    async def take_all() -> None:
        async for chunk in _chunks(config, source, sample):
            if chunk.lines:
                surveyor.take(chunk)

    asyncio.run(take_all())
    return surveyor.survey()


async def _chunks(config: Config, name: str, sample: Path) -> AsyncIterator[Chunk]:
    """The file as the source would read it: same events, same labels."""
    source = config.sources[name]
    framing = {key: getattr(source, key) for key in ("multiline", "max_event", "on_long") if hasattr(source, key)}
    file = File(name=name, include=[glob.escape(str(sample))], **framing)
    async for chunk in file.chunks({}, once=True):
        yield chunk


def told(survey: Survey) -> Iterator[str]:
    """The survey in lines for a person."""
    yield f"{_count(survey.events, 'event')}, {_size(survey.bytes)}" + (
        f"; {survey.long:,} over max_event" if survey.long else ""
    )
    if survey.shipped:
        yield f"{_share(survey.timed, survey.shipped)} have a time of their own; {survey.first} to {survey.last}"
    yield ""
    wide = max([len(stage.stage) for stage in survey.stages] + [5])
    for stage in survey.stages:
        parts = [f"{_share(stage.touched, stage.events):>6} touched"]
        parts += [f"{number:,} dropped ({reason})" for reason, number in stage.dropped.items()]
        if stage.dead:
            parts.append(f"{stage.dead:,} to the dead letter")
        yield f"{stage.stage:{wide}} {stage.events:>9,} events  " + ", ".join(parts)
        counts = sorted(stage.counts.items(), key=lambda count: -count[1])
        yield from (f"{'':{wide}}           {number:>9,.12g}  {key}" for key, number in counts[:20])
        if len(counts) > 20:
            yield f"{'':{wide}}           and {len(counts) - 20} more (see --json)"
    for sink in survey.sinks:
        yield ""
        where = f", {_count(sink.files, 'file')}" if sink.files else ""
        yield f"→ {sink.sink}: {_count(sink.events, 'event')}, {_size(sink.bytes)}{where}"
        if sink.streams is not None:
            growth = f", {sink.new_streams:,} of them new in the second half of the sample" if sink.new_streams else ""
            yield f"  {_count(sink.streams, 'stream')}{growth}"
        for label, values in sink.labels.items():
            examples = ", ".join(sink.examples[label])
            more = ", …" if values > len(sink.examples[label]) else ""
            yield f"  label {label}: {_count(values, 'value')}: {examples}{more}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError
