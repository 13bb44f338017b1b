"""The reference page: every component and option in Markdown, made from the classes and their docstrings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..pipeline import discover
from ..pipeline.component import Component, Sink, Source, Stage
from .describe import Option, in_words, option_sentences, options, sentences, structs_in, written
from .load import Config

_KINDS: dict[str, tuple[type[Component], str]] = {
    "source": (Source, "Sources: where records come from"),
    "stage": (Stage, "Stages: what happens to them, in order"),
    "sink": (Sink, "Sinks: where they go"),
}
_INTRO = """\
# Components

<!-- Made by `tailrace components`: change the docstrings, not this page. -->

Durations are written `250ms`, `30s`, `1h30m`; sizes `4096`, `512KiB`, `10MB`; secrets `{ env: NAME }` or
`{ file: PATH }`. A template is text with `{field}` in it. Regular expressions are RE2's. `match` is LogQL's stream
selector and line filters, over fields. YAML is version 1.2: only `true` and `false` are booleans. Keys that begin
with `x-` at the top are yours, for anchors."""


def reference() -> str:
    """The whole page, the same for the same classes."""
    parts = [_INTRO, "## The config", sentences(Config), *_table(Config, options(Config))]
    for kind, (base, title) in _KINDS.items():
        parts.append(f"## {title}")
        shared = options(base)
        if shared:
            parts += [f"Every {kind} has these options beside its own:", *_table(base, shared)]
        for word in discover.words(kind):
            parts += _component(discover.component(kind, word), word, shared)
    return "\n\n".join(parts) + "\n"


def _component(cls: type[Component], word: str, shared: dict[str, Option]) -> Iterator[str]:
    yield f"### {word}"
    yield sentences(cls)
    own = {name: o for name, o in options(cls).items() if name not in shared or o != _inherited(shared[name])}
    if own:
        yield from _table(cls, own)
    else:
        yield "No options." if not shared else "No options of its own."


def _inherited(option: Option) -> Option:
    return msgspec.structs.replace(option, own=False)


def _table(cls: type[msgspec.Struct], known: dict[str, Option], prefix: str = "") -> Iterator[str]:
    rows = list(_rows(cls, known, prefix))
    yield "\n".join(["| option | type | default | |", "|---|---|---|---|", *rows])


def _rows(cls: type[msgspec.Struct], known: dict[str, Option], prefix: str) -> Iterator[str]:
    told = option_sentences(cls)
    for name, option in known.items():
        cells = [f"`{prefix}{name}`", in_words(option.kind), _default(option), told.get(option.field, "")]
        yield "| " + " | ".join(_cell(cell) for cell in cells) + " |"
        for inner in structs_in(option.kind):
            if not issubclass(inner, Component):
                step = "[]." if in_words(option.kind).startswith("list") else "."
                yield from _rows(inner, options(inner), f"{prefix}{name}{step}")


def _default(option: Option) -> str:
    if option.required:
        return "**required**"
    value: Any = option.default
    return "" if value is None else f"`{written(value)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
