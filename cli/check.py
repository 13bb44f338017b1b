"""`tailrace check`: every problem of a config at once, without reading a byte of logs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from ..config.problem import EXIT_CODE, Problem, errors

if TYPE_CHECKING:  # loading all of this takes longer than `tailrace --help` should
    from ..config.load import Config
    from ..testing.survey import Survey


def check(
    config: Annotated[Path, typer.Argument(help="The config file.")] = Path("tailrace.yaml"),
    offline: Annotated[bool, typer.Option("--offline", help="Do not try endpoints, folders and ports.")] = False,
    sample: Annotated[
        Path | None, typer.Option("--sample", help="Say also what the config does to the lines of this log file.")
    ] = None,
    source: Annotated[
        str, typer.Option("--source", help="The source that reads the sample, if there are several.")
    ] = "",
    max_streams: Annotated[
        int, typer.Option("--max-streams", help="Warn when the sample points to more Loki streams.")
    ] = 5000,
    json: Annotated[bool, typer.Option("--json", help="All of it as JSON on standard output.")] = False,
) -> None:
    """Say everything that is wrong with a config, and exit with 78 if there is anything.

    With a sample: how often each stage has something to do, what it hides and drops, the labels and their values,
    the streams that Loki would get, and what it would refuse. Nothing is sent.

    Example: tailrace check tailrace.yaml --offline --sample app.log
    """
    import asyncio

    import msgspec

    from ..config.load import check as check_config
    from ..config.probe import probe

    loaded, problems = check_config(config)
    if loaded is not None and not offline:
        problems = [*problems, *asyncio.run(probe(loaded))]
    failed = bool(errors(problems))
    found = None if sample is None or loaded is None or failed else _survey(loaded, source, sample, max_streams)
    if json:
        told = {"ok": not failed, "problems": [_as_data(p) for p in problems]} | ({"sample": found} if found else {})
        typer.echo(msgspec.json.encode(told).decode())
    else:
        show(problems, sys.stderr)
        if loaded is not None and not failed:
            typer.echo(f"{config}: ok: {_summary(loaded)}", err=True)
        if found is not None:
            _show_survey(found)
    if failed:
        raise typer.Exit(EXIT_CODE)


def _survey(config: Config, source: str, sample: Path, max_streams: int) -> Survey:
    from ._sample import survey

    if source not in config.sources and (source or len(config.sources) > 1):
        raise typer.BadParameter(f"one of {', '.join(config.sources)}", param_hint="--source")
    try:
        return survey(config, source or next(iter(config.sources)), sample, max_streams)
    except OSError as error:
        raise typer.BadParameter(f"{sample}: {error.strerror}", param_hint="--sample") from None


def _show_survey(found: Survey) -> None:
    from ._found import printable
    from ._sample import told

    for line in told(found):
        typer.echo(printable(line))
    for warning in found.warnings:
        typer.echo(f"warning: {printable(warning)}", err=True)


def show(problems: Iterable[Problem], stream: TextIO) -> None:
    """Write problems for a person, in colour only on a terminal (and not with NO_COLOR set), with their number last."""
    problems = list(problems)
    colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    for problem in problems:
        stream.write(problem.render(colour=colour) + "\n")
    bad = len(errors(problems))
    if problems:
        stream.write(f"{_count(bad, 'error')}, {_count(len(problems) - bad, 'warning')}\n")


def _as_data(problem: Problem) -> dict[str, str | int]:
    return {name: getattr(problem, name) for name in ("file", "line", "column", "severity", "message", "hint")}


def _summary(config: Config) -> str:
    sources = ", ".join(config.sources)
    stages = ", ".join(stage.name for stage in config.stages) or "none"
    return f"sources {sources}; stages {stages}; sinks {', '.join(config.sinks)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
