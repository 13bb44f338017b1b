"""The arrows of docs/architecture.md, read from the source: who may import whom, and what a file is called."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailrace.pipeline import discover

ROOT = Path(__file__).parent.parent
PRODUCT = ("cli", "config", "convert", "pipeline", "query", "replay", "stages", "testing", "torture")

MAY_IMPORT = {
    "pipeline": {"pipeline"},
    "pipeline/sources": {"pipeline"},
    "pipeline/sinks": {"pipeline"},
    "stages": {"pipeline", "stages/_tracebacks"},
    "stages/_tracebacks": {"stages/_tracebacks"},
    "config": {"pipeline", "pipeline/sources", "pipeline/sinks", "stages", "config"},
    "convert": {"pipeline", "pipeline/sources", "pipeline/sinks", "config", "convert"},
    "testing": {"pipeline", "config", "testing"},
    "query": {"pipeline", "stages", "config", "query"},
    "query/mcp": {"pipeline", "stages", "config", "query", "query/mcp", ""},
    "replay": {"pipeline", "pipeline/sources", "pipeline/sinks", "stages", "config", "query", "replay"},
    "torture": {"torture"},
    "cli": {
        "pipeline",
        "pipeline/sources",
        "pipeline/sinks",
        "stages",
        "config",
        "convert",
        "query",
        "query/mcp",
        "replay",
        "testing",
        "torture",
        "cli",
        "",
    },
}
"""For each folder the folders whose modules it may import; private side modules of its own are always allowed."""

CONTRACTS = {
    "record": set[str](),
    "ack": set[str](),
    "options": set[str](),
    "columns": {"record"},
    "batch": {"record", "columns", "ack"},
    "component": {"record", "batch", "ack", "match", "options"},
}
"""The modules that everything stands on, and which of the engine they may import."""

NO_TWIN = {
    "__init__.py": "holds the package's sentence, or is tested through what it offers",
    "__main__.py": "only calls main",
}
"""Files that need no test of their own, each with the reason. Private side modules are tested with their owner."""

NEVER_IN_STAGES = {
    "aiohttp": "a stage does no I/O",
    "asyncio": "the chain is synchronous",
    "http": "a stage does no I/O",
    "random": "a repeat after a crash must be identical",
    "socket": "a stage does no I/O",
    "subprocess": "a stage does no I/O",
    "threading": "the chain runs in one thread",
    "urllib.request": "a stage does no I/O",
    "uuid": "a repeat after a crash must be identical",
}
CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
ORPHANS = {
    "asyncio.create_task",
    "asyncio.ensure_future",
    "loop.create_task",
    "asyncio.get_running_loop().create_task",
    "asyncio.get_event_loop().create_task",
}

AWAITED = {
    "pipeline/sources/_watch.py": "lives in an async generator, where no TaskGroup can; awaited when the watch ends",
}
"""Files that may start a task themselves, each with the reason."""

FILES = sorted(path.relative_to(ROOT) for top in PRODUCT for path in (ROOT / top).rglob("*.py"))
MODULES = {path.with_suffix("").as_posix().removesuffix("/__init__"): path for path in FILES}


def imports(source: str, path: Path) -> Iterator[str]:
    """What a file imports: the product's modules as `stages/parse`, others as `urllib.request`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (_inside(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                start = path.parents[node.level - 1].as_posix()
                module = "/".join(part for part in (start, *(node.module or "").split(".")) if part not in ("", "."))
            else:
                module = _inside(node.module or "")
            for alias in node.names:  # `from . import ack` names a module, `from .ack import Ack` does not
                inner = f"{module}/{alias.name}".lstrip("/")
                outer = f"{module}.{alias.name}"
                yield inner if inner in MODULES else outer if outer in NEVER_IN_STAGES else module


def _inside(name: str) -> str:
    if name == "tailrace" or name.startswith("tailrace."):
        return name.removeprefix("tailrace").lstrip(".").replace(".", "/")
    return name


def folder_of(module: str) -> str:
    return MODULES[module].parent.as_posix()


def calls(path: Path) -> list[str]:
    """What is named anywhere in the file with a dot: `asyncio.run`, `time.time_ns`, also `from asyncio import run`."""
    found = []
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Attribute):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def of_folder(*folders: str) -> list[Path]:
    return [path for path in FILES if path.parent.as_posix() in folders]


def of(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=str)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import aiohttp", ["aiohttp"]),
        ("from urllib import request", ["urllib.request"]),
        ("from urllib.parse import quote", ["urllib.parse"]),
        ("from ..pipeline.record import Record", ["pipeline/record"]),
        ("from ..pipeline import record", ["pipeline/record"]),
        ("from tailrace.pipeline.record import Record", ["pipeline/record"]),
        ("from . import _side", ["stages"]),
        ("from .. import __version__", [""]),
        ("def f():\n    from ..pipeline import ack, batch", ["pipeline/ack", "pipeline/batch"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_imports_are_read_as_written(source: str, found: list[str]) -> None:
    assert list(imports(source, Path("stages/parse.py"))) == found


@of(FILES)
def test_a_file_imports_only_what_its_folder_may(path: Path) -> None:
    own, allowed = path.parent.as_posix(), MAY_IMPORT[path.parent.as_posix()]
    wrong = []
    for module in imports((ROOT / path).read_text(), path):
        if module == "":
            if "" not in allowed:
                wrong.append("tailrace itself")
        elif module in MODULES:
            private = folder_of(module) == own and Path(module).name.startswith("_")
            if folder_of(module) not in allowed and not private and module != own:
                wrong.append(module)
        elif module.split("/")[0].split(".")[0] in {"tests", "benchmarks", "examples"}:
            wrong.append(module)
    assert wrong == []


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_contract_stands_on_nothing_above_it(name: str) -> None:
    path = Path("pipeline", f"{name}.py")
    engine = {m.removeprefix("pipeline/") for m in imports((ROOT / path).read_text(), path) if m in MODULES}
    assert engine <= CONTRACTS[name]


@of(of_folder("stages", "stages/_tracebacks"))
def test_a_stage_does_no_io_and_repeats_itself_exactly(path: Path) -> None:
    heads = {m if m in NEVER_IN_STAGES else m.split(".")[0] for m in imports((ROOT / path).read_text(), path)}
    assert {name: NEVER_IN_STAGES[name] for name in heads & NEVER_IN_STAGES.keys()} == {}
    assert [name for name in calls(path) if name in CLOCKS or name.removeprefix("datetime.") in CLOCKS] == []


def test_what_ships_loads_no_aiohttp() -> None:
    """It takes as long as the rest of a start, see docs/decisions/0003-dependencies.md."""
    loading = {path.parts[0] for path in FILES if "aiohttp" in imports((ROOT / path).read_text(), path)}
    assert loading == {"torture"}


@of(FILES)
def test_no_task_is_left_alone(path: Path) -> None:
    found = [name for name in calls(path) if name in ORPHANS]
    assert bool(found) == (path.as_posix() in AWAITED), "use asyncio.TaskGroup"


@of([path for path in FILES if path.name not in NO_TWIN and not path.name.startswith("_")])
def test_a_file_has_its_twin_test(path: Path) -> None:
    assert Path("tests", path.parent, f"test_{path.name}") in {
        found.relative_to(ROOT) for found in (ROOT / "tests" / path.parent).glob("test_*.py")
    }


@of([path for path in FILES if path.name.startswith("_") and path.name not in NO_TWIN])
def test_a_private_side_module_has_an_owner_in_its_folder(path: Path) -> None:
    module = path.with_suffix("").as_posix()
    siblings = [other for other in of_folder(path.parent.as_posix()) if other != path]
    assert [other for other in siblings if module in imports((ROOT / other).read_text(), other)]


@pytest.mark.parametrize(("kind", "word"), [(kind, word) for kind in discover.PLACES for word in discover.words(kind)])
def test_a_component_is_the_class_its_file_is_named_for(kind: str, word: str) -> None:
    assert discover.component(kind, word).word() == word
