"""Finds components by the names of their files: no list to keep, and only what a config uses is imported."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from .component import Component

PLACES = {"stage": "stages", "source": "pipeline.sources", "sink": "pipeline.sinks"}
"""Each kind of component and the sub-package that holds its files."""

_ROOT = Path(__file__).parent.parent
_PACKAGE = __name__.rsplit(".", 2)[0]


def words(kind: str) -> list[str]:
    """The `use:` words of one kind (`stage`, `source`, `sink`), from the file names."""
    folder = _ROOT / PLACES[kind].replace(".", "/")
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def component(kind: str, word: str) -> type[Component]:
    """The class behind a `use:` word. Raises KeyError when there is no such file."""
    if word not in words(kind):
        raise KeyError(word)
    return _class_in(importlib.import_module(f"{_PACKAGE}.{PLACES[kind]}.{word}"), word)


def custom(path: Path) -> type[Component]:
    """The class in a user's own file, named as its `use:` word. Raises whatever the file raises when it is run."""
    word = path.stem
    spec = importlib.util.spec_from_file_location(f"tailrace_custom_{word}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where annotations kept as text are looked up
    sys.modules[spec.name] = module  # where the types of its options are looked up
    spec.loader.exec_module(module)
    return _class_in(module, word)


def _class_in(module: ModuleType, word: str) -> type[Component]:
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Component) and value.word() == word:
            return value
    raise ImportError(f"{module.__file__} has no component class named for {word!r}")
