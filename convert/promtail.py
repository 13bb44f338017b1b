"""A Promtail config as tailrace's."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..config import _yaml
from ..config import load as config_load
from ..config._yaml import Node
from ..config.problem import ConfigError, Problem, errors
from ..pipeline.sinks.loki import LEAST_LINE
from ._clients import Client, clients
from ._reader import Reader, children
from ._stages import Step
from ._targets import Target, targets
from ._write import Path as Place
from ._write import text_of
from .report import Finding, Report

_TOP = ("clients", "client", "server", "positions", "scrape_configs", "limits_config", "target_config")
_NEEDLESS = {
    "wal": "every line is on disk in its log until Loki has it: there is nothing to set",
    "tracing": "tailrace makes no spans of its own work",
    "options": "",
    "common": "",
}
_SERVER = ("http_listen_port", "http_listen_address", "disable", "log_level", "log_format", "grpc_listen_port")
AUTO = frozenset(("json", "prefixed_json", "logfmt"))
"""Formats that `auto` tells apart line by line."""


class Made(msgspec.Struct):
    """One config of tailrace."""

    name: str
    """Empty where one config does for all jobs; else what is added to its file's name."""
    text: str
    state: str


class Converted(msgspec.Struct):
    """All that a Promtail config became."""

    configs: list[Made]
    findings: list[Finding]
    complete: bool
    """Everything has an equal."""
    positions: str
    """The positions file that it names; empty where it names none."""


def convert(path: Path, environment: Mapping[str, str], state: str = "state") -> Converted:
    """The config of tailrace that does the same, or several where one pipeline cannot.

    Raises ConfigError for a file that cannot be read, is not YAML or is no config of Promtail's.
    """
    document, problems = _yaml.read(path)
    root = document.root
    if errors(problems):
        raise ConfigError(problems)
    if root is None or not isinstance(root.value, dict) or root.child("scrape_configs") is None:
        place = root or Node(None)
        raise ConfigError(
            [
                Problem(
                    file=str(path),
                    line=place.line,
                    column=place.column,
                    message="no config of Promtail's: it has no `scrape_configs`",
                    hint="name the file that Promtail is started with (-config.file)",
                )
            ]
        )
    reader = Reader(Report(str(path)), environment)
    _rest(root, reader)
    sinks = clients(root, reader)
    if not sinks:
        reader.report.add("no equal", root, "no `clients`", "write the URL of Loki into the sink")
        sinks = [Client(root.line, {"url": "http://localhost:3100"}, {})]
    found = targets(root.child("scrape_configs"), reader, _common([one.external for one in sinks]))
    reader.tell_of_selectors()
    if not found:
        message = "nothing in it reads files: there is no config to write"
        reader.report.add("no equal", root.child("scrape_configs") or root, message, "see docs/how-to for sources")
    groups = _groups(found)
    made = []
    for number, group in enumerate(groups):
        name = group[0].name if len(groups) > 1 else ""
        own = f"{state}/{name}" if name else state
        made.append(Made(name, _text(path, root, reader, group, sinks, own, number), own))
    for one in made:
        _try(one, root, reader)
    positions = reader.text(root.under(["positions", "filename"])) if root.under(["positions", "filename"]) else ""
    return Converted(made, reader.report.findings, reader.report.complete, positions)


def _rest(root: Node, reader: Reader) -> None:
    """What stands beside jobs and clients."""
    reader.unknown(root, (*_TOP, *_NEEDLESS), "the config")
    for name, why in _NEEDLESS.items():
        if (node := root.child(name)) is not None:
            reader.report.add("differs", node, f"`{name}` has nothing to be set here", why)
    limits = root.child("limits_config")
    for name, node in children(limits).items():
        if name in ("max_line_size", "max_line_size_truncate"):
            continue
        if reader.text(node).lower() in ("false", "0"):
            continue
        instead = "a slow sink holds the reading back; rates and streams are limited in Loki"
        reader.report.add("no equal", children(limits)[name], f"`{name}` of limits_config", instead)
    if (
        limits is not None
        and (size := limits.child("max_line_size")) is not None
        and reader.size(size, "max_line_size")
    ):
        message = "a longer line is neither dropped nor cut short: Loki gets its start and end, and where the whole is"
        reader.report.add("differs", size, f"`max_line_size`: {message}")


def _common(externals: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """External labels that all clients have: the pipeline's labels go before them."""
    first, *others = externals
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in others)}


def _groups(found: Sequence[Target]) -> list[list[Target]]:
    """Targets that one list of stages can serve."""
    groups: list[list[Target]] = []
    for target in found:
        for group in groups:
            if all(_goes_with(target, other) for other in group):
                group.append(target)
                break
        else:
            groups.append([target])
    return groups


def _goes_with(one: Target, other: Target) -> bool:
    fixed = [[(step.use, step.options) for step in target.stages.steps if not step.narrows] for target in (one, other)]
    mine, theirs = one.stages.parse, other.stages.parse
    if fixed[0] != fixed[1]:
        return False
    if mine is None or theirs is None or mine == theirs:
        return mine == theirs
    rest = [{name: value for name, value in parse.items() if name != "format"} for parse in (mine, theirs)]
    return rest[0] == rest[1] and {mine["format"], theirs["format"]} <= AUTO


def _text(
    path: Path,
    root: Node,
    reader: Reader,
    group: Sequence[Target],
    sinks: Sequence[Client],
    state: str,
    number: int,
) -> str:
    data: dict[str, Any] = {"sources": {}}
    comments: dict[Place, str] = {
        ("sources",): f"Made of {path.name} by `tailrace convert`; the line numbers are those of it."
    }
    for target in group:
        source: dict[str, Any] = {"use": "file", "include": target.include}
        if target.exclude:
            source["exclude"] = target.exclude
        data["sources"][target.name] = source | target.stages.multiline
        comments["sources", target.name] = f"line {target.line}"
    if stages := _stages(group, comments):
        data["stages"] = stages
    data["sinks"] = _sinks(root, reader, group, sinks, comments)
    if server := _server(root, reader, number):
        data["exporter"] = {"listen": server}
        line = children(root)["server"].line
        comments["exporter",] = f"line {line}; 127.0.0.1 in front of the port keeps it to this machine"
    data["state"] = state
    return text_of(data, comments)


def _stages(group: Sequence[Target], comments: dict[Place, str]) -> list[dict[str, Any]]:
    stages: list[dict[str, Any]] = []
    parse = group[0].stages.parse
    if parse is not None:
        formats = {target.stages.parse["format"] for target in group if target.stages.parse}
        stages.append({"use": "parse", **parse, **({"format": "auto"} if len(formats) > 1 else {})})
        lines = sorted({target.stages.parse_line for target in group})
        told = f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"
        if parse.get("timestamp") == []:
            told += "\nno time was taken from the line: leave `timestamp` out to have it taken"
        comments["stages", 0] = told
    for step, sources in _merged(group):
        match = [step.match(source) for source in sources]
        if step.use == "derive_metrics":
            metrics = [step.options | ({"match": one} if one else {}) for one in match]
            if stages and stages[-1]["use"] == "derive_metrics":
                stages[-1]["metrics"] += metrics
                continue
            new: dict[str, Any] = {"use": "derive_metrics", "metrics": metrics}
        elif step.use == "drop":
            new = {"use": "drop", "match": " or ".join(match)}
        else:
            new = {"use": step.use, **step.options}
        comments["stages", len(stages)] = f"line {step.line}"
        stages.append(new)
    return stages


def _merged(group: Sequence[Target]) -> list[tuple[Step, list[str]]]:
    """The steps of all targets, each with the sources that it is narrowed to (one empty name: all of them)."""
    slots = [_slots(target.stages.steps) for target in group]
    merged: list[tuple[Step, list[str]]] = []
    for place, (_, fixed) in enumerate(slots[0]):
        here: list[tuple[Step, list[str]]] = []
        for target, own in zip(group, slots, strict=True):
            for step in own[place][0]:
                known = next((names for other, names in here if other.same(step) and target.name not in names), None)
                if known is None:
                    here.append((step, [target.name]))
                else:
                    known.append(target.name)
        merged += [(step, [""] if len(names) == len(group) else names) for step, names in here]
        if fixed is not None:
            merged.append((fixed, [""]))
    return merged


def _slots(steps: Sequence[Step]) -> list[tuple[list[Step], Step | None]]:
    """What can be narrowed to a source, up to each step that cannot."""
    slots: list[tuple[list[Step], Step | None]] = []
    waiting: list[Step] = []
    for step in steps:
        if step.narrows:
            waiting.append(step)
        else:
            slots.append((waiting, step))
            waiting = []
    return [*slots, (waiting, None)]


def _sinks(
    root: Node, reader: Reader, group: Sequence[Target], sinks: Sequence[Client], comments: dict[Place, str]
) -> dict[str, Any]:
    made: dict[str, Any] = {}
    limit = reader.size(root.under(["limits_config", "max_line_size"]), "max_line_size")
    common = _common([one.external for one in sinks])
    for number, client in enumerate(sinks, 1):
        kinds: list[tuple[dict[str, Any], list[Target]]] = []
        for target in group:
            own = _labelled(target, client, common, named=len(group) > 1)
            for known, members in kinds:
                if known == own:
                    members.append(target)
                    break
            else:
                kinds.append((own, [target]))
        for own, members in kinds:
            name = "loki" if len(sinks) == 1 else f"loki_{number}"
            sink: dict[str, Any] = {"use": "loki"}
            if len(kinds) > 1:
                name = f"{name}_{members[0].name}"
                names = "|".join(target.name for target in members)
                sink["match"] = f'{{source=~"{names}"}}' if len(members) > 1 else f'{{source="{names}"}}'
            sink |= client.options | own
            if limit:
                sink["max_line"] = max(limit, LEAST_LINE)
            made[name] = sink
            comments["sinks", name] = f"line {client.line}"
    return made


def _labelled(target: Target, client: Client, common: Mapping[str, str], *, named: bool) -> dict[str, Any]:
    """Labels, metadata and tenant of what one source gives to one client."""
    stages = target.stages
    labels = {name: text for name, text in client.external.items() if name not in common} | stages.labels
    if named:
        labels = {name: "{source}" if text == target.name else text for name, text in labels.items()}
    own: dict[str, Any] = {"labels": {name: text for name, text in labels.items() if text} or {"job": "{source}"}}
    metadata = [*stages.metadata, *(["file"] if stages.filename else [])]
    if metadata:
        own["metadata"] = metadata
    if stages.tenant:
        own["tenant"] = stages.tenant
    return own


def _server(root: Node, reader: Reader, number: int) -> str:
    """Where to listen; several configs have a port each."""
    server = root.child("server")
    if server is None or reader.flag(server.child("disable")):
        return ""
    port = reader.text(server.child("http_listen_port"), "80")
    address = reader.text(server.child("http_listen_address"), "0.0.0.0")
    if not port.isdecimal() or port == "0":
        return ""
    return f"{address}:{int(port) + number}"


def _try(made: Made, root: Node, reader: Reader) -> None:
    """Have the new config read by tailrace itself: what it does not take is told, too."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "tailrace.yaml")
        file.write_text(made.text)
        _, problems = config_load.check(file, secrets=False)
    for problem in errors(problems):
        message = f"the new config has a mistake on line {problem.line}: {problem.message}"
        reader.report.add("no equal", root, message, problem.hint)
