"""`tailrace explain`: one line before and after each stage, and what each sink makes of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..config.problem import EXIT_CODE

if TYPE_CHECKING:  # loading all of this takes longer than `tailrace --help` should
    from ..testing.story import Story


def explain(
    config: Annotated[Path, typer.Argument(help="The config file.")] = Path("tailrace.yaml"),
    line: Annotated[str | None, typer.Argument(help="The line. Without it standard input is read.")] = None,
    source: Annotated[str, typer.Option("--source", help="The source that reads it, where there are several.")] = "",
    file: Annotated[str, typer.Option("--file", help="The path that it is read from.")] = "",
    now: Annotated[
        str, typer.Option("--now", help="When it is read, such as 2026-11-23T12:00:00Z; otherwise now.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a record on standard output.")] = False,
) -> None:
    """Show a line before and after each stage: what was found, changed, hidden or dropped, and which sinks take it.

    Nothing is sent, nothing remembered. In front of the stage that hides secrets only what you gave is shown.

    Example: tailrace explain tailrace.yaml 'level=info msg="login" password=hunter2'
    """
    import time

    import msgspec

    from ..config.case import time_ns
    from ..config.load import check
    from ..config.problem import did_you_mean
    from ..testing.story import tell
    from .check import show

    loaded, problems = check(config, secrets=False)
    show(problems, sys.stderr)
    if loaded is None:
        raise typer.Exit(EXIT_CODE)
    if source not in loaded.sources and (source or len(loaded.sources) > 1):
        hint = did_you_mean(source, loaded.sources, "sources")
        raise typer.BadParameter(f"which source reads it? {hint}", param_hint="--source")
    try:
        read_at_ns = time_ns(now) if now else time.time_ns()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--now") from None
    if line is None and sys.stdin.isatty():
        typer.echo("reading standard input; end it with Ctrl-D", err=True)
    data = sys.stdin.buffer.read() if line is None else line.encode("utf-8", "surrogateescape")
    stories = tell(loaded, data, source, file=file, read_at_ns=read_at_ns)
    if not stories:
        typer.echo("there is no event in that", err=True)
        raise typer.Exit(1)
    if json:
        for story in stories:
            typer.echo(msgspec.json.encode(story, enc_hook=str).decode())
    else:
        _show(stories)


def _show(stories: list[Story]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, emoji=False, markup=False, soft_wrap=True)
    for number, story in enumerate(stories):
        if number:
            console.print()
        console.print(Text.assemble(*_pieces(story)), end="")


def _pieces(story: Story) -> Iterator[tuple[str, str]]:
    """The story in pieces with rich's word for their style."""
    yield from _block("read", story.read, "")
    for step in story.steps:
        quiet = not (step.changes or step.line is not None or step.time or step.dropped or step.dead)
        yield f"{step.stage:10}", "bold"
        yield f" {'no change' if quiet else ''}\n", "dim"
        if step.line is not None:
            yield from _block("  line", step.line, "yellow")
        if step.time:
            yield f"  time     {step.time}\n", "cyan"
        for change in step.changes:
            if change.kind == "removed":
                yield f"  - {change.field}\n", "red"
            else:
                sign, style = ("+", "green") if change.kind == "added" else ("~", "yellow")
                yield from _block(f"  {sign} {change.field}", _value(change.value, change.withheld), style)
        if step.dropped:
            yield f"  dropped: {step.dropped}\n", "bold red"
        if step.dead:
            yield f"  to the dead letter: {step.dead}\n", "bold red"
    for sent in story.sinks:
        yield f"→ {sent.sink:8}", "bold magenta"
        if not sent.takes:
            yield f" {sent.why}\n", "dim"
            continue
        yield f" {sent.time}{'  ' + sent.path if sent.path else ''}\n", "cyan"
        yield from _block("  line", sent.line, "")
        for name in ("labels", "metadata"):
            if pairs := getattr(sent, name):
                told = ", ".join(f"{key}={_value(value)}" for key, value in sorted(pairs.items()))
                yield from _block(f"  {name}", told, "magenta")


def _block(head: str, text: str, style: str) -> Iterator[tuple[str, str]]:
    from ..testing.verdict import visible

    yield f"{head:10} ", style if head.strip() not in ("read", "line") else "dim"
    yield visible(text).replace("\n", "\n" + " " * 11) + "\n", style


def _value(value: Any, withheld: bool = False) -> str:
    import msgspec

    return "(shown once secrets are hidden)" if withheld else msgspec.json.encode(value, enc_hook=str).decode()
