from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent
NOT_SHIPPED = {"tests", "benchmarks", "examples", "docs", "deploy", "build", "dist"}
SKIPPED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")


def product_files() -> set[str]:
    """Every file in the folders that are sub-packages, and the package's own two at the top."""
    found = {"__init__.py", "py.typed"}
    for folder in ROOT.iterdir():
        if folder.is_dir() and folder.name not in NOT_SHIPPED and not folder.name.startswith((".", "__")):
            files = (path.relative_to(ROOT) for path in folder.rglob("*") if path.is_file())
            found |= {path.as_posix() for path in files if "__pycache__" not in path.parts}
    return {name for name in found if ".egg-info/" not in name}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tree, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=SKIPPED)
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=tree, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(built: Path) -> set[str]:
    """The names in it."""
    return set(zipfile.ZipFile(built).namelist())


def test_the_wheel_puts_only_tailrace_into_site_packages(wheel: set[str]) -> None:
    tops = {PurePosixPath(name).parts[0] for name in wheel}
    assert "tailrace" in tops
    assert [top for top in tops if top != "tailrace" and not top.endswith(".dist-info")] == []


def test_the_wheel_holds_the_product_and_nothing_else(wheel: set[str]) -> None:
    shipped = {name.removeprefix("tailrace/") for name in wheel if name.startswith("tailrace/")}
    assert shipped == product_files()


def test_the_wheel_is_typed_and_licensed(wheel: set[str]) -> None:
    assert "tailrace/py.typed" in wheel
    assert [name for name in wheel if name.endswith(".dist-info/licenses/LICENSE")]


def test_the_wheel_brings_the_command_and_the_pytest_plugin(built: Path) -> None:
    wheel = zipfile.ZipFile(built)
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    points = configparser.ConfigParser()
    points.read_string(wheel.read(name).decode())
    assert dict(points["console_scripts"]) == {"tailrace": "tailrace.cli:main"}
    assert dict(points["pytest11"]) == {"tailrace": "tailrace.testing.plugin"}


def test_every_folder_with_code_is_in_the_list_of_packages() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {PurePosixPath("tailrace", name).parent for name in product_files() if name.endswith(".py")}
    assert sorted(listed) == sorted(".".join(folder.parts) for folder in folders)


def test_the_lock_names_neither_a_host_nor_a_folder() -> None:
    lines = (ROOT / "requirements-dev.lock").read_text().splitlines()
    assert [line for line in lines if "/" in line] == []
    assert sum("==" in line for line in lines) > 20
