"""Follows every field through the config: what is read must have been produced, and only what is read is decoded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

import msgspec

from ..pipeline.component import ANY, Component, Sink, Stage
from ._yaml import Document, Node
from .problem import Problem, did_you_mean

GIVEN = frozenset({"message", "timestamp", "source", "file", "topic", "partition"})
"""Fields that need no stage: what every record has, and what sources say of their partitions."""
IN_PATHS = frozenset({"date", "hour"})
"""Names that sinks know beside the fields, from the record's time."""
NEAR = 0.85
"""From this likeness on, a name is taken for a slip of the pen."""


class Step(msgspec.Struct, frozen=True, eq=False):
    """A component at its place in the config; with mistakes, as far as it could be built."""

    name: str
    node: Node
    component: Component | None
    whole: bool
    """Built from right options only: otherwise only names that stand in the config are held against it."""
    may_write: bool
    """Its class can write fields."""


class _Flow(msgspec.Struct):
    """The fields that records have at one point of the chain."""

    known: set[str]
    open: bool = False
    """Records may have any other field too, such as whatever a JSON line holds."""
    told: dict[str, str] = {}
    """Fields that a component writes by name, and which one."""
    removed: dict[str, str] = {}
    """Fields that are gone, and the stage that took them."""
    varying: dict[str, str] = {}
    """Fields that the next attempt would make different, and which component does."""

    def pass_through(self, step: Step) -> None:
        component = step.component
        if component is None or not step.whole:
            self.open = self.open or step.may_write
            if component is None:
                return
        removes, writes = set(component.removes()), set(component.writes())
        if ANY in removes:
            self.removed |= dict.fromkeys(self.known - GIVEN - writes, step.name)
            self.known, self.open = set(GIVEN), self.open and not step.whole
        self.known -= removes
        self.removed |= dict.fromkeys(removes - {ANY}, step.name)
        self._vary(step.name, component, removes, writes)
        self.open = self.open or ANY in writes
        self.known |= writes - {ANY}
        for field in sorted(writes - {ANY}):
            self.removed.pop(field, None)
            self.told.setdefault(field, step.name)

    def _vary(self, name: str, component: Component, removes: set[str], writes: set[str]) -> None:
        """What is made of a field that varies varies too, until it is removed; a stage may write over it or not."""
        read = set(component.reads())
        tainted = bool(self.varying) and (ANY in read or not read.isdisjoint(self.varying))
        varies = set(component.varies()) | (writes - {ANY} if tainted else set())
        gone = set(self.varying) - writes if ANY in removes else removes
        for field in gone:
            self.varying.pop(field, None)
        self.varying |= dict.fromkeys(sorted(varies), name)


def problems(
    document: Document, sources: Sequence[Step], stages: Sequence[Step], sinks: Sequence[Step]
) -> list[Problem]:
    """Fields that are read where no record can have them."""
    flow = _Flow(set(GIVEN))
    for step in sources:
        flow.pass_through(step)
    found: list[Problem] = []
    for place, step in enumerate(stages):
        found += _unproduced(document, flow, step, stages[place + 1 :])
        flow.pass_through(step)
    for step in sinks:
        found += _unproduced(document, flow, step, (), IN_PATHS)
        found += _varying(document, flow, step)
    return found


def wanted(stages: Sequence[Stage], sinks: Iterable[Sink]) -> list[frozenset[str] | None]:
    """For each stage the fields that are read or written after it (None: any may be): what `prepare` takes."""
    after: set[str] = set().union(*map(reads, sinks))
    out: list[frozenset[str] | None] = []
    for stage in reversed(stages):
        out.append(None if ANY in after else frozenset(after))
        after |= reads(stage) | set(stage.writes()) - {ANY}
    return out[::-1]


def reads(component: Component) -> set[str]:
    """The fields that a component looks at, those of a sink's `match` included."""
    names = set(component.reads())
    if isinstance(component, Sink) and component.match is not None:
        names |= set(component.match.fields)
    return names


def _unproduced(
    document: Document, flow: _Flow, step: Step, later: Sequence[Step], special: frozenset[str] = frozenset()
) -> Iterator[Problem]:
    if step.component is None:
        return
    names = reads(step.component) - {ANY}
    missing = sorted(names - flow.known - special)
    unseen = []
    for name in missing:
        place = _place(step.node, name)
        if place is None:
            unseen.append(name)
        elif name in flow.removed:
            hint = f"read it before that stage, or take {name!r} out of what the stage removes"
            yield document.problem(
                _within(place, name), f"the field {name!r} is gone: stage {flow.removed[name]!r} removed it", hint
            )
        elif not flow.open:
            yield document.problem(
                _within(place, name), f"no record has the field {name!r} here", _what_would_do(name, flow, later)
            )
        elif near := get_close_matches(name, sorted(flow.told), n=1, cutoff=NEAR):
            message = f"the field {name!r} is read, and nothing writes it by that name"
            hint = f"did you mean {near[0]!r}, which {flow.told[near[0]]!r} writes?"
            yield document.problem(_within(place, name), message, hint, "warning")
    # A component may look for fields that few records have; finding none of them at all is worth a word.
    if unseen and len(unseen) == len(names) and not flow.open and step.whole:
        use = step.node.child("use") or step.node
        message = f"{step.name!r} looks for {', '.join(unseen)}, and no record has any of them here"
        yield document.problem(use, message, _what_would_do(unseen[0], flow, later), "warning")


def _varying(document: Document, flow: _Flow, step: Step) -> Iterator[Problem]:
    """Fields that would make a repeat after a crash another record, at a sink: each at its name, the others at once."""
    if step.component is None or not flow.varying:
        return
    hint = "a repeat after a crash must be the same: let a stage that `removes` it come before the sinks"
    unnamed = []
    for name, by in flow.varying.items():
        place = _place(step.node, name) if name in reads(step.component) else None
        if place is None:
            unnamed.append(name)
            continue
        message = f"the field {name!r}, which {by!r} writes, is another one at every attempt"
        yield document.problem(_within(place, name), message, hint)
    if unnamed:
        # Also a sink that ships lines alone: a stage that rewrites a JSON line puts every field into it.
        use = step.node.child("use") or step.node
        told = ", ".join(f"{name!r} ({flow.varying[name]!r} writes it)" for name in unnamed)
        message = f"{step.name!r} ships all fields, and of these some are others at every attempt: {told}"
        yield document.problem(use, message, hint)


def _what_would_do(name: str, flow: _Flow, later: Sequence[Step]) -> str:
    for step in later:
        if step.component is not None and name in set(step.component.writes()):
            return f"the stage {step.name!r} writes it, but later: move that stage up"
    return did_you_mean(name, flow.known, "fields known here")


def _place(node: Node, name: str) -> Node | None:
    """Where a component's options name the field: as `{field}`, alone, as a word in a text, or as a key."""
    values, keys = _scalars(node)
    for among, pattern in (
        (values, rf"\{{{re.escape(name)}\}}"),
        (values, rf"\A{re.escape(name)}\Z"),
        (values, rf"(?<![\w.@-]){re.escape(name)}(?![\w.@-])"),
        (keys, rf"\A{re.escape(name)}\Z"),
    ):
        for scalar in among:
            if re.search(pattern, scalar.text):
                return scalar
    return None


def _scalars(node: Node) -> tuple[list[Node], list[Node]]:
    keys = {id(key) for inner in node.walk() for key in inner.keys.values()}
    use = node.child("use")
    all_of_them = [inner for inner in node.walk() if inner.text and inner is not use]
    return [n for n in all_of_them if id(n) not in keys], [n for n in all_of_them if id(n) in keys]


def _within(node: Node, name: str) -> Node:
    """The node narrowed to the name in it, where it stands on one line as it was read."""
    found = re.search(rf"(?<![\w.@-]){re.escape(name)}(?![\w.@-])", node.text)
    quotes = node.width - len(node.text)
    if found is None or node.line != node.last[0] or quotes not in (0, 2):
        return node
    return msgspec.structs.replace(node, column=node.column + quotes // 2 + found.start(), width=len(name))
