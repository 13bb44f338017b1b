"""One retry of the dead letter, from the config to the exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import typer

from ..config.data_flow import wanted
from ..config.load import check
from ..config.problem import EXIT_CODE, errors
from ..pipeline.checkpoint import StateError
from ..pipeline.component import ProbeError
from ..pipeline.dead_letter import Letter
from ..pipeline.division import is_divided
from ..pipeline.log import log
from ..pipeline.retry import Outcome, Retry
from ._ship import dead_letter_of
from .check import show


def retry(path: Path, goes: Callable[[Letter], bool], *, json: bool) -> int:
    """Check the config and deliver. Returns the exit code; problems are told on stderr."""
    config, problems = check(path)
    show(errors(problems), sys.stderr)
    if config is None:
        return EXIT_CODE
    dead_letter = dead_letter_of(config)
    try:
        if is_divided(config.state):
            from ._shared import gather  # as in a run

            gather(config)
        outcome = asyncio.run(
            Retry(
                config.sources,
                config.stages,
                config.sinks,
                wanted=wanted(config.stages, config.sinks.values()),
                state=config.state,
                dead_letter=dead_letter,
                goes=goes,
            ).run()
        )
    except StateError as error:
        show([config.problem("state", str(error))], sys.stderr)
        return EXIT_CODE
    except ProbeError as error:
        log.error("cannot start", reason=error)
        return EXIT_CODE
    except KeyboardInterrupt:
        typer.echo("stopped; what was not delivered stays in the dead letter", err=True)
        return 1
    except OSError as error:
        log.error("cannot go on", error=error)
        return 1
    except ExceptionGroup as group:
        for cause in group.exceptions:
            log.error("stopped by an error", error=f"{type(cause).__name__}: {cause}")
        return 1
    if json:
        typer.echo(msgspec.json.encode(outcome).decode())
    else:
        _tell(outcome)
    return 1 if outcome.stay else 0


def _tell(outcome: Outcome) -> None:
    typer.echo(f"{outcome.tried} letters: {outcome.delivered} delivered, {outcome.stay} stay", err=True)
    for why, count in outcome.why.items():
        typer.echo(f"  {count}: {why}", err=True)
    if outcome.failed:
        typer.echo(f"  given up: {outcome.failed}", err=True)
