"""Key names whose value is hidden whatever it is: how they are compared, and where their values are in text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence

from ._rules import Rule, Span, compiled, joined

KEY_NAME = "key-name"
"""Rule id of a value that was hidden because of its key."""

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
_CODE = re.compile(
    rb"(?:self|cls|this|os|settings|config|request|environ|args|kwargs)\.[A-Za-z_]"
    rb"|(?=[\w.]*[._])[A-Za-z_][\w.]*\("
    rb"|[A-Z]\w*\{[0-9a-f]{5,8}(?![\w-])"
)
"""A value that is an expression of a program, as lines of a traceback quote it: `self._secret`, `keys.get_key(…)`,
`Token{4f1c22a`."""
_CLOSE = {b"[": b"]", b"{": b"}", b"(": b")"}


def words_of(key: str) -> tuple[str, ...]:
    """A key's words: `apiKey`, `API_KEY` and `api-key` are the same two."""
    return tuple(word for word in _BREAK.split(_CAMEL.sub("_", key).lower()) if word)


class KeyNames(Rule):
    """Values that are hidden because of the name in front of them."""

    def __init__(self, names: Sequence[str], fields: Collection[str] = ()) -> None:
        """`names` as `words_of` compares them; `fields` only as they are written, with their path or without."""
        self._fields = frozenset(fields)
        self._names = {words for name in names if (words := words_of(name))}
        self._whole = {"".join(words) for words in self._names}
        own = {re.escape(field[field.rfind(".") + 1 :]) for field in self._fields}
        any_name = {r"[-_. ]?".join(map(re.escape, words)) for words in self._names}
        forms = sorted(any_name | own, key=lambda form: (-len(form), form))
        any_of = "|".join(forms)
        self.id = KEY_NAME
        self.keywords = ()
        self.anchored = False
        self.pattern = rf"(?i:{any_of})(?:\\*[\"']?\s*[:=]|[\"']\s*[,}}])"
        self._exact = compiled(rf"(?i)([\w.-]*(?:{any_of}))\\*[\"']?[ \t]*(?:=>|:=|==?|:)[ \t]*")
        self._known: dict[str, bool] = {}

    def hides(self, key: str) -> bool:
        """Whether the value under this key is hidden: the name is in the list, or ends with one of the list."""
        known = self._known.get(key)
        if known is None:
            if len(self._known) > 10_000:
                self._known.clear()
            # A name ends with a letter or digit, or the scan would not find it.
            named = key[-1:].isalnum() and self._decide(words_of(key))
            known = self._known[key] = named or key in self._fields
        return known

    def _decide(self, words: tuple[str, ...]) -> bool:
        if "".join(words) in self._whole:
            return True
        if words[-1:] == ("token",) and words[-2:-1] and words[-2] in _MEASURES:
            return False
        return any(words[n:] in self._names for n in range(1, len(words)))

    def find(self, texts: Sequence[bytes]) -> Iterator[tuple[int, int, int]]:
        """Values in text: `key=value`, `"key": "value"`, `key: value`."""
        data, starts = joined(texts)
        place = 0
        while found := self._exact.search(data, place):
            place = found.end()
            name = found.group(1).decode("ascii", "replace")
            if self.hides(name):
                number = bisect_right(starts, found.start()) - 1
                start, end = self._value(texts[number], place - starts[number], name)
                if start < end:
                    yield number, start, end
                place = max(place, starts[number] + end)

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
        text = text.rstrip(b")]},;")
        word = words_of(name)[-1].encode()
        if text.lower() in (word, word + b"s", name.lower().encode()) or _CODE.match(data, start):
            return start, start  # `connect(password=password)`, `no such secret: secrets …`
        return self._plain(data, start, start + len(text))

    @staticmethod
    def _plain(data: bytes, start: int, end: int) -> Span:
        text = data[start:end].lower()
        return (start, start) if text in _NOTHING or not text.strip(b"*") else (start, end)


def _line_end(data: bytes, start: int) -> int:
    end = data.find(b"\n", start)
    return len(data) if end < 0 else end
