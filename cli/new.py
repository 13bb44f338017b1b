"""`tailrace new`: the files that a component of your own begins with."""

from __future__ import annotations

import re
import sys
from difflib import get_close_matches
from keyword import iskeyword
from pathlib import Path
from typing import Annotated

import typer

new = typer.Typer(
    name="new",
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Begin a component of your own: a file and its test.",
)

_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z][a-z0-9]*)*")
_TAKEN = frozenset({"batch", "iterable", "parse", "stage", "tailrace"})
"""Names that the files themselves use."""

_STAGE = '''\
"""Stage `{word}`: what it is for, in a sentence."""

from __future__ import annotations

from collections.abc import Iterable

from tailrace.pipeline.batch import Batch
from tailrace.pipeline.component import Stage


class {cls}(Stage):
    """Put the field in capitals beside each record that has it."""

    field: str = "message"
    """The field that it looks at."""
    to: str = "{word}"
    """The field that it writes."""

    def check(self) -> Iterable[tuple[str, str]]:
        """Say which options make no sense, and what would do."""
        if self.field == self.to:
            yield "to", "the field itself would be lost: write another name"

    def reads(self) -> Iterable[str]:
        """The fields that it looks at: no other is sure to be there."""
        return (self.field,)

    def writes(self) -> Iterable[str]:
        """The fields that it adds."""
        return (self.to,)

    def process(self, batch: Batch) -> Batch:
        """Change the records; `batch.with_records(…)` leaves some out."""
        for record, value in zip(batch.records, batch.values(self.field), strict=True):
            if isinstance(value, str):
                record.set(self.to, value.upper())
        return batch
'''

_TEST = '''\
"""Stage `{word}` does what it says."""

from __future__ import annotations

from tailrace.testing import batch_of, run_stage

from {word} import {cls}


def test_the_field_is_put_beside_it_in_capitals() -> None:
    batch = batch_of({{"user": "ada"}}, {{"message": "no user here"}})
    out = run_stage({cls}(field="user"), batch)
    assert [one.fields.get("{word}") for one in out.records] == ["ADA", None]


def test_a_line_that_nobody_parsed_is_its_own_message() -> None:
    (record,) = run_stage({cls}(), batch_of(b"hello")).records
    assert record.line == b"hello"
    assert record.fields["{word}"] == "HELLO"


def test_options_that_make_no_sense_are_refused() -> None:
    (problem,) = {cls}(field="a", to="a").check()
    assert problem[0] == "to"
    assert list({cls}().check()) == []
'''


@new.callback()
def _group() -> None:
    """Begin a component of your own: a file and its test."""


@new.command()
def stage(
    name: Annotated[str, typer.Argument(help="Its `use:` word, such as mask_user.")],
    folder: Annotated[Path, typer.Option("--folder", help="Where the two files go.")] = Path(),
) -> None:
    """Write a stage of your own and its test: both work at once, change them to what you need.

    Example: tailrace new stage mask_user
    """
    if wrong := _wrong(name):
        raise typer.BadParameter(wrong, param_hint="NAME")
    cls = "".join(part.capitalize() for part in name.split("_"))
    files = {folder / f"{name}.py": _STAGE, folder / f"test_{name}.py": _TEST}
    for path in files:
        if path.exists():
            typer.echo(f"{path} is there already: nothing was written", err=True)
            raise typer.Exit(1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            with path.open("x") as file:
                file.write(text.format(word=name, cls=cls))
    except OSError as error:
        typer.echo(f"cannot write into {folder}: {error.strerror}", err=True)
        raise typer.Exit(1) from None
    code, test = files
    typer.echo(
        f"wrote {code} and {test}\n"
        f"  test it:  python -m pytest {test}\n"
        f"  use it:   stage_files: [{code}]\n"
        f"            stages: [ …, {{ use: {name} }} ]"
    )


def _wrong(name: str) -> str:
    """Why this cannot be a stage's name; empty when it can."""
    from ..pipeline import discover

    words = discover.words("stage")
    if name in words:
        return f"there is a stage {name!r} already: choose another name"
    if not _NAME.fullmatch(name):
        like = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", name).lower().strip("_")
        hint = f", such as {like}" if _NAME.fullmatch(like) else ""
        return f"{name!r} is not a name: write lower-case words joined by _, none beginning with a digit{hint}"
    if iskeyword(name) or name in sys.stdlib_module_names or name in _TAKEN:
        return f"{name!r} means something in Python already: choose another name, such as {name}_field"
    if near := get_close_matches(name, words, n=1, cutoff=0.9):
        return f"{name!r} would be taken for the stage {near[0]!r}: choose another name"
    return ""
