"""The types of options that YAML does not know: durations, sizes, secrets, patterns, templates."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import re2

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)?")
_BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


class Duration(float):
    """A time span in seconds; written `250ms`, `30s`, `1h30m`."""

    @classmethod
    def decode(cls, value: object) -> Duration:
        """From YAML. Raises ValueError saying what would do."""
        if isinstance(value, str):
            parts = _DURATION.findall(value)
            if parts and not _DURATION.sub("", value).strip():
                return cls(sum(float(number) * _SECONDS[unit] for number, unit in parts))
        raise ValueError(f"{value!r} is not a duration: write a number and a unit, such as 250ms, 30s, 5m, 1h30m")


class Size(int):
    """A number of bytes; written `512KiB`, `10MB`, or a plain number."""

    @classmethod
    def decode(cls, value: object) -> Size:
        """From YAML. Raises ValueError saying what would do."""
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return cls(value)
        if isinstance(value, str) and (found := _SIZE.fullmatch(value.strip())):
            return cls(int(float(found[1]) * _BYTES[found[2] or "B"]))
        raise ValueError(f"{value!r} is not a size: write bytes or a unit, such as 4096, 512KiB, 10MB")


class Secret:
    """A token or password, from the environment or a file; never printed."""

    __slots__ = ("_value", "origin")

    def __init__(self, value: str, origin: str) -> None:
        self._value = value
        self.origin = origin
        """Where it came from, for messages: `env NAME` or `file PATH`."""

    @classmethod
    def decode(cls, value: object) -> Secret:
        """From `{ env: NAME }` or `{ file: PATH }`. Raises ValueError, which never holds the value."""
        form = "write { env: NAME } or { file: PATH }"
        if not isinstance(value, Mapping) or len(value) != 1:
            raise ValueError(f"a secret is never written in the config: {form}")
        ((kind, where),) = value.items()
        if kind == "env" and isinstance(where, str):
            if not os.environ.get(where):
                raise ValueError(f"the environment variable {where} is not set")
            return cls(os.environ[where], f"env {where}")
        if kind == "file" and isinstance(where, str):
            try:
                text = Path(where).read_text().strip()
            except OSError as error:
                raise ValueError(f"cannot read {where}: {error.strerror}") from None
            except UnicodeDecodeError:
                raise ValueError(f"{where} is not text in UTF-8") from None
            if not text:
                raise ValueError(f"{where} is empty")
            return cls(text, f"file {where}")
        raise ValueError(f"not a secret reference: {form}")

    def reveal(self) -> str:
        """The value itself; only for the place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.origin})"

    __str__ = __repr__


class Template:
    """Text with `{field}` in it, such as `{app}` or `archive/{source}/{date}.jsonl`."""

    __slots__ = ("fields", "parts", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts = re.split(r"\{([^{}]*)\}", text)
        """Literals at even places, field names at odd ones."""
        if any("{" in part or "}" in part for part in self.parts[::2]):
            raise ValueError(f"unbalanced braces in {text!r}: a field is written {{name}}")
        if bad := [name for name in self.parts[1::2] if not re.fullmatch(r"[A-Za-z_@][\w.@-]*", name)]:
            raise ValueError(f"{{{bad[0]}}} in {text!r} is not a field name")
        self.fields = tuple(dict.fromkeys(self.parts[1::2]))

    @classmethod
    def decode(cls, value: object) -> Template:
        """From YAML. Raises ValueError saying what would do."""
        if not isinstance(value, str):
            raise ValueError(f"expected text with {{field}} in it, got {value!r}")
        return cls(value)

    def render(self, get: Callable[[str], Any]) -> str:
        """Fill the fields in; a missing one becomes empty text."""
        out = []
        for place, part in enumerate(self.parts):
            if place % 2:
                value = get(part)
                out.append("" if value is None else str(value))
            else:
                out.append(part)
        return "".join(out)

    def __repr__(self) -> str:
        return f"Template({self.text!r})"


class Regex:
    """A regular expression in RE2's language (linear time: no input can stall it), searched in bytes."""

    __slots__ = ("groups", "search", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        options = re2.Options()
        options.log_errors = False
        try:
            compiled = re2.compile(text.encode(), options)
        except re2.error as error:
            detail = error.args[0] if error.args else "?"
            detail = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
            raise ValueError(f"not a regular expression (RE2): {detail}") from None
        self.search: Callable[[bytes], Any] = compiled.search
        """Takes bytes, gives a match object or None."""
        places = {name.decode(): place for name, place in compiled.groupindex.items()}
        self.groups: dict[str, int] = dict(sorted(places.items(), key=lambda group: group[1]))
        """The named groups and their numbers, in their order."""

    @classmethod
    def decode(cls, value: object) -> Regex:
        """From YAML. Raises ValueError saying what would do."""
        if not isinstance(value, str):
            raise ValueError(f"expected a regular expression, got {value!r}")
        return cls(value)

    def __repr__(self) -> str:
        return f"Regex({self.text!r})"


def decode_option(kind: type, value: object) -> Any:
    """The hook for `msgspec.convert`: option types decode themselves (`decode` is a class method)."""
    decode = getattr(kind, "decode", None)
    if decode is None:
        raise NotImplementedError(f"no option type {kind.__name__}")
    return decode(value)


class Tls(msgspec.Struct, forbid_unknown_fields=True):
    """How to trust the server, and to be trusted by it."""

    ca: str = ""
    """File with the certificates of the authorities to trust; the system's when empty."""
    cert: str = ""
    """File with the client's certificate."""
    key: str = ""
    """File with the client's key."""
    verify: bool = True
    """False accepts any certificate: only for a test."""

    def context(self) -> ssl.SSLContext:
        """The context for the connection. Raises OSError (ssl.SSLError included) for files that cannot be used."""
        context = ssl.create_default_context(cafile=self.ca or None)
        if self.cert:
            context.load_cert_chain(self.cert, self.key or None)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
