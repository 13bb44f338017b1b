"""A shipper to measure: how it is started, and where its configs are. Read from JSON files."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from ..tests.services._server import cache

HERE = Path(__file__).parent
FILES = [HERE / name for name in ("tailrace.json", "probe.json", "shippers.json")]
FOLLOWERS = ["tailrace", "otelcol-nogzip", "promtail", "syslog-ng", "fluent-bit", "vector"]
"""Those whose latency and memory are measured: one of each program."""


class Shipper(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One shipper. `@NAME@` in `cmd`, `prepare`, `version`, `env` and in configs is filled in."""

    cmd: list[str]
    """Program and arguments; a program without a folder is looked for in the cache's `bin`, then in PATH."""
    ext: str
    """Its configs are called NAME.SCENARIO.ext; one that is not there says that it cannot do the scenario."""
    dir: str = ""
    """The folder of its configs, relative to the JSON file."""
    config: str = ""
    """NAME of the configs, where it is not the shipper's own."""
    only: list[str] = []
    """The scenarios it takes part in; empty for all."""
    mb: dict[str, float] = {}
    """By scenario: a corpus of this size will do, as it is so slow there that more would only take longer."""
    patterns: bool = True
    """Whether `@IN@` may be a pattern for many files."""
    env: dict[str, str] = {}
    """Added to the environment."""
    vars: dict[str, str] = {}
    """More names to fill in."""
    prepare: list[str] = []
    """A command to run once before all measurements."""
    version: list[str] = []
    """A command that prints its version."""
    get: str = ""
    """How to get it."""
    s4_mark: str = "\n"
    """Stands in the output of S4 once a record."""

    def config_file(self, name: str, scenario: str) -> Path | None:
        """Its config for a scenario, or None when it does not take part."""
        path = Path(self.dir, f"{self.config or name}.{scenario}.{self.ext}")
        return path if path.exists() and (not self.only or scenario in self.only) else None

    def program(self) -> str | None:
        """Where its program is, or None when it is absent."""
        return find(fill(self.cmd[:1], self.vars)[0])


def load(path: Path) -> dict[str, Shipper]:
    """The shippers of a JSON file by name. Raises ValueError with the file's name."""
    try:
        shippers = msgspec.json.decode(path.read_bytes(), type=dict[str, Shipper])
    except (OSError, msgspec.DecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    here = path.resolve().parent
    for shipper in shippers.values():
        shipper.dir = str(here / shipper.dir)
        shipper.vars = {"DIR": str(here), "BIN": str(programs()), "CONF": str(HERE / "configs"), **shipper.vars}
    return shippers


def known() -> dict[str, Shipper]:
    """Every shipper that is described here."""
    return {name: shipper for path in FILES for name, shipper in load(path).items()}


def present(names: Sequence[str] = FOLLOWERS) -> dict[str, Shipper]:
    """Those of the named ones that are on this machine. Raises ValueError for a name that nobody knows."""
    shippers = known()
    for name in names:
        if name not in shippers:
            raise ValueError(f"no shipper {name!r}; there are: {', '.join(shippers)}")
    return {name: shippers[name] for name in names if shippers[name].program()}


def programs() -> Path:
    """The folder in the cache that the install scripts put programs into."""
    return cache() / "bin"


def find(program: str) -> str | None:
    """Where a program is, or None when it is absent."""
    return shutil.which(program, path=os.pathsep.join([str(programs()), os.environ.get("PATH", ""), "/usr/sbin"]))


def fill(texts: list[str], values: Mapping[str, object]) -> list[str]:
    """The texts with each `@NAME@` replaced. Raises ValueError for a name without a value."""

    def value(found: re.Match[str]) -> str:
        try:
            return str(values[found[1]])
        except KeyError:
            raise ValueError(f"no value for {found[0]}; there are: {', '.join(sorted(values))}") from None

    return [re.sub(r"@([A-Z][A-Z0-9]*)@", value, text) for text in texts]
