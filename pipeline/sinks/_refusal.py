"""Loki's answer to a push that it did not take whole, read back into the very entries that it refused.

Two places refuse. The distributor checks each entry by itself, leaves out the bad ones, and names all of them, grouped.
The ingester then refuses what is too far behind the newest entry of its stream, names the first ten, and says how many
there were; its answer hides the distributor's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

NANOS = 1_000_000_000


class Sent(NamedTuple):
    """What Loki saw of one entry."""

    stream: str
    """The labels, as they were sent."""
    time_ns: int
    line: int
    """Bytes of the line."""
    metadata: int = 0
    """Bytes of the names and values of its structured metadata."""
    pairs: int = 0
    """How many of them."""


class Reason(NamedTuple):
    """Why an entry was refused, and what would do."""

    text: str
    hint: str
    behind: bool = False
    """For its age within its stream: said also of an entry that Loki has already, when it is pushed again."""


class Verdict(NamedTuple):
    """What an answer tells about the entries of its push."""

    refused: dict[int, Reason]
    """By place in the push: these, and for all that is known only these, will never be taken."""
    rest: str = "taken"
    """What became of all others. `taken`: they are stored. `hidden`: stored, unless the distributor refused some, which
    a second push tells. `unknown`: nothing can be said."""
    weather: str = ""
    """Some were not taken just now: to be tried again."""


UNKNOWN = Verdict({}, "unknown")


def judge(text: str, sent: Sequence[Sent]) -> Verdict:
    """Which entries of a push the text of a 400 is about; `unknown` where it cannot be told to the last one."""
    total = _TOTAL.search(text)
    return _judge_ingester(text, total, sent) if total else _judge_distributor(text, sent)


# ---- the distributor ---------------------------------------------------------------------------------------------

_STREAM = r"""(?P<stream>\{(?:[^"{}]|"(?:[^"\\]|\\.)*")*\})"""
_END = r"(?=; \d+ errors like: |\s*\Z)"
_ADMINISTRATOR = r" Please see `[^`]*` or contact your Loki administrator to (?:enable|increase) it"


class _Limit(NamedTuple):
    """A limit that the distributor checks: how it says so, what to change, and whom it is about."""

    pattern: re.Pattern[str]
    hint: str
    measure: Callable[[Sent], int] | None
    """What it measures: the entries with the number that it names are meant. None: the whole stream, said once."""
    first: int = 0
    """Where the entries of one second straddle the limit: 1 refuses the oldest of them, -1 the newest."""


def _limit(text: str, hint: str, measure: Callable[[Sent], int] | None, first: int = 0) -> _Limit:
    text = text.replace("STREAM", _STREAM).replace("ADMINISTRATOR", _ADMINISTRATOR)
    text = text.replace("TIME", r"(?P<time>[^\s;]+)").replace("NUMBER", r"(?P<number>\d+)")
    pattern = re.compile(rf"(?:(?P<count>\d+) errors like: )?(?P<text>{text}){_END}", re.DOTALL)
    return _Limit(pattern, hint, measure, first)


def _in_second(entry: Sent) -> int:
    return entry.time_ns // NANOS


_LIMITS = (
    _limit(
        r"entry for stream 'STREAM' has timestamp too old: TIME, oldest acceptable timestamp is: [^\s;]+",
        "raise Loki's limits_config.reject_old_samples_max_age",
        _in_second,
        1,
    ),
    _limit(
        r"entry for stream 'STREAM' has timestamp too new: TIME",
        "set the clock right, or raise Loki's limits_config.creation_grace_period",
        _in_second,
        -1,
    ),
    _limit(
        r"max entry size '\d+' bytes exceeded for stream 'STREAM' while adding an entry with length 'NUMBER' bytes",
        "lower the sink's `max_line`, or raise Loki's limits_config.max_line_size",
        lambda entry: entry.line,
    ),
    _limit(
        r"stream 'STREAM' includes structured metadata, but this feature is disallowed\.ADMINISTRATOR",
        "leave out `metadata`, or set Loki's limits_config.allow_structured_metadata",
        lambda entry: min(entry.pairs, 1),
    ),
    _limit(
        r"stream 'STREAM' has structured metadata too large: 'NUMBER' bytes, limit: '\d+' bytes\.ADMINISTRATOR",
        "take long fields out of `metadata`, or raise Loki's limits_config.max_structured_metadata_size",
        lambda entry: entry.metadata,
    ),
    _limit(
        r"stream 'STREAM' has too many structured metadata labels: 'NUMBER', limit: '\d+'\.ADMINISTRATOR",
        "take fields out of `metadata`, or raise Loki's limits_config.max_structured_metadata_entries_count",
        lambda entry: entry.pairs,
    ),
    _limit(
        r"entry for stream 'STREAM' has \d+ label names; limit \d+",
        "move labels to `metadata`, or raise Loki's limits_config.max_label_names_per_series",
        None,
    ),
    _limit(
        r"stream 'STREAM' has label name too long: '.*?'",
        "shorten the name, or raise Loki's limits_config.max_label_name_length",
        None,
    ),
    _limit(
        r"stream 'STREAM' has label value too long: '.*?'",
        "shorten it, or raise Loki's limits_config.max_label_value_length",
        None,
    ),
    _limit(r"stream 'STREAM' has duplicate label name: '.*?'", "name each label once", None),
    _limit(r"error parsing labels 'STREAM' with error: .*?", "look at `labels`", None),
    _limit(
        r"missing required labels '.*?' for user '.*?' for stream 'STREAM' \(policy: '.*?'\)",
        "add the labels that Loki's limits_config.enforced_labels asks for",
        None,
    ),
)
"""In the order in which Loki checks: an entry is refused for the first of them only."""


def _judge_distributor(text: str, sent: Sequence[Sent]) -> Verdict:
    refused: dict[int, Reason] = {}
    streams = _Streams(sent)
    for limit, said in _read(text.strip()):
        own = streams.named(said["stream"])
        if own is None:
            return UNKNOWN
        if limit.measure is None:
            places = own
        else:
            places = [place for place in streams.measured(own, limit.measure, _number(said)) if place not in refused]
            count = int(said["count"] or 1)
            if limit.first and len(places) > count:
                places.sort(key=lambda place: limit.first * sent[place].time_ns)
                if sent[places[count - 1]].time_ns == sent[places[count]].time_ns:
                    return UNKNOWN
                del places[count:]
            if len(places) != count:
                return UNKNOWN
        refused.update(dict.fromkeys(places, Reason(brief(said["text"]), limit.hint)))
    return Verdict(refused) if refused else UNKNOWN


def _read(text: str) -> list[tuple[_Limit, re.Match[str]]]:
    """What the text says, in the order of the limits; nothing if any of it is not understood."""
    said: list[tuple[int, re.Match[str]]] = []
    at = 0
    while at < len(text):
        for order, limit in enumerate(_LIMITS):
            if found := limit.pattern.match(text, at):
                said.append((order, found))
                break
        else:
            return []
        at = found.end() + len("; ")
    return [(_LIMITS[order], found) for order, found in sorted(said, key=lambda one: one[0])]


def _number(said: re.Match[str]) -> int:
    groups = said.groupdict()
    return _second(groups["time"]) if "time" in groups else int(groups.get("number", 1))


# ---- the ingester ------------------------------------------------------------------------------------------------

_TOTAL = re.compile(rf"user '.*?', total ignored: (?P<ignored>\d+) out of (?P<all>\d+) for stream: {_STREAM}\s*\Z")
_ENTRY = re.compile(
    r"entry with timestamp (?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(?P<fraction>\d+))? \+0000 UTC ignored, "
    r"reason: '(?P<reason>.*?)',\n",
    re.DOTALL,
)
_BEHIND = re.compile(r"entry too far behind, .*oldest acceptable timestamp is: (\S+)|entry out of order")
_BEHIND_HINT = (
    "Loki takes what is at most half its ingester.max_chunk_age (1h) older than the newest entry of the stream: "
    "raise that, or give old logs a label of their own"
)


def _judge_ingester(text: str, total: re.Match[str], sent: Sequence[Sent]) -> Verdict:
    """Pushed oldest first, entries are all measured by the newest that their stream had before: the oldest are refused.

    So the number that Loki tells would do. It is checked by the times and the limit that it names; where these do not
    agree, only what is certain counts: the named ones, and what is older than the limit (told to the second).
    """
    streams = _Streams(sent)
    own = streams.named(total["stream"])
    named: set[int] = set()
    oldest: set[int] = set()
    reason = weather = ""
    count = 0
    for found in _ENTRY.finditer(text):
        if behind := _BEHIND.match(found["reason"]):
            named.add(_second(found["time"] + "Z") * NANOS + int((found["fraction"] or "0").ljust(9, "0")))
            reason = reason or found["reason"]
            count += 1
            if behind[1]:
                oldest.add(_second(behind[1]))
        else:
            weather = weather or found["reason"]
    if own is None or not reason:
        return Verdict({}, "unknown", weather)
    why = Reason(brief(re.sub(r"entry timestamp is: \S+, ", "", reason)), _BEHIND_HINT, behind=True)
    limit = min(oldest) * NANOS if oldest else 0
    certain = {place for place in own if sent[place].time_ns in named or sent[place].time_ns < limit}
    ignored, every = int(total["ignored"]), int(total["all"])
    own = sorted(own, key=lambda place: sent[place].time_ns)
    times = [sent[place].time_ns for place in own]
    exact = (
        not weather
        and every == len(own) >= ignored
        and certain.issubset(own[:ignored])
        and (not oldest or times[ignored - 1] < limit + NANOS)
        and (ignored == every or times[ignored - 1] < times[ignored] >= limit)
    )
    if exact:
        return Verdict(dict.fromkeys(own[:ignored], why), "taken" if len(own) == len(sent) else "hidden")
    # Where the distributor left some out, `certain` may hold those: that the numbers agree then proves nothing.
    known = not weather and (count == ignored or (every == len(own) and len(certain) == ignored))
    return Verdict(dict.fromkeys(certain, why), "hidden" if known else "unknown", weather)


# ---- both --------------------------------------------------------------------------------------------------------

_PAIR = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class _Streams:
    """The entries of a push by stream, and by what a limit measures of them."""

    def __init__(self, sent: Sequence[Sent]) -> None:
        self.streams: dict[str, list[int]] = {}
        for place, entry in enumerate(sent):
            self.streams.setdefault(entry.stream, []).append(place)
        self._sent = sent
        self._names: dict[str, list[int] | None] = {}
        self._measured: dict[tuple[int, Callable[[Sent], int]], dict[int, list[int]]] = {}

    def named(self, stream: str) -> list[int] | None:
        """The entries of a stream that Loki names: it writes labels in its own way, and may have added some itself."""
        if stream not in self._names:
            self._names[stream] = self._find(stream)
        return self._names[stream]

    def _find(self, stream: str) -> list[int] | None:
        if stream in self.streams:
            return self.streams[stream]
        if len(self.streams) == 1:
            return next(iter(self.streams.values()))
        pairs = set(_PAIR.findall(stream))
        like = sorted((len(own), other) for other in self.streams if (own := set(_PAIR.findall(other))) <= pairs)
        if not like or (len(like) > 1 and like[-2][0] == like[-1][0]):
            return None
        return self.streams[like[-1][1]]

    def measured(self, own: list[int], measure: Callable[[Sent], int], number: int) -> list[int]:
        """Those of a stream of which a limit measures this number."""
        if (id(own), measure) not in self._measured:
            places = self._measured[id(own), measure] = {}
            for place in own:
                places.setdefault(measure(self._sent[place]), []).append(place)
        return self._measured[id(own), measure].get(number, [])


@lru_cache(maxsize=1024)
def _second(time: str) -> int:
    """Unix seconds of a time as Go writes it; one that no entry has for what is no time."""
    try:
        return int(datetime.fromisoformat(time).timestamp())
    except ValueError:
        return -1


def brief(text: str) -> str:
    """So much of Loki's words as a dead letter has use for."""
    return text if len(text) <= 500 else f"{text[:500]}…"
