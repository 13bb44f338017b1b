"""`tailrace dlq`: what could not be delivered: see it, deliver it again, drop it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:  # loading all of this takes longer than `tailrace --help` should
    from ..pipeline.dead_letter import DeadLetter, Letter

dlq = typer.Typer(
    name="dlq", help="See, deliver again, or drop the records that could not be delivered.", no_args_is_help=True
)

_Config = Annotated[Path, typer.Argument(help="The config file.")]
_Match = Annotated[
    str, typer.Option(metavar="LOGQL", help="""Only letters like these, such as '{where="loki"} |= "too old"'.""")
]
_DEFAULT = Path("tailrace.yaml")


@dlq.command("list")
def list_letters(
    config: _Config = _DEFAULT,
    match: _Match = "",
    json: Annotated[bool, typer.Option("--json", help="JSON lines, as in a pipe.")] = False,
) -> None:
    """Print what is in the dead letter, each record once: where it came from, who gave it up, and why.

    Works while tailrace runs.

    Example: tailrace dlq list --match '{where="loki"}'
    """
    import msgspec

    from ._found import printable

    dead_letter, goes = _dead_letter(config), _matching(match)
    readable = sys.stdout.isatty() and not json
    try:
        for letter in filter(goes, dead_letter.letters()):
            typer.echo(printable(_readable(letter)) if readable else msgspec.json.encode(letter).decode())
    except BrokenPipeError:  # the reader (`head`) has enough; Python would complain when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        _fail(str(error))


@dlq.command("retry")
def retry_letters(
    config: _Config = _DEFAULT,
    match: _Match = "",
    json: Annotated[bool, typer.Option("--json", help="What became of them as a JSON object.")] = False,
) -> None:
    """Deliver what is in the dead letter again; what arrives leaves it.

    What a sink refused goes to that sink as it is. What a stage failed on goes through all stages again and to every
    sink; a line that may hold a secret is not in the dead letter and is read from its file again, if that is still
    there. Refused while tailrace runs on the same state folder. Exit code 1 if letters stay.

    Example: tailrace dlq retry tailrace.yaml
    """
    import logging

    from ..pipeline.log import to_stderr
    from ._retry import retry

    to_stderr(logging.INFO)
    raise typer.Exit(retry(config, _matching(match), json=json))


@dlq.command("drop")
def drop_letters(
    config: _Config = _DEFAULT,
    before: Annotated[
        str, typer.Option(help="Only what was read before: 2026-11-01T08:00Z, or 7d (so long ago).")
    ] = "",
    match: _Match = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Drop what is in the dead letter: these records will not be delivered.

    Works while tailrace runs.

    Example: tailrace dlq drop --before 7d --yes
    """
    dead_letter, matching = _dead_letter(config), _matching(match)
    end_ns = _moment(before)

    def goes(letter: Letter) -> bool:
        return (end_ns is None or letter.read_at_ns < end_ns) and matching(letter)

    try:
        count = sum(1 for letter in dead_letter.letters() if goes(letter))
        if count and not yes:
            typer.confirm(f"drop {count} letters of {dead_letter.path} for good?", abort=True, err=True)
        dropped = dead_letter.drop(goes) if count else 0
    except OSError as error:
        _fail(str(error))
    typer.echo(f"dropped {dropped}", err=True)


def _dead_letter(config: Path) -> DeadLetter:
    from ..config.load import home
    from ..config.problem import EXIT_CODE
    from ..pipeline.dead_letter import FILE, DeadLetter
    from .check import show

    found, problems = home(config)
    if found is None:
        show(problems, sys.stderr)
        raise typer.Exit(EXIT_CODE)
    return DeadLetter(found.state / FILE)


def _matching(text: str) -> Callable[[Letter], bool]:
    """Over the letters as JSON: their fields are `source`, `where`, `reason` …"""
    if not text:
        return lambda letter: True
    import msgspec

    from ..pipeline.match import Match, MatchError
    from ..pipeline.record import Record

    try:
        match = Match.decode(text)
    except MatchError as error:
        raise typer.BadParameter(str(error), param_hint="--match") from None
    return lambda letter: match.matches(Record(msgspec.json.encode(letter), format="json"), {})


def _moment(text: str) -> int | None:
    """Unix time in ns."""
    if not text:
        return None
    from .query import moment

    return moment(text, time.time_ns(), "--before")


def _readable(letter: Letter) -> str:
    line = letter.line if letter.line is not None else "(not written down)" if letter.withheld else repr(letter.raw)
    hint = f" ({letter.hint})" if letter.hint else ""
    place = f"{letter.source} {letter.partition}:{letter.offset}"
    return f"{letter.read[:19] or '-'}  {letter.kind} {letter.where}: {letter.reason}{hint}  {place}  {line}"


def _fail(message: str) -> NoReturn:
    typer.echo(f"tailrace dlq: {message}", err=True)
    raise typer.Exit(1)
