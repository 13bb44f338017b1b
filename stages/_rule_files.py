"""Rule files in gitleaks' TOML format, tailrace's own rules among them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from ._rules import Allow, Rule, RuleError


class _AllowTable(msgspec.Struct, rename="camel"):
    condition: str = "OR"
    regexes: list[str] = []
    stopwords: list[str] = []
    paths: list[str] = []
    commits: list[str] = []
    regex_target: str = "secret"
    target_rules: list[str] = []


class _RuleTable(msgspec.Struct, rename="camel"):
    id: str
    regex: str = ""
    keywords: list[str] = []
    entropy: float = 0.0
    secret_group: int = 0
    allowlists: list[_AllowTable] = []
    allowlist: _AllowTable | None = None


class _Extend(msgspec.Struct, rename="camel", frozen=True):
    path: str = ""
    disabled_rules: list[str] = []


class _File(msgspec.Struct):
    rules: list[_RuleTable] = []
    allowlists: list[_AllowTable] = []
    allowlist: _AllowTable | None = None
    extend: _Extend = _Extend()


def built_in_rules() -> list[Rule]:
    """The rules that come with tailrace."""
    return load_rules(Path(__file__).with_name("builtin_rules.toml"))


def load_rules(path: Path, *, _depth: int = 0) -> list[Rule]:
    """Read a rule file in gitleaks' TOML format. Raises RuleError naming the file and the rule.

    Rules that look at paths only are left out: a record has none. `useDefault` means tailrace's own rules.
    """
    table = _read(path)
    rules: dict[str, Rule] = {}
    if table.extend.path:
        if _depth == 2:
            raise RuleError(f"{path} extends a file that extends a file: two steps are the most")
        rules = {rule.id: rule for rule in load_rules(path.parent / table.extend.path, _depth=_depth + 1)}
    for word in table.extend.disabled_rules:
        rules.pop(word, None)
    shared = table.allowlists + ([table.allowlist] if table.allowlist else [])
    for row in table.rules:
        if not row.regex:
            continue
        try:
            rules[row.id] = _rule(row, shared)
        except RuleError as error:
            raise RuleError(f"{path}: rule {row.id!r}: {error}") from None
    return list(rules.values())


def _read(path: Path) -> _File:
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), _File, strict=False)
    except OSError as error:
        raise RuleError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise RuleError(f"{path} is not a rule file in gitleaks' TOML format: {error}") from None


def _rule(row: _RuleTable, shared: list[_AllowTable]) -> Rule:
    own = row.allowlists + ([row.allowlist] if row.allowlist else [])
    own += [allow for allow in shared if not allow.target_rules or row.id in allow.target_rules]
    return Rule(
        row.id,
        row.regex,
        keywords=row.keywords,
        minimum=row.entropy,
        group=row.secret_group,
        allow=[allow for item in own if (allow := _allow(item))],
    )


def _allow(table: _AllowTable) -> Allow | None:
    every = table.condition.upper() in ("AND", "&&")
    if every and (table.paths or table.commits):
        return None  # a record has neither, so the condition never holds
    return Allow(table.regexes, table.stopwords, table.regex_target, every)
