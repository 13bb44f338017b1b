"""Reads LogQL: log queries with parsers, filters and formats, and metric queries over them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

import re2

from ..pipeline.match import TOKEN, And, Field, Match, MatchError, Node, Parser, Token
from . import steps, units
from .steps import Step, Unwrap
from .template import Template, TemplateError

RANGES = (
    "count_over_time",
    "rate",
    "bytes_over_time",
    "bytes_rate",
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "quantile_over_time",
    "first_over_time",
    "last_over_time",
)
"""Functions over a range of time."""
PLAIN = ("count_over_time", "rate", "bytes_over_time", "bytes_rate")
"""Those that need no `unwrap`."""
GROUPED = ("avg", "min", "max", "stddev", "stdvar", "quantile", "first", "last")
"""Those with a `by` of their own, without `_over_time`."""
AGGREGATIONS = ("sum", "avg", "min", "max", "count", "stddev", "stdvar", "topk", "bottomk", "sort", "sort_desc")
STAGES = (
    "json",
    "logfmt",
    "regexp",
    "pattern",
    "unpack",
    "line_format",
    "label_format",
    "drop",
    "keep",
    "decolorize",
    "unwrap",
)
_REMOTE = (
    "absent_over_time",
    "rate_counter",
    "label_replace",
    "vector",
    "approx_topk",
    "ip",
    "on",
    "ignoring",
    "group_left",
    "group_right",
)
"""What Loki has and files do not."""
_OPERATORS = (("or",), ("and", "unless"), ("==", "!=", ">", ">=", "<", "<="), ("+", "-"), ("*", "/", "%"), ("^",))
"""From those that bind least to those that bind most."""
_NAME = re.compile(r"[A-Za-z_]\w*")
_PATH = re.compile(r'\.?([A-Za-z_@][\w@-]*)|\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]')


class OnlyLoki(MatchError):
    """LogQL that Loki understands and a search over files does not."""


@dataclass(frozen=True)
class Grouping:
    """`by (…)` or `without (…)`."""

    names: tuple[str, ...]
    without: bool = False

    def of(self, labels: dict[str, str]) -> dict[str, str]:
        """The labels that are left."""
        if self.without:
            return {name: value for name, value in labels.items() if name not in self.names}
        return {name: labels[name] for name in self.names if name in labels}


@dataclass(frozen=True)
class Logs:
    """A log query."""

    head: Node
    """Selector and the line filters behind it."""
    steps: tuple[Step, ...] = ()

    @property
    def stream(self) -> tuple[str, ...]:
        """Fields that stand in the selector."""
        parts = self.head.parts if isinstance(self.head, And) else (self.head,)
        return tuple(dict.fromkeys(part.name for part in parts if isinstance(part, Field)))


@dataclass(frozen=True)
class Range:
    """A function over what a log query gives in a range of time."""

    op: str
    logs: Logs
    range_ns: int
    offset_ns: int = 0
    unwrap: Unwrap | None = None
    parameter: float = 0.0
    grouping: Grouping | None = None


@dataclass(frozen=True)
class Aggregate:
    """`sum by (model) (…)`."""

    op: str
    inner: Metric
    grouping: Grouping = Grouping(())
    count: int = 0
    """How many, for topk and bottomk."""


@dataclass(frozen=True)
class Scalar:
    """A number."""

    value: float


@dataclass(frozen=True)
class Binary:
    """Two metrics, or a metric and a number, put together."""

    op: str
    left: Metric
    right: Metric
    bool: bool = False


Metric: TypeAlias = Range | Aggregate | Scalar | Binary
Query: TypeAlias = Logs | Metric


def parse(text: str) -> Query:
    """The query. Raises MatchError with the column and what would do, and OnlyLoki."""
    try:
        return _Parser(text).query()
    except RecursionError:
        raise MatchError("too many parentheses inside each other", 1) from None
    except MatchError:
        try:  # filters joined with other selectors are no LogQL, but what `match` takes
            return Logs(Match(text).expression)
        except MatchError:
            pass
        raise


class _Parser(Parser):
    """The language of `match`, and what may stand behind and around it."""

    token = re.compile(
        r"(?P<flag>--[a-z-]+)|" + TOKEN.replace("[|=<>{}(),]", r"[|=<>{}(),\[\]+\-*/%^]"),
        re.VERBOSE,
    )

    def query(self) -> Query:
        """The whole text."""
        query: Query = self._logs() if self._selects() else self._metric()
        if self._next.kind != "end":
            self._fail("a filter, a parser or the end" if isinstance(query, Logs) else "an operator or the end")
        return query

    def _selects(self) -> bool:
        """Whether a log query comes."""
        place = self.place
        while self.tokens[place].text.lower() in ("(", "not"):
            place += 1
        return self.tokens[place].text == "{" or self._next.kind == "end"

    def _logs(self) -> Logs:
        start = self.place
        node = self._pipeline()
        if self._next.text.lower() in ("or", "and", "unless"):
            self.place = start
            node = self._either()
            if self._next.text == "|":
                self._fail("parentheses around what `or`, `and` and `unless` join, or the end")
        return Logs(node, tuple(self._steps()))

    def _beyond(self) -> bool:
        return True

    def _steps(self) -> list[Step]:
        found: list[Step] = []
        while True:
            if op := self._take("|=", "!=", "|~", "!~", "|>", "!>"):
                found.append(steps.Filter(self._line(op)))
            elif self._next.text == "|" and not self._unwraps():
                self.place += 1
                found.append(self._step())
            else:
                return found

    def _unwraps(self) -> bool:
        return self.tokens[self.place + 1].text == "unwrap"

    def _line(self, op: str) -> Node:
        if self._next.text == "ip":
            self._only_loki("ip")
        return super()._line(op)

    def _step(self) -> Step:
        word = self._next
        following = self.tokens[self.place + 1]
        if word.kind == "name" and word.text in STAGES and following.text not in ("=", "!=", "=~", "!~"):
            self.place += 1
            made: dict[str, Callable[[], Step]] = {
                "json": self._json,
                "logfmt": self._logfmt,
                "regexp": self._regexp,
                "pattern": self._parts,
                "unpack": steps.Unpack,
                "line_format": lambda: steps.LineFormat(self._template()),
                "label_format": self._label_format,
                "drop": lambda: self._choose(keep=False),
                "keep": lambda: self._choose(keep=True),
                "decolorize": steps.Decolorize,
            }
            return made[word.text]()
        if word.kind != "name" and word.text != "(":
            self._fail("a parser (json, logfmt, regexp, pattern, unpack), a label filter, line_format or label_format")
        return self._any()

    def _any(self) -> Step:
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else steps.Any_(tuple(parts))

    def _all(self) -> Step:
        parts = [self._one()]
        while (
            self._take("and", ",")
            or (self._next.kind == "name" and self._next.text.lower() not in ("or", "and", "unless", "offset"))
            or self._next.text == "("
        ):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else steps.Both(tuple(parts))

    def _one(self) -> Step:
        if self._take("("):
            inner = self._any()
            self._expect(")")
            return inner
        if self._next.kind != "name":
            self._fail("a label filter such as status >= 500")
        name = self._next.text
        self.place += 1
        op = self._take("=", "!=", "=~", "!~", "==", ">", ">=", "<", "<=")
        if not op:
            self._place_of_unknown(name)
        if self._next.kind == "string" or op in ("=~", "!~"):
            if op not in ("=", "!=", "=~", "!~"):
                self._fail(f"a number, a duration (10ms) or a size (5KB) after {op}")
            return steps.Text(Field(name, op, self._string(regex=op.endswith("~"))))
        if self._next.text == "ip":
            self._only_loki("ip")
        value, read = self._amount(op)
        return steps.Amount(name, op, value, read)

    def _place_of_unknown(self, name: str) -> NoReturn:
        near = difflib.get_close_matches(name, STAGES, 1, 0.7)
        if self.tokens[self.place - 2].text == "|" and near:
            self.place -= 1
            self._fail(f"a parser, a filter or a format (did you mean {near[0]}?)")
        self._fail(f"one of = != =~ !~ == > >= < <= after {name}")

    def _amount(self, op: str) -> tuple[float, Callable[[str], float | None]]:
        first, text = self._next, self._joined_number()
        if not text:
            self._fail(f"a number, a duration (10ms), a size (5KB) or text in quotes after {op}")
        if (number := units.number(text)) is not None:
            return number, units.number
        if (ns := units.duration(text, days=True)) is not None:
            return ns, units.duration
        if (size := units.size(text)) is not None:
            return size, units.size
        return self._fail("a number, a duration such as 10ms, or a size such as 5KB", first)

    def _joined_number(self) -> str:
        """A number with what stands right behind it: `1h30m`."""
        text = ""
        if self._next.text == "-":
            text, self.place = "-", self.place + 1
        if self._next.kind != "number":
            return ""
        end = self._next.start
        while self._next.kind in ("number", "name") and self._next.start == end:
            text += self._next.text
            end += len(self._next.text)
            self.place += 1
        return text

    def _expect(self, text: str, what: str = "") -> None:
        if not self._take(text):
            self._fail(what or f"`{text}`")

    def _name(self, what: str = "a label's name") -> str:
        if self._next.kind != "name":
            self._fail(what)
        self.place += 1
        return self.tokens[self.place - 1].text

    def _paths(self) -> list[tuple[str, str, Token]]:
        """`name="expression"`, or a name alone."""
        found = []
        while self._next.kind == "name":
            first = self._next
            name = self._name()
            expression = self._string(regex=False) if self._take("=") else name
            found.append((name, expression, first))
            if not self._take(","):
                break
        return found

    def _json(self) -> Step:
        paths = []
        for name, expression, first in self._paths():
            path: list[str | int] = []
            place = 0
            while place < len(expression) and (part := _PATH.match(expression, place)):
                path.append(int(part[2]) if part[2] else part[1] or part[3])
                place = part.end()
            if not path or place < len(expression):
                self._fail('a path such as "request.headers[0]"', first)
            paths.append((name, tuple(path)))
        return steps.JsonPaths(tuple(paths)) if paths else steps.Json()

    def _logfmt(self) -> Step:
        flags = set()
        while self._next.kind == "flag":
            if self._next.text not in ("--strict", "--keep-empty"):
                self._fail("--strict or --keep-empty")
            flags.add(self._next.text)
            self.place += 1
        paths = tuple((name, expression) for name, expression, _ in self._paths())
        return steps.Logfmt("--strict" in flags, "--keep-empty" in flags, paths)

    def _regexp(self) -> Step:
        token = self._next
        pattern = self._string(regex=True)
        try:
            names = list(re2.compile(pattern).groupindex)
        except re2.error as error:
            self._fail(f"a regular expression ({error})", token)
        if not names:
            self._fail('a group with a name, such as "(?P<status>[0-9]+)"', token)
        return steps.Regexp(pattern)

    def _parts(self) -> Step:
        token = self._next
        pattern = self._string(regex=False)
        pieces = re.split(r"<([A-Za-z_]\w*)>", pattern)
        if not [name for name in pieces[1::2] if name != "_"]:
            self._fail('a part with a name, such as "<ip> - <_>"', token)
        if "" in pieces[2:-1:2]:
            self._fail("some text between two parts", token)
        if len(set(pieces[1::2]) - {"_"}) < len([name for name in pieces[1::2] if name != "_"]):
            self._fail("each name only once", token)
        return steps.Parts(pattern)

    def _template(self) -> Template:
        token = self._next
        text = self._string(regex=False)
        try:
            return Template(text)
        except TemplateError as error:
            column = token.start + 1 + error.column
            raise OnlyLoki(f"{error} at column {column}", column) from None

    def _label_format(self) -> Step:
        parts: list[tuple[str, str | Template]] = []
        while not parts or self._take(","):
            first = self._next
            name = self._name()
            self._expect("=", f"`=` after {name}")
            if name in [known for known, _ in parts]:
                self._fail("each label only once", first)
            parts.append((name, self._template() if self._next.kind == "string" else self._name("a label or a text")))
        return steps.LabelFormat(tuple(parts))

    def _choose(self, *, keep: bool) -> Step:
        chosen: list[tuple[str, Field | None]] = []
        while not chosen or self._take(","):
            name = self._name()
            op = self._take("=", "!=", "=~", "!~")
            chosen.append((name, Field(name, op, self._string(regex=op.endswith("~"))) if op else None))
        return steps.Choose(keep, tuple(chosen))

    def _metric(self, level: int = 0) -> Metric:
        if level == len(_OPERATORS):
            return self._atom()
        left = self._metric(level + 1)
        while op := self._operator(level):
            whole = bool(self._take("bool")) if level == 2 else False
            if self._next.text.lower() in ("on", "ignoring"):
                self._only_loki(self._next.text)
            right = self._metric(level if op == "^" else level + 1)
            left = Binary(op, left, right, whole)
        return left

    def _operator(self, level: int) -> str:
        token = self._next
        if level == 3 and token.kind == "number" and token.text[0] in "+-":  # `5-3`: the sign is the operator
            self.tokens[self.place : self.place + 1] = [
                Token("op", token.text[0], token.start),
                Token("number", token.text[1:], token.start + 1),
            ]
        return self._take(*_OPERATORS[level])

    def _atom(self) -> Metric:
        token = self._next
        if self._take("("):
            inner = self._metric()
            self._expect(")")
            return inner
        if token.kind == "number" or token.text == "-":
            number = units.number(self._joined_number())
            return Scalar(number) if number is not None else self._fail("a number", token)
        word = token.text
        if word in _REMOTE:
            self._only_loki(word)
        if word in RANGES:
            self.place += 1
            return self._range(word, token)
        if word in AGGREGATIONS:
            self.place += 1
            return self._aggregate(word)
        example = 'count_over_time({level="error"}[5m])'
        return self._fail(
            f'a label matcher such as {{level="error"}}, or a metric such as {example}'
            if self.place == 0
            else f"a metric such as {example}, one of {', '.join((*AGGREGATIONS, *RANGES))}"
            if token.kind == "name"
            else f"a metric such as {example}"
        )

    def _aggregate(self, op: str) -> Metric:
        grouping = self._grouping()
        self._expect("(", f"`(` after {op}")
        count = 0
        if op in ("topk", "bottomk"):
            token, number = self._next, units.number(self._joined_number())
            if number is None or number < 1 or number != int(number):
                self._fail(f"how many, such as {op}(5, …)", token)
            count = int(number)
            self._expect(",")
        if self._selects():
            self._fail('a metric such as count_over_time({level="error"}[5m])')
        inner = self._metric()
        self._expect(")")
        return Aggregate(op, inner, grouping or self._grouping() or Grouping(()), count)

    def _grouping(self) -> Grouping | None:
        word = self._take("by", "without")
        if not word:
            return None
        self._expect("(")
        names: list[str] = []
        while not self._take(")"):
            if names:
                self._expect(",", "`,` or `)`")
            names.append(self._name())
        return Grouping(tuple(names), word == "without")

    def _range(self, op: str, token: Token) -> Metric:
        self._expect("(", f"`(` after {op}")
        parameter = 0.0
        if op == "quantile_over_time":
            number, at = units.number(self._joined_number()), self._next
            if number is None:
                self._fail("which quantile, such as quantile_over_time(0.95, …)", at)
            parameter = number
            self._expect(",")
        wrapped = self._next.text == "(" and bool(self._take("("))
        if not self._selects():
            self._fail('a selector such as {level="error"}')
        logs = self._logs()
        range_ns, offset = 0, 0
        if self._next.text == "[":
            range_ns, offset = self._window()
            logs = Logs(logs.head, (*logs.steps, *self._steps()))
        unwrap = self._unwrap() if self._next.text == "|" else None
        if wrapped:
            self._expect(")")
        if not range_ns:
            if self._next.text != "[":
                self._fail("a range of time such as [5m]")
            range_ns, offset = self._window()
        self._expect(")")
        if unwrap is None and op not in PLAIN:
            raise MatchError(
                f"{op} needs numbers at column {token.start + 1}: write | unwrap and the label that has them, "
                "such as | unwrap duration_ms",
                token.start + 1,
            )
        if unwrap is not None and op in PLAIN and op != "rate":
            raise MatchError(f"{op} counts lines at column {token.start + 1}: leave out unwrap", token.start + 1)
        at = self._next
        grouping = self._grouping()
        if grouping is not None and op.removesuffix("_over_time") not in GROUPED:
            self._fail(f"no grouping here, but around it: sum {at.text} (…) ({op}(…))", at)
        return Range(op, logs, range_ns, offset, unwrap, parameter, grouping)

    def _window(self) -> tuple[int, int]:
        self._expect("[")
        range_ns = self._duration()
        self._expect("]")
        offset = 0
        if self._take("offset"):
            offset = self._duration()
        return range_ns, offset

    def _duration(self) -> int:
        token = self._next
        ns = units.duration(self._joined_number(), days=True)
        return ns if ns else self._fail("a duration such as 5m", token)

    def _unwrap(self) -> Unwrap:
        self._expect("|")
        self._expect("unwrap")
        name = self._name()
        convert = ""
        if self._take("("):
            if name not in ("duration", "duration_seconds", "bytes"):
                self.place -= 2
                self._fail("duration(…), duration_seconds(…) or bytes(…)")
            convert, name = name, self._name()
            self._expect(")")
        after: list[Step] = []
        while self._take("|"):
            after.append(self._any())
        return Unwrap(name, convert, tuple(after))

    def _only_loki(self, word: str) -> NoReturn:
        column = self._next.start + 1
        raise OnlyLoki(f"{word} at column {column} works in Loki (--loki) only", column)


def is_plain(query: Query) -> bool:
    """Whether the query is what `match` understands, and gives lines as they are stored."""
    return isinstance(query, Logs) and not query.steps


__all__ = [
    "Aggregate",
    "Binary",
    "Grouping",
    "Logs",
    "Metric",
    "OnlyLoki",
    "Query",
    "Range",
    "Scalar",
    "is_plain",
    "parse",
]
