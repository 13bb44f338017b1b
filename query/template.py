"""Go's text templates as far as `line_format` and `label_format` use them: fields, text, functions, pipes, `if`."""

from __future__ import annotations

import base64
import difflib
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote_plus, unquote_plus

import re2

from . import units
from .row import Row


class TemplateError(ValueError):
    """A template that is wrong or uses what is not supported; `column` counts from 1 in its text."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.column = column


Value = Any
Node = Callable[[Row], Value]

_ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_WORD = re.compile(
    r"""(?P<space>\s+)|(?P<field>\.[A-Za-z_]\w*)|(?P<name>[A-Za-z_]\w*)|(?P<number>[+-]?\d+(?:\.\d+)?)
    |(?P<text>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<op>[|()])""",
    re.VERBOSE,
)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.0f}" if value == int(value) and abs(value) < 1e21 else repr(value)
    return "" if value is None else str(value)


def _whole(value: Value) -> int:
    if isinstance(value, int | float):
        return int(value)
    found = units.number(value)
    return int(found) if found is not None and math.isfinite(found) else 0


def _float(value: Value) -> float:
    if isinstance(value, int | float):
        return float(value)
    found = units.number(value)
    return 0.0 if found is None else found


def _round(value: Value, digits: Value, half: Value = 0.5) -> float:
    power = 10.0 ** _whole(digits)
    scaled = _float(value) * power
    whole, rest = math.floor(scaled), scaled - math.floor(scaled)
    return (whole + 1 if rest >= _float(half) else whole) / power


def _trunc(count: Value, text: str) -> str:
    """By bytes, as Go's functions have it; half a character becomes a replacement character."""
    count, raw = _whole(count), text.encode()
    cut = raw[count:] if count < 0 and len(raw) + count > 0 else raw[:count] if count >= 0 else raw
    return cut.decode("utf-8", "replace")


def _substr(start: Value, end: Value, text: str) -> str:
    start, end, raw = _whole(start), _whole(end), text.encode()
    cut = raw[:end] if start < 0 else raw[start:] if end < 0 or end > len(raw) else raw[start:end]
    return cut.decode("utf-8", "replace")


def _align(count: Value, text: str, *, right: bool = False) -> str:
    count = _whole(count)
    if count < 0:
        return text
    if len(text) > count:
        return text[-count:] if right and count else text[:count]
    return text.rjust(count) if right else text.ljust(count)


def _printf(form: str, *values: Value) -> str:
    left = list(values)

    def one(found: re.Match[str]) -> str:
        if found[2] == "%":
            return "%"
        if not left:
            return f"%!{found[2]}(MISSING)"
        value = left.pop(0)
        if found[2] == "v":
            return f"%{found[1]}s" % _text(value)
        if found[2] == "q":
            return '"' + _text(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
        if found[2] == "s":
            return f"%{found[1]}s" % (value if isinstance(value, str) else f"%!s({_text(value)})")
        if found[2] == "d" and isinstance(value, int) and not isinstance(value, bool):
            return f"%{found[1]}d" % value
        if found[2] in "feg" and isinstance(value, float):
            return f"%{found[1]}{found[2]}" % value
        return f"%!{found[2]}({'string' if isinstance(value, str) else type(value).__name__}={_text(value)})"

    return re.sub(r"%([-+ 0#]*\d*(?:\.\d+)?)([a-zA-Z%])", one, form)


def _replaced(pattern: str, text: str, by: str, *, literal: bool = False) -> str:
    if literal:
        return str(re2.sub(pattern, lambda _: by, text))
    by = re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: rf"\g<{found[1] or found[2]}>", by.replace("\\", r"\\"))
    return str(re2.sub(pattern, by, text))


def _if_given(fallback: Value, value: Value = None) -> Value:
    return fallback if value in (None, "", 0, False) else value


def _comparing(test: Callable[[Value, Value], bool]) -> Callable[..., bool]:
    def compare(left: Value, right: Value) -> bool:
        if isinstance(left, str) is not isinstance(right, str):
            raise ValueError("incompatible types for comparison")
        return test(left, right)

    return compare


def _equal(left: Value, *others: Value) -> bool:
    return any(_comparing(lambda a, b: bool(a == b))(left, other) for other in others)


def _divided(left: Value, right: Value) -> int:
    return math.trunc(_whole(left) / _whole(right))


def _added(*values: Value) -> int:
    return sum(map(_whole, values))


def _times(*values: Value) -> int:
    return math.prod(map(_whole, values))


def _title(text: str) -> str:
    return re.sub(r"(?<!\S)\w", lambda found: found[0].upper(), text)


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "lower": str.lower,
    "upper": str.upper,
    "title": _title,
    "ToLower": str.lower,
    "ToUpper": str.upper,
    "trim": str.strip,
    "TrimSpace": str.strip,
    "Trim": lambda text, cut: text.strip(cut),
    "TrimLeft": lambda text, cut: text.lstrip(cut),
    "TrimRight": lambda text, cut: text.rstrip(cut),
    "TrimPrefix": lambda text, cut: text.removeprefix(cut),
    "TrimSuffix": lambda text, cut: text.removesuffix(cut),
    "trimAll": lambda cut, text: text.strip(cut),
    "trimPrefix": lambda cut, text: text.removeprefix(cut),
    "trimSuffix": lambda cut, text: text.removesuffix(cut),
    "replace": lambda old, new, text: text.replace(old, new),
    "Replace": lambda text, old, new, count: text.replace(old, new, _whole(count)),
    "regexReplaceAll": _replaced,
    "regexReplaceAllLiteral": lambda pattern, text, by: _replaced(pattern, text, by, literal=True),
    "count": lambda pattern, text: len(re2.findall(pattern, text)),
    "contains": lambda part, text: part in text,
    "hasPrefix": lambda part, text: text.startswith(part),
    "hasSuffix": lambda part, text: text.endswith(part),
    "default": _if_given,
    "trunc": _trunc,
    "substr": _substr,
    "repeat": lambda count, text: text * _whole(count),
    "indent": lambda count, text: " " * _whole(count) + text.replace("\n", "\n" + " " * _whole(count)),
    "alignLeft": _align,
    "alignRight": lambda count, text: _align(count, text, right=True),
    "printf": _printf,
    "print": lambda *values: "".join(map(_text, values)),
    "len": lambda text: len(text.encode()),
    "int": _whole,
    "float64": _float,
    "add": _added,
    "sub": lambda left, right: _whole(left) - _whole(right),
    "mul": _times,
    "div": _divided,
    "mod": lambda left, right: int(math.fmod(_whole(left), _whole(right))),
    "addf": lambda *values: sum(map(_float, values)),
    "subf": lambda first, *others: _float(first) - sum(map(_float, others)),
    "mulf": lambda *values: math.prod(map(_float, values)),
    "divf": lambda first, *others: _float(first) / math.prod(map(_float, others)),
    "max": lambda *values: max(map(_whole, values)),
    "min": lambda *values: min(map(_whole, values)),
    "maxf": lambda *values: max(map(_float, values)),
    "minf": lambda *values: min(map(_float, values)),
    "ceil": lambda value: float(math.ceil(_float(value))),
    "floor": lambda value: float(math.floor(_float(value))),
    "round": _round,
    "bytes": lambda text: float(_needed(units.size(text), "bytes", text)),
    "duration": lambda text: _needed(units.duration(text), "duration", text) / 1e9,
    "duration_seconds": lambda text: _needed(units.duration(text), "duration", text) / 1e9,
    "urlencode": quote_plus,
    "urldecode": unquote_plus,
    "b64enc": lambda text: base64.b64encode(text.encode()).decode(),
    "b64dec": lambda text: base64.b64decode(text).decode("utf-8", "replace"),
    "eq": _equal,
    "ne": _comparing(lambda left, right: bool(left != right)),
    "lt": _comparing(lambda left, right: bool(left < right)),
    "le": _comparing(lambda left, right: bool(left <= right)),
    "gt": _comparing(lambda left, right: bool(left > right)),
    "ge": _comparing(lambda left, right: bool(left >= right)),
    "not": lambda value: not value,
    "and": lambda *values: next((value for value in values if not value), values[-1]),
    "or": lambda *values: next((value for value in values if value), values[-1]),
    "unixEpoch": lambda time_ns: str(int(time_ns) // 10**9),
    "unixEpochMillis": lambda time_ns: str(int(time_ns) // 10**6),
    "unixEpochNanos": lambda time_ns: str(int(time_ns)),
}
"""What may be called. Loki has more; those are refused."""


def _needed(found: int | None, what: str, text: str) -> int:
    if found is None:
        raise ValueError(f"{text!r} is no {what}")
    return found


class _Time(int):
    """A time in ns, which prints as Go prints it."""

    def __str__(self) -> str:
        moment = datetime.fromtimestamp(self // 10**9, UTC)
        digits = f".{self % 10**9:09}".rstrip("0").rstrip(".")
        return f"{moment:%Y-%m-%d %H:%M:%S}{digits} +0000 UTC"


class _Word(NamedTuple):
    kind: str
    text: str
    start: int


class Template:
    """A template made ready. Raises TemplateError for what is wrong or not supported."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: list[str] = []
        """The labels that it reads."""
        self.reads_line = False
        self._pieces = self._split()
        self._place = 0
        self._node, end = self._block()
        if end is not None:
            self._fail(f"no {{{{ if }}}} for this {{{{ {end.text} }}}}", end.start)

    def render(self, row: Row) -> str:
        """The text for one row. Raises ValueError or another of Python's errors when a function cannot."""
        return str(self._node(row))

    def _fail(self, message: str, start: int) -> NoReturn:
        raise TemplateError(message, start + 1)

    def _split(self) -> list[str | list[_Word]]:
        pieces: list[str | list[_Word]] = []
        place, strip = 0, False
        for found in _ACTION.finditer(self.text):
            before = self.text[place : found.start()]
            before = before.lstrip() if strip else before
            pieces.append(before.rstrip() if found[1] else before)
            if not found[2].strip().startswith("/*"):
                pieces.append(self._words(found[2], found.start(2)))
            place, strip = found.end(), bool(found[3])
        rest = self.text[place:]
        if "{{" in rest:
            self._fail("{{ without }}", place + rest.index("{{"))
        pieces.append(rest.lstrip() if strip else rest)
        return pieces

    def _words(self, text: str, start: int) -> list[_Word]:
        words, place = [], 0
        while place < len(text):
            found = _WORD.match(text, place)
            if not found:
                wrong = text[place:].split()[0]
                self._fail(f"{wrong!r} is not supported in a template", start + place)
            if found.lastgroup != "space":
                words.append(_Word(str(found.lastgroup), found[0], start + place))
            place = found.end()
        if not words:
            self._fail("{{ }} is empty: name a label, such as {{.level}}", start)
        return words

    def _block(self) -> tuple[Node, _Word | None]:
        """What stands up to the end of the text, or up to `else` or `end`, which is given back."""
        nodes: list[Node] = []
        while self._place < len(self._pieces):
            piece = self._pieces[self._place]
            self._place += 1
            if isinstance(piece, str):
                if piece:
                    nodes.append(lambda row, text=piece: text)  # type: ignore[misc]  # the default binds the text
                continue
            head = piece[0]
            if head.text in ("else", "end"):
                self._left = piece[1:]
                return _joined(nodes), head
            if head.text in ("range", "with", "define", "template", "block", "break", "continue"):
                self._fail(f"{{{{ {head.text} }}}} is not supported: fields, functions and if are", head.start)
            nodes.append(self._if(head, piece[1:]) if head.text == "if" else self._pipe(piece))
        return _joined(nodes), None

    def _if(self, head: _Word, words: list[_Word]) -> Node:
        if not words:
            self._fail("if needs a condition, such as {{ if .error }}", head.start)
        test = self._pipe(words)
        then, end = self._block()
        otherwise: Node = lambda row: ""  # noqa: E731  # replaced below where there is an else
        if end is not None and end.text == "else":
            if self._left and self._left[0].text == "if":
                otherwise = self._if(end, self._left[1:])
                return lambda row: then(row) if test(row) else otherwise(row)
            otherwise, end = self._block()
        if end is None or end.text != "end":
            self._fail("{{ if }} without {{ end }}", head.start)
        return lambda row: then(row) if test(row) else otherwise(row)

    def _pipe(self, words: list[_Word]) -> Node:
        """Commands joined by `|`: each gets what the one before it gave as its last argument."""
        commands: list[list[_Word]] = [[]]
        depth = 0
        for word in words:
            depth += (word.text == "(" and word.kind == "op") - (word.text == ")" and word.kind == "op")
            if word.kind == "op" and word.text == "|" and not depth:
                commands.append([])
            else:
                commands[-1].append(word)
        node: Node | None = None
        for command in commands:
            if not command:
                self._fail("| joins two functions", words[-1].start)
            node = self._command(command, node)
        assert node is not None
        return node

    def _command(self, words: list[_Word], given: Node | None) -> Node:
        first = words[0]
        if first.kind == "name" and first.text not in ("true", "false", "__line__", "__timestamp__"):
            if first.text not in FUNCTIONS:
                near = difflib.get_close_matches(first.text, FUNCTIONS, 1)
                meant = f"; did you mean {near[0]}?" if near else ""
                self._fail(f"the function {first.text} is not supported{meant}", first.start)
            call = FUNCTIONS[first.text]
            arguments = self._arguments(words[1:])
            if given is not None:
                arguments.append(given)
            return lambda row: call(*[argument(row) for argument in arguments])
        values = self._arguments(words)
        if len(values) > 1 or given is not None:
            self._fail("not a function, and so it takes no arguments", first.start)
        return values[0]

    def _arguments(self, words: list[_Word]) -> list[Node]:
        values: list[Node] = []
        place = 0
        while place < len(words):
            word = words[place]
            place += 1
            if word.kind == "op" and word.text == "(":
                end, depth = place, 1
                while end < len(words) and depth:
                    depth += (words[end].text == "(") - (words[end].text == ")") if words[end].kind == "op" else 0
                    end += 1
                if depth or end - place < 2:
                    self._fail("( without )", word.start)
                values.append(self._pipe(words[place : end - 1]))
                place = end
            else:
                values.append(self._value(word))
        return values

    def _value(self, word: _Word) -> Node:
        if word.kind == "field":
            name = word.text[1:]
            self.names.append(name)
            return lambda row: row.get(name) or ""
        if word.kind == "text":
            text = word.text[1:-1]
            if word.text[0] == '"':
                text = re.sub(r"\\(.)", lambda f: {"n": "\n", "t": "\t", "r": "\r"}.get(f[1], f[1]), text)
            return lambda row: text
        if word.kind == "number":
            value: Value = float(word.text) if "." in word.text else int(word.text)
            return lambda row: value
        if word.text == "__line__":
            return lambda row: row.line.decode("utf-8", "replace")
        if word.text == "__timestamp__":
            return lambda row: _Time(row.time_ns or 0)
        if word.text in ("true", "false"):
            return lambda row: word.text == "true"
        if word.kind == "name" and word.text in FUNCTIONS:
            return self._command([word], None)
        return self._fail(f"{word.text} is not supported here", word.start)


def _joined(nodes: list[Node]) -> Node:
    if len(nodes) == 1:
        only = nodes[0]
        return lambda row: _text(only(row))
    return lambda row: "".join([_text(node(row)) for node in nodes])
