"""`tailrace query`: finds records in archives and prints them."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer


def query(
    match: Annotated[str, typer.Argument(metavar="LOGQL", help="""Such as '{level="error"} |= "timeout"'.""")],
    paths: Annotated[list[Path], typer.Argument(help="Archive files, or folders of them (.jsonl, .zst, .gz).")],
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many records.")] = None,
    last: Annotated[int | None, typer.Option(min=1, help="Only the last this many records.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Not before: 2026-11-01T08:00Z, or 1h30m (ago).")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Before: 2026-11-01T09:00Z, or 15m (ago).")] = None,
    sha256: Annotated[
        str,
        typer.Option(help="Only what has this SHA-256 as it is stored, or its first digits: that of an excerpt."),
    ] = "",
    json: Annotated[
        bool | None,
        typer.Option("--json/--raw", help="JSON lines, or lines as they are stored (in a pipe: JSON lines)."),
    ] = None,
) -> None:
    """Find records in archives by LogQL and print them: readable on a terminal, as JSON lines in a pipe."""
    from ..pipeline.match import Match, MatchError
    from ..query.search import archives, search
    from ._found import show

    if limit and last:
        raise typer.BadParameter("not together with --limit", param_hint="--last")
    if not re.fullmatch("[0-9a-fA-F]{0,64}", sha256):
        raise typer.BadParameter("hex digits, at most 64 of them", param_hint="--sha256")
    now_ns = time.time_ns()
    start_ns, end_ns = moment(start, now_ns, "--from"), moment(end, now_ns, "--to")
    try:
        expression = Match.decode(match)
        files = archives(paths)
    except MatchError as error:
        _refuse(f"{error}\n{_pointed(match, error.column)}")
    except FileNotFoundError as error:
        _refuse(str(error))
    direction: Literal["forward", "backward"] = "backward" if last else "forward"
    found = search(
        expression,
        files,
        start_ns=start_ns,
        end_ns=end_ns,
        limit=limit or last,
        direction=direction,
        sha256=sha256,
        warn=_say,
    )
    try:
        show(reversed(list(found)) if last else found, json)
    except BrokenPipeError:  # the reader (`head`) has enough; Python would complain when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        _say(str(error))
        raise typer.Exit(1) from None


def moment(text: str | None, now_ns: int, option: str) -> int | None:
    """Unix time in ns of a time, or of how long ago it is, as it was written on the command line."""
    from ..pipeline.options import Duration
    from ._found import read_time

    if text is None:
        return None
    if (time_ns := read_time(text) or read_time(f"{text}T00:00")) is not None:
        return time_ns
    try:
        return now_ns - int(Duration.decode(text) * 10**9)
    except ValueError:
        wrong = f"{text!r} is no time: write 2026-11-01T08:00Z, or how long ago, such as 15m, 1h30m"
        raise typer.BadParameter(wrong, param_hint=option) from None


def _pointed(text: str, column: int) -> str:
    """The line of the text with this column, and a caret below it."""
    from ._found import printable

    start = text.rfind("\n", 0, column - 1) + 1
    line = text[start:].partition("\n")[0]
    return f"  {printable(line)}\n  {' ' * len(printable(text[start : column - 1]))}^"


def _say(message: str) -> None:
    typer.echo(f"tailrace query: {message}", err=True)


def _refuse(message: str) -> NoReturn:
    _say(message)
    raise typer.Exit(2)
