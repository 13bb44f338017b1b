"""`tailrace top`: the running pipeline at a glance, again each second."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # loading all of this takes longer than `tailrace --help` should
    from collections.abc import Callable

    from rich.console import Console

    from ..config.load import Home
    from ._watched import Watched

LEAST_SECONDS = 0.1
PIPE_COLUMNS = 120
"""How wide it is where there is no terminal."""


def top(
    config: Annotated[Path, typer.Argument(help="The config file of the run.")] = Path("tailrace.yaml"),
    interval: Annotated[str, typer.Option(metavar="DURATION", help="Between two looks, such as 500ms or 5s.")] = "1s",
    once: Annotated[bool, typer.Option("--once", help="Print what is now, and end; as without a terminal.")] = False,
) -> None:
    """Show the running pipeline: rates, lag, the time of each stage, sinks that fail, books, last errors.

    `q` or Ctrl-C ends it. The run is asked over its `exporter`; without one only positions are known.

    Example: tailrace top tailrace.yaml --interval 2s
    """
    from rich.console import Console

    from ..config.load import home
    from ..config.problem import EXIT_CODE
    from ..pipeline.checkpoint import StateError
    from ..pipeline.options import Duration
    from ._watched import Watched
    from .check import show

    try:
        seconds = max(LEAST_SECONDS, Duration.decode(interval))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--interval") from None
    found, problems = home(config)
    if found is None:
        show(problems, sys.stderr)
        raise typer.Exit(EXIT_CODE)
    terminal = sys.stdout.isatty()
    width = None if terminal else int(os.environ.get("COLUMNS", PIPE_COLUMNS))
    console = Console(width=width, markup=False, highlight=False)
    watched = Watched()
    try:
        if terminal and not once:
            _follow(found, watched, console, seconds)
        else:
            _look(found, watched, console, seconds)
    except (StateError, OSError) as error:
        typer.echo(f"tailrace top: {error}", err=True)
        raise typer.Exit(1) from None


def _look(home: Home, watched: Watched, console: Console, seconds: float) -> None:
    """Print it once; where it runs, after a second look, for a rate takes two."""
    from .status import status_of

    told = status_of(home, brief=True)
    watched.add(told)
    if told.sources:
        time.sleep(seconds)
        watched.add(status_of(home, brief=True))
    console.print(watched.shown(console.width))


def _follow(home: Home, watched: Watched, console: Console, seconds: float) -> None:
    """Show it until somebody has seen enough. The terminal is then as it was before."""
    from rich.live import Live

    from ..pipeline.checkpoint import StateError
    from .status import status_of

    with (
        suppress(KeyboardInterrupt),
        _ended_well(),
        _keys() as pressed,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        live.update(watched.shown(console.width), refresh=True)
        while True:
            problem = ""
            try:
                watched.add(status_of(home, brief=True))
            except (StateError, OSError) as error:
                problem = str(error)
            live.update(watched.shown(console.width, problem), refresh=True)
            if pressed(seconds):
                return


@contextmanager
def _ended_well() -> Iterator[None]:
    """SIGTERM and a closed terminal end it as Ctrl-C does."""
    import signal

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Gives what waits for so many seconds, and says whether `q` was pressed meanwhile."""
    import select
    import termios
    import tty

    keyboard = sys.stdin.fileno() if sys.stdin.isatty() else -1

    def pressed(seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if keyboard < 0:
                time.sleep(left)
            elif select.select([keyboard], [], [], left)[0]:
                keys = os.read(keyboard, 64)
                if not keys or keys[:1] in (b"q", b"Q"):
                    return True
        return False

    if keyboard < 0:
        yield pressed
        return
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        yield pressed
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
