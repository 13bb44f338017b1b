"""The stages of one Promtail pipeline, taken over one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import re2

from ..config._yaml import Node
from ..pipeline.labels import sanitize
from ..pipeline.match import Match
from ..pipeline.sinks.loki import UNBOUNDED
from . import _go
from ._reader import Reader, children, items

CONTAINERS = ("docker", "cri")
_CONTENT = "<content>"
"""Stands for the text that a container wrote, which is no field."""
_MANY = re.compile(r"(?:^|_)(?:id|uuid|guid|ts|time|timestamp|ip|pid|duration|filename)$")
"""Names of what has a value of its own in nearly every record."""
_FIELD = re.compile(r"[A-Za-z_@][\w@-]*(?:\.[A-Za-z_@][\w@-]*)*")
_MATCHER = re.compile(r"""\s*(\w+)\s*(=~|!~|!=|=)\s*("(?:\\.|[^"\\])*"|`[^`]*`)\s*,?""")
_OBJECT = re.compile(r"\(\?P?<(\w+)>(?:\\?\{)?\.[*+](?:\\?\})?\)\$?$")
"""The last group of an expression, which takes all that is left: an object, perhaps."""
_GUESSED = {
    **dict.fromkeys(("ts", "time", "timestamp", "date", "datetime", "asctime"), "timestamp"),
    **dict.fromkeys(("level", "lvl", "severity", "levelname"), "level"),
    **dict.fromkeys(("logger", "name"), "logger"),
}
"""What `prefixed_json` calls what stands before the object."""
_NO_EQUAL = {
    "limit": "a sink that is slow holds the reading back by itself; a rate is limited in Loki (`limits_config`)",
    "pack": "`line: json` on the sink: all fields as one JSON object",
    "sampling": '`drop` by a match that tells unimportant records, such as {level="debug"}',
    "geoip": "look addresses up when querying, or write a stage: `tailrace new stage geoip`",
    "decolorize": "LogQL's `| decolorize` when querying; `parse` reads fields through colours",
    "eventlogmessage": "there is no source for Windows events",
}
_NO_DROP = {
    "older_than": "Loki's `reject_old_samples_max_age`",
    "longer_than": "`max_line` of the sink, or `truncate`",
}


class Step(msgspec.Struct):
    """A stage of the new config; of `drop` and `derive_metrics` the condition apart, so that it can be narrowed."""

    use: str
    options: dict[str, Any]
    line: int
    matchers: list[str] = []
    filters: str = ""

    @property
    def narrows(self) -> bool:
        """It has a condition of its own."""
        return self.use in ("drop", "derive_metrics")

    def same(self, other: Step) -> bool:
        """It does the same, wherever it stands."""
        return msgspec.structs.replace(other, line=self.line) == self

    def match(self, source: str = "") -> str:
        """The condition, for this source alone if one is given; empty where everything matches."""
        matchers = [*([f'source="{source}"'] if source else []), *self.matchers]
        if not matchers and not self.filters and self.use != "drop":
            return ""
        return f"{{{', '.join(matchers)}}} {self.filters}".strip()


class Stages:
    """What becomes of the stages of one target."""

    def __init__(self, reader: Reader, labels: Mapping[str, str]) -> None:
        self._reader = reader
        self._report = reader.report
        self.labels = dict(labels)
        """What the sink's labels are made of: text, or `{field}`."""
        self.metadata: list[str] = []
        self.parse: dict[str, Any] | None = None
        self.parse_line = 0
        self.steps: list[Step] = []
        self.multiline: dict[str, Any] = {}
        """Options of the source."""
        self.tenant = ""
        self.filename = True
        """The path of the file goes with each record."""
        self._fields: dict[str, str | None] = {"filename": "file"}
        """What was extracted, and the field that holds it; None where that has no equal."""
        self._unread: dict[str, Node] = {}
        self._texts = dict(labels)
        self._rest: tuple[str, Node, str] | None = None
        """The group that may hold an object, its stage, and the expression."""
        self._late: dict[str, tuple[Node, str]] = {}
        """Groups in front of an object: only searched for where something reads them."""
        self._times: set[str] = set()
        self._dead_time = False
        self._scope: list[tuple[list[str], str]] = []

    def take(self, stages: Node | None) -> None:
        """Take all of them over."""
        self._times = set(_sources_of_times(stages, self._reader))
        self._all(items(stages))
        self._settle_regex()
        own_time = self._dead_time or (self.parse is not None and self.parse["format"] in CONTAINERS)
        if self.parse is not None and not own_time:
            self.parse.setdefault("timestamp", [])
        by_stage: dict[int, tuple[Node, list[str]]] = {}
        for name, node in self._unread.items():
            by_stage.setdefault(node.line, (node, []))[1].append(name)
        for node, names in by_stage.values():
            told = ", ".join(names)
            message = f"extracted, and nothing reads it: {told}"
            self._report.add("dead", node, message, f"to send it: `metadata: [{told}]` on the sink")

    def _all(self, stages: Iterable[Node]) -> None:
        for stage in stages:
            for name, options in children(stage).items():
                key = stage.keys[name]
                if self._rest is not None and name != "json":
                    self._settle_regex()
                if self._scope and name not in ("drop", "metrics", "match"):
                    message = f"stage `{name}` for some records only"
                    self._report.add("no equal", key, message, "two sinks with `match`, each with labels of its own")
                elif name in _NO_EQUAL:
                    self._report.add("no equal", key, f"stage `{name}`", _NO_EQUAL[name])
                elif take := getattr(self, f"_take_{name}", None):
                    take(key, options)
                else:
                    self._report.add("no equal", key, f"stage `{name}`, which Promtail does not have either")

    # What lines are

    def _take_docker(self, key: Node, options: Node) -> None:
        self._begin(key, "docker")

    def _take_cri(self, key: Node, options: Node) -> None:
        self._begin(key, "cri")
        self._known("flags", None, key)

    def _begin(self, key: Node, kind: str) -> None:
        if not self._format(key, kind):
            return
        message = f"stage `{kind}` replaces the line by the text inside; here the line stays as the runtime wrote it"
        self._report.add("no equal", key, message, "`line: json` on the sink ships its fields, the text as `message`")
        for name in ("output", "content", "log"):
            self._known(name, _CONTENT, key)
        for name in ("timestamp", "time"):
            self._known(name, "timestamp", key)
        self._known("stream", "stream", key)
        self.labels["stream"] = "{stream}"
        self._unread.clear()

    def _take_json(self, key: Node, options: Node) -> None:
        source = self._reader.text(options.child("source"))
        if source and self._rest is not None and source == self._rest[0]:
            group, stage, expression = self._rest
            self._rest = None
            if not self._format(key, "prefixed_json"):
                return
            message = "text before a JSON object is read by `prefixed_json`, not by this expression"
            self._report.add("differs", stage, message, "see with `tailrace check --sample FILE` that it reads yours")
            names = [name for name in re2.compile(expression).groupindex if name != group]
            for name in names:
                self._fields[name] = _GUESSED.get(name, name)
                if name not in _GUESSED:
                    self._late[name] = (stage, expression)
        elif source and self._fields.get(source) != _CONTENT:
            self._missing(key, "json", source) if source not in self._fields else self._report.add(
                "no equal", key, f"JSON inside of the field `{source}`", "write a stage: `tailrace new stage`"
            )
            return
        else:
            self._settle_regex()
            if not self._format(key, "json"):
                return
        for name, at in children(options.child("expressions")).items():
            path = self._reader.text(at) or name
            self._known(name, self._path(at, path), key)
        if self._reader.flag(options.child("drop_malformed")):
            self._report.add("no equal", key, "`drop_malformed`: a line that is not JSON ships, and is counted")
        self._reader.unknown(options, ("expressions", "source", "drop_malformed"), "json")

    def _path(self, node: Node, path: str) -> str | None:
        path = path.strip().strip('"') if path.count('"') == 2 else path.strip()
        if _FIELD.fullmatch(path):
            return path
        message = f"the JMESPath expression `{path}`: only fields and fields in fields (`a.b`) are read"
        self._report.add("no equal", node, message, "write a stage: `tailrace new stage`")
        return None

    def _take_logfmt(self, key: Node, options: Node) -> None:
        if source := self._reader.text(options.child("source")):
            self._report.add("no equal", key, f"logfmt inside of the field `{source}`", "`pairs: true` on `parse`")
            return
        if not self._format(key, "logfmt"):
            return
        for name, at in children(options.child("mapping")).items():
            field = self._reader.text(at) or name
            if field == "level":
                self._levels(at)
            self._known(name, field, key)

    def _take_regex(self, key: Node, options: Node) -> None:
        source = self._reader.text(options.child("source"))
        node = options.child("expression") or key
        expression = self._reader.text(node, expand=False)
        try:
            names = list(re2.compile(expression).groupindex)
        except re2.error:
            self._report.add("no equal", node, "an expression that RE2 does not take")
            return
        if source == "filename":
            self.steps.append(Step("enrich", {"file_name": expression}, key.line))
        elif source and self._fields.get(source) != _CONTENT:
            if source not in self._fields:
                self._missing(key, "regex", source)
                return
            self._report.add("no equal", key, f"an expression over the field `{source}`", "search the whole line")
            self._lose(names)
            names = []
        elif self.parse is not None and self.parse["format"] in CONTAINERS:
            message = "an expression over the text inside a container's line"
            instead = "the usual formats inside are read by themselves; else `patterns` of `enrich`, over the line"
            self._report.add("no equal", key, message, instead)
            self._lose(names)
            names = []
        elif (rest := _OBJECT.search(expression)) and rest[1] in names and self.parse is None:
            self._rest = (rest[1], key, expression)
            return
        elif self.parse is None and self._times.intersection(names):
            self._format(key, "regex")
            assert self.parse is not None
            self.parse["pattern"] = expression
            if "level" in names:
                self._levels(key)
        else:
            self._pattern(key, expression)
        for name in names:
            self._known(name, name, key)

    def _levels(self, node: Node) -> None:
        message = "`level` of a text becomes lower case here, `warn` becomes `warning` and `fatal` `critical`"
        self._report.add("differs", node, message, "ask for both words while old lines are there")

    def _settle_regex(self) -> None:
        """An expression whose last group turned out to be no object."""
        if self._rest is None:
            return
        (_, key, expression), self._rest = self._rest, None
        names = list(re2.compile(expression).groupindex)
        if self._times.intersection(names) and self.parse is None and self._format(key, "regex"):
            self.parse["pattern"] = expression  # type: ignore[index]  # it was just made
            if "level" in names:
                self._levels(key)
        else:
            self._pattern(key, expression)
        for name in names:
            self._known(name, name, key)

    def _pattern(self, key: Node, expression: str) -> None:
        last = self.steps[-1] if self.steps else None
        if last is not None and last.use == "enrich" and "patterns" in last.options:
            last.options["patterns"].append(expression)
        else:
            self.steps.append(Step("enrich", {"patterns": [expression]}, key.line))

    def _take_timestamp(self, key: Node, options: Node) -> None:
        source = self._reader.text(options.child("source"))
        layout = options.child("format")
        if source not in self._fields:
            message = f"stage `timestamp` reads `{source}`, which nothing extracts: every entry got the time of reading"
            instead = "here the line's own time is taken where `parse` finds one; `timestamp: []` on it takes none"
            if self.parse is None:
                instead = "leave it out, or add `parse` to have the time of the line"
            self._report.add("dead", key, message, instead)
            self._dead_time = True
            return
        field = self._use(source)
        if field is None or self.parse is None:
            self._report.add(
                "no equal", key, f"the time out of `{source}`", "`timestamp` of `parse` names a field of the line"
            )
            return
        self._dead_time = False
        self.parse["timestamp"] = [field]
        forms = {
            _go.strptime(self._reader.text(one)) for one in [layout, *items(options.child("fallback_formats"))] if one
        }
        if len(own := sorted(forms - {"auto"})) > 1:
            self._report.add(
                "no equal", key, "several formats of time", f"`timestamp_format: {own[0]}` is tried, then `auto`"
            )
        if own:
            self.parse["timestamp_format"] = own[0]
        if zone := self._reader.text(options.child("location")):
            self.parse["timezone"] = zone
        if self._reader.text(options.child("action_on_failure")) == "skip":
            message = "`action_on_failure: skip`: a line without a readable time gets that of the one before it"
            self._report.add("differs", key, message)

    # What goes with them

    def _take_labels(self, key: Node, options: Node) -> None:
        for name, at in children(options).items():
            source = self._reader.text(at) or name
            place = options.keys[name]
            if source in self._texts and source not in self._fields:
                self.labels[name] = self._texts[source]
            elif source not in self._fields:
                self._report.add(
                    "dead", place, f"label `{name}` from `{source}`, which nothing extracts", "leave it out"
                )
            elif (field := self._use(source)) is None or "." in field or field == _CONTENT:
                self._report.add("no equal", place, f"label `{name}`: `{source}` is no field of its own here")
            elif field == "file" or field in UNBOUNDED or _MANY.search(field) or _MANY.search(name):
                message = f"label `{name}` has many values, each of them a stream: it is structured metadata here"
                self._report.add(
                    "differs", place, message, f'in queries: {{…}} | {field}="…" in place of {{{name}="…"}}'
                )
                self._send(field)
                self.labels.pop(name, None)
            else:
                self.labels[name] = f"{{{field}}}"

    def _take_static_labels(self, key: Node, options: Node) -> None:
        for name, value in children(options).items():
            self.labels[name] = self._texts[name] = plain_label(name, self._reader.text(value), value, self._reader)

    def _take_structured_metadata(self, key: Node, options: Node) -> None:
        for name, at in children(options).items():
            source, place = self._reader.text(at) or name, options.keys[name]
            if source not in self._fields:
                message = f"structured metadata `{name}` from `{source}`, which nothing extracts"
                self._report.add("dead", place, message, "leave it out")
            elif (field := self._use(source)) is None or "." in field or field == _CONTENT:
                self._report.add("no equal", place, f"structured metadata `{name}`: `{source}` is no field of its own")
            else:
                if field != name:
                    self._report.add("differs", place, f"structured metadata `{name}` is called `{field}` here")
                self._send(field)

    def _send(self, field: str) -> None:
        if field == "file":
            self.filename = True
        elif field not in self.metadata:
            self.metadata.append(field)

    def _take_labeldrop(self, key: Node, options: Node) -> None:
        names = set(self._reader.texts(options))
        self._keep_labels(lambda name: name not in names)

    def _take_labelallow(self, key: Node, options: Node) -> None:
        names = set(self._reader.texts(options))
        self._keep_labels(lambda name: name in names)

    def _keep_labels(self, wanted: Callable[[str], bool]) -> None:
        self.labels = {name: text for name, text in self.labels.items() if wanted(name)}
        self.filename = self.filename and wanted("filename")

    def _take_tenant(self, key: Node, options: Node) -> None:
        label = self._reader.text(options.child("label")) or self._reader.text(options.child("source"))
        value = self._reader.text(options.child("value")) or self._texts.get(label, "")
        if value:
            self.tenant = value
        else:
            message = "a tenant that follows from the record"
            self._report.add("no equal", key, message, "a sink for each tenant, with `match` and `tenant`")
            self._use(label)

    # What changes them

    def _take_output(self, key: Node, options: Node) -> None:
        source = self._reader.text(options.child("source"))
        if source not in self._fields:
            self._missing(key, "output", source)
        elif self._use(source) != _CONTENT:
            message = f"stage `output`: the line ships whole, not only its `{source}`"
            self._report.add("no equal", key, message, f"LogQL's `| line_format` when querying: {{{{.{source}}}}}")

    def _take_template(self, key: Node, options: Node) -> None:
        source = self._reader.text(options.child("source"))
        message = f"stage `template`: `{source}` stays as it was extracted"
        self._report.add("no equal", key, message, "`rename`, `enrich`, or a stage: `tailrace new stage`")
        self._fields.setdefault(source, None)

    def _take_replace(self, key: Node, options: Node) -> None:
        source = self._reader.text(options.child("source"))
        node = options.child("expression") or key
        expression, new = self._reader.text(node, expand=False), self._reader.text(options.child("replace"))
        if source:
            if source not in self._fields:
                self._missing(key, "replace", source)
                return
            instead = f"`redact` with `deny: [{self._use(source)}]` hides the field and its place in the line"
            self._report.add("no equal", key, f"stage `replace` within the field `{source}`", instead)
            return
        try:
            groups = re2.compile(expression).groups
        except re2.error:
            self._report.add("no equal", node, "an expression that RE2 does not take")
            return
        if not groups:
            message = "stage `replace` replaces groups, and the expression has none: nothing was replaced"
            self._report.add("dead", key, message, "`redact` with `patterns` hides the whole match")
            return
        if "{{" in new:
            message = "stage `replace` by a template"
            self._report.add("no equal", key, message, "`redact` with `mode: hash`, if equal values shall stay equal")
            return
        name = f"promtail_{key.line}"
        what = "what matches" if groups > 1 else "what the group matches"
        self._report.add("differs", key, f"{what} becomes [REDACTED:{name}], not `{new}`")
        pattern = expression if groups > 1 else _secret(expression)
        self.steps.append(Step("redact", {"builtin": False, "patterns": {name: pattern}}, key.line))

    # What leaves some out, or counts them

    def _take_drop(self, key: Node, options: Node) -> None:
        sources = self._reader.texts(options.child("source"))
        for name in _NO_DROP:
            if options.child(name) is not None:
                self._report.add("no equal", key, f"stage `drop` by `{name}`", _NO_DROP[name])
                return
        expression, value = options.child("expression"), options.child("value")
        matchers, filters = [], ""
        for source in sources:
            if source not in self._fields and source not in self._texts:
                message = f"stage `drop` reads `{source}`, which nothing extracts: it never drops"
                self._report.add("dead", key, message, "leave it out")
                return
            field = self._use(source) if source in self._fields else None
            if field is None or field == _CONTENT or (len(sources) > 1 and (expression or value)):
                self._report.add(
                    "no equal", key, f"stage `drop` by {', '.join(sources)}", "`drop` with a `match` of its own"
                )
                return
            if value is not None:
                matchers.append(f"{field}={_quoted(self._reader.text(value))}")
            elif expression is not None:
                matchers.append(f"{field}=~{_quoted(f'(?s).*(?:{self._reader.text(expression, expand=False)}).*')}")
            else:
                matchers.append(f'{field}!=""')
        if not sources and expression is not None:
            filters = f"|~ {_quoted(self._reader.text(expression, expand=False))}"
        self._drop(key, matchers, filters)

    def _drop(self, key: Node, matchers: list[str], filters: str) -> None:
        self._condition(Step("drop", {}, key.line, matchers, filters), key)

    def _condition(self, step: Step, key: Node) -> None:
        for matchers, filters in reversed(self._scope):
            step.matchers = [*matchers, *step.matchers]
            step.filters = f"{filters} {step.filters}".strip()
        try:
            Match(step.match() or "{}")
        except ValueError as error:
            self._report.add("no equal", key, f"the condition {step.match()}: {error}")
            return
        self.steps.append(step)

    def _take_match(self, key: Node, options: Node) -> None:
        node = options.child("selector") or key
        selector = self._reader.text(node, expand=False)
        known = self._selected(node, selector)
        if known is None:
            return
        matchers, filters = known
        self._reader.unknown(options, ("selector", "stages", "action", "pipeline_name", "drop_counter_reason"), "match")
        if self._reader.text(options.child("action")) == "drop":
            self._drop(key, matchers, filters)
        elif matchers or filters:
            self._scope.append((matchers, filters))
            self._all(items(options.child("stages")))
            self._scope.pop()
        else:
            self._all(items(options.child("stages")))

    def _selected(self, node: Node, selector: str) -> tuple[list[str], str] | None:
        """What of a selector only the records can tell; None where it never matches this target, or has no equal."""
        place = selector.find("{") + 1
        matchers: list[str] = []
        while place and (found := _MATCHER.match(selector, place)):
            place = found.end()
            name, sign, text = found.groups()
            value = text[1:-1] if text[0] == "`" else json.loads(text)
            label = "{file}" if name == "filename" and self.filename else self.labels.get(name, "")
            if label.startswith("{"):
                matchers.append(f"{label[1:-1]}{sign}{_quoted(value)}")
                continue
            same = bool(re2.compile(f"(?s:{value})").fullmatch(label)) if "~" in sign else value == label
            if same == ("!" in sign):
                self._reader.selects(node, False)
                return None
        rest = selector[place:].strip()
        if not place or not rest.startswith("}"):
            self._report.add(
                "no equal", node, f"the selector `{selector}`", "`match` of a sink, `drop` or `keep` takes LogQL"
            )
            return None
        try:
            Match(f"{{}} {rest[1:]}")
        except ValueError:
            self._report.add(
                "no equal", node, f"what follows in the selector `{selector}`", "match fields and texts of the line"
            )
            return None
        self._reader.selects(node, True)
        return matchers, rest[1:].strip()

    def _take_multiline(self, key: Node, options: Node) -> None:
        start = self._reader.text(options.child("firstline"), expand=False)
        if self.parse is not None:
            message = "stage `multiline` after a parser"
            self._report.add(
                "no equal", key, message, "`multiline: container` on the source joins inside containers' lines"
            )
            return
        self.multiline = {"multiline": {"start": start}, "multiline_wait": "3s"}
        if wait := self._reader.duration(options.child("max_wait_time"), "max_wait_time"):
            self.multiline["multiline_wait"] = wait
        if options.child("max_lines") is not None:
            self._report.add("differs", key, "`max_lines`: an event may have as many lines as `max_event` has room for")

    def _take_metrics(self, key: Node, options: Node) -> None:
        for name, metric in children(options).items():
            self._metric(options.keys[name], name, metric)

    def _metric(self, key: Node, name: str, metric: Node) -> None:
        reader = self._reader
        kind = reader.text(metric.child("type")).lower()
        config = metric.child("config")
        action = reader.text(config.child("action") if config else None).lower()
        source = reader.text(metric.child("source")) or name
        whole = (reader.text(metric.child("prefix")) or "promtail_custom_") + name
        every = config is not None and reader.flag(config.child("match_all"))
        if config is not None and reader.flag(config.child("count_entry_bytes")):
            self._report.add(
                "no equal", key, f"metric `{whole}` counts bytes", "`tailrace_…_bytes_total` of the exporter does"
            )
            return
        if kind == "gauge" and action != "set":
            self._report.add("no equal", key, f"metric `{whole}`: a gauge is set here, not changed (`{action}`)")
            return
        field = None
        if not every:
            if source not in self._fields:
                self._report.add(
                    "dead", key, f"metric `{whole}` reads `{source}`, which nothing extracts", "leave it out"
                )
                return
            field = self._use(source)
            if field is None or field == _CONTENT:
                self._report.add("no equal", key, f"metric `{whole}`: `{source}` is no field here")
                return
        if kind == "counter" and not whole.endswith("_total"):
            self._report.add("differs", key, f"metric `{whole}` is called `{whole}_total` here")
            whole += "_total"
        new: dict[str, Any] = {"name": whole, "type": kind}
        if told := reader.text(metric.child("description")):
            new["help"] = told
        matchers = []
        if field is not None and (kind != "counter" or action == "add"):
            new["value"] = field
        elif field is not None:
            matchers = [f'{field}!=""']
        value = config.child("value") if config else None
        if value is not None and field is not None:
            matchers = [f"{field}={_quoted(reader.text(value))}"]
        if kind == "histogram" and config is not None and (buckets := reader.texts(config.child("buckets"))):
            new["buckets"] = [float(one) for one in buckets]
        if self.labels:
            new["labels"] = dict(self.labels)
        new["expire"] = reader.duration(metric.child("max_idle_duration"), "max_idle_duration") or "5m"
        self._condition(Step("derive_metrics", new, key.line, matchers), key)

    # What is known

    def _format(self, key: Node, name: str) -> bool:
        """Have the lines read as this; False where they are read as something else already."""
        if self.parse is None:
            self.parse, self.parse_line = {"format": name}, key.line
            return True
        if self.parse["format"] == name or (name == "json" and self.parse["format"] in (*CONTAINERS, "prefixed_json")):
            return True
        message = f"lines are read as {self.parse['format']} already (line {self.parse_line}), and here as {name}"
        self._report.add("no equal", key, message, "`format: auto` tells them apart line by line")
        return False

    def _known(self, name: str, field: str | None, node: Node) -> None:
        self._fields[name] = field
        if field is not None:
            self._unread[name] = node

    def _lose(self, names: Iterable[str]) -> None:
        """They were extracted in Promtail, and are no fields here."""
        self._fields.update(dict.fromkeys(names))

    def _use(self, name: str) -> str | None:
        self._unread.pop(name, None)
        if late := self._late.pop(name, None):
            self._pattern(*late)
        return self._fields.get(name)

    def _missing(self, key: Node, stage: str, source: str) -> None:
        message = f"stage `{stage}` reads `{source}`, which nothing extracts: it never did anything"
        self._report.add("dead", key, message, "leave it out")


def plain_label(name: str, value: str, node: Node, reader: Reader) -> str:
    """A label's text; noted where it will look different."""
    text = value.replace("{", "").replace("}", "")
    if text and (new := sanitize(text)) != value:
        reader.report.add("differs", node, f"label `{name}`: `{value}` will be `{new}`, for labels are kept simple")
    return text


def _sources_of_times(stages: Node | None, reader: Reader) -> Iterable[str]:
    for stage in items(stages):
        for name, options in children(stage).items():
            if name == "timestamp":
                yield reader.text(options.child("source"))
            elif name == "match":
                yield from _sources_of_times(options.child("stages"), reader)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if "`" in text or "\\" not in text else f"`{text}`"


def _secret(expression: str) -> str:
    """The expression with its only group named `secret`."""
    named = re.sub(r"\(\?P?<\w+>", "(?P<secret>", expression, count=1)
    if named != expression:
        return named
    place, inside = 0, False
    while place < len(expression):
        sign = expression[place]
        if sign == "\\":
            place += 1
        elif inside:
            inside = sign != "]"
        elif sign == "[":
            inside = True
            place += expression[place + 1 : place + 2] == "]"
        elif sign == "(" and expression[place + 1 : place + 2] != "?":
            return f"{expression[:place]}(?P<secret>{expression[place + 1 :]}"
        place += 1
    return expression
