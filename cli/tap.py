"""`tailrace tap`: the records that pass one point of a running pipeline, as they pass."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:  # loading all of this takes longer than `tailrace --help` should
    from collections.abc import Callable

    from ..pipeline.tap import Ask, Tapped, Told

AGAIN_SECONDS = 0.5
"""Until a worker that went is looked for once more."""
SAY_SECONDS = 5.0
"""Between words about what passes unseen."""
LINE_BYTES = 64 << 20
"""The longest line of an answer: an event may have `max_event` bytes, and each again as a field."""


def tap(
    config: Annotated[Path, typer.Argument(help="The config file of the run.")] = Path("tailrace.yaml"),
    match: Annotated[str, typer.Argument(metavar="LOGQL", help="""Such as '{level="error"} |= "timeout"'.""")] = "",
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="POINT",
            help="`source`: as read. A stage: after it. `sinks`: as offered to all sinks. `sink:NAME`: what it takes.",
        ),
    ] = "sinks",
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many records.")] = None,
    json: Annotated[
        bool | None,
        typer.Option("--json/--raw", help="JSON lines with id and fields, or lines alone (in a pipe: JSON lines)."),
    ] = None,
) -> None:
    """Show the records that pass a point of the running pipeline, from now on, without their secrets.

    The run is only looked at: it never waits for a tap. What it, or who reads, is too slow for is counted on stderr.

    Example: tailrace tap tailrace.yaml --at parse '{level="error"}'
    """
    import asyncio
    import os

    from ..config.load import check
    from ..config.problem import EXIT_CODE, did_you_mean
    from ..pipeline.match import Match, MatchError
    from ..pipeline.tap import SINK, SINKS, SOURCE, Ask
    from .check import show

    loaded, problems = check(config, secrets=False)
    if loaded is None:
        show(problems, sys.stderr)
        raise typer.Exit(EXIT_CODE)
    points = [SOURCE, *(stage.name for stage in loaded.stages), SINKS, *(SINK + name for name in loaded.sinks)]
    if at not in points:
        raise typer.BadParameter(f"no point {at!r}: {did_you_mean(at, points, 'points')}", param_hint="--at")
    try:
        Match.decode(match) if match else None
    except MatchError as error:
        raise typer.BadParameter(str(error), param_hint="LOGQL") from None
    reading = _Reading(loaded.state, Ask(at=at, match=match), limit, _printer(json))
    try:
        asyncio.run(reading.run())
    except KeyboardInterrupt:
        _say(reading.told())
    except BrokenPipeError:  # the reader (`head`) has enough; Python would complain when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        _say(f"{reading.end}; {reading.told()}")


class _Reading:
    """The taps of all processes of a run, read at once."""

    def __init__(self, state: Path, ask: Ask, limit: int | None, print_one: Callable[[Tapped], None]) -> None:
        self.end = "the run has ended"
        self._state = state
        self._ask = ask
        self._limit = limit
        self._print = print_one
        self._records = self._lost = 0
        self._said_at = float("-inf")

    def told(self) -> str:
        """What came of it."""
        records = f"{self._records:,} record{'' if self._records == 1 else 's'}"
        return records + (f", {self._lost:,} more passed unseen (too many at once)" if self._lost else "")

    async def run(self) -> None:
        """Print what passes. Returns when the run has ended, or the limit is reached."""
        import asyncio
        from contextlib import suppress

        from ..pipeline.division import folders
        from ..pipeline.status import holder

        if holder(self._state) is None:
            _fail(f"nothing runs on {self._state}: start `tailrace run` first")
        workers = folders(self._state)
        with suppress(_Enough):
            try:
                async with asyncio.TaskGroup() as group:
                    for folder in workers or [self._state]:
                        group.create_task(self._read(folder, again=bool(workers)))
            except* _Left:
                raise BrokenPipeError from None
            except* _Enough:
                self.end = "enough"
            except* _Refused as refused:
                _fail(str(refused.exceptions[0]))

    async def _read(self, folder: Path, *, again: bool) -> None:
        """One process, also when it is started again."""
        import asyncio

        import msgspec

        from ..pipeline.status import holder
        from ..pipeline.tap import Told, address

        decode = msgspec.json.Decoder(Told).decode
        question = msgspec.json.encode(self._ask) + b"\n"
        while True:
            try:
                with address(folder) as path:
                    stream, writer = await asyncio.open_unix_connection(path, limit=LINE_BYTES)
            except OSError as error:
                if not again:
                    raise _Refused(f"the run on {folder} does not answer ({error.strerror or error})") from None
            else:
                try:
                    writer.write(question)
                    while (line := await stream.readline()).endswith(b"\n"):
                        told = decode(line)
                        if told.end:
                            return
                        self._take(told)
                except ConnectionError:
                    pass
                finally:
                    writer.close()
                if not again:
                    self.end = "the run is gone"
                    return
            if holder(self._state) is None:
                return
            await asyncio.sleep(AGAIN_SECONDS)

    def _take(self, told: Told) -> None:
        if told.error:
            raise _Refused(told.error)
        if told.begun:
            _say(f"tapping {self._ask.at}; end it with Ctrl-C")
        if told.lost:
            self._lost += told.lost
            if time.monotonic() - self._said_at > SAY_SECONDS:
                self._said_at = time.monotonic()
                _say(f"{self._lost:,} records passed unseen so far (too many at once)")
        if told.record is not None:
            try:
                self._print(told.record)
            except BrokenPipeError:
                raise _Left from None  # not to be taken for the run's end of the socket
            self._records += 1
            if self._records == self._limit:
                raise _Enough


class _Enough(Exception):
    """The limit is reached."""


class _Left(Exception):
    """Who reads standard output has gone."""


class _Refused(Exception):
    """The run does not answer the question; the message says why."""


def _printer(json: bool | None) -> Callable[[Tapped], None]:
    import msgspec

    from ._found import printable, readable

    terminal = sys.stdout.isatty()

    def line_of(one: Tapped) -> str:
        return "(withheld, for it cannot be redacted)" if one.withheld else one.line

    def print_json(one: Tapped) -> None:
        text = msgspec.json.encode(one).decode()
        _out(printable(text, "\\u{:04x}") if terminal else text)

    def print_raw(one: Tapped) -> None:
        _out(printable(line_of(one)) if terminal else line_of(one))

    if json or (json is None and not terminal):
        return print_json
    if json is False:
        return print_raw
    from rich.console import Console  # slow to import, and only terminals need it
    from rich.text import Text

    from ..pipeline.record import encode

    console = Console()
    fields_of = msgspec.json.Decoder(dict[str, object]).decode

    def print_readable(one: Tapped) -> None:
        fields = fields_of(one.fields)
        known = {"timestamp": one.time or one.read, **fields, "source": fields.get("source", one.source)}
        text = readable(encode(known | {"message": fields.get("message", line_of(one))}))
        console.print(text, Text(printable(f" {one.id}"), "dim"), soft_wrap=True)

    return print_readable


def _out(text: str) -> None:
    sys.stdout.buffer.write(text.encode("utf-8", "replace") + b"\n")
    sys.stdout.buffer.flush()


def _say(message: str) -> None:
    typer.echo(f"tailrace tap: {message}", err=True)


def _fail(message: str) -> NoReturn:
    _say(message)
    raise typer.Exit(1)
