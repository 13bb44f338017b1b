"""The documentation is true: configs pass the check, commands give what is shown, links lead somewhere."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tailrace.cli.app import COMMANDS, app
from tailrace.cli.check import show
from tailrace.config.load import check
from tailrace.config.reference import reference
from tailrace.config.schema import schema
from tailrace.pipeline import discover

from ._pages import PAGES, ROOT, Block, anchors, blocks, links, spans

BLOCKS = [block for page in PAGES for block in blocks(page)]
CONFIGS = [block for block in BLOCKS if block.kind == "yaml" and not block.body.startswith("# prometheus.yml\n")]
RUN = sorted({block.page for block in BLOCKS if block.kind == "console"})
SOURCES = "sources: { app: { use: file, include: [app.log] } }\n"
STAGES = "stages: [ { use: parse } ]\n"
SINKS = "sinks: { out: { use: stdout } }\n"
GROUPS = {"dlq", "new"}
"""Commands that have commands of their own."""
PROBLEM = re.compile(r"\S+\.yaml:\d+:\d+: (?:error|warning): ")


def of(items: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", items, ids=lambda block: block.place)


def of_pages(pages: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.relative_to(ROOT).as_posix())


def told_below(block: Block) -> str:
    """The problems that the page shows right below a config that is wrong on purpose; empty for a good config."""
    following = BLOCKS[BLOCKS.index(block) + 1 :][:1]
    shown = following[0].body if following and following[0].page == block.page else ""
    return shown if PROBLEM.match(shown) else ""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with every secret set that a page reads from the environment."""
    monkeypatch.chdir(tmp_path)
    for block in BLOCKS:
        for name in re.findall(r"env: (\w+)", block.body):
            monkeypatch.setenv(name, "sesame")
    return tmp_path


def save(page: Path, folder: Path) -> None:
    for block in blocks(page):
        if block.saved_as.endswith(".py"):
            (folder / block.saved_as).write_text(block.body)


@of(CONFIGS)
def test_a_config_passes_the_check_or_fails_as_shown(block: Block, folder: Path) -> None:
    save(block.page, folder)
    path = Path("tailrace.yaml")
    path.write_text(whole(block.body))
    told = io.StringIO()
    show(check(path)[1], told)
    assert told.getvalue() == told_below(block)


def whole(config: str) -> str:
    """A part of a config with what it needs to be one."""
    top = set(re.findall(r"^(\w+):", config, re.MULTILINE))
    if "sources" not in top:
        config += SOURCES + ("" if "stages" in top else STAGES)
    return config + ("" if "sinks" in top else SINKS)


@of_pages(RUN)
def test_the_commands_of_a_page_give_what_it_shows(page: Path, folder: Path) -> None:
    """Each `console` block is run after the files above it were saved; `…` in what is shown stands for any text."""
    for block in blocks(page):
        if block.saved_as:
            (folder / block.saved_as).write_text(block.body)
        elif block.kind == "console":
            commands, shown = dialogue(block)
            assert commands, f"{block.place}: a console block has lines that begin with `$ `"
            for told, expected in zip(run(commands, folder), shown, strict=True):
                assert as_pattern(expected).fullmatch(told), f"{block.place}\n--- shown\n{expected}\n--- told\n{told}"


def dialogue(block: Block) -> tuple[list[str], list[str]]:
    """The commands of a console block, and what each is shown to answer."""
    parts = re.split(r"^\$ (.+)\n", block.body, flags=re.MULTILINE)
    assert parts[0] == "", f"{block.place}: begins with no command"
    return parts[1::2], parts[2::2]


def run(commands: list[str], folder: Path) -> list[str]:
    """What each command says, on both channels, without the operational log."""
    lines = [
        f'tailrace() {{ "{sys.executable}" -m tailrace.cli "$@"; }}',
        f'python3() {{ "{sys.executable}" "$@"; }}',
        *(f"{command}\nprintf '\\036'" for command in commands),
    ]
    pytest_alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "tailrace.testing.plugin"}
    answer = subprocess.run(
        ["bash", "-eu", "-c", "\n".join(lines)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "200"} | pytest_alone,
    )
    assert answer.returncode == 0, answer.stdout
    return [re.sub(r"^ts=.*\n", "", told, flags=re.MULTILINE) for told in answer.stdout.split("\x1e")[:-1]]


def as_pattern(shown: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in shown.split("…")))


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.saved_as.startswith("test_")], ids=lambda b: b.place)
def test_a_test_that_is_shown_passes(block: Block, folder: Path) -> None:
    for other in blocks(block.page):
        if other.saved_as:
            (folder / other.saved_as).write_text(other.body)
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tailrace.testing.plugin", block.saved_as],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert answer.returncode == 0, answer.stdout


def test_the_reference_is_fresh() -> None:
    assert (ROOT / "docs/reference/components.md").read_text() == reference(), "run `make docs`"


def test_the_json_schema_is_fresh() -> None:
    assert json.loads((ROOT / "docs/reference/schema.json").read_text()) == schema(), "run `make docs`"


@of_pages(PAGES)
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        target, _, anchor = link.partition("#")
        if "://" in link:
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(link)
    assert broken == []


@of_pages(PAGES)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    """Code spans such as `pipeline/record.py` or `tests/live/`."""
    tops = "|".join(sorted(path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] not in "._"))
    named = [span for span in spans(page) if re.fullmatch(rf"(?:{tops})/[\w./-]*", span)]
    assert [span for span in named if not (ROOT / span).exists()] == []


def shown_commands(page: Path) -> list[str]:
    """Every `tailrace …` and `make …` of a page, in code spans and in blocks that show a shell."""
    lines = [line for block in blocks(page) if block.kind in ("sh", "console") for line in block.body.splitlines()]
    called = [re.sub(r"^.*?(?:^|\$ |\| )(?=(?:tailrace|make) )", "", line) for line in lines]
    return [text for text in [*spans(page), *called] if re.match(r"(?:tailrace|make) [a-z-]", text)]


@of_pages(PAGES)
def test_every_command_that_is_shown_exists(page: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command in shown_commands(page):
        program, word, *rest = command.partition("#")[0].split()
        if program == "make":
            assert word in targets, command
        elif word != "--version":
            words = [word, *rest[:1]] if word in GROUPS else [word]
            help_page = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
            assert help_page.exit_code == 0, command
            for option in [part for part in rest if re.fullmatch(r"--[a-z-]+", part)]:
                assert option in help_page.output, command


def test_the_readme_names_every_component_and_command() -> None:
    named = " ".join(spans(ROOT / "README.md"))
    words = [word for kind in discover.PLACES for word in discover.words(kind)]
    words += [f"tailrace {command}" for command in COMMANDS]
    assert [word for word in words if not re.search(rf"(?<!\w){word}(?!\w)", named)] == []


@of_pages([page for page in PAGES if page.name != "components.md"])
def test_every_metric_that_is_named_exists(page: Path) -> None:
    code = "".join(path.read_text() for top in ("pipeline", "stages") for path in (ROOT / top).rglob("*.py"))
    named = {name for span in spans(page) for name in re.findall(r"\btailrace_\w+", span)}
    bare = {name: re.sub(r"_(?:total|info|bucket|count|sum)$", "", name) for name in named}
    assert [name for name, family in sorted(bare.items()) if f'"{family}"' not in code] == []
