"""YAML as nodes that know where they stand, and the document that shows them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import yaml

from .problem import Problem, Severity, without_credentials

Scalar: TypeAlias = str | int | float | bool | None

MAX_NODES = 100_000
"""A config that unfolds to more nodes than this is a mistake with aliases."""

_SECRET_WORDS = ("password", "passwd", "secret", "token", "credential", "credentials", "apikey")
_SECRET_TEXT = re.compile(
    r"(?i)((?:password|passwd|pwd|secret|token|api[_-]?key|credentials?)[\"']?\s*:\s*)(?!\{\s*(?:env|file)\s*:)\S.*"
)


class Node(msgspec.Struct, eq=False):
    """A value of the config and where it stands (line and column from 1)."""

    value: Scalar | list[Node] | dict[str, Node]
    line: int = 0
    column: int = 0
    width: int = 1
    text: str = ""
    """A scalar as it was written, without its quotes."""
    last: tuple[int, int] = (0, 0)
    """Line and column after its end."""
    keys: dict[str, Node] = {}
    """For a map: where each key stands."""

    def plain(self) -> Any:
        """The value as plain Python, places forgotten."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def child(self, key: str | int) -> Node | None:
        """The node under a key or index, None where there is none."""
        if isinstance(self.value, dict):
            return self.value.get(str(key))
        if isinstance(self.value, list) and str(key).isdecimal() and int(key) < len(self.value):
            return self.value[int(key)]
        return None

    def at(self, path: str) -> Node:
        """The node at a path such as `metrics[2].labels.app`, or the last one on the way that exists."""
        node = self
        for key in re.findall(r"[^.\[\]]+", path):
            inner = node.child(key)
            if inner is None:
                return node
            node = inner
        return node

    def under(self, path: Iterable[str | int], *, key: bool = False) -> Node:
        """The node at these keys and places, or the last one that exists; `key`: the last key in place of its value."""
        node = at = self
        for step in path:
            inner = node.child(step)
            if inner is None:
                return node
            at, node = node.keys.get(str(step), inner), inner
        return at if key else node

    def walk(self) -> Iterator[Node]:
        """This node and all below it, keys included."""
        yield self
        if isinstance(self.value, dict):
            for key, node in self.value.items():
                yield self.keys[key]
                yield from node.walk()
        elif isinstance(self.value, list):
            for node in self.value:
                yield from node.walk()


class Document:
    """The text of a config, its nodes, and what must not be shown of it."""

    def __init__(self, file: str = "", text: str = "") -> None:
        self.file = file
        self.lines = text.splitlines()
        self.root: Node | None = None
        self._hidden: list[Node] = []

    def problem(self, node: Node, message: str, hint: str = "", severity: Severity = "error") -> Problem:
        """A problem at a node."""
        return Problem(
            file=self.file,
            line=node.line,
            column=node.column,
            width=node.width,
            severity=severity,
            message=without_credentials(message),
            hint=hint,
        )

    def hide(self, node: Node) -> None:
        """Never show the scalars of this node, other than in `{ env: NAME }` and `{ file: PATH }`."""
        if isinstance(node.value, dict):
            for key, inner in node.value.items():
                if key not in ("env", "file") or len(node.value) > 1:
                    self.hide(inner)
        elif isinstance(node.value, list):
            for inner in node.value:
                self.hide(inner)
        else:
            self._hidden.append(node)

    def show(self, problems: Iterable[Problem]) -> list[Problem]:
        """The problems in the order of the file, each once, each with its line of the config, secrets blacked out."""
        unique = dict.fromkeys(map(self._with_source, problems))
        return sorted(unique, key=lambda problem: (problem.line, problem.column))

    def _with_source(self, problem: Problem) -> Problem:
        for node in self._hidden:
            if len(node.text) > 2 and node.text in problem.message + problem.hint:
                message, hint = (text.replace(node.text, "***") for text in (problem.message, problem.hint))
                problem = msgspec.structs.replace(problem, message=message, hint=hint)
        if not 0 < problem.line <= len(self.lines):
            return problem
        line = self.lines[problem.line - 1]
        if self.root is None:
            spans = [(found.end(1), len(line)) for found in _SECRET_TEXT.finditer(line)]
        else:
            spans = [span for node in self._hidden if (span := _span(node, problem.line, len(line)))]
        spans += [(found.start() + 3, found.end() - 1) for found in re.finditer(r"://[^\s/@'\"]+@", line)]
        out, done, shift = "", 0, 0
        for start, end in sorted(spans):
            if start < done:
                continue
            out += line[done:start] + "***"
            done = end
            if end < problem.column:
                shift += 3 - (end - start)
        return msgspec.structs.replace(problem, source=out + line[done:], shift=shift)


def read(path: Path) -> tuple[Document, list[Problem]]:
    """The document in a file, its `root` None where it cannot be read at all; every mistake of YAML's own in it."""
    file = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        return Document(file), [Problem(file=file, message=f"cannot be read: {error.strerror}")]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        return Document(file), [
            Problem(file=file, line=line, column=column, message=message, hint="save the file as UTF-8")
        ]
    document = Document(file, text)
    problems = _compose(document, text)
    return document, problems


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema: only true and false are booleans, and `no`, `1:30`, `2001-01-01` are text."""

    # libyaml's loader is ten times as fast and crashes the process on deep nesting; a config takes this one 15 ms.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


_SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": (r"<<", ["<"]),
}
_TAG = "tag:yaml.org,2002:"
for _kind, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(rf"(?:{_pattern})\Z"), _first)


def _compose(document: Document, text: str) -> list[Problem]:
    """Set the document's root. Returns the mistakes of YAML's own."""
    try:
        composed = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        return document.show([_syntax_problem(document, error)])
    except yaml.reader.ReaderError:
        found = yaml.reader.Reader.NON_PRINTABLE.search(text)
        before = text[: found.start()] if found else ""
        place = Node(None, before.count("\n") + 1, len(before) - before.rfind("\n"))
        sign = f"U+{ord(found[0]):04X}" if found else "a character"
        return document.show([document.problem(place, f"not YAML: {sign} is not allowed", "delete this character")])
    except RecursionError:
        return [Problem(file=document.file, message="not YAML for a config: nested too deeply")]
    if composed is None:
        return [Problem(file=document.file, message="is empty", hint="a config has `sources:` and `sinks:`")]
    build = _Build(document)
    root = build.node(composed)
    document.root = root
    return build.problems


def _syntax_problem(document: Document, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    place = Node(None, mark.line + 1, mark.column + 1) if mark else Node(None)
    line = document.lines[place.line - 1] if 0 < place.line <= len(document.lines) else ""
    hint = ""
    if line[: place.column].strip(" ").startswith("\t"):
        hint = "YAML is indented with spaces, never with tabs"
    elif ": " in line and "mapping values are not allowed" in (error.problem or ""):
        hint = "put text that holds `: ` in quotes, and indent keys of one map alike"
    message = f"not YAML: {error.problem}"
    if error.context and error.context_mark and error.context_mark.line != place.line - 1:
        message += f" ({error.context} that begins on line {error.context_mark.line + 1})"
    elif error.context:
        message += f" ({error.context})"
    return document.problem(place, message, hint)


class _Build:
    """Turns PyYAML's nodes into ours: scalars resolved, merges done, twice written keys and foreign tags told."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self._count = 0
        self._open: set[int] = set()

    def node(self, raw: yaml.Node) -> Node:
        node = _place(raw)
        self._count += 1
        if self._count > MAX_NODES or id(raw) in self._open:
            reason = "an alias inside of what it stands for" if id(raw) in self._open else "too many aliases of aliases"
            self.problems.append(self.document.problem(node, f"not YAML for a config: {reason}"))
            return node
        self._open.add(id(raw))
        if isinstance(raw, yaml.MappingNode):
            self._tag(raw.tag, node, "map")
            node.value, node.keys = self._map(raw)
        elif isinstance(raw, yaml.SequenceNode):
            self._tag(raw.tag, node, "seq")
            node.value = [self.node(item) for item in raw.value]
        else:
            node.text = raw.value
            node.value = self._scalar(str(raw.value), raw.tag, node)
        self._open.discard(id(raw))
        return node

    def _map(self, raw: yaml.MappingNode) -> tuple[dict[str, Node], dict[str, Node]]:
        own: dict[str, Node] = {}
        keys: dict[str, Node] = {}
        merged: list[Node] = []
        for raw_key, raw_value in raw.value:
            key = _place(raw_key)
            if raw_key.tag == _TAG + "merge":
                merged.append(self.node(raw_value))
                continue
            if not isinstance(raw_key, yaml.ScalarNode):
                hint = "put text that begins with { or [ in quotes"
                self.problems.append(self.document.problem(key, "a name must be text, not a list or a map", hint))
                continue
            name = key.value = key.text = raw_key.value
            value = self.node(raw_value)
            if name in own:
                message = f"{name!r} is written twice, first on line {keys[name].line}"
                self.problems.append(self.document.problem(key, message, "keep one of them"))
                continue
            own[name], keys[name] = value, key
            if _looks_secret(name) and not isinstance(value.value, list):
                self.document.hide(value)
        for node in merged:
            for source in node.value if isinstance(node.value, list) else [node]:
                if not isinstance(source.value, dict):
                    self.problems.append(self.document.problem(source, "`<<` takes a map, or a list of maps"))
                    continue
                for name, value in source.value.items():
                    if name not in own:
                        own[name], keys[name] = value, source.keys[name]
        return own, keys

    def _tag(self, tag: str, node: Node, expected: str) -> None:
        if tag != _TAG + expected:
            hint = "a secret is written { env: NAME } or { file: PATH }" if "env" in tag or "secret" in tag else ""
            message = f"the tag {tag.replace(_TAG, '!!')} has no meaning here"
            self.problems.append(self.document.problem(node, message, hint))

    def _scalar(self, text: str, tag: str, node: Node) -> Scalar:
        kind = tag.removeprefix(_TAG)
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return {"true": True, "false": False}[text.lower()]
            if kind == "int":
                return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
            if kind == "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except (ValueError, KeyError):
            self.problems.append(self.document.problem(node, f"not a YAML {kind}"))
            return None
        if kind not in ("str", "merge"):
            self._tag(tag, node, "str")
        return text


def _place(raw: yaml.Node) -> Node:
    start, end = raw.start_mark, raw.end_mark
    same = start.line == end.line
    width = max(1, end.column - start.column) if same and isinstance(raw, yaml.ScalarNode) else 1
    return Node(None, start.line + 1, start.column + 1, width, last=(end.line + 1, end.column + 1))


def _span(node: Node, line: int, length: int) -> tuple[int, int] | None:
    """Where on this line (from 0) the node stands."""
    if not node.line <= line <= node.last[0]:
        return None
    start = node.column - 1 if node.line == line else 0
    end = node.last[1] - 1 if node.last[0] == line else length
    return (start, end) if start < end else None


def _looks_secret(name: str) -> bool:
    words = re.split(r"[_.-]", name.lower())
    return any(
        word != "tokens" and get_close_matches(word, _SECRET_WORDS, n=1, cutoff=0.8)
        for word in [*words, "".join(words)]
    )
