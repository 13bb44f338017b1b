"""What `sessions`, `events`, `llm`, `patcher`, `errors` and `trace` share: options, files, how rows are shown."""

from __future__ import annotations

import inspect
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

if TYPE_CHECKING:  # loading all of this takes longer than `tailrace --help` should
    from ..query.find import Wanted
    from ..query.index import Index, Indexed

_EXACT = {
    "session": "session_key",
    "thread": "thread_ts",
    "channel": "channel_id",
    "stage": "stage",
    "call_label": "call_label",
    "model": "model",
    "status": "status",
    "event": "event",
    "event_type": "event_type",
    "error_type": "error_type",
    "agent": "agent",
    "trace_id": "trace_id",
}
"""The options that ask for a field."""


def filters(
    path: Annotated[
        list[Path] | None,
        typer.Option(
            help="Files or folders: logs, archives, llm_io files. By default those of the config, else logs/."
        ),
    ] = None,
    session: Annotated[str, typer.Option("--session", "--session-key", help="Only this session_key.")] = "",
    thread: Annotated[str, typer.Option("--thread", "--thread-ts", help="Only this thread_ts.")] = "",
    channel: Annotated[str, typer.Option("--channel", "--channel-id", help="Only this channel_id.")] = "",
    stage: Annotated[str, typer.Option(help="Only this stage.")] = "",
    call_label: Annotated[str, typer.Option(help="Only this call_label.")] = "",
    model: Annotated[str, typer.Option(help="Only this model.")] = "",
    status: Annotated[str, typer.Option(help="Only this status, such as ok or error.")] = "",
    event: Annotated[str, typer.Option(help="Only this event.")] = "",
    event_type: Annotated[str, typer.Option(help="Only this event_type, such as LLMCall.")] = "",
    error_type: Annotated[str, typer.Option(help="Only this error_type.")] = "",
    agent: Annotated[str, typer.Option(help="Only this agent; what follows a / may be left out.")] = "",
    trace_id: Annotated[str, typer.Option(help="Only this trace_id.")] = "",
    contains: Annotated[str, typer.Option(help="Only records in whose JSON this stands, whatever its case.")] = "",
    has_error: Annotated[Literal["yes", "no"] | None, typer.Option(help="Only what failed, or only the rest.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", "--from-ts", help="Not before: 2026-11-01T08:00Z, or 1h30m (ago).")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", "--to-ts", help="Not after: a time as for --from.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the last this many.")] = None,
    timezone: Annotated[str, typer.Option(help="Of times that name none, such as Europe/Amsterdam.")] = "UTC",
    config: Annotated[Path, typer.Option("--config", "-c", help="Says where the archives are.")] = Path(
        "tailrace.yaml"
    ),
    json: Annotated[bool, typer.Option("--json", help="JSON lines, as in a pipe.")] = False,
) -> None:
    """Hold the options that all of these commands have, for their signatures."""


class Asked:
    """What the options say, and the files that they mean."""

    def __init__(self, command: str, options: dict[str, Any]) -> None:
        self.command = command
        self.json: bool = options["json"]
        self.limit: int | None = options["limit"]
        self._options = options

    def wanted(self, *kinds: str) -> Wanted:
        """Which records; `kinds` is what the command is about."""
        from ..query.find import Wanted

        options, now = self._options, time.time_ns()
        error = options["has_error"]
        return Wanted(
            {field: options[name] for name, field in _EXACT.items() if options[name]},
            options["contains"],
            _moment(options["start"], now, "--from"),
            _moment(options["end"], now, "--to"),
            None if error is None else error == "yes",
            frozenset(kinds),
        )

    def index(self) -> tuple[Index, list[Indexed]]:
        """The index of the files, brought up to date."""
        from ..query.index import Index
        from ..query.records import Reader

        zone: str = self._options["timezone"]
        reader = Reader(zone, self.say)
        if problem := next((message for option, message in reader.problems() if option == "timezone"), ""):
            raise typer.BadParameter(problem, param_hint="--timezone")
        index = Index(self._paths(), reader, self._progress)
        try:
            return index, index.files()
        except FileNotFoundError as error:
            self.refuse(str(error))

    def show(self, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
        """Print them: these columns as a table on a terminal, all as JSON lines elsewhere."""
        from ..pipeline.record import encode

        if not self.json and sys.stdout.isatty():
            _table(rows, columns)
            return
        out = sys.stdout.buffer
        for row in rows:
            out.write(encode(row) + b"\n")
        out.flush()

    def say(self, message: str) -> None:
        """On standard error."""
        typer.echo(f"tailrace {self.command}: {message}", err=True)

    def refuse(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.say(message)
        raise typer.Exit(2)

    def _paths(self) -> list[Path]:
        if given := self._options["path"]:
            return list(given)
        config: Path = self._options["config"]
        if config.exists():
            if found := _archives_of(config):
                return found
            self.refuse(f"{config} has written no archive here: say with --path where the logs are")
        if not Path("logs").is_dir():
            self.refuse(f"no {config}, and no folder logs: say with --path where the logs are")
        return [Path("logs")]

    def _progress(self, left: int) -> None:
        if left % 500 == 0 and sys.stderr.isatty():
            typer.echo(f"\rtailrace {self.command}: reading {left:,} files for the index …", err=True, nl=False)


def with_filters(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes `asked: Asked` first and gets the options of `filters` behind its own."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    shared = inspect.signature(filters, eval_str=True).parameters

    @wraps(command)
    def run(**options: Any) -> None:
        asked = Asked(command.__name__, {name: options.pop(name) for name in shared})
        try:
            command(asked, **options)
        except BrokenPipeError:  # the reader (`head`) has enough; Python would complain when it closes stdout
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            asked.say(str(error))
            raise typer.Exit(1) from None

    signature = inspect.Signature([one.replace(kind=one.KEYWORD_ONLY) for one in (*own, *shared.values())])
    run.__signature__ = signature  # type: ignore[attr-defined]  # what typer makes the options from
    run.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
    del run.__wrapped__  # typer would look there
    return run


def _moment(text: str | None, now_ns: int, option: str) -> int | None:
    from .query import moment

    if text and re.fullmatch(r"\d{8}_\d{6}", text):  # as in the names of log files
        text = f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[9:11]}:{text[11:13]}:{text[13:]}Z"
    return moment(text, now_ns, option)


def _archives_of(config: Path) -> list[Path]:
    """The folders in which the archives of a config are."""
    from ..config.load import load
    from ..config.problem import EXIT_CODE, ConfigError
    from ..pipeline.sinks.jsonl import Jsonl
    from .check import show

    try:
        loaded = load(config, secrets=False)
    except ConfigError as error:
        show(error.problems, sys.stderr)
        raise typer.Exit(EXIT_CODE) from None
    folders = sorted({sink.folder for sink in loaded.sinks.values() if isinstance(sink, Jsonl)})
    return [
        folder
        for folder in folders
        if folder.is_dir() and not any(other in folder.parents for other in folders if other != folder)
    ]


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    from ._found import printable

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(printable(_cell(row.get(column))) for column in columns))
    Console().print(table, markup=False)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", value):
            return f"{value[:10]} {value[11:23]}"
        return value.partition("\n")[0]
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else f"{value:,}" if type(value) is int else str(value)
