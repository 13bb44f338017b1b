"""Loads a config: every component built from its options, or every mistake told at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec

from ..pipeline import discover
from ..pipeline.component import Component, Sink, Source, Stage
from ..pipeline.dead_letter import MAX_BYTES, WhenFull
from ..pipeline.options import Duration, Secret, Size, decode_option
from . import _yaml, data_flow
from ._yaml import Document, Node
from .case import Case
from .describe import Option, members, options
from .problem import ConfigError, Problem, did_you_mean, errors

Kind = Literal["source", "stage", "sink"]
C = TypeVar("C", bound=Component)

MOST_WORKERS = 64
_STAND_IN = ContextVar("_STAND_IN", default=False)
"""Whether secrets are not to be read: options are decoded far below where that is known."""
_BASES: dict[Kind, type[Component]] = {"source": Source, "stage": Stage, "sink": Sink}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_BOOLEANS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
_SPOKEN = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a map",
    "null": "nothing",
}


class Address(str):
    """A host and a port to listen on; written `127.0.0.1:9464` or `[::1]:9464`."""

    __slots__ = ()

    @classmethod
    def decode(cls, value: object) -> Address:
        """From YAML. Raises ValueError saying what would do."""
        form = "write host:port, such as 127.0.0.1:9464"
        if not isinstance(value, str) or not (found := re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+):(\d+)", value)):
            raise ValueError(f"{value!r} is not an address: {form}")
        if int(found[2]) > 65535:
            raise ValueError(f"{found[2]} is not a port: {form}")
        return cls(value)

    @property
    def host(self) -> str:
        """The host, without the brackets of IPv6."""
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port; 0 stands for any that is free."""
        return int(self.rpartition(":")[2])


class ExporterOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where /metrics and the health pages are served."""

    listen: Address = Address("127.0.0.1:9464")
    """Host and port; only this machine can ask unless you open it."""


class DeadLetterOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What becomes of records that cannot go on, when there are many."""

    max_bytes: Size = Size(MAX_BYTES)
    """How large the dead letter may grow, its older generation included."""
    when_full: WhenFull = "wait"
    """`wait` stops reading until there is room again (`tailrace dlq`), `drop_oldest` gives up the older half."""


class Config(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Everything that may be written in a config file.

    Relative paths, here and in every component, are meant from the folder that tailrace is started in.
    """

    sources: dict[str, Source]
    """Where records come from, each under the name that labels, metrics and messages use."""
    stages: list[Stage] = []
    """What happens to every record, in this order."""
    sinks: dict[str, Sink]
    """Where records go; each gets all of them unless its `match` says otherwise."""
    exporter: ExporterOptions | None = None
    """Serves Prometheus metrics and health over HTTP; without it nothing is served."""
    state: Path = Path("state")
    """The folder that remembers how far everything was delivered. One folder for one running tailrace."""
    workers: Annotated[int, msgspec.Meta(ge=1, le=MOST_WORKERS)] = 1
    """Processes that share the work, each log file being one's: more than one core can then be used. Each has a folder
    in the state folder, and archives of its own: `app.jsonl` becomes `app.worker-0.jsonl`, `app.worker-1.jsonl` …"""
    dead_letter: DeadLetterOptions = msgspec.field(default_factory=DeadLetterOptions)
    """Bounds of the file `dead_letter.jsonl` in the state folder."""
    drain: Duration = Duration(30)
    """When stopped, how long to go on delivering what was read."""
    stage_files: list[Path] = []
    """Python files with components of your own: `shout.py` holds the class `Shout` and is `use: shout`."""
    tests: list[Case] = []
    """Raw lines in, and what each sink is to get out: `tailrace test` runs them."""
    _document: Document = msgspec.field(default_factory=Document)

    @property
    def file(self) -> str:
        """The path that it was read from."""
        return self._document.file

    def line_of(self, path: str) -> int:
        """The line that a place such as `tests[2]` stands on, from 1."""
        root = self._document.root
        return root.at(path).line if root else 0

    def problem(self, path: str, message: str, hint: str = "") -> Problem:
        """An error at a place such as `sinks.loki.url`, or at the last part of it that was written."""
        root = self._document.root
        if root is None:
            return Problem(file=self._document.file or "config", message=f"{path}: {message}", hint=hint)
        node = root.at(path)
        if isinstance(node.value, dict):
            node = node.child("use") or node
        return self._document.show([self._document.problem(node, message, hint)])[0]

    def components(self) -> dict[str, Source | Stage | Sink]:
        """Every component by its place: `sources.app`, `stages[0]`, `sinks.loki`."""
        return {
            **{f"sources.{name}": source for name, source in self.sources.items()},
            **{f"stages[{place}]": stage for place, stage in enumerate(self.stages)},
            **{f"sinks.{name}": sink for name, sink in self.sinks.items()},
        }


class Home(msgspec.Struct, frozen=True):
    """What a config says of where a run is found."""

    state: Path
    exporter: ExporterOptions | None
    sources: dict[str, type[Component] | None]
    """The class of each; None where it cannot be told."""
    sinks: tuple[str, ...]


def home(path: Path) -> tuple[Home | None, list[Problem]]:
    """Where the run of a config is found, none of its components built: for who looks at it without its secrets.

    Says only of what it looks at whether that is wrong.
    """
    document, problems = _yaml.read(path)
    root = document.root
    if root is None:
        return None, problems
    loader = _Loader(document)
    loader.problems = problems
    known = options(Config)
    if not isinstance(root.value, dict):
        loader._note(root, "a config is a map with `sources:` and `sinks:`")
    found: dict[str, Any] = {name: known[name].default for name in ("state", "exporter")}
    for name in found:
        if (node := root.child(name)) is not None:
            found[name] = loader._option(node, known[name])
    if errors(loader.problems):
        return None, document.show(loader.problems)
    names: dict[str, dict[str, Node]] = {}
    for key in ("sources", "sinks"):
        node = root.child(key)
        names[key] = node.value if node is not None and isinstance(node.value, dict) else {}
    classes = {name: _known_class("source", node) for name, node in names["sources"].items()}
    return Home(found["state"], found["exporter"], classes, tuple(names["sinks"])), []


def _known_class(kind: Kind, node: Node) -> type[Component] | None:
    """The built-in class that a component uses."""
    use = node.child("use")
    try:
        return discover.component(kind, str(use.value)) if use else None
    except Exception:  # of a user's own, misspelt, or in need of a library that is not there
        return None


def load(path: Path, *, secrets: bool = True) -> Config:
    """The config in a file, as `check` reads it. Raises ConfigError with every problem that is not a mere warning."""
    config, problems = check(path, secrets=secrets)
    if config is None:
        raise ConfigError(errors(problems))
    return config


def check(path: Path, *, secrets: bool = True) -> tuple[Config | None, list[Problem]]:
    """The config in a file, None when it has errors, and all problems in the order of the file.

    `secrets`: False for who sends nothing anywhere: no environment variable and no file is looked at, each secret is
    the same stand-in.
    """
    before = _STAND_IN.set(not secrets)
    try:
        return _check(path)
    finally:
        _STAND_IN.reset(before)


def _check(path: Path) -> tuple[Config | None, list[Problem]]:
    document, problems = _yaml.read(path)
    if document.root is None:
        return None, problems
    loader = _Loader(document)
    loader.problems = problems
    config = loader.config(document.root)
    problems = document.show(loader.problems)
    return (None if errors(problems) else config), problems


class _Loader:
    """One pass over the nodes that builds what it can and notes what is wrong."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self._custom: dict[Kind, dict[str, type[Component]]] = {"source": {}, "stage": {}, "sink": {}}

    def config(self, root: Node) -> Config | None:
        """The whole of it; None when a part could not be built."""
        known = options(Config)
        if not isinstance(root.value, dict):
            self._note(root, "a config is a map with `sources:` and `sinks:`", did_you_mean("", known, "options"))
            return None
        for key in root.value:
            if key not in known and not key.startswith("x-"):
                self._unknown(root, key, known)
        values = {
            name: value
            for name in ("exporter", "state", "workers", "dead_letter", "drain", "stage_files", "tests")
            if (node := root.value.get(name)) is not None
            and (value := self._option(node, known[name])) is not msgspec.UNSET
        }
        self._load_custom(values.get("stage_files", []), root.value.get("stage_files"))
        sources = self._named(root, "source", Source)
        stages = self._stages(root)
        sinks = self._named(root, "sink", Sink)
        self.problems += data_flow.problems(self.document, sources, stages, sinks)
        self._check_groups(sources, sinks)
        if values.get("workers", 1) > 1:
            self._check_workers(root.value["workers"], sources, sinks)
        if errors(self.problems):
            return None
        config = Config(
            sources={step.name: step.component for step in sources if isinstance(step.component, Source)},
            stages=[step.component for step in stages if isinstance(step.component, Stage)],
            sinks={step.name: step.component for step in sinks if isinstance(step.component, Sink)},
            _document=self.document,
            **values,
        )
        self._check_tests(config, root.child("tests"))
        return config

    def _check_workers(self, node: Node, sources: list[data_flow.Step], sinks: list[data_flow.Step]) -> None:
        """Whether several processes have work, and get into nobody's way."""
        found = [step.component for step in sources if isinstance(step.component, Source)]
        apart = [told for source in found if (told := frozenset(source.tells_apart()))]
        if len(found) == len(sources) and not apart:
            hint = "take it out: only the first would have something to do"
            self._note(node, "no source here can be read by several workers", hint)
        for step in sinks:
            if isinstance(step.component, Sink) and step.whole:
                self._note_faults(step.node, step.component.shared(apart))

    def _check_groups(self, sources: list[data_flow.Step], sinks: list[data_flow.Step]) -> None:
        """Whether processes of a group, each with a config like this, get into nobody's way."""
        found = [step.component for step in sources if isinstance(step.component, Source)]
        if apart := [frozenset(source.tells_apart()) for source in found if source.grouped]:
            for step in sinks:
                if isinstance(step.component, Sink) and step.whole:
                    self._note_faults(step.node, step.component.beside(apart))

    def _check_tests(self, config: Config, node: Node | None) -> None:
        named: dict[str, int] = {}
        for place, case in enumerate(config.tests):
            own = node.child(place) if node else None
            if own is None:
                continue
            for fault in case.problems(config.sources, config.stages, config.sinks):
                at = own.under(fault.path, key=fault.of_key)
                self._note(at, fault.message, fault.hint)
            if case.name in named:
                hint = f"the one on line {named[case.name]} has it: names tell tests apart"
                self._note(own.under(("name",)), f"two tests are named {case.name!r}", hint)
            named.setdefault(case.name, own.line)

    def _named(self, root: Node, kind: Kind, base: type[C]) -> list[data_flow.Step]:
        key = f"{kind}s"
        node = root.child(key)
        if node is None or node.value is None or node.value == {}:
            place = node or root
            self._note(place, f"no {kind}: `{key}:` needs at least one", f"{key}: {{ name: {{ use: … }} }}")
            return []
        if not isinstance(node.value, dict):
            self._note(node, f"`{key}:` is a map of names", f"{key}: {{ name: {{ use: … }} }}")
            return []
        steps = []
        for name, inner in node.value.items():
            if not _NAME.fullmatch(name):
                hint = "letters, digits, _ and -, beginning with a letter or _"
                self._note(node.keys[name], f"{name!r} cannot be the name of a {kind}", hint)
            steps.append(self._step(inner, kind, name))
        return steps

    def _stages(self, root: Node) -> list[data_flow.Step]:
        node = root.child("stages")
        if node is None or node.value is None:
            return []
        if not isinstance(node.value, list):
            self._note(node, "`stages:` is a list", "stages: [ { use: … }, … ]")
            return []
        steps: list[data_flow.Step] = []
        used: dict[str, int] = {}
        for inner in node.value:
            use = inner.child("use")
            word = str(use.value) if use else "?"
            used[word] = used.get(word, 0) + 1
            steps.append(self._step(inner, "stage", word if used[word] == 1 else f"{word}.{used[word]}"))
        return steps

    def _step(self, node: Node, kind: Kind, name: str) -> data_flow.Step:
        cls = self._class(node, kind)
        if cls is None:
            return data_flow.Step(name, node, None, whole=False, may_write=True)
        component, whole = self._build(node, kind, cls, name)
        return data_flow.Step(name, node, component, whole, may_write=cls.writes is not Component.writes)

    def _class(self, node: Node, kind: Kind) -> type[Component] | None:
        """The class that `use:` names."""
        words = sorted({*discover.words(kind), *self._custom[kind]})
        if not isinstance(node.value, dict):
            shorthand = f"write {{ use: {node.value} }}" if node.value in words else f"a {kind} is {{ use: … }}"
            self._note(node, f"expected a map with `use:`, got {_found(node)}", shorthand)
            return None
        use = node.value.get("use")
        if use is None:
            self._note(node, f"`use:` is missing: which {kind}?", did_you_mean("", words, f"{kind}s"))
            return None
        word = use.value
        if isinstance(word, str) and word in self._custom[kind]:
            return self._custom[kind][word]
        if not isinstance(word, str) or word not in words:
            hint = did_you_mean(str(word), words, f"{kind}s")
            for other in _BASES:
                if (
                    isinstance(word, str)
                    and other != kind
                    and (word in discover.words(other) or word in self._custom[other])
                ):
                    hint = f"{word} is a {other}: it goes under `{other}s:`"
            self._note(use, f"no {kind} {use.text or word!r}" if isinstance(word, str) else "`use:` is a word", hint)
            return None
        try:
            return discover.component(kind, word)
        except Exception as error:  # a component may need a library that is not there
            self._note(use, f"{kind} {word!r} cannot be loaded: {_told(error)}")
            return None

    def _build(self, node: Node, kind: Kind, cls: type[Component], name: str) -> tuple[Component | None, bool]:
        """The component and whether all of its options were right; wrong ones are left at their defaults."""
        before = len(self.problems)
        known = options(cls)
        use = node.child("use") or node
        values: dict[str, Any] = {}
        if isinstance(node.value, dict):
            for key, inner in node.value.items():
                if key == "use":
                    continue
                if key not in known:
                    self._unknown(node, key, known)
                elif (value := self._option(inner, known[key])) is not msgspec.UNSET:
                    values[known[key].field] = value
            for key, option in known.items():
                if option.required and key not in node.value:
                    self._note(use, f"{kind} {use.value!r} needs the option {key!r}")
        if any(option.required and option.field not in values for option in known.values()):
            return None, False
        try:
            component = cls(name=name, **values)
            if len(self.problems) > before:
                return component, False
            self._note_faults(node, component.check())
        except Exception as error:  # a user's own component may raise anything
            self._note(use, f"{kind} {use.value!r} cannot be set up: {_told(error)}")
            return None, False
        return component, len(self.problems) == before

    def _note_faults(self, node: Node, faults: Iterable[tuple[str, str]]) -> None:
        for path, message in faults:
            place = node.at(path)
            at = node.child("use") or node if place is node else place
            self._note(at, f"{path}: {message}" if path else message)

    def _option(self, node: Node, option: Option) -> Any:
        """The option's value, UNSET after noting every mistake in it."""
        _hide_secrets(self.document, node, option.kind)
        try:
            return _convert(node, option.kind)
        except Exception:
            self.problems += _faults(self.document, node, option.kind, option.name)
            return msgspec.UNSET

    def _load_custom(self, paths: list[Path], node: Node | None) -> None:
        for place, path in enumerate(paths):
            at = (node and node.child(place)) or self.document.root
            assert at is not None  # the caller has a root
            try:
                cls = discover.custom(path)
            except (Exception, SystemExit) as error:  # the file is a user's own: it may raise anything
                reason = "no such file" if isinstance(error, FileNotFoundError) else _told(error)
                self._note(at, f"{path} cannot be loaded: {reason}")
                continue
            kind = next((kind for kind, base in _BASES.items() if issubclass(cls, base)), None)
            if kind is None:
                self._note(at, f"{cls.__name__} in {path} is neither a Stage nor a Source nor a Sink")
            elif path.stem in discover.words(kind) or path.stem in self._custom[kind]:
                self._note(at, f"there is a {kind} {path.stem!r} already", "rename your file and its class")
            else:
                self._custom[kind][path.stem] = cls

    def _unknown(self, node: Node, key: str, known: Mapping[str, Option]) -> None:
        at, value = node.keys[key], node.child(key)
        hint = did_you_mean(key, known, "options") or "it has no options"
        # The value of a misspelt `password` is still a password.
        if value is not None and any(Secret in members(o.kind) and f"{n!r}" in hint for n, o in known.items()):
            self.document.hide(value)
        self._note(at, f"no option {key!r}", hint)

    def _note(self, node: Node, message: str, hint: str = "") -> None:
        self.problems.append(self.document.problem(node, message, hint))


def _convert(node: Node, kind: Any) -> Any:
    return msgspec.convert(node.plain(), kind, dec_hook=_decode, str_keys=True)


def _decode(kind: type, value: object) -> Any:
    if kind is Path:
        if not isinstance(value, str) or not value:
            raise ValueError(f"expected a path, got {value!r}")
        return Path(value)
    if kind is Secret and _STAND_IN.get() and isinstance(value, Mapping) and len(value) == 1:
        ((origin, where),) = value.items()
        if origin in ("env", "file") and isinstance(where, str):
            return Secret("stand-in", f"{origin} {where}")
    return decode_option(kind, value)


def _parts(node: Node, kind: Any) -> Iterator[tuple[Node, Any, str]]:
    """What a value is made of, as far as its type tells: each inner node, its type, its path."""
    kind = _fitting(node, kind)
    origin, inner = get_origin(kind), get_args(kind)
    if isinstance(node.value, list) and origin in (list, set, frozenset, tuple):
        for place, item in enumerate(node.value):
            fixed = origin is tuple and inner[-1] is not ...
            if not fixed or place < len(inner):
                yield item, inner[place] if fixed else inner[0], f"[{place}]"
    elif isinstance(node.value, dict) and origin in (dict, Mapping):
        for key, item in node.value.items():
            yield item, inner[1], f".{key}"
    elif isinstance(node.value, dict) and _is_struct(kind):
        known = options(kind)
        for key, item in node.value.items():
            if key in known:
                yield item, known[key].kind, f".{key}"


def _fitting(node: Node, kind: Any) -> Any:
    """Of a union, the member that has the shape of what was written."""
    among = [member for member in members(kind) if member is not type(None)]
    if len(among) == 1:
        return among[0]
    maps = [m for m in among if _is_struct(m) or get_origin(m) in (dict, Mapping)]
    lists = [m for m in among if get_origin(m) in (list, set, frozenset, tuple)]
    fit = maps if isinstance(node.value, dict) else lists if isinstance(node.value, list) else []
    return fit[0] if len(fit) == 1 else kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _hide_secrets(document: Document, node: Node, kind: Any) -> None:
    if Secret in members(kind):
        document.hide(node)
        return
    for inner, inner_kind, _ in _parts(node, kind):
        _hide_secrets(document, inner, inner_kind)


def _faults(document: Document, node: Node, kind: Any, path: str) -> list[Problem]:
    """Every mistake in a value, each at its own place."""
    try:
        _convert(node, kind)
        return []
    except Exception as error:  # an option type of a user's own may raise anything
        text = str(error) if isinstance(error, msgspec.ValidationError) else _told(error)
        column = getattr(error.__cause__, "column", 0)
    found: list[Problem] = []
    fit = _fitting(node, kind)
    if _is_struct(fit) and isinstance(node.value, dict):
        known = options(fit)
        for key in node.value:
            if key not in known:
                hint = did_you_mean(key, known, "options")
                found.append(document.problem(node.keys[key], f"{path}: no option {key!r}", hint))
        missing = [key for key, option in known.items() if option.required and key not in node.value]
        found += [document.problem(node, f"{path}: the option {key!r} is missing") for key in missing]
    for inner, inner_kind, step in _parts(node, kind):
        found += _faults(document, inner, inner_kind, path + step)
    return found or [_fault(document, _narrowed(node, column), kind, path, text)]


def _fault(document: Document, node: Node, kind: Any, path: str, text: str) -> Problem:
    """The mistake in a single value, in the words of someone who writes YAML."""
    text = text.split(" - at `", 1)[0]
    secret = Secret in members(kind)
    literals = [v for m in members(kind) if get_origin(m) is Literal for v in get_args(m)]
    if wrong := re.fullmatch(r"Expected `(.+?)`, got `(.+?)`", text):
        wanted = " or ".join(_SPOKEN.get(word, word) for word in wrong[1].split(" | "))
        if literals and not isinstance(node.value, dict | list):
            wanted = f"one of {', '.join(map(str, literals))}"
        got = "what must not be shown" if secret else _found(node)
        return document.problem(node, f"{path}: expected {wanted}, got {got}", _cure(node, kind, wrong[1]))
    if text.startswith("Invalid enum value") and literals:
        one_of = ", ".join(map(str, literals))
        hint = did_you_mean(str(node.value), map(str, literals), "one of")
        return document.problem(node, f"{path}: expected one of {one_of}, got {_found(node)}", hint)
    text = text[:1].lower() + text[1:] if text.startswith("Expected") else text
    return document.problem(node, f"{path}: {text}", _cure(node, kind))


def _cure(node: Node, kind: Any, wanted: str = "") -> str:
    """What would make the value right, where that can be told."""
    value = node.value
    if "bool" in wanted and isinstance(value, str) and value.lower() in _BOOLEANS:
        return f"write {_BOOLEANS[value.lower()]}"
    if isinstance(value, bool | int | float) and _fits(node.text, kind):
        return f'quote it: "{node.text}"'
    if "array" in wanted and not isinstance(value, dict | list) and value is not None:
        return f"write a list: [{node.text}]"
    if isinstance(value, str) and ("int" in wanted or "float" in wanted) and re.fullmatch(r"-?\d+(\.\d+)?", value):
        return f"write it without quotes: {value}"
    return ""


def _fits(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind, dec_hook=_decode)
    except Exception:  # whatever the reason: it does not fit
        return False
    return True


def _narrowed(node: Node, column: int) -> Node:
    """The place inside a text that a parser complained about (`column` from 1, 0 for the whole)."""
    quotes = node.width - len(node.text)
    if not 0 < column <= len(node.text) or node.line != node.last[0] or quotes not in (0, 2):
        return node
    return msgspec.structs.replace(node, column=node.column + quotes // 2 + column - 1, width=1)


def _found(node: Node) -> str:
    value = node.value
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    shown = repr(value) if isinstance(value, str) else node.text
    shown = shown if len(shown) <= 60 else shown[:57] + "…"
    return shown if isinstance(value, bool) else f"{'text' if isinstance(value, str) else 'the number'} {shown}"


def _told(error: BaseException) -> str:
    """An exception in one line, with the place in the user's own file where there is one."""
    text = str(error).strip().split("\n", 1)[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
