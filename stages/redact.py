"""Takes secrets and personal data out of records before anything leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from ..pipeline.batch import Batch
from ..pipeline.columns import Columns
from ..pipeline.component import Stage
from ..pipeline.options import Regex, Secret
from ..pipeline.record import Record
from ._key_names import KEY_NAME
from ._personal_data import PII, pii_rule
from ._redacted_fields import Fields
from ._redacted_json import redact_lines, redact_value
from ._redaction import Engine, Found
from ._rule_files import built_in_rules, load_rules
from ._rules import Rule, RuleError

if TYPE_CHECKING:  # only the exporter needs it at run time
    from prometheus_client.core import Metric

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


_PARTITIONS = 10_000
"""To remember the labels of."""


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
    `token` means neither `max_tokens` nor `token_count`. Text is searched for the values that `parse` found, as with
    `deny`; one of less than 4 characters is hidden behind its name alone where the line shows it there."""
    allow: list[str] = []
    """Fields that are left alone, whatever is in them: `digest` wherever it stands, `usage.id` as id in usage at the
    top. Of JSON and of what stages found; a line of text is always searched as a whole."""
    deny: list[str] = []
    """Fields that are hidden whole, named as in `allow`. In text also where they stand as `name=value`, and wherever
    the line shows the value that `parse` found: in upper or lower case, behind escapes, within colours, in parts, a
    number or level by another spelling. A record whose line does not show it (a `level` out of syslog's priority) goes
    to the dead letter."""
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
                    f"no group of personal data {group!r}{_nearest(group, PII)} (there are {', '.join(PII)})",
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
        for place, field in enumerate(self.deny):
            if field in self.allow:
                yield f"deny[{place}]", f"{field!r} stands under allow as well: take it out of one of them"
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
                yield f"disable[{place}]", f"no rule {word!r}{_nearest(word, known)}"

    def process(self, batch: Batch) -> Batch:
        """Redact the batch. Raises ValueError on a record that cannot be redacted; the text never holds data."""
        labels = self._cleaned(batch.labels)
        if labels is not batch.labels:
            batch = batch.with_labels(labels)
        columns = batch.columns
        if columns is not None and not columns.extended and not self._fields.may_hide_named(columns):
            self._redact_columns(columns)
            return batch
        records = batch.records
        raw = "text" in {record.format for record in records}
        if raw:
            self._count(self._fields.hide_named(records))
        lines = [record.line for record in records]
        if hits := self._engine.search(lines, raw=raw):
            self._redact(records, hits)
        self._count(self._fields.clean_added(records))
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
        return Engine(rules, keys, secret, allow=self.allow, deny=self.deny)

    @cached_property
    def _fields(self) -> Fields:
        return Fields(self._engine)

    @cached_property
    def _labels(self) -> dict[tuple[tuple[str, str], ...], Mapping[str, str]]:
        return {}

    def _cleaned(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """What is said of the whole partition, the path of the file above all; itself when it is clean."""
        key = tuple(labels.items())
        known = self._labels.get(key)
        if known is None:
            if len(self._labels) >= _PARTITIONS:
                self._labels.clear()
            found: Found = []
            known = redact_value(self._engine, dict(labels), found)
            self._count(found)
            self._labels[key] = known
        return labels if known == labels else known

    def _count(self, found: Found) -> None:
        for rule, _secret in found:
            self._counts[rule] += 1

    def _redact_columns(self, columns: Columns) -> None:
        lines, parsed, raw = columns.lines, columns.parsed, columns.format == "text"
        if hits := self._engine.search(lines, raw=raw, text=columns.text):
            suspects = {place: lines[place] for place in hits}
            scrub = self._engine.scrub if raw else partial(redact_lines, self._engine)
            new = [(place, line, found) for place, (line, found) in scrub(suspects, hits).items()]
            fields = self._fields.without(
                [(None if parsed is None else parsed[place], found) for place, _, found in new]
            )
            columns.replace({place: (line, own) for (place, line, _), own in zip(new, fields, strict=True)})
            for _, _, found in new:
                self._count(found)

    def _redact(self, records: Sequence[Record], hits: Mapping[int, Sequence[Rule]]) -> None:
        texts = {place: rules for place, rules in hits.items() if records[place].format == "text"}
        objects = {place: rules for place, rules in hits.items() if place not in texts}
        new = self._engine.scrub({place: records[place].line for place in texts}, texts)
        new |= redact_lines(self._engine, {place: records[place].line for place in objects}, objects)
        changed = [(records[place], line, found) for place, (line, found) in new.items()]
        # All of it before any record changes: after an error the chain tries each record anew.
        parsed = self._fields.without([(record.parsed, found) for record, _, found in changed])
        added = self._fields.without([(record.added, found) for record, _, found in changed])
        for (record, line, found), parsed_fields, added_fields in zip(changed, parsed, added, strict=True):
            record.line, record.parsed, record.added = line, parsed_fields, added_fields
            self._count(found)


def _nearest(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
