"""`tailrace torture`: does it lose or repeat a line on this machine?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # loading all of this takes longer than `tailrace --help` should
    from ..torture.trial import Outcome, Target


def torture(
    loki: Annotated[str, typer.Option(help="Ship to this Loki too, such as http://localhost:3100.")] = "",
    tenant: Annotated[str, typer.Option(help="Sent to it as X-Scope-OrgID.")] = "",
    seed: Annotated[int | None, typer.Option(help="Of the first trial; the next has the next number.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="How many trials.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="How long each of them writes.")] = 8.0,
    json: Annotated[bool, typer.Option("--json", help="Every trial as a JSON line on standard output.")] = False,
) -> None:
    """Write logs, rotate them, kill tailrace, spoil its network, and count: was a line lost, did one come twice?

    Works in a temporary folder, which is kept where something went wrong. Without --loki only the archive is
    tortured. A Loki gets some MB with labels of their own, `app="tailrace-torture"`, and is not stopped.

    Exit code 1 if anything was lost or repeated.

    Example: tailrace torture --runs 3 --seed 7
    """
    if not loki:
        typer.echo("no --loki: only the archive is tortured, without a network to spoil", err=True)

    def server() -> AbstractContextManager[Target | None]:
        from ..torture.trial import Target

        return nullcontext(Target(loki.rstrip("/"), tenant) if loki else None)

    raise typer.Exit(trials(server, seed, runs, seconds, json=json))


def trials(
    server: Callable[[], AbstractContextManager[Target | None]],
    seed: int | None,
    runs: int,
    seconds: float,
    *,
    json: bool,
) -> int:
    """Run them one after the other, each with a server of its own, and print the matrix. Returns the exit code."""
    import asyncio
    import random
    import shutil
    import tempfile
    from pathlib import Path

    import msgspec

    from ..torture.matrix import matrix
    from ..torture.trial import trial

    first = random.randrange(100_000) if seed is None else seed
    outcomes = []
    for number in range(first, first + runs):
        folder = Path(tempfile.mkdtemp(prefix=f"tailrace-torture-{number}-"))
        with server() as loki:
            outcome = asyncio.run(trial(number, seconds, folder, loki))
        outcomes.append(outcome)
        typer.echo(_line(outcome), err=True)
        if json:
            typer.echo(msgspec.json.encode(outcome).decode())
            sys.stdout.flush()
        if outcome.exact:
            shutil.rmtree(folder)
        else:
            typer.echo(f"  {'; '.join(outcome.problems)}\n  kept: {folder}", err=True)
    typer.echo("\n" + matrix(outcomes), err=json)
    return 0 if all(outcome.exact for outcome in outcomes) else 1


def _line(one: Outcome) -> str:
    loki = f"Loki {one.loki_lost} lost {one.loki_twice} twice, " if one.counted_too_many is not None else ""
    metric = f", count_over_time {one.counted_too_many:+}" if one.counted_too_many is not None else ""
    return (
        f"seed {one.plan.seed}: {'exact' if one.exact else 'NOT EXACT'}: {one.lines} lines, {one.bytes / 1e6:.0f} MB: "
        f"{loki}archive {one.archive_lost} lost {one.archive_twice} twice{metric}, "
        f"books {one.residual} ({one.seconds} s; {one.plan})"
    )
