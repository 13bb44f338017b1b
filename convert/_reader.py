"""Values of a foreign config as text, variables of the environment filled in, and what it says that nobody read."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..config._yaml import Node
from ..pipeline.options import Duration
from . import _go
from .report import Report


class Reader:
    """Reads nodes; what is wrong with them goes into the report."""

    def __init__(self, report: Report, environment: Mapping[str, str]) -> None:
        self.report = report
        self._environment = environment
        self._selects: dict[tuple[int, int], tuple[Node, bool]] = {}

    def selects(self, node: Node, some: bool) -> None:
        """Note whether a selector can match records of the target that is looked at."""
        place = (node.line, node.column)
        self._selects[place] = (node, some or self._selects.get(place, (node, False))[1])

    def tell_of_selectors(self) -> None:
        """Of the targets of a job others may have the label: a selector is dead where none has."""
        for node, some in self._selects.values():
            if not some:
                self.report.add("dead", node, f"no target has labels that `{node.text}` selects", "leave the stage out")

    def text(self, node: Node | None, default: str = "", *, expand: bool = True) -> str:
        """A scalar as it was written, the default where there is none."""
        if node is None or node.value is None or isinstance(node.value, dict | list):
            return default
        if not expand or "${" not in node.text:
            return node.text
        text, missing = _go.expand(node.text, self._environment)
        for name in missing:
            message = f"the environment variable {name} has no value: tailrace fills in none when it starts"
            self.report.add("no equal", node, message, f"set {name} and convert again, or write its value in its place")
        return text

    def texts(self, node: Node | None) -> list[str]:
        """A list of scalars; one alone is a list, too."""
        if node is None or node.value is None:
            return []
        return [self.text(one) for one in node.value] if isinstance(node.value, list) else [self.text(node)]

    def flag(self, node: Node | None) -> bool:
        """True for all that YAML 1.1 calls so."""
        return self.text(node).lower() in ("true", "yes", "on", "y")

    def pairs(self, node: Node | None) -> dict[str, str]:
        """A map of scalars; none where it is none."""
        return {name: self.text(one) for name, one in children(node).items()}

    def duration(self, node: Node | None, what: str) -> str:
        """A duration that tailrace reads as well; empty where there is none."""
        text = self.text(node)
        if node is None or not text:
            return ""
        try:
            Duration.decode(text)
        except ValueError:
            self.report.add("no equal", node, f"`{text}` of {what} is no duration", "write such as 250ms, 30s, 1h30m")
            return ""
        return text

    def size(self, node: Node | None, what: str) -> int | None:
        """Bytes; None where there is no size."""
        text = self.text(node)
        found = _go.size(text) if text else None
        if node is not None and text and found is None:
            self.report.add("no equal", node, f"`{text}` of {what} is no size", "write such as 4096 or 1MiB")
        return found

    def unknown(self, node: Node | None, known: Collection[str], what: str) -> None:
        """Note each key that nobody reads."""
        if node is not None and isinstance(node.value, dict):
            for name in node.value.keys() - set(known):
                self.report.add(
                    "no equal", node.keys[name], f"`{name}` of {what}", "leave it out, or see the components"
                )


def children(node: Node | None) -> dict[str, Node]:
    """What is under a map; nothing under anything else."""
    return node.value if node is not None and isinstance(node.value, dict) else {}


def items(node: Node | None) -> list[Node]:
    """What is in a list; nothing in anything else."""
    return node.value if node is not None and isinstance(node.value, list) else []
