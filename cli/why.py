"""`tailrace why`: what became of one record, stage by stage, and where it landed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:  # loading all of this takes longer than `tailrace --help` should
    from collections.abc import Iterator

    from ..testing.story import Step
    from ._fate import Account, Fate

STYLES = {
    "delivered": "bold green",
    "taken": "green",
    "missing": "bold red",
    "in flight": "yellow",
    "not read": "yellow",
    "dead letter": "bold red",
    "not for it": "dim",
    "unknown": "yellow",
}


def why(
    config: Annotated[Path, typer.Argument(help="The config file of the run.")] = Path("tailrace.yaml"),
    place: Annotated[
        str, typer.Argument(metavar="FILE:LINE", help="Which line of which log file; FILE@OFFSET: which byte.")
    ] = "",
    id: Annotated[str, typer.Option("--id", help="The record's id, as `tailrace tap` shows it.")] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Tell what became of one record: which stages changed, redacted or dropped it, where it landed, or why not.

    Reads the line from its file (also a rotated or compressed one), puts it through the stages again, and looks at the
    state folder, the dead letter, archives and Loki. Nothing is sent or written, and no secret is shown. Exit code 1
    when it is not where it should be.

    Example: tailrace why tailrace.yaml /var/log/app/app.log:4711
    """
    import msgspec

    from ..config.load import check
    from ..config.problem import EXIT_CODE
    from ..pipeline.checkpoint import StateError
    from ._event import NotFound, place_of
    from ._fate import account_of
    from .check import show

    if not place and not id and not config.exists():
        config, place = Path("tailrace.yaml"), str(config)  # `tailrace why app.log:12`
    if bool(place) == bool(id):
        raise typer.BadParameter("say which record: FILE:LINE, FILE@OFFSET, or --id ID", param_hint="FILE:LINE")
    try:
        wanted = place_of(place, id)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--id" if id else "FILE:LINE") from None
    loaded, _ = check(config)
    secrets = loaded is not None
    if loaded is None:  # its secrets may be set where it runs, and not here
        loaded, problems = check(config, secrets=False)
        if loaded is None:
            show(problems, sys.stderr)
            raise typer.Exit(EXIT_CODE)
    try:
        account = account_of(loaded, wanted, secrets=secrets)
    except NotFound as error:
        _fail(str(error))
    except (StateError, OSError) as error:
        _fail(str(error))
    if json:
        typer.echo(msgspec.json.encode(account, enc_hook=str).decode())
    else:
        _show(account)
    raise typer.Exit(1 if account.missing else 0)


def _show(account: Account) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, emoji=False, markup=False, soft_wrap=True)
    console.print(Text.assemble(*_pieces(account)), end="")


def _pieces(account: Account) -> Iterator[tuple[str, str]]:
    """The account in pieces with rich's word for their style."""
    from ..testing.verdict import visible

    wide = max([10, *(len(step.stage) for step in account.steps), *(len(fate.sink) + 2 for fate in account.sinks)])

    def row(head: str, text: str, style: str = "", head_style: str = "dim") -> Iterator[tuple[str, str]]:
        yield f"{visible(head):{wide}} ", head_style
        yield visible(text).replace("\n", "\n" + " " * (wide + 1)) + "\n", style

    yield from row("record", account.id, "bold")
    lines = "1 line" if account.lines == 1 else f"{account.lines:,} lines"
    yield from row("place", f"{account.path}, {lines}, bytes {account.offset:,} to {account.end:,}")
    yield from row("line", account.line)
    yield from row("read", account.read)
    for step in account.steps:
        text, style = _told(step)
        yield from row(step.stage, text, style, "bold")
    for fate in account.sinks:
        text = f"{fate.status}: {fate.told}" if fate.told else fate.status
        yield from row(f"→ {fate.sink}", text, STYLES[fate.status], "bold magenta")
        for head, more in _details(fate):
            yield from row(f"  {head}", more, "")
    for letter in account.letters:
        yield from row("dead letter", f"{letter.read} {letter.where}: {letter.reason}", "bold red")
    for note in account.notes:
        yield from row("note", note, "dim")
    yield from row("so", account.verdict, "bold")


def _told(step: Step) -> tuple[str, str]:
    """What a stage did, and rich's word for the style."""
    parts = []
    if step.redacted:
        parts.append("redacted " + ", ".join(f"{rule} x{count}" for rule, count in sorted(step.redacted.items())))
    if step.cut:
        what = ", ".join(f"{field} x{count}" for field, count in sorted(step.cut.items()))
        parts.append(f"truncated {what}")
    if step.bytes:
        parts.append(f"line {step.bytes[0]:,} → {step.bytes[1]:,} bytes")
    elif step.line is not None:
        parts.append("line changed")
    if step.time:
        parts.append(f"time {step.time}")
    for sign, kind in (("+", "added"), ("~", "changed"), ("-", "removed")):
        names = [change.field for change in step.changes if change.kind == kind]
        parts += [f"{sign} {', '.join(names)}"] if names else []
    if step.counted:
        parts.append("counted in " + ", ".join(step.counted))
    if step.dropped:
        return "; ".join([*parts, f"dropped: {step.dropped}"]), "bold red"
    if step.dead:
        return "; ".join([*parts, f"to the dead letter: {step.dead}"]), "bold red"
    return ("; ".join(parts), "yellow" if step.redacted or step.cut else "") if parts else ("unchanged", "dim")


def _details(fate: Fate) -> Iterator[tuple[str, str]]:
    spot = fate.spot
    if spot is None:
        return
    if spot.found == "found" and spot.path:
        more = f", and {spot.equal} equal ones" if spot.equal else ""
        yield "at", f"{spot.path}, byte {spot.offset:,} ({spot.bytes:,} bytes, sha256 {spot.sha256}){more}"
        yield "written", spot.written
    elif spot.stream:
        yield "stream", spot.stream
        yield "time", spot.time
        if spot.found != "found":
            yield "look", spot.why
    elif spot.why:
        yield "look", spot.why


def _fail(message: str) -> NoReturn:
    typer.echo(f"tailrace why: {message}", err=True)
    raise typer.Exit(1)
