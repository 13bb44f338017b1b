"""`tailrace status`: how far every file is, what every sink does, what is in the dead letter."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # loading all of this takes longer than `tailrace --help` should
    from ..config.load import Home
    from ..pipeline.batch import Position
    from ..pipeline.status import PartitionStatus, SinkStatus, Status

PATIENCE = 2.0
"""Seconds to wait for the answer of the run."""


def status(
    config: Annotated[Path, typer.Argument(help="The config file.")] = Path("tailrace.yaml"),
    json: Annotated[bool, typer.Option("--json", help="One JSON object, as in a pipe.")] = False,
) -> None:
    """Say how far every file is, whether every sink works, and what is in the dead letter.

    Works whether tailrace runs or not: reads the state folder, and asks the run itself if it has an `exporter`.

    Example: tailrace status tailrace.yaml
    """
    import msgspec

    from ..config.load import home
    from ..config.problem import EXIT_CODE
    from ..pipeline.checkpoint import StateError
    from .check import show

    found, problems = home(config)
    if found is None:
        show(problems, sys.stderr)
        raise typer.Exit(EXIT_CODE)
    try:
        told = status_of(found)
    except (StateError, OSError) as error:
        typer.echo(f"tailrace status: {error}", err=True)
        raise typer.Exit(1) from None
    if json or not sys.stdout.isatty():
        typer.echo(msgspec.json.encode(told).decode())
    else:
        _print(told)


def status_of(home: Home, *, brief: bool = False) -> Status:
    """What the state folder tells, and what the run that holds it adds. Raises StateError and OSError.

    `brief`: of the run's partitions only those to look at first.
    """
    from ..pipeline.component import Source
    from ..pipeline.dead_letter import FILE, DeadLetter
    from ..pipeline.division import folders
    from ..pipeline.status import holder, merged, of_state

    def extent(source: str, position: Position) -> int | None:
        cls = home.sources.get(source)
        return cls.extent(position) if cls is not None and issubclass(cls, Source) else None

    if workers := folders(home.state):
        parts = [of_state(folder, home.sources, home.sinks, extent) for folder in workers]
        told = merged(parts, home.state, holder(home.state))
        told.dead_letters = DeadLetter(home.state / FILE).counts()
    else:
        told = of_state(home.state, home.sources, home.sinks, extent)
    if told.running and home.exporter is not None:
        running = _ask(home.exporter.listen.host, home.exporter.listen.port, brief=brief)
        if running is not None and running.pid == told.pid:
            running.dead_letters = told.dead_letters
            return running
    return told


def _ask(host: str, port: int, *, brief: bool) -> Status | None:
    """The status by the run itself; None where nobody answers, or somebody else."""
    import urllib.request
    from http.client import HTTPException

    import msgspec

    from ..pipeline.status import MINIMAL, Status

    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/-/status"
    request = urllib.request.Request(url, headers={"Prefer": MINIMAL} if brief else {})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=PATIENCE) as answer:
            return msgspec.json.decode(answer.read(), type=Status)
    except (OSError, HTTPException, ValueError):
        return None


def _print(told: Status) -> None:
    from rich.console import Console
    from rich.table import Table

    from ._found import printable

    console = Console(markup=False)  # a name in brackets is no style
    who = f"running, pid {told.pid or 'unknown'}" if told.running else "not running"
    age = "never saved" if told.checkpoint_age is None else f"saved {span(told.checkpoint_age)} ago"
    console.print(f"tailrace {told.version}".rstrip() + f": {who}", highlight=False)
    console.print(f"state {printable(told.state)}, positions {age}", highlight=False, markup=False)
    if told.running and not told.version:
        console.print("the run itself does not answer (no exporter): this is what the state folder tells")
    files = Table("source", "file", "position", "size", "lag", "unaccounted", "error", box=None, pad_edge=False)
    shared = any(one.worker is not None for one in told.partitions)
    if shared:
        files.add_column("worker")
    for one in told.partitions:
        files.add_row(*(printable(cell) for cell in _file(one)), *([str(one.worker)] if shared else []))
    seen = {(one.source, one.path) for one in told.partitions}
    for source, errors in told.errors.items():
        for path, error in errors.items():
            if (source, path) not in seen:
                files.add_row(source, printable(path), "", "", "", "", printable(error))
    sinks = Table("sink", "state", "delivered", "dead", "in flight", "unaccounted", "error", box=None, pad_edge=False)
    for sink in told.sinks:
        sinks.add_row(*(printable(cell) for cell in _sink(sink)))
    for table in (files, sinks):
        console.print()
        console.print(table, markup=False)
    letters = ", ".join(f"{where} {count}" for where, count in told.dead_letters.items())
    console.print(f"\ndead letters: {letters or 'none'}", highlight=False, markup=False)
    if told.dead_letter_problem:
        console.print(f"the dead letter cannot be written: {told.dead_letter_problem}", style="red", markup=False)
    for trouble in told.troubles[:5]:
        ago = span(max(0.0, (told.at or trouble.at) - trouble.at))
        console.print(f"{ago} ago: {printable(trouble.line())}", highlight=False)


def _file(one: PartitionStatus) -> tuple[str, ...]:
    lag = "" if one.lag_bytes is None else f"{one.lag_bytes:,} B"
    if one.lag_seconds:
        lag += f", {span(one.lag_seconds)}"
    left = "" if not one.books else str(sum(abs(books.residual) for books in one.books.values()))
    return (one.source, one.path or one.partition, f"{one.position:,}", _number(one.size), lag, left, one.error)


def _sink(one: SinkStatus) -> tuple[str, ...]:
    state = "" if one.up is None else "up" if one.up else "failing"
    flight = _number(one.in_flight) if one.in_flight_bytes is None else f"{one.in_flight_bytes:,} B"
    return (one.sink, state, _number(one.delivered), _number(one.dead), flight, _number(one.residual), one.error)


def _number(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def span(seconds: float) -> str:
    """A time for people, in one unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
