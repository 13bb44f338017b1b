"""`tailrace test`: the tests that stand in a config."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config.problem import EXIT_CODE

if TYPE_CHECKING:  # loading all of this takes longer than `tailrace --help` should
    from ..testing.verdict import Verdict

_NONE = """\
no tests in {}: write one, such as

tests:
  - name: passwords do not leave
    in: 'login with password=hunter2'
    out: {{ {}: [ {{ lacks: hunter2 }} ] }}
"""


def run_tests(
    config: Annotated[Path, typer.Argument(help="The config file.")] = Path("tailrace.yaml"),
    only: Annotated[str, typer.Option("--only", help="Run the tests with this text in their names.")] = "",
    junit: Annotated[Path | None, typer.Option("--junit", help="Write the results to this file as JUnit XML.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Results as JSON on standard output.")] = False,
) -> None:
    """Run the tests of a config: raw lines in, what each sink gets out; nothing is sent, the clock stands still.

    Exits with 0 when all pass, 1 when one fails or there is none, 78 when the config is wrong.

    Example: tailrace test tailrace.yaml --junit results.xml
    """
    import msgspec

    from ..config.load import check
    from ..testing.verdict import run
    from .check import show

    loaded, problems = check(config, secrets=False)
    show(problems, sys.stderr)
    if loaded is None:
        raise typer.Exit(EXIT_CODE)
    chosen = [place for place, case in enumerate(loaded.tests) if only in case.name]
    verdicts = [run(loaded, place) for place in chosen]
    if junit is not None:
        try:
            junit.write_bytes(_junit(str(config), verdicts))
        except OSError as error:
            typer.echo(f"cannot write {junit}: {error.strerror}", err=True)
            raise typer.Exit(1) from None
    if json:
        tests = [{"passed": verdict.passed} | msgspec.to_builtins(verdict) for verdict in verdicts]
        typer.echo(msgspec.json.encode({"ok": _all_passed(verdicts), "tests": tests}).decode())
    elif verdicts:
        _tell(verdicts)
    if not loaded.tests:
        typer.echo(_NONE.format(config, next(iter(loaded.sinks))), err=True, nl=False)
    elif not verdicts:
        typer.echo(f"no test in {config} has {only!r} in its name", err=True)
    if not _all_passed(verdicts):
        raise typer.Exit(1)


def _all_passed(verdicts: Sequence[Verdict]) -> bool:
    return bool(verdicts) and all(verdict.passed for verdict in verdicts)


def _tell(verdicts: Sequence[Verdict]) -> None:
    from rich.console import Console
    from rich.text import Text

    from ..testing.verdict import visible

    console = Console(highlight=False, emoji=False, markup=False, soft_wrap=True)
    for verdict in verdicts:
        mark = Text("✓", "green") if verdict.passed else Text("✗", "bold red")
        place = Text("" if verdict.passed else f"  {verdict.file}:{verdict.line}", "dim")
        console.print(Text.assemble(mark, " ", visible(verdict.name), place))
        for difference in verdict.differences:
            console.print(Text.assemble(*difference.pieces()), end="")
    failed = sum(not verdict.passed for verdict in verdicts)
    told = f"{len(verdicts) - failed} passed" + (f", {failed} failed" if failed else "")
    console.print(Text(f"{told} in {sum(verdict.seconds for verdict in verdicts):.2f} s", "red" if failed else "green"))


def _junit(config: str, verdicts: Sequence[Verdict]) -> bytes:
    """The results as CI servers read them."""
    from xml.etree import ElementTree

    failed = sum(not verdict.passed for verdict in verdicts)
    seconds = f"{sum(verdict.seconds for verdict in verdicts):.6f}"
    suites = ElementTree.Element("testsuites")
    numbers = {"tests": str(len(verdicts)), "failures": str(failed), "errors": "0", "skipped": "0", "time": seconds}
    suite = ElementTree.SubElement(suites, "testsuite", {"name": config} | numbers)
    for verdict in verdicts:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {
                "classname": config,
                "name": _xml(verdict.name),
                "file": verdict.file,
                "line": str(verdict.line),
                "time": f"{verdict.seconds:.6f}",
            },
        )
        if not verdict.passed:
            many = len(verdict.differences)
            message = "1 difference" if many == 1 else f"{many} differences"
            ElementTree.SubElement(case, "failure", message=message).text = _xml(
                "".join(one.plain() for one in verdict.differences)
            )
    ElementTree.indent(suites)
    return bytes(ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def _xml(text: str) -> str:
    """Without the characters that XML cannot hold."""
    # Compiling it takes 4 ms, which no other command is to wait for.
    return re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
