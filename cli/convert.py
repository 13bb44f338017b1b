"""`tailrace convert`: the config of another log shipper as tailrace's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # loading all of this takes longer than `tailrace --help` should
    from ..convert.positions import TakenOver
    from ..convert.promtail import Converted, Made


def convert(
    config: Annotated[Path, typer.Argument(help="Promtail's config file.", metavar="PROMTAIL.yml")],
    positions: Annotated[
        Path | None, typer.Option("--positions", help="Promtail's positions file: go on where it stopped.")
    ] = None,
    state: Annotated[str, typer.Option("--state", help="The state folder of the new config.")] = "state",
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the new config here and not to standard output.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="All of it as JSON on standard output.")] = False,
) -> None:
    """Make a config of Promtail's one of tailrace's, and say what has no equal, what differs and what never worked.

    Variables of the environment are filled in; secrets are not copied but referred to. Where jobs need stages that do
    not go together, each gets a config of its own. Exit code 0: all of it has an equal; 1: something has none; 78: the
    file cannot be read. Stop Promtail before its positions are taken over.

    Example: tailrace convert promtail.yml --positions positions.yaml --out tailrace.yaml
    """
    import msgspec

    from ..config.problem import EXIT_CODE, ConfigError
    from ..convert import positions as taking
    from ..convert.promtail import convert as converted
    from ..pipeline.checkpoint import StateError
    from .check import show

    try:
        made = converted(config, os.environ, state)
        files = [_file(out, one) for one in made.configs]
        for file in files:
            if file is not None and file.exists():
                raise typer.BadParameter(f"{file} is there already", param_hint="--out")
        offsets = taking.read(positions) if positions else {}
        for file, one in zip(files, made.configs, strict=True):
            if file is not None:
                file.write_text(one.text)
        taken = _taken_over(offsets, made) if positions else []
    except ConfigError as error:
        import sys

        show(error.problems, sys.stderr)
        raise typer.Exit(EXIT_CODE) from None
    except StateError as error:
        raise typer.BadParameter(str(error), param_hint="--state") from None
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}", param_hint="--out") from None
    if json:
        told = {
            "complete": made.complete,
            "configs": [
                {"file": str(file) if file else "", "state": one.state, "text": one.text}
                for file, one in zip(files, made.configs, strict=True)
            ],
            "findings": made.findings,
            "positions": taken,
        }
        typer.echo(msgspec.json.encode(told).decode())
    else:
        if out is None:
            typer.echo("---\n".join(one.text for one in made.configs), nl=False)
        _tell(made, files, taken)
    if not made.complete:
        raise typer.Exit(1)


def _file(out: Path | None, made: Made) -> Path | None:
    """Where to write it: `tailrace-JOB.yaml` if there are several."""
    if out is None or not made.name:
        return out
    return out.with_name(f"{out.stem}-{made.name}{out.suffix}")


def _taken_over(offsets: dict[str, str], made: Converted) -> list[TakenOver]:
    """Each config goes on with what it reads; what none reads is told once."""
    import tempfile

    from ..config.load import load
    from ..convert.positions import take_over

    told: dict[str, TakenOver] = {}
    for one in made.configs:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "tailrace.yaml")
            file.write_text(one.text)
            loaded = load(file, secrets=False)
        for entry in take_over(offsets, loaded):
            if entry.path not in told or entry.source:
                told[entry.path] = entry
    return list(told.values())


def _tell(made: Converted, files: list[Path | None], taken: list[TakenOver]) -> None:
    for finding in made.findings:
        typer.echo(finding.render(), err=True)
    for entry in taken:
        if entry.source:
            typer.echo(f"{entry.path}: {entry.source} goes on at {entry.offset}", err=True)
        else:
            typer.echo(f"{entry.path}: not taken over: {entry.why_not}", err=True)
    kinds = [finding.kind for finding in made.findings]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("no equal", "dead", "differs"))
    written = ", ".join(str(file) for file in files if file is not None)
    typer.echo(f"{written}: {counts}" if written else counts, err=True)
