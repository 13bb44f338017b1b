"""The config of `tailrace mcp`: what agents may ask, and within which bounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import msgspec

from ..pipeline.options import Duration, Regex, Secret, Size
from ..stages.redact import Redact
from . import _yaml
from .describe import options
from .load import Address, _Loader
from .problem import ConfigError, did_you_mean, errors

Tool = Literal["sessions", "events", "llm", "patcher", "errors", "trace", "logql", "promql", "exemplars"]
TOOLS: tuple[Tool, ...] = get_args(Tool)
OF_FOLDERS: frozenset[Tool] = frozenset(("sessions", "events", "llm", "patcher", "errors", "trace"))
OF_PROMETHEUS: frozenset[Tool] = frozenset(("promql", "exemplars"))


class ServerOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A Loki or a Prometheus, and how to log in."""

    url: str
    """Where it is. No tool takes a URL, and redirects are not followed: nothing but this is ever asked."""
    tenant: str = ""
    """Sent as X-Scope-OrgID."""
    token: Secret | None = None
    """A bearer token, as `{ env: NAME }` or `{ file: PATH }`."""
    user: str = ""
    """With `password` instead of a token."""
    password: Secret | None = None
    """As `{ env: NAME }` or `{ file: PATH }`."""

    def check(self) -> Iterator[tuple[str, str]]:
        """Say what is wrong with the URL or the login."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            yield "url", "write a URL such as http://localhost:3100"
        elif parts.username or parts.password:
            yield "url", "no login in the URL: write user and password, or token"
        if self.token and (self.user or self.password):
            yield "token", "a token or a user with a password, not both"
        if bool(self.user) != bool(self.password):
            yield "user" if self.user else "password", "user and password go together"


class HttpOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where the server listens."""

    listen: Address = Address("127.0.0.1:8642")
    """Host and port; only this machine can ask unless you open it."""
    token: Secret
    """What clients send as `Authorization: Bearer …`, as `{ env: NAME }` or `{ file: PATH }`; 16 characters or more."""
    hosts: list[str] = []
    """Names under which clients reach it, beside `localhost` and the host that it listens on. Requests for others are
    refused: a web page could send them through a name of its own that leads here."""

    def check(self) -> Iterator[tuple[str, str]]:
        """Say what is wrong with the token."""
        if len(self.token.reveal()) < 16:
            yield "token", "a token has 16 characters at least: make one with `openssl rand -hex 32`"


class Limits(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How much one question may take, and how many there may be."""

    rows: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 200
    """Rows of an answer: records, or points of all series together. What is asked for may be less."""
    bytes: Size = Size(256 << 10)
    """Of an answer. The oldest rows are left out until it fits."""
    text: Annotated[int, msgspec.Meta(ge=100)] = 8000
    """Characters of one text in it; of a longer one the beginning and the end are shown."""
    time: Duration = Duration(20)
    """How long an answer may take."""
    calls: Annotated[int, msgspec.Meta(ge=1)] = 60
    """Calls in any minute, of all clients together."""
    range: Duration = Duration(7 * 86400)
    """The widest range of time that Loki and Prometheus are asked for, ranges and offsets inside a query included."""

    def check(self) -> Iterator[tuple[str, str]]:
        """Say which bounds leave nothing."""
        if self.bytes < 4096:
            yield "bytes", "4KiB at least, or no row fits"
        for name in ("time", "range"):
            if getattr(self, name) <= 0:
                yield name, "more than nothing"


class RedactOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is hidden beside the credentials that the built-in rules know, which always apply. As of stage `redact`."""

    pii: list[str] = []
    """Groups of personal data: email, card, iban, phone, ip, ssn."""
    keys: list[str] = []
    """More key names whose value is hidden whatever it is."""
    deny: list[str] = []
    """Fields that are hidden whole."""
    patterns: dict[str, Regex] = {}
    """Your own patterns (RE2), by the name for the marker."""

    def stage(self) -> Redact:
        """The stage that does it."""
        return Redact(name="redact", pii=self.pii, keys=self.keys, deny=self.deny, patterns=self.patterns)


class McpConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Everything that may be written in the config of `tailrace mcp`. Relative paths are meant from where it starts."""

    folders: list[Path] = []
    """Archives and logs that may be read. Nothing outside is, and no link inside is followed."""
    loki: ServerOptions | None = None
    """The Loki that may be asked."""
    prometheus: ServerOptions | None = None
    """The Prometheus that may be asked."""
    tools: list[Tool] | None = None
    """The tools that agents see; without it all for which there is something to ask."""
    audit: Path
    """The file to which every call is added as a JSON line. It cannot lie in a folder that can be read."""
    http: HttpOptions | None = None
    """Listens for streamable HTTP; without it the server talks to the program that started it (stdio)."""
    limits: Limits = msgspec.field(default_factory=Limits)
    """Bounds of each call."""
    redact: RedactOptions = msgspec.field(default_factory=RedactOptions)
    """What is hidden beside credentials."""
    timezone: str = "UTC"
    """Of times in logs that name none (IANA), such as Europe/Amsterdam."""

    def offered(self) -> tuple[Tool, ...]:
        """The tools that agents see."""
        there: set[Tool] = set()
        if self.folders:
            there |= {*OF_FOLDERS, "logql"}
        if self.loki:
            there.add("logql")
        if self.prometheus:
            there |= OF_PROMETHEUS
        return tuple(tool for tool in TOOLS if tool in there and (self.tools is None or tool in self.tools))

    def check(self) -> Iterator[tuple[str, str]]:
        """Say what cannot work, each with its place."""
        if not (self.folders or self.loki or self.prometheus):
            yield "", "nothing to ask: name folders:, loki: or prometheus:"
        for place, folder in enumerate(self.folders):
            if not folder.is_dir():
                yield f"folders[{place}]", f"no folder {str(folder)!r}"
            elif self.audit.resolve().is_relative_to(folder.resolve()):
                yield "audit", f"lies in the folder {str(folder)!r}, where agents could read it"
        if not self.audit.parent.is_dir():
            yield "audit", f"no folder {str(self.audit.parent)!r}"
        for tool in self.tools or ():
            needs = "folders:" if tool in OF_FOLDERS else "prometheus:" if tool in OF_PROMETHEUS else ""
            if needs and not getattr(self, needs[:-1]):
                yield f"tools[{(self.tools or []).index(tool)}]", f"{tool} asks what {needs} names, which is missing"
        for name in ("loki", "prometheus", "http", "limits"):
            if (part := getattr(self, name)) is not None:
                yield from ((f"{name}.{path}", message) for path, message in part.check())
        yield from ((f"redact.{path}", message) for path, message in self.redact.stage().check())
        yield from (("timezone", message) for path, message in _parse_problems(self.timezone) if path == "timezone")


def _parse_problems(timezone: str) -> Iterator[tuple[str, str]]:
    from ..stages.parse import Parse

    yield from Parse(name="parse", timezone=timezone).check()


def load_mcp(path: Path) -> McpConfig:
    """The config in a file. Raises ConfigError with every problem, each at its place."""
    document, problems = _yaml.read(path)
    root = document.root
    if root is None:
        raise ConfigError(errors(problems))
    loader = _Loader(document)
    loader.problems = problems
    known = options(McpConfig)
    values: dict[str, Any] = {}
    if not isinstance(root.value, dict):
        loader._note(root, "this config is a map", did_you_mean("", known, "options"))
    else:
        for key, node in root.value.items():
            if key in known:
                value = loader._option(node, known[key])
                if value is not msgspec.UNSET:
                    values[key] = value
            elif not key.startswith("x-"):
                loader._unknown(root, key, known)
        for key, option in known.items():
            if option.required and key not in root.value:
                loader._note(root, f"the option {key!r} is missing", f"{key}: mcp-audit.jsonl")
    config = None
    if not errors(loader.problems):
        config = McpConfig(**values)
        loader._note_faults(root, config.check())
    if config is None or errors(loader.problems):
        raise ConfigError(errors(document.show(loader.problems)))
    return config
