"""Whether a test of a config holds, and where what came differs from what it expects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from time import perf_counter
from typing import Any, TypeVar

import msgspec

from ..config.case import Case, Expected, ExpectedDead, series, series_text, time_ns
from ..config.load import Config
from ..pipeline.record import rfc3339
from .rehearsal import Lost, Sent, Shipped, ship

E = TypeVar("E")
G = TypeVar("G")

SHOWN = 400
"""Of a text that differs so many characters around the difference are shown."""


class Difference(msgspec.Struct, kw_only=True, frozen=True):
    """One thing that is not as expected."""

    where: str
    """Such as `archive, record 2, labels`."""
    expected: str | None = None
    """None: nothing is expected there."""
    got: str | None = None
    """None: nothing came."""
    hint: str = ""

    def pieces(self) -> Iterator[tuple[str, str]]:
        """The difference as indented lines, in pieces with rich's word for their style; plain: all texts joined."""
        yield f"    {visible(self.where)}\n", "bold"
        expected, got = self.expected, self.got
        if expected is not None and got is not None:
            expected, got = _shortened(expected, got)
        first, last = _alike(expected or "", got or "")
        for sign, text, style in (("-", expected, "green"), ("+", got, "red")):
            if text is None:
                yield f"      {sign} (nothing)\n", "dim"
                continue
            end = max(first, len(text) - last)
            yield f"      {sign} ", style
            yield _indented(text[:first]), style
            yield _indented(text[first:end]), f"{style} reverse"
            yield _indented(text[end:]) + "\n", style
        if self.hint:
            yield f"      hint: {visible(self.hint)}\n", "cyan"

    def plain(self) -> str:
        """The same without style."""
        return "".join(text for text, _ in self.pieces())


class Verdict(msgspec.Struct, kw_only=True):
    """What came of one test."""

    name: str
    file: str
    line: int
    """Where the test stands in the file, from 1."""
    seconds: float
    differences: list[Difference]

    @property
    def passed(self) -> bool:
        """It holds."""
        return not self.differences


def run(config: Config, place: int) -> Verdict:
    """Run one test of a config, with components of its own."""
    case = config.tests[place]
    start = perf_counter()
    shipped = ship(config, case.data, source=case.source, file=case.file, now=case.now)
    return Verdict(
        name=case.name,
        file=config.file,
        line=config.line_of(f"tests[{place}]"),
        seconds=perf_counter() - start,
        differences=list(differences(case, shipped)),
    )


def differences(case: Case, shipped: Shipped) -> Iterator[Difference]:
    """Everything that is not as the test expects it."""
    for sink, expected in case.out.items():
        got = shipped.sinks[sink]
        if isinstance(expected, int):
            yield from _numbers(f"{sink}, records", expected, len(got))
        else:
            yield from _records(sink, expected, got)
    if isinstance(case.dropped, int):
        yield from _numbers("dropped", case.dropped, sum(shipped.dropped.values()))
    for stage, number in (case.dropped if isinstance(case.dropped, dict) else {}).items():
        yield from _numbers(f"dropped by {stage}", number, shipped.dropped.get(stage, 0))
    if isinstance(case.dead, int):
        yield from _numbers("dead letters", case.dead, len(shipped.dead))
    else:
        yield from _dead(case.dead, shipped.dead)
    yield from _metrics(case.metrics, shipped.metrics)


def visible(text: str) -> str:
    r"""The text with what a terminal may obey shown as escapes, such as `\x1b`; line breaks stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _numbers(where: str, expected: float, got: float) -> Iterator[Difference]:
    if expected != got:
        yield Difference(where=where, expected=_number(expected), got=_number(got))


def _records(sink: str, expected: Sequence[str | Expected], got: Sequence[Sent]) -> Iterator[Difference]:
    wanted = [Expected(line=one) if isinstance(one, str) else one for one in expected]
    fits = [[not any(_record("", one, sent)) for sent in got] for one in wanted]
    for place, one, sent in _paired(fits, wanted, got):
        where = f"{sink}, record {place + 1}"
        if one is None:
            yield Difference(where=where, got=sent.line if sent else None)
        elif sent is None:
            yield Difference(where=where, expected=_told(one))
        else:
            yield from _record(where, one, sent)


def _record(where: str, expected: Expected, got: Sent) -> Iterator[Difference]:
    line = got.line
    if expected.line is not None and expected.line.removesuffix("\n") != line:
        yield Difference(where=f"{where}, line", expected=expected.line.removesuffix("\n"), got=line)
    for text in _texts(expected.contains):
        if text not in line:
            yield Difference(where=f"{where}, the line contains", expected=text, got=line)
    for text in _texts(expected.lacks):
        if text in line:
            yield Difference(where=f"{where}, the line lacks", expected=text, got=line)
    for path, value in expected.fields.items():
        found = _at(got.fields, path)
        if found != value or isinstance(found, bool) != isinstance(value, bool):
            near = get_close_matches(path, got.fields, n=1, cutoff=0.7) if found is None else []
            yield Difference(
                where=f"{where}, field {path}",
                expected=None if value is None else _json(value),
                got=None if found is None else _json(found),
                hint=f"there is {near[0]!r}" if near else "",
            )
    for name in ("labels", "metadata"):
        pairs, own = getattr(expected, name), getattr(got, name)
        if pairs is not None and pairs != own:
            yield Difference(where=f"{where}, {name}", expected=_pairs(pairs), got=_pairs(own))
    if expected.time is not None and time_ns(expected.time) != got.time_ns:
        yield Difference(where=f"{where}, time", expected=rfc3339(time_ns(expected.time)), got=rfc3339(got.time_ns))
    if expected.path is not None and expected.path != got.path:
        yield Difference(where=f"{where}, path", expected=expected.path, got=got.path)


def _dead(expected: Sequence[ExpectedDead], got: Sequence[Lost]) -> Iterator[Difference]:
    fits = [[not any(_letter("", one, lost)) for lost in got] for one in expected]
    for place, one, lost in _paired(fits, expected, got):
        where = f"dead letter {place + 1}"
        if one is None or lost is None:
            wanted = (
                None if one is None else _json({k: v for k, v in msgspec.to_builtins(one).items() if v is not None})
            )
            yield Difference(where=where, expected=wanted, got=None if lost is None else f"{lost.stage}: {lost.reason}")
        else:
            yield from _letter(where, one, lost)


def _letter(where: str, expected: ExpectedDead, got: Lost) -> Iterator[Difference]:
    if expected.stage is not None and expected.stage != got.stage:
        yield Difference(where=f"{where}, stage", expected=expected.stage, got=got.stage)
    if expected.reason is not None and expected.reason not in got.reason:
        yield Difference(where=f"{where}, the reason contains", expected=expected.reason, got=got.reason)
    if expected.line is not None and expected.line.removesuffix("\n") != got.line:
        yield Difference(where=f"{where}, line", expected=expected.line.removesuffix("\n"), got=got.line)


def _metrics(expected: dict[str, float], got: dict[str, float]) -> Iterator[Difference]:
    for text, value in expected.items():
        key = series_text(*series(text))
        found = got.get(key)
        if found is None and value == 0:
            continue  # a series begins with its first count
        if found is None or abs(found - value) > 1e-9 * max(1.0, abs(value)):
            name = key.partition("{")[0]
            others = [one for one in got if one.partition("{")[0] == name] or get_close_matches(key, got, n=3)
            hint = "" if found is not None or not others else f"there is {', '.join(others[:5])}"
            yield Difference(
                where=key, expected=_number(value), got=None if found is None else _number(found), hint=hint
            )


def _paired(
    fits: Sequence[Sequence[bool]], expected: Sequence[E], got: Sequence[G]
) -> Iterator[tuple[int, E | None, G | None]]:
    """What does not fit, side by side: the longest run of those that fit, in order, is left out.

    With the place of what came, or of what is missing.
    """
    rows, columns = len(expected), len(got)
    longest = [[0] * (columns + 1) for _ in range(rows + 1)]
    for row in reversed(range(rows)):
        for column in reversed(range(columns)):
            longest[row][column] = max(
                longest[row + 1][column + 1] + fits[row][column], longest[row + 1][column], longest[row][column + 1]
            )
    row = column = 0
    while row < rows and column < columns:
        here = longest[row][column]
        if here == longest[row + 1][column + 1] + fits[row][column]:
            if not fits[row][column]:
                yield column, expected[row], got[column]
            row, column = row + 1, column + 1
        elif here == longest[row + 1][column]:
            yield row, expected[row], None
            row += 1
        else:
            yield column, None, got[column]
            column += 1
    yield from ((place, expected[place], None) for place in range(row, rows))
    yield from ((place, None, got[place]) for place in range(column, columns))


def _shortened(one: str, other: str) -> tuple[str, str]:
    """Two long texts cut down to where they begin to differ."""
    if max(len(one), len(other)) <= SHOWN:
        return one, other
    start = max(0, _alike(one, other)[0] - SHOWN // 4)
    return _window(one, start), _window(other, start)


def _window(text: str, start: int) -> str:
    return "…" * bool(start) + text[start : start + SHOWN] + "…" * (len(text) > start + SHOWN)


def _alike(one: str, other: str) -> tuple[int, int]:
    """How many characters are the same at the beginning and at the end; the first is all where there are no two."""
    if not one or not other:
        return max(len(one), len(other)), 0
    shorter = min(len(one), len(other))
    first = next((at for at in range(shorter) if one[at] != other[at]), shorter)
    last = next((at for at in range(shorter - first) if one[-1 - at] != other[-1 - at]), shorter - first)
    return first, last


def _indented(text: str) -> str:
    return visible(text).replace("\n", "\n        ")


def _texts(texts: str | list[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else texts


def _at(fields: Any, path: str) -> Any:
    """A field by its name, or by the names on the way to it."""
    if not isinstance(fields, dict):
        return None
    if path in fields:
        return fields[path]
    first, _, rest = path.partition(".")
    return _at(fields.get(first), rest) if rest else None


def _told(expected: Expected) -> str:
    """A whole record that is missing."""
    given = {name: value for name, value in msgspec.to_builtins(expected).items() if value not in (None, [], {})}
    return given["line"] if list(given) == ["line"] else _json(given)


def _pairs(pairs: dict[str, str]) -> str:
    return "{" + ", ".join(f"{name}={_json(value)}" for name, value in sorted(pairs.items())) + "}"


def _json(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


def _number(value: float) -> str:
    return f"{value:.12g}"
