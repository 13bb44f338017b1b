"""`tailrace query`: finds records in archives and prints them."""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import msgspec
import typer

from ..pipeline.match import Match, MatchError, text_of
from ..pipeline.options import Duration
from ..pipeline.record import Fields
from ..query.search import TIMES, archives, fields_of, search
from ..stages._timestamps import Clock

if TYPE_CHECKING:
    from rich.text import Text

_COLOURS = {"debug": "dim", "info": "green", "warn": "yellow", "err": "red", "crit": "bold red", "fatal": "bold red"}
"""By the beginning of the level's name."""
_read_time = Clock().read
_is_object = msgspec.json.Decoder(msgspec.defstruct("Object", [])).decode


def query(
    match: Annotated[str, typer.Argument(metavar="LOGQL", help="""Such as '{level="error"} |= "timeout"'.""")],
    paths: Annotated[list[Path], typer.Argument(help="Archive files, or folders of them (.jsonl, .zst, .gz).")],
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many records.")] = None,
    last: Annotated[int | None, typer.Option(min=1, help="Only the last this many records.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Not before: 2026-11-01T08:00Z, or 1h30m (ago).")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Before: 2026-11-01T09:00Z, or 15m (ago).")] = None,
    json: Annotated[
        bool | None,
        typer.Option("--json/--raw", help="JSON lines, or lines as they are stored (in a pipe: JSON lines)."),
    ] = None,
) -> None:
    """Find records in archives by LogQL and print them: readable on a terminal, as JSON lines in a pipe."""
    if limit and last:
        raise typer.BadParameter("not together with --limit", param_hint="--last")
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
        expression, files, start_ns=start_ns, end_ns=end_ns, limit=limit or last, direction=direction, warn=_say
    )
    try:
        _print(reversed(list(found)) if last else found, json)
    except BrokenPipeError:  # the reader (`head`) has enough; Python would complain when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        _say(str(error))
        raise typer.Exit(1) from None


def _print(lines: Iterable[bytes], json: bool | None) -> None:
    if sys.stdout.isatty():
        show = _on_terminal(json)
        for line in lines:
            show(line)
        return
    out = sys.stdout.buffer
    for line in lines:
        out.write((line if json is False else as_json(line)) + b"\n")
    out.flush()


def _on_terminal(json: bool | None) -> Callable[[bytes], None]:
    if json is not None:
        return lambda line: print(
            printable(as_json(line).decode(), "\\u{:04x}") if json else printable(line.decode("utf-8", "replace"))
        )
    from rich.console import Console  # slow to import, and only terminals need it

    console = Console()
    return lambda line: console.print(readable(line), soft_wrap=True)


def as_json(line: bytes) -> bytes:
    """The line itself if it is a JSON object; else one with the text as its message."""
    try:
        _is_object(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.encode({"message": line.decode("utf-8", "replace")})
    return line


def readable(line: bytes) -> Text:
    """One record for the eye: time, level, source, message, in colours, with nothing that a terminal would obey."""
    from rich.text import Text

    fields = fields_of(line)
    level = _first(fields, ("level", "severity", "levelname"))
    style = next((style for name, style in _COLOURS.items() if level.lower().startswith(name)), "")
    message = _first(fields, ("message", "msg", "event")) or line.decode("utf-8", "replace")
    parts = [
        (_clock(fields), "dim"),
        (f"{level.upper():8}", style) if level else ("", ""),
        (_first(fields, ("source", "logger")), "cyan"),
        (message, ""),
    ]
    return Text(" ").join(Text(printable(text), style) for text, style in parts if text)


def _first(fields: Fields, names: Iterable[str]) -> str:
    return next((text for name in names if (text := text_of(fields.get(name)))), "")


def _clock(fields: Fields) -> str:
    text = _first(fields, TIMES)
    time_ns = _read_time(text)
    if time_ns is None:
        return text
    moment = datetime.fromtimestamp(time_ns // 10**9, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ns % 10**9 // 10**6:03}"


def printable(text: str, escape: str = "") -> str:
    r"""The text with what a terminal may obey (control, format, direction characters) shown as escapes: `\x1b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else _escaped(c, escape) for c in text)


def _escaped(char: str, escape: str) -> str:
    if not escape:
        return char.encode("unicode_escape").decode()
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(escape.format(int.from_bytes(units[i : i + 2], "big")) for i in range(0, len(units), 2))


def moment(text: str | None, now_ns: int, option: str) -> int | None:
    """Unix time in ns of a time, or of how long ago it is, as it was written on the command line."""
    if text is None:
        return None
    if (time_ns := _read_time(text) or _read_time(f"{text}T00:00")) is not None:
        return time_ns
    try:
        return now_ns - int(Duration.decode(text) * 10**9)
    except ValueError:
        wrong = f"{text!r} is no time: write 2026-11-01T08:00Z, or how long ago, such as 15m, 1h30m"
        raise typer.BadParameter(wrong, param_hint=option) from None


def _pointed(text: str, column: int) -> str:
    """The line of the text with this column, and a caret below it."""
    start = text.rfind("\n", 0, column - 1) + 1
    line = text[start:].partition("\n")[0]
    return f"  {printable(line)}\n  {' ' * len(printable(text[start : column - 1]))}^"


def _say(message: str) -> None:
    typer.echo(f"tailrace query: {message}", err=True)


def _refuse(message: str) -> NoReturn:
    _say(message)
    raise typer.Exit(2)
