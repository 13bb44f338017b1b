"""The pytest plugin: fixtures for your tests of a config, and the `tests:` of configs as tests of pytest's.

pytest imports this in every project that has tailrace installed, so nothing else is imported before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..config.load import Config
    from ..pipeline.batch import Batch
    from . import Shipped
    from .verdict import Verdict

PATTERNS = ["tailrace*.yaml", "*.tailrace.yaml"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which files are looked into for tests."""
    told = "Names of files whose `tests:` are run as tests."
    parser.addini("tailrace_files", told, type="args", default=PATTERNS)


@pytest.fixture
def ship() -> Callable[..., Shipped]:
    """What becomes of lines: `ship("tailrace.yaml", [LINE, …]).lines(SINK)`; see `tailrace.testing.ship`."""
    from .rehearsal import ship

    return ship


@pytest.fixture
def run_stage() -> Callable[..., Batch]:
    """One stage on lines (bytes) or parsed records (maps): `run_stage(MyStage(), {"user": "ada"}).records`."""
    from .memory import batch_of
    from .memory import run_stage as run

    def run_one(stage: Any, *lines: bytes | dict[str, Any] | Batch) -> Batch:
        from ..pipeline.batch import Batch

        first = lines[0] if lines else None
        return run(stage, first if isinstance(first, Batch) else batch_of(*lines))  # type: ignore[arg-type]  # no Batch

    return run_one


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A config that has tests."""
    if file_path.suffix not in (".yaml", ".yml"):
        return None
    patterns: list[str] = parent.config.getini("tailrace_files")
    named = parent.session.isinitpath(file_path) or any(file_path.match(pattern) for pattern in patterns)
    if not named or not _has_tests(file_path):
        return None
    return TestedConfig.from_parent(parent, path=file_path)


def _has_tests(path: Path) -> bool:
    with path.open("rb") as lines:
        return any(line.startswith(b"tests:") for line in lines)


class TestedConfig(pytest.File):
    """A config file. Relative paths in it are meant from where pytest was started, as with `tailrace run`."""

    __test__ = False

    def collect(self) -> Iterator[pytest.Item]:
        """One item for each test."""
        from ..config.load import load
        from ..config.problem import ConfigError

        try:
            config = load(self.path, secrets=False)
        except ConfigError as error:
            raise self.CollectError(str(error)) from None
        for place, case in enumerate(config.tests):
            yield TestedCase.from_parent(self, name=case.name, tested=config, place=place)


class TestedCase(pytest.Item):
    """One test of a config."""

    __test__ = False

    def __init__(self, *, tested: Config, place: int, **given: Any) -> None:
        super().__init__(**given)
        self.tested = tested
        self.place = place

    def runtest(self) -> None:
        """Raise Differs unless it holds."""
        from .verdict import run

        verdict = run(self.tested, self.place)
        if not verdict.passed:
            raise Differs(verdict)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: Any) -> Any:
        """The differences, or the traceback of anything else."""
        if isinstance(excinfo.value, Differs):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it stands."""
        return self.path, self.tested.line_of(f"tests[{self.place}]") - 1, self.name


class Differs(Exception):
    """What came is not what the test expects."""

    def __init__(self, verdict: Verdict) -> None:
        differences = "".join(difference.plain() for difference in verdict.differences)
        super().__init__(f"{verdict.file}:{verdict.line}: {verdict.name}\n{differences}")
