"""What a conversion has to say of the file that it read, each with its place there."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..config._yaml import Node

Kind = Literal["no equal", "dead", "differs"]
"""`no equal`: it is not in the new config; `dead`: it never did anything; `differs`: it is there, not quite alike."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that a reader of the new config has to know. Never holds a secret."""

    kind: Kind
    file: str
    line: int
    column: int
    message: str
    instead: str = ""
    """What would do."""

    def render(self) -> str:
        """As a person reads it, without a final line break."""
        told = f"{self.file}:{self.line}:{self.column}: {self.kind}: {self.message}"
        return f"{told}\n  instead: {self.instead}" if self.instead else told


class Report:
    """Collects findings, each once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[Finding, None] = {}

    def add(self, kind: Kind, node: Node, message: str, instead: str = "") -> None:
        """Note something about this place."""
        self._found[Finding(kind, self.file, node.line, node.column, message, instead)] = None

    def note(self, finding: Finding) -> None:
        """Have one that was made elsewhere."""
        self._found[finding] = None

    @property
    def findings(self) -> list[Finding]:
        """In the order of the file."""
        return sorted(self._found, key=lambda one: (one.line, one.column))

    @property
    def complete(self) -> bool:
        """Everything has an equal."""
        return all(one.kind != "no equal" for one in self._found)
