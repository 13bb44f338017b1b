"""`tailrace query`: asks archives, logs or Loki in LogQL and prints what is found."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer


def query(
    logql: Annotated[str, typer.Argument(metavar="LOGQL", help="""Such as '{level="error"} |= "timeout"'.""")],
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Archives and logs, or folders of them (plain, .zst, .gz).")
    ] = None,
    loki: Annotated[str, typer.Option("--loki", metavar="URL", help="Ask this Loki instead of files.")] = "",
    tenant: Annotated[str, typer.Option(help="Loki's tenant; by default LOKI_ORG_ID of the environment.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many records.")] = None,
    last: Annotated[int | None, typer.Option(min=1, help="Only the last this many records.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Not before: 2026-11-01T08:00Z, or 1h30m (ago).")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Before: 2026-11-01T09:00Z, 15m (ago), or now.")] = None,
    step: Annotated[
        str | None, typer.Option(help="A metric at every such moment from --from to --to; without both only at --to.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="What Loki has as labels and metadata of these files: app,level. Only these, then."),
    ] = None,
    sha256: Annotated[
        str,
        typer.Option(help="Only what has this SHA-256 as it is stored, or its first digits: that of an excerpt."),
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    json: Annotated[
        bool | None,
        typer.Option("--json/--raw", help="JSON lines, or lines as they are stored (in a pipe: JSON lines)."),
    ] = None,
    colour: Annotated[
        bool | None, typer.Option("--color/--no-color", help="For reading, in colours, also in a pipe (less -R).")
    ] = None,
) -> None:
    """Find records by LogQL, or count them, and print that: readable on a terminal, as JSON lines in a pipe.

    Example: tailrace query 'sum by (model) (count_over_time({event="llm_call"} | json [1h]))' archive --to 9h
    """
    from ._asked import Asked, Refusal, answer

    if limit and last:
        raise typer.BadParameter("not together with --limit", param_hint="--last")
    if not re.fullmatch("[0-9a-fA-F]{0,64}", sha256):
        raise typer.BadParameter("hex digits, at most 64 of them", param_hint="--sha256")
    now_ns = time.time_ns()
    asked = Asked(
        text=logql,
        paths=paths or [],
        loki=loki,
        tenant=tenant,
        limit=limit,
        last=last,
        start_ns=moment(start, now_ns, "--from"),
        end_ns=moment(end, now_ns, "--to"),
        step_ns=_step(step),
        labels=None if labels is None else [name.strip() for name in labels.split(",") if name.strip()],
        sha256=sha256,
        follow=follow,
        json=json,
        colour=colour,
        now_ns=now_ns,
        warn=_say,
    )
    try:
        answer(asked)
    except Refusal as error:
        pointed = f"\n{_pointed(logql, error.column)}" if error.column else ""
        _refuse(f"{error}{pointed}")
    except BrokenPipeError:  # the reader (`head`) has enough; Python would complain when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        raise typer.Exit(0 if follow else 130) from None
    except (OSError, ValueError) as error:
        _say(str(error))
        raise typer.Exit(1) from None


def moment(text: str | None, now_ns: int, option: str) -> int | None:
    """Unix time in ns of a time, or of how long ago it is, as it was written on the command line."""
    from ..pipeline.options import Duration
    from ._found import read_time

    if text is None:
        return None
    if text == "now":
        return now_ns
    if (time_ns := read_time(text) or read_time(f"{text}T00:00")) is not None:
        return time_ns
    try:
        return now_ns - int(Duration.decode(text) * 10**9)
    except ValueError:
        wrong = f"{text!r} is no time: write 2026-11-01T08:00Z, or how long ago, such as 15m, 1h30m"
        raise typer.BadParameter(wrong, param_hint=option) from None


def _step(text: str | None) -> int | None:
    from ..pipeline.options import Duration

    if text is None:
        return None
    try:
        step_ns = round(Duration.decode(text) * 10**9)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--step") from None
    if step_ns <= 0:
        raise typer.BadParameter("more than nothing, such as 1m", param_hint="--step")
    return step_ns


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
