"""Rules that recognise secrets, in gitleaks' TOML format, and the engine that takes what they find out of texts."""

from __future__ import annotations

import difflib
import hashlib
import hmac
import ipaddress
import math
import os
import re
import tomllib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import re2

Found: TypeAlias = list[tuple[str, bytes]]
"""What was taken out: rule id and the secret itself. Stays inside the stage."""
Span: TypeAlias = tuple[int, int]
View: TypeAlias = tuple[bytes, Callable[[int], int]]
"""A text as it is searched, and where its bytes stand in the text that is changed."""

KEY_NAME = "key-name"
"""Rule id of a value that was hidden because of its key."""

_GROUP = 12  # more rules in one alternation make RE2's automaton outgrow its memory
_DEEPEST = 64

_FIND_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_FIND_LIST = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_str = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


class RuleError(ValueError):
    """A rule file or rule that cannot be used; the message says where and what would do."""


def _compile(pattern: str, *, capture: bool = True, memory: int = 16 << 20, fold: bool = False) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = not capture
    options.max_mem = memory
    options.case_sensitive = not fold
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error as error:
        detail = error.args[0] if error.args else "?"
        text = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
        raise RuleError(f"not a regular expression (RE2): {text}") from None


def _loose(pattern: str) -> str:
    """The pattern with its anchors widened to quotes, so that it finds a JSON value inside the raw line too."""
    out, place, in_class = [], 0, False
    while place < len(pattern):
        char = pattern[place]
        if char == "\\":
            pair = pattern[place : place + 2]
            out.append({r"\A": "(?:^|[\"'\\n])", r"\z": "(?:$|[\"'\\n])"}.get(pair, pair) if not in_class else pair)
            place += 2
            continue
        if in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
            if pattern[place + 1 : place + 2] == "]" or pattern[place + 1 : place + 3] == "^]":
                size = 2 if pattern[place + 1] == "]" else 3
                out.append(pattern[place : place + size])
                place += size
                continue
        elif char == "^":
            char = "(?:^|[\"'\\n])"
        elif char == "$":
            char = "(?:$|[\"'\\n])"
        out.append(char)
        place += 1
    return "".join(out)


_EDGE = r"(?:\b|\\[abfnrtv]|\\u[0-9a-fA-F]{4}|%[0-9a-fA-F]{2})"
"""A word boundary that also holds behind an escape: `\\nAKIA…`, `%3DAKIA…`."""


def entropy(data: bytes) -> float:
    """Shannon entropy in bits per byte."""
    size = len(data)
    return -sum(n / size * math.log2(n / size) for n in Counter(data).values()) if size else 0.0


class Allow:
    """What a rule must let pass: regular expressions and words, as gitleaks' allowlists say it."""

    __slots__ = ("every", "regexes", "stopwords", "target")

    def __init__(self, regexes: Sequence[str], stopwords: Sequence[str], target: str, every: bool) -> None:
        self.regexes = [_compile(regex, capture=False) for regex in regexes]
        self.stopwords = [word.lower().encode() for word in stopwords]
        self.target = target
        self.every = every

    def covers(self, data: bytes, match: Span, secret: Span) -> bool:
        """Whether this finding is known to be harmless."""
        start, end = match if self.target == "match" else (0, len(data)) if self.target == "line" else secret
        tests = []
        if self.regexes:
            tests.append(any(regex.search(data[start:end]) for regex in self.regexes))
        if self.stopwords:
            low = data[secret[0] : secret[1]].lower()
            tests.append(any(word in low for word in self.stopwords))
        return bool(tests) and (all(tests) if self.every else any(tests))


class Rule:
    """One kind of secret: how to find it, which words announce it, and what makes a finding count."""

    def __init__(
        self,
        id: str,
        pattern: str,
        *,
        keywords: Sequence[str] = (),
        minimum: float = 0.0,
        group: int | None = None,
        allow: Sequence[Allow] = (),
        check: Callable[[bytes, int, int], bool] | None = None,
    ) -> None:
        self.id = re.sub(r"[^A-Za-z0-9_.-]+", "-", id)
        """Stands in the marker and in the counter's label."""
        exact = _compile(pattern)
        if exact.search(b""):
            raise RuleError("matches the empty text: it would hide everything or nothing")
        if group is not None and group > exact.groups:
            raise RuleError(f"secretGroup is {group}, but the regex has {exact.groups} groups")
        self.group = group
        head = "(?i)" if pattern.startswith("(?i)") else ""
        if pattern[len(head) :].startswith(r"\b"):
            rest = pattern[len(head) + 2 :]
            one_branch = "|" not in re.sub(r"\\.|\[[^\]]*\]|\([^()]*\)", "", rest)
            if one_branch and exact.groups == 0:
                self.group, pattern = 1, f"{head}{_EDGE}({rest})"
            elif one_branch and group is not None:
                pattern = head + _EDGE + rest
            exact = _compile(pattern)
        self.pattern = _loose(pattern)
        """For candidates: finds whatever the rule finds, and perhaps more."""
        self.anchored = self.pattern != pattern
        self.keywords = tuple(word.lower() for word in keywords if word)
        self._exact = exact
        self._minimum = minimum
        self._allow = tuple(allow)
        self._check = check
        self._secret = exact.groupindex.get(b"secret") if exact.groups else None

    @cached_property
    def maybe(self) -> Callable[[bytes], Any]:
        """Search for a candidate."""
        return _compile(f"(?m:{self.pattern})", capture=False).search  # type: ignore[no-any-return]  # re2 is untyped

    def find(self, data: bytes) -> Iterator[Span]:
        """Where the secrets are."""
        place = 0
        while found := self._exact.search(data, place):
            whole = found.span()
            secret = self._part(found)
            if secret[0] < secret[1] and self._counts(data, whole, secret):
                yield secret
                place = max(whole[1], whole[0] + 1)
            elif self._check:  # such patterns are short: trying the next byte stays linear
                place = whole[0] + 1
            else:
                place = max(whole[1], whole[0] + 1)

    def _part(self, found: Any) -> Span:
        if self._secret:
            span = found.span(self._secret)
        elif self.group:
            span = found.span(self.group)
        elif self.group is None:
            return found.span()  # type: ignore[no-any-return]  # re2 is untyped
        else:  # gitleaks: group 0 means the first group that holds something
            span = next((s for n in range(1, self._exact.groups + 1) if (s := found.span(n))[0] < s[1]), (-1, -1))
        return span if span[0] >= 0 else found.span()  # type: ignore[no-any-return]  # re2 is untyped

    def _counts(self, data: bytes, whole: Span, secret: Span) -> bool:
        if self._check and not self._check(data, *secret):
            return False
        if self._minimum and entropy(data[secret[0] : secret[1]]) <= self._minimum:
            return False
        return not any(allow.covers(data, whole, secret) for allow in self._allow)


# --- rule files -------------------------------------------------------------------------------------------------------


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


def load_rules(path: Path, *, _depth: int = 0) -> list[Rule]:
    """Read a rule file in gitleaks' TOML format. Raises RuleError naming the file and the rule.

    Rules that look at paths only are left out: a record has none. `useDefault` means tailrace's own rules.
    """
    try:
        table = msgspec.convert(tomllib.loads(path.read_text("utf-8")), _File, strict=False)
    except OSError as error:
        raise RuleError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise RuleError(f"{path} is not a rule file in gitleaks' TOML format: {error}") from None
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
        own = row.allowlists + ([row.allowlist] if row.allowlist else [])
        own += [allow for allow in shared if not allow.target_rules or row.id in allow.target_rules]
        try:
            rules[row.id] = Rule(
                row.id,
                row.regex,
                keywords=row.keywords,
                minimum=row.entropy,
                group=row.secret_group,
                allow=[allow for item in own if (allow := _allow(item))],
            )
        except RuleError as error:
            raise RuleError(f"{path}: rule {row.id!r}: {error}") from None
    return list(rules.values())


def _allow(table: _AllowTable) -> Allow | None:
    every = table.condition.upper() in ("AND", "&&")
    if every and (table.paths or table.commits):
        return None  # a record has neither, so the condition never holds
    return Allow(table.regexes, table.stopwords, table.regex_target, every)


def built_in_rules() -> list[Rule]:
    """The rules that come with tailrace."""
    return load_rules(Path(__file__).with_name("builtin_rules.toml"))


# --- personal data ----------------------------------------------------------------------------------------------------


def _luhn(data: bytes, start: int, end: int) -> bool:
    if data[max(0, start - 1) : start] == b"." and data[max(0, start - 2) : start - 1].isdigit():
        return False  # the digits behind a decimal point are a measurement
    total = 0
    digits = [byte - 48 for byte in reversed(data[start:end]) if 48 <= byte <= 57]
    for place, digit in enumerate(digits):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def _mod97(data: bytes, start: int, end: int) -> bool:
    """ISO 13616: the country and check digits moved behind, letters as numbers, the remainder is 1."""
    text = data[start:end].decode("ascii").replace(" ", "").replace("-", "").upper()
    return int("".join(str(int(char, 36)) for char in text[4:] + text[:4])) % 97 == 1


def _address(data: bytes, start: int, end: int) -> bool:
    try:
        ipaddress.ip_address(data[start:end].decode("ascii"))
    except ValueError:
        return False
    return True


PII: dict[str, tuple[str, Callable[[bytes, int, int], bool] | None]] = {
    "email": (r"[A-Za-z0-9._%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}", None),
    "card": (
        r"\b(?:[2-6]\d{3}[ -]?\d{4}[ -]?\d{4}[ -]?\d{4}(?:[ -]?\d{3})?"
        r"|3[47]\d{2}[ -]?\d{6}[ -]?\d{5}|3(?:0[0-5]|[68]\d)\d[ -]?\d{6}[ -]?\d{4})\b",
        _luhn,
    ),
    "iban": (r"\b[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,3})?\b", _mod97),
    "phone": (r"\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}\b", None),
    "ip": (
        r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b|\b(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}\b"
        r"|\b(?:[0-9A-Fa-f]{1,4}:){1,6}(?::[0-9A-Fa-f]{1,4}){1,6}\b",
        _address,
    ),
    "ssn": (r"\b(?:[0-578]\d{2}|6(?:[0-57-9]\d|6[0-57-9]))-(?:0[1-9]|[1-9]\d)-\d{4}\b", None),
}
"""Groups of personal data: a pattern and what tells a real one from a number that looks like it."""


def pii_rule(name: str) -> Rule:
    """The rule for one group of `PII`."""
    pattern, check = PII[name]
    return Rule(name, pattern, check=check)


# --- key names --------------------------------------------------------------------------------------------------------

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BREAK = re.compile(r"[-_.\s]+")
_MEASURES = frozenset(
    {"first", "last", "max", "min", "per", "total", "eos", "bos", "pad", "unk", "sep", "cls", "mask", "stop"}
)
_NOTHING = frozenset(
    b"none null nil true false str bytes int bool optional undefined string - ... redacted <redacted> [redacted] "
    b"masked <masked> <hidden> hidden unset missing".split()
)
_CALL = re.compile(rb"(?:[A-Za-z_][\w.]{0,60}\()?[bBrRuUfF]{0,2}(\\*)([\"'])")
_QUOTED = {b'"': re.compile(rb'(?:[^"\\\n]|\\.)*', re.S), b"'": re.compile(rb"(?:[^'\\\n]|\\.)*", re.S)}
_BARE = re.compile(rb"[^\s\"'&<>|`]+")
_CUT = re.compile(rb"[,;](?=$|[\w.-]+[=:])")
_SCHEME = re.compile(rb"(?:bearer|basic|token|digest|negotiate|apikey|bot|hawk|signature|aws4-hmac-sha256)[ \t]+", re.I)
_HEADER = re.compile(rb"[^\s\"';,]+(?:[;,]+[ \t]*[^\s\"';,]+)*")
_CLOSE = {b"[": b"]", b"{": b"}", b"(": b")"}


def words_of(key: str) -> tuple[str, ...]:
    """A key's words: `apiKey`, `API_KEY` and `api-key` are the same two."""
    return tuple(word for word in _BREAK.split(_CAMEL.sub("_", key).lower()) if word)


class KeyNames(Rule):
    """Values that are hidden because of the name in front of them."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = {words for name in names if (words := words_of(name))}
        self._whole = {"".join(words) for words in self._names}
        forms = sorted({r"[-_. ]?".join(map(re.escape, words)) for words in self._names}, key=lambda f: (-len(f), f))
        any_of = "|".join(forms)
        self.id = KEY_NAME
        self.keywords = ()
        self.anchored = False
        self.pattern = rf"(?i:{any_of})(?:\\*[\"']?\s*[:=]|[\"']\s*[,}}])"
        self._exact = _compile(rf"(?i)([\w.-]*(?:{any_of}))\\*[\"']?[ \t]*(?:=>|:=|==?|:)[ \t]*")
        self._known: dict[str, bool] = {}

    def hides(self, key: str) -> bool:
        """Whether the value under this key is hidden: the name is in the list, or ends with one of the list."""
        known = self._known.get(key)
        if known is None:
            if len(self._known) > 10_000:
                self._known.clear()
            known = self._known[key] = self._decide(words_of(key))
        return known

    def _decide(self, words: tuple[str, ...]) -> bool:
        if "".join(words) in self._whole:
            return True
        if words[-1:] == ("token",) and words[-2:-1] and words[-2] in _MEASURES:
            return False
        return any(words[n:] in self._names for n in range(1, len(words)))

    def find(self, data: bytes) -> Iterator[Span]:
        """Values in text: `key=value`, `"key": "value"`, `key: value`."""
        place = 0
        while found := self._exact.search(data, place):
            place = found.end()
            name = found.group(1).decode("ascii", "replace")
            if self.hides(name):
                start, end = self._value(data, place, name)
                if start < end:
                    yield start, end
                place = max(place, end)

    def _value(self, data: bytes, start: int, name: str) -> Span:
        if quote := _CALL.match(data, start):
            slashes, mark = quote[1], quote[2]
            start = quote.end()
            if slashes:  # inside a quoted text: what closes it carries as many backslashes as what opened it
                close = re.compile(rb"(?<!\\)" + re.escape(slashes + mark)).search(data, start)
                return start, close.start() if close else _line_end(data, start)
            if body := _QUOTED[mark].match(data, start):
                return self._plain(data, start, body.end())
            return start, start
        if close_mark := _CLOSE.get(data[start : start + 1]):
            end = _line_end(data, start)
            close_at = data.find(close_mark, start, end)
            return start, close_at + 1 if close_at >= 0 else end
        if words_of(name)[-1] in ("authorization", "cookie"):
            scheme = _SCHEME.match(data, start)
            header = _HEADER.match(data, scheme.end() if scheme else start)
            return header.span() if header else (start, start)
        bare = _BARE.match(data, start)
        if bare is None:
            return start, start
        text = bare[0]
        if cut := _CUT.search(text):
            text = text[: cut.start()]
        return self._plain(data, start, start + len(text.rstrip(b")]},;")))

    @staticmethod
    def _plain(data: bytes, start: int, end: int) -> Span:
        text = data[start:end].lower()
        return (start, start) if text in _NOTHING or not text.strip(b"*") else (start, end)


def _line_end(data: bytes, start: int) -> int:
    end = data.find(b"\n", start)
    return len(data) if end < 0 else end


# --- escapes ----------------------------------------------------------------------------------------------------------


class _Escapes(dict[bytes, bytes]):
    """What an escape stands for, remembered; surrogates of a pair are one character."""

    def __missing__(self, escape: bytes) -> bytes:
        if len(self) > 20_000:
            self.clear()
        kind = escape[1:2]
        if kind == b"u":
            units = bytes.fromhex(escape.decode().replace("\\u", ""))
            plain = units.decode("utf-16-be", "replace").encode()
        elif kind == b"x":
            plain = bytes.fromhex(escape[2:].decode())
        else:
            plain = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}.get(kind, kind)
        self[escape] = plain
        return plain


_ESCAPE = re.compile(
    rb"\\(?:[nrtbf\"\\/']|u(?:[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|[0-9a-fA-F]{4})|x[0-9a-fA-F]{2})"
)
_ESCAPES = re.compile(b"(" + _ESCAPE.pattern + b")")
_INNER = frozenset((b"b", b"f", b"n", b"r", b"t", b"u", b"x"))
_RS = bytes(1 + byte % 8 for byte in os.urandom(10))
"""Separates joined lines inside this process only; drawn anew, so that no line can hold it."""
_BACKSLASH = 92  # `92 in line` is four times as fast as `b"\\" in line`
_escapes = _Escapes()


def unescape(data: bytes) -> bytes:
    """The text with JSON's (and Python's) escapes resolved, those of a JSON line's strings as well."""
    return b"".join(_plain_parts(_ESCAPES.split(data)))


def _plain_parts(parts: list[bytes]) -> list[bytes]:
    """Every second part is an escape: put in what it stands for (faster than `sub` with a function)."""
    parts[1::2] = list(map(_escapes.__getitem__, parts[1::2]))
    return parts


def _nested(parts: list[bytes]) -> list[int]:
    """Which texts start with the inner escape of JSON inside a JSON string.

    `parts` are texts and escapes by turns; such a text stands behind an escaped backslash.
    """
    return [2 * n + 2 for n, part in enumerate(parts[1::2]) if part == b"\\\\" and parts[2 * n + 2][:1] in _INNER]


def _behind(text: bytes) -> bytes:
    """What follows the inner escape, to the end of the line or to the next escape."""
    return text[{117: 5, 120: 3}.get(text[0], 1) :].partition(_RS)[0]


def _lines_of(parts: list[bytes], places: Iterable[int]) -> Iterator[int]:
    """The number of the line in which each of these texts of `parts` starts; places ascend."""
    line = last = 0
    for place in places:
        for part in parts[last:place:2]:
            if (mark := part.rfind(_RS)) >= 0:
                line = _number(part, mark)
        last = place
        yield line


def _unescaped(data: bytes) -> tuple[bytes, Callable[[int], int]]:
    """The text with its escapes resolved, and where each of its bytes stood before."""
    parts = _ESCAPES.split(data)
    raw_ends = list(accumulate(map(len, parts)))
    plain_parts = _plain_parts(parts)
    plain_ends = list(accumulate(map(len, plain_parts)))

    def origin(place: int) -> int:
        part = bisect_right(plain_ends, place)
        if part == len(plain_ends):
            return len(data)
        plain, raw = (plain_ends[part - 1], raw_ends[part - 1]) if part else (0, 0)
        return raw if part % 2 else raw + place - plain

    return b"".join(plain_parts), origin


def _views(data: bytes, *, raw: bool) -> list[View]:
    """The text as it is (`raw`) and with the escapes of JSON, and of JSON inside a JSON string, resolved."""
    if b"\\" not in data:
        return [(data, int)]
    once, origin = _unescaped(data)
    views: list[View] = [(data, int), (once, origin)] if raw else [(once, origin)]
    if b"\\" in once:
        twice, inner = _unescaped(once)
        views.append((twice, lambda place: origin(inner(place))))
    return views


_between: list[bytes] = []


def _joined(lines: Sequence[bytes]) -> bytes:
    """The lines with their number in between, on a line of its own, so that ^ and $ hold at both ends."""
    while len(_between) < len(lines):
        _between.append(b"\n%b%d\n" % (_RS, len(_between) + 1))
    pieces = [b""] * (2 * len(lines) - 1)
    pieces[::2] = lines
    pieces[1::2] = _between[: len(lines) - 1]
    return b"".join(pieces)


def _number(text: bytes, mark: int) -> int:
    return int(text[mark + len(_RS) : text.index(b"\n", mark)]) if mark >= 0 else 0


# --- the engine -------------------------------------------------------------------------------------------------------

_MARKER = re.compile(rb"\[REDACTED:([\w.-]+)\]|\[([\w.-]+):[0-9a-f]{12}\]")


class _Group(msgspec.Struct):
    """Rules whose candidates are found by one scan."""

    search: Callable[..., Any]
    rules: list[Rule]


class Engine:
    """Finds candidates in many lines by one scan and takes the secrets out of the few lines that have any.

    Rules with keywords cost one scan for all their keywords together, however many they are; rules without stand
    in the scan themselves, a dozen at a time.
    """

    def __init__(self, rules: Iterable[Rule], keys: Sequence[str] = (), secret: bytes | None = None) -> None:
        self._rules = list(rules)
        self._names = KeyNames(keys) if keys else None
        self._secret = secret
        if self._names:
            self._rules.append(self._names)
        self._order = {rule.id: place for place, rule in reversed(list(enumerate(self._rules)))}
        self._known = {rule_id.encode() for rule_id in self._order}
        self._announced: dict[bytes, list[Rule]] = {}
        for rule in self._rules:
            for word in rule.keywords:
                self._announced.setdefault(word.encode(), []).append(rule)
        words = sorted(self._announced, key=lambda word: (-len(word), word))
        self._announced = {  # the scan reports the longest: it stands for those inside it as well
            word: list(dict.fromkeys(rule for other in words if other in word for rule in self._announced[other]))
            for word in words
        }
        direct = [rule for rule in self._rules if not rule.keywords]
        keywords = "(?i:" + "|".join(re2.escape(word.decode()) for word in words) + ")" if words else ""
        first, rest = direct[:_GROUP], direct[_GROUP:]
        self._groups = list(self._grouped(first, keywords)) if first or keywords else []
        for place in range(0, len(rest), _GROUP):
            self._groups += self._grouped(rest[place : place + _GROUP], "")
        self._both: set[bytes] = set()
        for rule in direct:
            fold = _compile(f"(?m:{rule.pattern})", capture=False, fold=True)
            self._both.update(word for word in words if fold.search(word))

    def _grouped(self, rules: list[Rule], keywords: str) -> Iterator[_Group]:
        named = re.compile(r"(?<!\\)\(\?P?<\w+>")
        parts = [f"(?m:{named.sub('(?:', rule.pattern)})" for rule in rules] + ([keywords] if keywords else [])
        try:
            yield _Group(_compile("|".join(parts), capture=False, memory=128 << 20).search, rules)
        except RuleError:
            if len(parts) == 1:
                raise
            half = len(rules) // 2
            yield from self._grouped(rules[:half], keywords if half else "")
            if half:
                yield from self._grouped(rules[half:], "")
            else:
                yield _Group(rules[0].maybe, rules)
                yield from self._grouped([], keywords)

    # finding

    def search(self, lines: Sequence[bytes], *, raw: bool) -> dict[int, list[Rule]]:
        """Which lines may hold a secret, and by which rules. `raw`: lines may be plain text, not JSON alone."""
        hits: dict[int, dict[Rule, None]] = {}
        escaped = [place for place, line in enumerate(lines) if _BACKSLASH in line]
        if not escaped:
            self._scan(_joined(lines), hits)
            return {place: list(rules) for place, rules in hits.items()}
        whole = range(len(lines)) if raw else [place for place, line in enumerate(lines) if _BACKSLASH not in line]
        if whole:
            found: dict[int, dict[Rule, None]] = {}
            self._scan(_joined(lines if raw else [lines[place] for place in whole]), found)
            hits = {whole[place]: rules for place, rules in found.items()}
        self._scan_resolved(_joined([lines[place] for place in escaped]), hits, escaped)
        return {place: list(rules) for place, rules in hits.items()}

    def _scan_resolved(self, text: bytes, hits: dict[int, dict[Rule, None]], numbers: Sequence[int]) -> None:
        """The same for joined lines with escapes; `numbers` are the lines' own."""
        parts = _ESCAPES.split(text)
        nested = _nested(parts)
        found: dict[int, dict[Rule, None]] = {}
        self._scan(b"".join(_plain_parts(parts)), found)
        if nested:
            inner: dict[int, dict[Rule, None]] = {}
            self._scan(_joined([_behind(parts[place]) for place in nested]), inner)
            texts = sorted(inner)
            for text_number, line in zip(texts, _lines_of(parts, [nested[n] for n in texts]), strict=True):
                found.setdefault(line, {}).update(inner[text_number])
        for place, rules in found.items():
            hits.setdefault(numbers[place], {}).update(rules)

    def _scan(self, text: bytes, hits: dict[int, dict[Rule, None]]) -> None:
        announced, both = self._announced, self._both
        for group in self._groups:
            search = group.search
            place = line = until = 0
            while found := search(text, place):
                start, end = found.span()
                if start >= until:
                    line = _number(text, text.rfind(_RS, 0, start + len(_RS)))
                    until = self._end(text, start)
                rules = hits.get(line)
                if rules is None:
                    rules = hits[line] = {}
                word = text[start:end].lower()
                by_word = announced.get(word)
                if by_word is not None:
                    rules.update(dict.fromkeys(by_word))
                    place = start + 1
                    if word not in both:
                        continue
                rules.update(dict.fromkeys(group.rules))
                if announced and group is self._groups[0]:
                    rules.update(dict.fromkeys(self._announced_in(text, start, self._end(text, start))))
                place = self._end(text, start)

    def _end(self, text: bytes, start: int) -> int:
        end = text.find(_RS, start)
        return len(text) if end < 0 else end

    @cached_property
    def _keyword_search(self) -> Callable[..., Any]:
        words = sorted(self._announced, key=lambda word: (-len(word), word))
        pattern = "(?i:" + "|".join(re2.escape(word.decode()) for word in words) + ")"
        return _compile(pattern, capture=False, memory=128 << 20).search  # type: ignore[no-any-return]  # re2 is untyped

    def _announced_in(self, text: bytes, start: int, end: int) -> list[Rule]:
        rules: dict[Rule, None] = {}
        while found := self._keyword_search(text, start, end):
            start = found.start() + 1
            rules.update(dict.fromkeys(self._announced[found.group().lower()]))
        return list(rules)

    def _suspicious(self, line: bytes) -> bool:
        """Whether another look is needed; cheaper than `candidates`."""
        return _BACKSLASH in line or any(group.search(line) for group in self._groups)

    def candidates(self, data: bytes) -> list[Rule]:
        """The rules that may find something in one text."""
        hits: dict[int, dict[Rule, None]] = {}
        self._scan(data, hits)
        for _ in range(2):
            if b"\\" not in data:
                break
            data = unescape(data)
            self._scan(data, hits)
        return list(hits.get(0, ()))

    def _spans(
        self, data: bytes, rules: Sequence[Rule], before: bytes = b"", raw: bool = True
    ) -> list[tuple[int, int, str]]:
        """Where secrets are in the text that has `before` (its key, as in JSON) in front of it."""
        views = _views(data, raw=raw)
        found = []
        for rule in rules:
            for text, origin_of in views:
                found += [(origin_of(start), origin_of(end), rule.id) for start, end in rule.find(text)]
            if before:
                size = len(before)
                for start, end in rule.find(before + data + b'"'):
                    start, end = max(start - size, 0), min(end - size, len(data))
                    if start < end:
                        found.append((start, end, rule.id))
        if not found:
            return found
        marks = [m.span() for m in _MARKER.finditer(data) if (m[1] or m[2]) in self._known]
        return self._merged(found, marks)

    def _merged(self, found: list[tuple[int, int, str]], marks: list[Span]) -> list[tuple[int, int, str]]:
        """Findings that overlap are one, with the marker they touch; what lies in a marker is none."""
        if marks:
            starts = [start for start, _ in marks]
            found = [f for f in found if not (at := bisect_right(starts, f[0])) or f[1] > marks[at - 1][1]]
        merged: list[tuple[int, int, str]] = []
        for start, end, rule in sorted(found + [(*mark, "") for mark in marks]):
            if merged and start < merged[-1][1]:
                first, last, other = merged[-1]
                best = min((name for name in (rule, other) if name), key=self._order.__getitem__, default="")
                merged[-1] = (first, max(last, end), best)
            else:
                merged.append((start, end, rule))
        return [span for span in merged if span[2]]

    # taking out

    def mark(self, rule: str, secret: bytes) -> bytes:
        """What stands in the place of a secret."""
        if self._secret is None:
            return b"[REDACTED:%s]" % rule.encode()
        digest = hmac.new(self._secret, secret, hashlib.sha256).hexdigest()[:12]
        return f"[{rule}:{digest}]".encode()

    def scrub(self, data: bytes, rules: Sequence[Rule], found: Found, before: bytes = b"") -> bytes:
        """The text without its secrets; what was taken out is added to `found`."""
        for _ in range(100):
            spans = self._spans(data, rules, before)
            if not spans:
                return data
            data = self._without(data, spans, found)
            rules = self.candidates(before + data + b'"' if before else data)
            if not rules:
                return data
        raise ValueError("redaction did not come to an end")

    def _without(self, data: bytes, spans: Iterable[tuple[int, int, str]], found: Found) -> bytes:
        parts: list[bytes] = []
        last = 0
        for start, end, rule in spans:
            secret = data[start:end]
            found.append((rule, secret))
            parts += (data[last:start], self.mark(rule, secret))
            last = end
        parts.append(data[last:])
        return b"".join(parts)

    def text(self, text: str, found: Found, key: str = "", hide: bool = False) -> str:
        """One string, perhaps the value of a key."""
        data = text.encode("utf-8", "surrogatepass")
        if hide:
            mark = _MARKER.fullmatch(data)
            if not data or (mark and (mark[1] or mark[2]) in self._known):
                return text
            found.append((KEY_NAME, data))
            return self.mark(KEY_NAME, data).decode()
        before = b'"%s": "' % key.encode("utf-8", "surrogatepass") if key else b""
        rules = self.candidates(before + data + b'"' if key else data)
        if not rules:
            return text
        new = self.scrub(data, rules, found, before)
        return text if new is data else new.decode("utf-8", "surrogatepass")

    def _number(self, text: bytes, found: Found, key: str, hide: bool) -> bool:
        """Whether a number has to go; zero takes its place, so that types stay."""
        if not text.strip(b"0.-+eE"):
            return False
        if hide:
            found.append((KEY_NAME, text))
            return True
        before = b'"%s": ' % key.encode("utf-8", "surrogatepass") if key else b""
        rules = self.candidates(before + text)
        spans = self._spans(text, rules, before) if rules else []
        found += [(rule, text[start:end]) for start, end, rule in spans]
        return bool(spans)

    def value(self, value: Any, found: Found, key: str = "", hide: bool = False) -> Any:
        """A decoded value, itself when it is clean. Strings get markers, numbers become 0, all else keeps its type."""
        if value.__class__ is str:
            return self.text(value, found, key, hide)
        if isinstance(value, dict):
            hidden = self._hidden(value, hide)
            new: dict[Any, Any] = {}
            for name, item in value.items():
                new[self._free(self._key(name, found), new)] = self.value(item, found, str(name), name in hidden)
            return new if any(new.get(name, new) is not item for name, item in value.items()) else value
        if isinstance(value, list | tuple):
            pair = len(value) == 2 and self._is_name(value[0])
            items = [self.value(v, found, key, hide or (pair and n == 1)) for n, v in enumerate(value)]
            same = all(new is old for new, old in zip(items, value, strict=True))
            return value if same else type(value)(items) if type(value) in (list, tuple) else items
        if isinstance(value, int | float) and not isinstance(value, bool):
            return type(value)(0) if self._number(str(value).encode(), found, key, hide) else value
        return value

    def hides(self, name: str) -> bool:
        """Whether values under this name are hidden whatever they are."""
        return self._names is not None and self._names.hides(name)

    def hidden_in(self, line: bytes, secret: str) -> bytes:
        """A text line without a value that was hidden for its name, where it stands as a word of its own."""
        value = secret.encode("utf-8", "surrogatepass")
        if value not in line:
            return line
        whole = re.compile(rb"(?<!\w)" + re.escape(value) + rb"(?!\w)")
        return whole.sub(lambda _: self.mark(KEY_NAME, value), line)

    def _is_name(self, value: Any) -> bool:
        return isinstance(value, str) and self._names is not None and self._names.hides(value)

    def _hidden(self, fields: dict[Any, Any], hide: bool) -> set[Any]:
        """The keys whose value is hidden: by their own name, or by `{"name": "Authorization", "value": …}`."""
        if hide:
            return set(fields)
        if self._names is None:
            return set()
        hidden = {name for name in fields if self._is_name(name)}
        if "value" in fields:
            for name in ("name", "key", "header"):
                label = fields.get(name)
                if isinstance(label, msgspec.Raw):
                    label = _plain(bytes(label))
                if self._is_name(label):
                    hidden.add("value")
        return hidden

    def _key(self, name: Any, found: Found) -> Any:
        return self.text(name, found) if isinstance(name, str) else name

    @staticmethod
    def _free(name: Any, taken: dict[Any, Any]) -> Any:
        """A key that is not taken: two redacted keys of one object must not swallow each other."""
        if name not in taken:
            return name
        number = len(taken) + 1  # counting from 2 would take quadratic time
        while f"{name} {number}" in taken:
            number += 1
        return f"{name} {number}"

    def json_line(self, line: bytes, rules: Sequence[Rule], found: Found) -> bytes:
        """A JSON object as one line: untouched values keep their bytes. Raises ValueError when it is no JSON object."""
        special = [rule for rule in rules if rule.anchored or rule is self._names]
        if special:
            texts = [text for text, _ in _views(line, raw=False)]
            special = [rule for rule in special if any(rule.maybe(text) for text in texts)]
        if not special:
            own: Found = []
            new = self._in_strings(line, rules, own)
            if new is not None:
                found += own
                return new
        new = self._json(line, found, "", False, 0)
        if self.candidates(new) and _repeats_a_key(new):
            # readers see the last of equal keys: a secret under the others would ship unseen
            return self._json(_encode(msgspec.json.decode(new)), found, "", False, 0)
        return new

    def _in_strings(self, line: bytes, rules: Sequence[Rule], found: Found) -> bytes | None:
        """Substitute in the line itself, if every secret lies within one string value; None: it has to be decoded."""
        for _ in range(100):
            spans = self._spans(line, rules, raw=False)
            if not spans:
                return line
            if not _within_strings(line, spans):
                return None
            line = self._without(line, spans, found)
            if not self._suspicious(line) or not (rules := self.candidates(line)):
                return line
        return None

    def _json(self, raw: bytes, found: Found, key: str, hide: bool, depth: int) -> bytes:
        first = raw[:1]
        if first == b'"':
            text = _plain(raw)
            new_text = self.text(text, found, key, hide)
            return raw if new_text is text else _encode(new_text)
        if depth > _DEEPEST:
            raise ValueError(f"JSON nested deeper than {_DEEPEST} levels")
        if first == b"{" or depth == 0:
            fields = _object(raw)
            hidden = self._hidden(fields, hide)
            new: dict[str, msgspec.Raw] = {}
            touched = False
            for name, item in fields.items():
                old = bytes(item)
                value = self._json(old, found, name, name in hidden, depth + 1)
                new_name = self._free(self._key(name, found), new)
                touched = touched or value is not old or new_name is not name
                new[new_name] = item if value is old else msgspec.Raw(value)
            return _encode(new) if touched else raw
        if first == b"[":
            items = [bytes(item) for item in _FIND_LIST(raw)]
            pair = len(items) == 2 and items[0][:1] == b'"' and self._is_name(_plain(items[0]))
            values = [self._json(v, found, key, hide or (pair and n == 1), depth + 1) for n, v in enumerate(items)]
            same = all(value is item for value, item in zip(values, items, strict=True))
            return raw if same else _encode([msgspec.Raw(value) for value in values])
        if first in b"tfn":
            return raw
        if self._number(raw, found, key, hide):
            return b"0.0" if any(byte in b".eE" for byte in raw) else b"0"
        return raw


def _within_strings(line: bytes, spans: Iterable[tuple[int, int, str]]) -> bool:
    """Whether each part of a JSON line lies within one string that is a value: then it can change where it stands."""
    if _BACKSLASH in line:
        line = _ESCAPE.sub(lambda m: b" " * len(m[0]), line)
    quotes, last, close = 0, 0, -1
    for start, end, _ in spans:
        quotes += line.count(b'"', last, start)
        last = start
        if close < end:
            close = line.find(b'"', end)
        if quotes % 2 == 0 or b'"' in line[start:end] or line[close + 1 : close + 20].lstrip()[:1] == b":":
            return False
    return True


def _object(raw: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _FIND_OBJECT(raw)
    except UnicodeDecodeError:
        return _FIND_OBJECT(raw.decode("utf-8", "replace").encode())
    except msgspec.DecodeError:
        raise ValueError("a record that should be one JSON object cannot be decoded") from None


def _plain(raw: bytes) -> Any:
    if raw[:1] != b'"':
        return None
    try:
        return _decode_str(raw)
    except UnicodeDecodeError:
        return _decode_str(raw.decode("utf-8", "replace").encode())


def _repeats_a_key(line: bytes) -> bool:
    import json  # the only reader that shows equal keys; rarely needed

    class Repeated(Exception):
        pass

    def look(pairs: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in pairs}) < len(pairs):
            raise Repeated

    try:
        json.loads(line, object_pairs_hook=look)
    except Repeated:
        return True
    return False


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
