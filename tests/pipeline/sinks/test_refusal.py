"""The texts are Loki 3.7's own; `{app="a"}` stands for any stream."""

from __future__ import annotations

import time
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.sinks._refusal import Sent, judge

SECOND = 10**9
NOW = 1_795_437_940_558_892_396
"""2026-11-23T12:45:40.558892396Z."""
HOUR = 3600 * SECOND
A, B = '{app="a"}', '{app="b", level="info"}'


class Case(NamedTuple):
    """An answer, the entries of the push, and what follows."""

    text: str
    sent: list[Sent]
    refused: set[int]
    rest: str = "taken"


def at(*times: int, stream: str = A) -> list[Sent]:
    return [Sent(stream, time_ns, 10) for time_ns in times]


def behind(time_ns: int, cutoff: str = "2026-11-23T11:45:40Z") -> str:
    """One entry as the ingester names it: with nine digits, of which it leaves out zeros at the end."""
    seconds, fraction = divmod(time_ns, SECOND)
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    digits = f".{fraction:09d}".rstrip("0").rstrip(".")
    whole = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    return (
        f"entry with timestamp {clock}{digits} +0000 UTC ignored, reason: 'entry too far behind, entry timestamp is: "
        f"{whole}, oldest acceptable timestamp is: {cutoff}',\n"
    )


LIMITED = (
    "entry with timestamp 2026-11-23 12:45:43.129875875 +0000 UTC ignored, reason: 'Per stream rate limit exceeded "
    "(limit: 10KB/sec) while attempting to ingest for stream '{app=\"a\"}' totaling 1004B, consider splitting a stream "
    "via additional labels or contact your Loki administrator to see if the limit can be increased',\n"
)
OLD = NOW - 8 * 24 * HOUR
TOO_OLD = (
    "2 errors like: entry for stream '{app=\"a\"}' has timestamp too old: 2026-11-15T12:45:44Z, oldest acceptable "
    "timestamp is: 2026-11-16T12:45:42Z; 1 errors like: entry for stream '{app=\"a\"}' has timestamp too old: "
    "2026-11-15T12:45:40Z, oldest acceptable timestamp is: 2026-11-16T12:45:42Z\n"
)
TOO_NEW = "entry for stream '{app=\"a\"}' has timestamp too new: 2026-11-23T13:45:40Z\n"
LONG = (
    "2 errors like: max entry size '262144' bytes exceeded for stream '{app=\"a\"}' while adding an entry with length "
    "'300000' bytes; 1 errors like: max entry size '262144' bytes exceeded for stream '{app=\"a\"}' while adding an "
    "entry with length '300001' bytes\n"
)
METADATA = (
    "2 errors like: stream '{app=\"a\"}' has structured metadata too large: '70001' bytes, limit: '65536' bytes. "
    "Please see `limits_config.max_structured_metadata_size` or contact your Loki administrator to increase it; 1 "
    "errors like: stream '{app=\"a\"}' has too many structured metadata labels: '129', limit: '128'. Please see "
    "`limits_config.max_structured_metadata_entries_count` or contact your Loki administrator to increase it\n"
)
ODD = r'{app="; 2 errors like: \"}"}'
MIXED = (
    f"1 errors like: entry for stream '{A}' has timestamp too old: 2026-11-15T12:45:40Z, oldest acceptable timestamp "
    f"is: 2026-11-16T12:45:42Z; 2 errors like: max entry size '262144' bytes exceeded for stream '{ODD}' while adding "
    f"an entry with length '300000' bytes; 1 errors like: stream '{B}' has label value too long: 'vv; '\n"
)

CASES = {
    "one too far behind": Case(
        behind(NOW - 2 * HOUR) + "user 'fake', total ignored: 1 out of 3 for stream: {app=\"a\"}\n",
        at(NOW, NOW - 2 * HOUR, NOW - HOUR),
        {1},
    ),
    "more than are named, to the nanosecond": Case(
        "".join(behind(NOW - 2 * HOUR + n) for n in range(10))
        + "user 'fake', total ignored: 13 out of 16 for stream: {app=\"a\"}\n",
        at(*[NOW - 2 * HOUR + n for n in range(12)], *[NOW - HOUR + n for n in range(-1, 3)]),
        {*range(13)},
    ),
    "the limit lies within a second": Case(
        behind(NOW - HOUR - 5) + "user 'fake', total ignored: 1 out of 2 for stream: {app=\"a\"}\n",
        at(NOW - HOUR - 5, NOW - HOUR),
        {0},
    ),
    "Loki added a label": Case(
        behind(NOW - 2 * HOUR) + 'user \'fake\', total ignored: 1 out of 1 for stream: {app="a", service_name="a"}\n',
        at(NOW - 2 * HOUR) + at(NOW - 2 * HOUR, stream=B),
        {0},
        "hidden",
    ),
    "another refused some before": Case(
        behind(NOW - 2 * HOUR) + "user 'fake', total ignored: 1 out of 1 for stream: {app=\"a\"}\n",
        at(NOW - 3 * HOUR, NOW - 2 * HOUR, NOW),
        {0, 1},  # the first is too far behind too, whatever else it is
        "hidden",
    ),
    "another refused some that are new": Case(
        behind(NOW - 2 * HOUR) + "user 'fake', total ignored: 1 out of 1 for stream: {app=\"a\"}\n",
        at(NOW - 2 * HOUR, NOW),
        {0},
        "hidden",
    ),
    "another refused some, and the numbers agree by chance": Case(
        "".join(behind(NOW - 2 * HOUR + n) for n in range(10))
        + "user 'fake', total ignored: 12 out of 13 for stream: {app=\"a\"}\n",
        at(*[NOW - 2 * HOUR + n for n in range(12)], NOW // SECOND * SECOND - HOUR + 5, NOW),
        {*range(12)},
        "unknown",  # the ingester refused the thirteenth, too, and never saw one of the first twelve
    ),
    "a shard of the stream": Case(
        behind(NOW - 2 * HOUR)
        + 'user \'fake\', total ignored: 1 out of 2 for stream: {__stream_shard__="1", app="a"}\n',
        at(NOW - 2 * HOUR, NOW, NOW, NOW),
        {0},
        "hidden",
    ),
    "the number does not fit": Case(
        "".join(behind(NOW - 2 * HOUR + n) for n in range(10))
        + "user 'fake', total ignored: 11 out of 12 for stream: {app=\"a\"}\n",
        at(*[NOW - 2 * HOUR + n for n in range(10)], NOW, NOW + 1),
        {*range(10)},
        "unknown",
    ),
    "out of order": Case(
        "entry with timestamp 2026-11-23 12:45:40 +0000 UTC ignored, reason: 'entry out of order',\n"
        "user 'fake', total ignored: 1 out of 2 for stream: {app=\"a\"}\n",
        at(NOW // SECOND * SECOND, NOW),
        {0},
    ),
    "too old": Case(TOO_OLD, at(OLD, OLD + 4 * SECOND, OLD + 4 * SECOND + 1, NOW), {0, 1, 2}),
    "too old, the oldest of their second": Case(
        TOO_OLD, at(OLD + 4 * SECOND + 2, OLD + 4 * SECOND, OLD, OLD + 4 * SECOND + 1), {1, 2, 3}
    ),
    "too old, and equal times": Case(TOO_OLD, at(OLD, *[OLD + 4 * SECOND] * 3), set(), "unknown"),
    "too new": Case(TOO_NEW, at(NOW, NOW + HOUR, NOW + 2 * HOUR), {1}),
    "too new, the newest of its second": Case(TOO_NEW, at(NOW + HOUR, NOW + HOUR + 1), {1}),
    "long lines": Case(LONG, [Sent(A, NOW, size) for size in (300_000, 5, 300_001, 300_000)], {0, 2, 3}),
    "long lines, one of which is too old": Case(
        "1 errors like: " + TOO_NEW.strip() + "; " + LONG,
        [Sent(A, NOW, 300_000), Sent(A, NOW + HOUR, 300_000), Sent(A, NOW, 300_001), Sent(A, NOW, 300_000)],
        {0, 1, 2, 3},
    ),
    "metadata": Case(
        METADATA,
        [Sent(A, NOW, 1, 70_001, 1), Sent(A, NOW, 1, 9, 129), Sent(A, NOW, 1), Sent(A, NOW, 1, 70_001, 2)],
        {0, 1, 3},
    ),
    "no metadata allowed": Case(
        "stream '{app=\"a\"}' includes structured metadata, but this feature is disallowed. Please see "
        "`limits_config.allow_structured_metadata` or contact your Loki administrator to enable it\n",
        [Sent(A, NOW, 1), Sent(A, NOW, 1, 5, 1)],
        {1},
    ),
    "too many labels": Case(
        "entry for stream '{app=\"a\"}' has 16 label names; limit 15\n", at(NOW, NOW) + at(NOW, stream=B), {0, 1}
    ),
    "several limits, streams with odd names": Case(
        MIXED,
        [*at(OLD, NOW), Sent(ODD, NOW, 300_000), Sent(ODD, NOW, 300_000), *at(NOW, NOW, stream=B)],
        {0, 2, 3, 4, 5},
    ),
    "a label that is required": Case(
        "missing required labels 'team,env' for user 'fake' for stream '{app=\"a\"}' (policy: '')\n",
        at(NOW, NOW),
        {0, 1},
    ),
    "a number that does not fit": Case(LONG, [Sent(A, NOW, size) for size in (300_000, 300_001)], set(), "unknown"),
    "a stream that is not ours": Case(
        TOO_NEW, at(NOW, stream=B) + at(NOW + HOUR, stream='{app="c"}'), set(), "unknown"
    ),
    "words we do not know": Case("snappy: corrupt input\n", at(NOW), set(), "unknown"),
    "known words, and then others": Case(TOO_NEW.strip() + "; and so on", at(NOW + HOUR), set(), "unknown"),
    "no words": Case("", at(NOW), set(), "unknown"),
    "no time": Case("entry for stream '{app=\"a\"}' has timestamp too new: soon\n", at(NOW), set(), "unknown"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_answer_names_exactly_these(case: Case) -> None:
    verdict = judge(case.text, case.sent)
    assert set(verdict.refused) == case.refused
    assert verdict.rest == case.rest
    assert verdict.weather == ""
    assert all(why.text and why.hint for why in verdict.refused.values())


@pytest.mark.parametrize("named", [LIMITED, LIMITED + behind(NOW - 2 * HOUR), behind(NOW - 2 * HOUR) + LIMITED])
def test_a_rate_limit_is_weather_whatever_stands_beside_it(named: str) -> None:
    total = "user 'fake', total ignored: 2 out of 3 for stream: {app=\"a\"}\n"
    verdict = judge(named + total, at(NOW - 2 * HOUR, NOW, NOW))
    assert verdict.weather.startswith("Per stream rate limit exceeded")
    assert set(verdict.refused) == ({0} if "behind" in named else set())
    assert verdict.rest == "unknown"


def test_the_reason_is_lokis_own_and_tells_the_limit() -> None:
    case = CASES["one too far behind"]
    (why,) = judge(case.text, case.sent).refused.values()
    assert why.text == "entry too far behind, oldest acceptable timestamp is: 2026-11-23T11:45:40Z"
    assert "ingester.max_chunk_age" in why.hint
    assert why.behind


@given(
    times=st.lists(st.integers(-3 * SECOND, 3 * SECOND), min_size=1, max_size=40, unique=True),
    newest=st.integers(-2 * SECOND, 2 * SECOND),
)
def test_what_the_ingester_refuses_is_found_from_the_ten_it_names(times: list[int], newest: int) -> None:
    """Loki's rule played through, for a push in any order that spans less than the window."""
    bar = NOW + newest - HOUR
    sent = at(*[NOW - HOUR + time_ns for time_ns in times])
    refused = [place for place, entry in enumerate(sent) if entry.time_ns < bar]
    cutoff = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(bar // SECOND))
    named = "".join(behind(sent[place].time_ns, cutoff) for place in refused[:10])
    verdict = judge(f"{named}user 'fake', total ignored: {len(refused)} out of {len(sent)} for stream: {A}\n", sent)
    assert not refused or set(verdict.refused) == set(refused)
    assert not refused or verdict.rest == "taken"


def test_thousands_of_groups_are_read_in_no_time() -> None:
    text = "; ".join(
        f"1 errors like: entry for stream '{A}' has timestamp too new: "
        + time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW // SECOND + n))
        for n in range(5000)
    )
    began = time.process_time()
    assert len(judge(text, at(*[NOW + n * SECOND for n in range(5000)])).refused) == 5000
    assert time.process_time() - began < 5
