"""`tailrace replay`: old logs into Loki, or into a new archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def replay(
    config: Annotated[Path, typer.Argument(help="The config file: its stages, and one of its sinks.")],
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            help="A source of the config, NAME=PATH, files (compressed too), archives, or KAFKA=TOPIC/0:FIRST-END.",
        ),
    ] = None,
    sink: Annotated[str, typer.Option("--sink", help="A loki or jsonl sink of the config.")] = "",
    start: Annotated[str | None, typer.Option("--from", help="Not before this time: 2026-11-01T08:00Z.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Before this time: 2026-12-01.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be; exit code 3: not all taken.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do all of it but send nothing.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Afterwards count what Loki has, and say what is missing.")
    ] = False,
    partial: Annotated[bool, typer.Option("--partial", help="Go on although Loki will refuse or delete some.")] = False,
    label: Annotated[
        str, typer.Option(help="The label that gives the replay streams of its own; '' for the streams of live logs.")
    ] = "replay",
    name: Annotated[str, typer.Option(help="Its value; by default made from what is replayed.")] = "",
    into: Annotated[str, typer.Option(help="For a jsonl sink: the new archive, such as clean/{date}.jsonl.zst.")] = "",
    rate: Annotated[
        str, typer.Option(help="Bytes a second at most, such as 2MB; by default half of the tenant's.")
    ] = "",
    metrics: Annotated[
        Path | None, typer.Option(help="Write the derived metrics there, with the records' times (OpenMetrics).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The plan, or the receipt, as JSON on standard output.")] = False,
) -> None:
    """Send old logs through the stages to one sink: planned, oldest first, resumed where it was killed, none twice.

    Files are read once and sorted by time; then Loki is asked for its limits, and what it would refuse is told before
    anything is sent. Started again after whatever end, it goes on where it was. Exit codes: 1 not all is there, 3 Loki
    would not keep all of it.

    Example: tailrace replay tailrace.yaml --source '/var/log/old/*.gz' --to 2026-11-01 --plan
    """
    import logging
    import sys

    from ..config.problem import EXIT_CODE
    from ..pipeline.log import to_stderr
    from ._replay_progress import Progress
    from ._replayed import Asked, go

    to_stderr(logging.WARNING if sys.stderr.isatty() else logging.INFO)
    asked = Asked(
        config, source or [], sink, start, end, plan, dry_run, verify, partial, label, name, into, rate, metrics, json
    )
    code = go(asked, Progress())
    assert code in (0, 1, 2, 3, EXIT_CODE)
    raise typer.Exit(code)
