"""LogQL's selectors, line filters and label filters, over the fields of a record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, NoReturn

from ._expression import COMPARE, NUMBER, And, Field, Line, Node, Not, Number, Or, Pattern, line_scanner, text_of
from .ack import Ack
from .batch import Batch
from .options import Regex
from .record import Record

__all__ = [
    "COMPARE",
    "And",
    "Field",
    "Line",
    "Match",
    "MatchError",
    "Node",
    "Not",
    "Number",
    "Or",
    "Pattern",
    "line_scanner",
    "text_of",
]


class MatchError(ValueError):
    """Text that is not LogQL; `column` counts characters from 1."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.column = column


class Match:
    """A LogQL expression: `{level=~"error|critical"} |= "timeout" | status >= 500`, joined by `or`, `and`, `unless`."""

    __slots__ = ("expression", "fields", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self.expression = Parser(text).whole()
        except RecursionError:
            raise MatchError("too many parentheses inside each other", 1) from None
        self.fields = self.expression.fields
        """Names of the fields that it reads."""

    @classmethod
    def decode(cls, value: object) -> Match:
        """From YAML. Raises ValueError with the column and what would do."""
        if isinstance(value, Mapping):
            raise ValueError("""in YAML braces need quotes around them: '{level="error"}'""")
        if not isinstance(value, str):
            raise ValueError(f"""expected LogQL such as '{{level="error"}}', got {value!r}""")
        return cls(value)

    def mask(self, batch: Batch) -> list[bool]:
        """For each record of the batch whether it matches. None is made for that."""
        return self.expression.mask(batch)

    def select(self, batch: Batch) -> list[Record]:
        """The records of the batch that match, in their order."""
        return self.expression.select(batch)

    def matches(self, record: Record, labels: Mapping[str, str]) -> bool:
        """Whether one record matches; `labels` are its partition's."""
        return bool(self.select(Batch([record], "", "", labels, Ack(None, 0, ()), 0, {})))

    def __repr__(self) -> str:
        return f"Match({self.text!r})"


class Token(NamedTuple):
    """A word of an expression."""

    kind: str
    text: str
    start: int


TOKEN = (
    r"""(?P<space>(?:\s|\#[^\n]*)+)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    |(?P<name>[A-Za-z_@][A-Za-z0-9_@]*(?:\.[A-Za-z0-9_@]+)*)
    |(?P<number>"""
    + NUMBER
    + r""")
    |(?P<op>\|=|\|~|\|>|!=|!~|!>|=~|==|>=|<=|[|=<>{}(),])"""
)
"""What words there are, as a verbose regular expression."""
_ESCAPE = re.compile(
    rb'\\(?:([abfnrtv\\"])|x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))', re.DOTALL
)
_SHORT = dict(zip(b'abfnrtv\\"', b'\a\b\f\n\r\t\v\\"', strict=True))
_SELECTOR = 'a label matcher such as {level="error"}'
_WORDS = ("or", "and", "unless", "not")


class Parser:
    """Recursive descent over LogQL's grammar, `or` between whole expressions added to it."""

    token = re.compile(TOKEN, re.VERBOSE)

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = []
        place = 0
        while place < len(text):
            if not (found := self.token.match(text, place)):
                what = "the closing quote" if text[place] in '"`' else f"{_SELECTOR} or a filter"
                self._fail(what, Token("?", text[place:], place))
            kind, place = str(found.lastgroup), found.end()
            if kind != "space":
                self.tokens.append(Token(kind, found[0], found.start()))
        self.tokens.append(Token("end", "", len(text)))
        self.place = 0

    def whole(self) -> Node:
        """The whole text as one expression."""
        node = self._either()
        if self._next.kind != "end":
            self._fail("a filter, `or`, `and` or the end")
        return node

    @property
    def _next(self) -> Token:
        return self.tokens[self.place]

    def _take(self, *texts: str) -> str:
        """The next token's text, if it is one of these (words in any case, as in LogQL); else empty."""
        token = self._next
        if token.kind in ("op", "name") and token.text.lower() in texts:
            self.place += 1
            return token.text.lower()
        return ""

    def _fail(self, expected: str, token: Token | None = None) -> NoReturn:
        token = token or self._next
        found = f", found {token.text[:20]!r}" if token.text else ""
        raise MatchError(f"expected {expected} at column {token.start + 1}{found}", token.start + 1)

    def _either(self) -> Node:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return _joined(Or, parts)

    def _both(self) -> Node:
        parts = [self._pipeline()]
        while word := self._take("and", "unless"):
            parts.append(self._pipeline() if word == "and" else Not(self._pipeline()))
        return _joined(And, parts)

    def _pipeline(self) -> Node:
        if self._take("not"):
            return Not(self._pipeline())
        if self._take("("):
            node = self._either()
            if not self._take(")"):
                self._fail("`)`")
        else:
            node = self._selector()
        parts = [node]
        while True:
            if op := self._take("|=", "!=", "|~", "!~", "|>", "!>"):
                parts.append(self._line(op))
            elif self._next.text == "|" and not self._beyond():
                self.place += 1
                parts.append(self._filters())
            else:
                return _joined(And, parts)

    def _beyond(self) -> bool:
        """Whether a `|` comes that is no filter, for a language that has more than filters."""
        return False

    def _selector(self) -> Node:
        if not self._take("{"):
            self._fail(_SELECTOR)
        parts: list[Node] = []
        while not self._take("}"):
            if parts and not self._take(","):
                self._fail("`,` or `}`")
            parts.append(self._field(_SELECTOR))
        return _joined(And, parts)

    def _line(self, op: str) -> Node:
        first = self._next
        values = [self._string(regex=op.endswith("~"))]
        while self._next.text.lower() == "or" and self.tokens[self.place + 1].kind == "string":
            self.place += 1
            values.append(self._string(regex=op.endswith("~")))
        if op.endswith(">"):
            return self._pattern(op, tuple(values), first)
        line = Line(op, tuple(values))
        self._compiles(line.pattern, first)  # each may be small enough, and all together not
        return line

    def _pattern(self, op: str, values: tuple[str, ...], first: Token) -> Node:
        try:
            return Pattern(op, values)
        except ValueError as error:
            raise MatchError(f"{error} at column {first.start + 1}", first.start + 1) from None

    def _filters(self) -> Node:
        """`and` binds tighter than `or`; a comma or nothing takes all that follows, as in Loki."""
        parts = [self._narrow()]
        while not self._expression_follows() and self._take("or"):
            parts.append(self._narrow())
        return _joined(Or, parts)

    def _narrow(self) -> Node:
        parts = [self._filter()]
        while not self._expression_follows() and self._take("and"):
            parts.append(self._filter())
        return _joined(And, parts)

    def _filter(self) -> Node:
        if self._take("("):
            node = self._filters()
            if not self._take(")"):
                self._fail("`)`")
        else:
            node = self._field("a label filter such as status >= 500", numbers=True)
        word = self._next.kind == "name" and self._next.text.lower() not in _WORDS
        if self._take(",") or word or self._next.text == "(":
            return _joined(And, [node, self._filters()])
        return node

    def _expression_follows(self) -> bool:
        """Whether the `or` or `and` here joins whole expressions: a selector comes next."""
        place = self.place + 1
        while place < len(self.tokens) and self.tokens[place].text.lower() in ("(", "not"):
            place += 1
        return place < len(self.tokens) and self.tokens[place].text == "{"

    def _field(self, example: str, numbers: bool = False) -> Node:
        if self._next.kind != "name" or self._next.text.lower() in _WORDS:
            self._fail(example)
        name = self._next.text
        self.place += 1
        op = self._take("=", "!=", "=~", "!~") or (self._take("==", ">", ">=", "<", "<=") if numbers else "")
        if not op:
            self._fail(f"one of = != =~ !~{' == > >= < <=' if numbers else ''} after {name}")
        number = self._next
        if numbers and number.kind == "number" and op in COMPARE:
            self.place += 1
            if self._next.kind == "name" and self._next.start == number.start + len(number.text):
                self._fail("a plain number (durations and sizes are not understood)", number)
            return Number(name, op, float(number.text))
        if op not in ("=", "!=", "=~", "!~"):
            self._fail(f"a number after {op}")
        return Field(name, op, self._string(regex=op.endswith("~")))

    def _string(self, *, regex: bool) -> str:
        token = self._next
        if token.kind != "string":
            self._fail('text in quotes, such as "error"')
        self.place += 1
        raw = token.text[1:-1].encode("utf-8", "surrogateescape")
        try:
            text = (raw if token.text[0] == "`" else _ESCAPE.sub(self._unescape, raw)).decode()
        except UnicodeDecodeError:
            self._fail("UTF-8", token)
        if regex:
            self._compiles(text, token)
        return text

    def _compiles(self, pattern: str, token: Token) -> None:
        try:
            Regex(pattern)
        except ValueError as error:
            raise MatchError(f"{error} at column {token.start + 1}", token.start + 1) from None

    def _unescape(self, found: re.Match[bytes]) -> bytes:
        short, byte, octal, *points, wrong = found.groups()
        if wrong:
            self._fail_escape(wrong.decode("utf-8", "replace"))
        if short:
            return bytes([_SHORT[short[0]]])
        if byte or octal:
            return bytes([int(byte, 16) if byte else int(octal, 8) & 255])
        try:
            return chr(int(points[0] or points[1], 16)).encode()
        except (ValueError, OverflowError):
            self._fail_escape(found[0].decode()[1:])

    def _fail_escape(self, escape: str) -> NoReturn:
        token = self.tokens[self.place - 1]
        message = (
            rf"\{escape} is no escape: write \\{escape}, or the text between backticks, at column {token.start + 1}"
        )
        raise MatchError(message, token.start + 1)


def _joined(kind: type[And] | type[Or], parts: list[Node]) -> Node:
    return parts[0] if len(parts) == 1 else kind(tuple(parts))
