"""Takes secrets and personal data out of records before anything leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..pipeline.batch import Batch
from ..pipeline.component import Stage
from ..pipeline.options import Regex, Secret
from ..pipeline.record import Record
from ._secrets import KEY_NAME, PII, Engine, Found, Rule, RuleError, built_in_rules, load_rules, nearest, pii_rule

if TYPE_CHECKING:  # only the exporter needs it at run time
    from prometheus_client.core import Metric

_REMEMBERED = 20_000
_SHORT = 200
_MOST = 1000

KEYS = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "pgpassword",
    "secret",
    "secret_key",
    "client_secret",
    "token",
    "access_token",
    "refresh_token",
    "id_token",
    "auth_token",
    "session_token",
    "api_key",
    "x_api_key",
    "access_key",
    "private_key",
    "signing_key",
    "encryption_key",
    "authorization",
    "proxy_authorization",
    "credential",
    "credentials",
    "cookie",
    "set_cookie",
]
"""Key names whose values are hidden with the built-in rules."""


class Redact(Stage):
    """Replace secrets and personal data by markers, in the line and in every field, keys included.

    A JSON line stays JSON with its types: strings get a marker, numbers become 0. A record that cannot be redacted
    goes to the dead letter rather than out.
    """

    protects: ClassVar[bool] = True

    rules: list[str] = []
    """Files with more rules in gitleaks' TOML format; a rule with the id of a built-in one takes its place."""
    builtin: bool = True
    """Whether the built-in rules for the credentials of common services apply."""
    disable: list[str] = []
    """Ids of rules that do not apply."""
    patterns: dict[str, Regex] = {}
    """Your own patterns: a name for the marker, and a regular expression (RE2). The whole match is hidden, or only
    the group named `secret`. JSON is searched string by string."""
    keys: list[str] = []
    """More key names whose value is hidden whatever it is, beside the usual ones (`password`, `token`, `authorization`
    …), which go with `builtin`. `api_key` also means `apiKey`, `API-KEY` and `OPENAI_API_KEY`;
    `token` means neither `max_tokens` nor `token_count`."""
    pii: list[str] = []
    """Groups of personal data to hide as well: email, card, iban, phone, ip, ssn."""
    mode: Literal["mask", "hash"] = "mask"
    """`mask`: `[REDACTED:rule]`. `hash`: `[rule:1a2b3c4d5e6f]`, the same for the same secret (HMAC-SHA256), so that
    what belongs together can still be found together."""
    hash_key: Secret | None = None
    """The key of `mode: hash`, as `{ env: NAME }` or `{ file: PATH }`."""

    def check(self) -> Iterable[tuple[str, str]]:
        """Say which rule files, ids and groups cannot be used."""
        for place, group in enumerate(self.pii):
            if group not in PII:
                yield (
                    f"pii[{place}]",
                    f"no group of personal data {group!r}{nearest(group, PII)} (there are {', '.join(PII)})",
                )
        if self.mode == "hash" and self.hash_key is None:
            yield "hash_key", "mode: hash needs a key: write hash_key: { env: NAME } or { file: PATH }"
        if self.mode == "mask" and self.hash_key is not None:
            yield "hash_key", "a key does nothing without mode: hash"
        for name, pattern in self.patterns.items():
            try:
                Rule(name, pattern.text)
            except RuleError as error:
                yield f"patterns.{name}", str(error)
        known = {KEY_NAME, *PII, *self.patterns}
        if self.builtin:
            known |= {rule.id for rule in built_in_rules()}
        complete = True
        for place, path in enumerate(self.rules):
            try:
                known |= {rule.id for rule in load_rules(Path(path))}
            except RuleError as error:
                complete = False
                yield f"rules[{place}]", str(error)
        for place, word in enumerate(self.disable):
            if complete and word not in known:
                yield f"disable[{place}]", f"no rule {word!r}{nearest(word, known)}"

    def process(self, batch: Batch) -> Batch:
        """Redact the batch. Raises ValueError on a record that cannot be redacted; the text never holds data."""
        records = batch.records
        raw = "text" in {record.format for record in records}
        lines = [record.line for record in records]
        for place, rules in self._engine.search(lines, raw=raw).items() if lines else ():
            self._redact(records[place], rules)
        if raw:
            self._hide_parsed(records)
        self._clean_added(records)
        return batch

    def clean(self, text: str) -> str:
        """The text without secrets, for what is no record: a reason in the dead letter, an own log line."""
        found: Found = []
        new = self._engine.text(text, found)
        self._count(found)
        return new

    def collect(self) -> Iterable[Metric]:
        """Secrets taken out, by rule."""
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(
            "tailrace_redactions", "Secrets and personal data taken out.", labels=["component", "rule"]
        )
        for rule, number in sorted(self._counts.items()):
            family.add_metric([self.name, rule], number)
        yield family

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter()

    @cached_property
    def _engine(self) -> Engine:
        chosen: dict[str, Rule] = {name: Rule(name, pattern.text) for name, pattern in self.patterns.items()}
        for path in self.rules:
            chosen |= {rule.id: rule for rule in load_rules(Path(path))}
        if self.builtin:
            chosen |= {rule.id: rule for rule in built_in_rules() if rule.id not in chosen}
        chosen |= {group: pii_rule(group) for group in self.pii}
        rules = [rule for name, rule in chosen.items() if name not in self.disable and rule.id not in self.disable]
        keys = [] if KEY_NAME in self.disable else [*(KEYS if self.builtin else ()), *self.keys]
        secret = self.hash_key.reveal().encode() if self.mode == "hash" and self.hash_key else None
        return Engine(rules, keys, secret)

    def _count(self, found: Found) -> None:
        for rule, _secret in found:
            self._counts[rule] += 1

    def _redact(self, record: Record, rules: list[Rule]) -> None:
        found: Found = []
        if record.format == "json":
            line = self._engine.json_line(record.line, rules, found)
        else:
            line = self._engine.scrub(record.line, rules, found)
        if line is record.line:
            return
        record.line = line
        self._count(found)
        if record.parsed is not None:
            record.parsed = self._without(record.parsed, found)
        if record.added is not None:
            record.added = self._without(record.added, found)

    def _without(self, fields: dict[str, Any], found: Found) -> dict[str, Any]:
        """Fields of a record whose line held secrets: clean by the rules, and free of the very same secrets."""
        new: dict[str, Any] = self._engine.value(fields, [])
        known = {
            text: self._engine.mark(rule, secret).decode()
            for rule, secret in found
            if len(text := secret.decode("utf-8", "replace")) > 5
        }
        if len(known) > _MOST:  # one by one would take quadratic time
            raise ValueError(f"more than {_MOST} different secrets in one record with parsed fields")
        return {name: _replaced(value, known) for name, value in new.items()}

    def _hide_parsed(self, records: list[Record]) -> None:
        """Fields of text lines whose name asks for hiding: the line shows such a value without its name."""
        parsed = [record for record in records if record.parsed is not None and record.format == "text"]
        names = {name for names in {tuple(record.parsed or ()) for record in parsed} for name in names}
        secret = [name for name in sorted(names) if self._engine.hides(name)]
        if not secret:
            return
        for record in parsed:
            fields = record.parsed or {}
            for name in secret:
                old = fields.get(name)
                found: Found = []
                new = self._engine.value(old, found, name, True)
                if new is not old:
                    self._count(found)
                    fields[name] = new
                    if record.added and name in record.added:
                        record.added[name] = new
                    if isinstance(old, str):
                        record.line = self._engine.hidden_in(record.line, old)
                        record.parsed = fields = {key: _hidden(v, old, new) for key, v in fields.items()}

    def _clean_added(self, records: list[Record]) -> None:
        """What stages added need not stem from the line: each distinct value is looked at once."""
        having = [record for record in records if record.added]
        if not having:
            return
        clean = self._clean
        names = {name for names in {tuple(record.added or ()) for record in having} for name in names}
        plain = not any(self._engine.hides(name) or self._engine.candidates(name.encode()) for name in names)
        values = [value for record in having for value in (record.added or {}).values()]
        if plain and {value.__class__ for value in values} == {str}:
            new = list(set(values) - clean)
            if not new:
                return
            dirty = self._engine.search([f'"{value}"'.encode("utf-8", "surrogatepass") for value in new], raw=True)
            if len(clean) > _REMEMBERED:
                clean.clear()
            clean.update(value for place, value in enumerate(new) if place not in dirty and len(value) <= _SHORT)
            suspects = {new[place] for place in dirty}
            if not suspects:
                return
            having = [record for record in having if not suspects.isdisjoint((record.added or {}).values())]
        for record in having:
            found: Found = []
            added = self._engine.value(record.added, found)
            if added is not record.added:
                self._count(found)
                if record.parsed is not None and record.added is not None:
                    for name in record.added:
                        record.parsed.pop(name, None)
                    record.parsed.update(added)
                record.added = added

    @cached_property
    def _clean(self) -> set[str]:
        return set()


def _replaced(value: Any, known: dict[str, str]) -> Any:
    if isinstance(value, str):
        for secret, mark in known.items():
            value = value.replace(secret, mark)
        return value
    if isinstance(value, dict):
        return {name: _replaced(item, known) for name, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, known) for item in value]
    return value


def _hidden(value: Any, secret: str, mark: Any) -> Any:
    return _replaced(value, {secret: str(mark)}) if len(secret) > 5 else value
