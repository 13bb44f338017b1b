"""Times: what is read, to the nanosecond, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.stages._timestamps import Clock, epoch, problem


def ns(*parts: int, fraction: int = 0) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 10**9 + fraction  # type: ignore[misc,arg-type]  # unpacked


@pytest.mark.parametrize(
    ("text", "time"),
    [
        pytest.param("2026-11-03T10:00:00Z", ns(2026, 11, 3, 10), id="z"),
        pytest.param("2026-11-03 10:00:00", ns(2026, 11, 3, 10), id="blank, no zone"),
        pytest.param("2026-11-03T10:00Z", ns(2026, 11, 3, 10), id="no seconds"),
        pytest.param("2026-11-03 10:00:00,123", ns(2026, 11, 3, 10, fraction=123_000_000), id="comma"),
        pytest.param("2026-11-03T10:00:00.1Z", ns(2026, 11, 3, 10, fraction=100_000_000), id="one digit"),
        pytest.param("2026-11-03T10:00:00.123456789Z", ns(2026, 11, 3, 10, fraction=123_456_789), id="nine digits"),
        pytest.param("2026-11-03T10:00:00.1234567891Z", ns(2026, 11, 3, 10, fraction=123_456_789), id="ten digits"),
        pytest.param("2026-11-03T10:00:00.5+01:30", ns(2026, 11, 3, 8, 30, fraction=500_000_000), id="offset"),
        pytest.param("2026-11-03T10:00:00-0330", ns(2026, 11, 3, 13, 30), id="offset without colon"),
        pytest.param("2026-11-03T10:00:00+02", ns(2026, 11, 3, 8), id="offset of hours"),
        pytest.param("2028-02-29T23:59:59Z", ns(2028, 2, 29, 23, 59, 59), id="leap day"),
        pytest.param("2016-12-31T23:59:60Z", ns(2017, 1, 1), id="leap second"),
        pytest.param("1970-01-01T00:00:00Z", 0, id="the first"),
        pytest.param("1772664120", 1772664120 * 10**9, id="epoch text"),
        pytest.param("1772664120.310119", 1772664120310119000, id="epoch text with fraction"),
        pytest.param(1772664120, 1772664120 * 10**9, id="epoch s"),
        pytest.param(1772664120.310119, 1772664120310119000, id="epoch float is exact"),
        pytest.param(1772664120310, 1772664120310 * 10**6, id="epoch ms"),
        pytest.param(1772664120310.5, 1772664120310500000, id="epoch ms float"),
        pytest.param(1772664120310119, 1772664120310119000, id="epoch us"),
        pytest.param(1772664120310119042, 1772664120310119042, id="epoch ns"),
        pytest.param(1.772664120310119e18, 1772664120310119000, id="epoch ns float"),
    ],
)
def test_a_time_is_read_alone_and_among_others(text: Any, time: int) -> None:
    assert Clock().read(text) == time
    assert Clock().read_all([text, text, "2026-11-03T10:00:00Z"])[:2] == [time, time]
    assert Clock().read_all([text]) == [time]


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "soon", "2026-13-01T00:00:00Z", "2027-02-29T00:00:00Z", "2026-11-03T24:00:00Z", "2026-11-03T10:61:00Z",
        "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-01-01T00:00:00Z", "2026-11-03T10:00:00.Z",
        "2026-11-03T10:00:00.1_2Z", "2026-11-03T10:00:00.+12Z", "\u0662\u0660\u0662\u0666-11-03T10:00:00Z",
        "2026-11-03T10:00:00.\u0661\u0662Z",
        "2026-11-03T10:00:00+99:00", "2026-11-03", "12345678", "1_772664120", "-1772664120", "17726641201234567890",
        0, 12.5, -1, True, None, [], {}, 10**400, float("inf"), float("nan"),
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_what_is_no_time_is_none(value: Any) -> None:
    assert Clock().read(value) is None
    assert Clock().read_all([value, value]) == [None, None]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        pytest.param("2026-07-01 12:00:00,000", ns(2026, 7, 1, 10), id="summer"),
        pytest.param("2026-12-01 12:00:00,000", ns(2026, 12, 1, 11), id="winter"),
        pytest.param("2026-10-25 02:30:00,000", ns(2026, 10, 25, 0, 30), id="the hour that comes twice: the first"),
        pytest.param("2026-03-29 02:30:00,000", ns(2026, 3, 29, 1, 30), id="the hour that is left out"),
        pytest.param("2026-07-01T12:00:00.000Z", ns(2026, 7, 1, 12), id="a zone of its own counts"),
    ],
)
def test_a_time_without_a_zone_is_local_to_the_configured_one(text: str, time: int) -> None:
    clock = Clock(zone="Europe/Amsterdam")
    assert clock.read(text) == time
    assert clock.read_all([text, text]) == [time, time]


@pytest.mark.parametrize(
    ("form", "text", "time"),
    [
        pytest.param("%d/%b/%Y:%H:%M:%S %z", "03/Nov/2026:10:00:00 +0100", ns(2026, 11, 3, 9), id="access log"),
        pytest.param("%Y%m%d_%H%M%S", "20261103_100000", ns(2026, 11, 3, 10), id="compact"),
        pytest.param("%Y%m%d%H%M%S", 20261103100000, ns(2026, 11, 3, 10), id="compact as a number"),
        pytest.param(
            "%d.%m.%Y %H:%M:%S.%f", "03.11.2026 10:00:00.25", ns(2026, 11, 3, 10, fraction=25 * 10**7), id="f"
        ),
        pytest.param("%d/%m/%Y", "2026-11-03T10:00:00Z", ns(2026, 11, 3, 10), id="ISO still counts"),
    ],
)
def test_a_strptime_format_is_tried_first(form: str, text: Any, time: int) -> None:
    assert problem(form) is None
    assert Clock(form).read_all([text]) == [time]


@pytest.mark.parametrize("form", ["%Q", "%b %H:%M:%S", "iso", "%Y-%m-%d %Z", "%H:%M", ""])
def test_a_format_that_cannot_read_a_whole_date_is_refused(form: str) -> None:
    assert problem(form)


@given(
    st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2262, 1, 1)),
    st.sampled_from(["T", " ", "_"]),
    st.integers(min_value=-14 * 60, max_value=14 * 60),
)
def test_any_iso_time_is_read_to_the_microsecond(when: datetime, between: str, minutes: int) -> None:
    when = when.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    since = when - datetime(1970, 1, 1, tzinfo=UTC)
    time = ((since.days * 86400 + since.seconds) * 10**6 + since.microseconds) * 1000
    assert Clock().read_all([when.isoformat(between)] * 2) == [time, time]


PIECES = st.sampled_from(
    [
        "2026-11-03",
        "2026-02-30",
        "T",
        " ",
        "10:00:00",
        "10:00:61",
        ".",
        ",",
        "123",
        "123456",
        "Z",
        "+01:00",
        "-0000",
        "x",
    ]
)
TIMES = st.one_of(
    st.lists(PIECES, max_size=6).map("".join),
    st.builds(
        "2026-11-03{}10:00:{:02}{}{}{}".format,
        st.sampled_from("T tX"),
        st.integers(0, 61),
        st.sampled_from(".,;"),
        st.text("0123456789\u0663_+ ", max_size=11),
        st.sampled_from(["Z", "", "+01:00", "-23:00", "z", "Q"]),
    ),
)


@given(st.lists(st.one_of(TIMES, st.text(max_size=30), st.none(), st.integers(), st.floats()), max_size=8))
def test_many_at_once_are_read_as_each_alone(values: list[Any]) -> None:
    assert Clock().read_all(values) == [Clock().read(value) for value in values]


@given(st.lists(TIMES, min_size=2, max_size=6))
def test_what_was_read_before_changes_nothing(values: list[str]) -> None:
    clock = Clock()
    first = [clock.read_all([value])[0] for value in values]
    assert clock.read_all(values) == first


def test_the_memory_of_times_is_bounded() -> None:
    clock = Clock()
    day = [f"2026-11-03T{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}.5Z" for s in range(10_000)]
    assert clock.read_all(day) == [ns(2026, 11, 3) + s * 10**9 + 5 * 10**8 for s in range(10_000)]
    assert sum(map(len, clock._heads.values())) + len(clock._known) < 10_000


def test_endless_text_is_no_time_and_is_not_remembered() -> None:
    clock = Clock()
    assert clock.read_all(["2026-11-03T10:00:00." + "0" * size + "Z" for size in range(100, 2000)]) == [None] * 1900
    assert not clock._known


def test_an_epoch_ends_where_64_bits_do() -> None:
    assert epoch("9223372036") == 9223372036 * 10**9
    assert epoch("9223372037") is None


@pytest.mark.parametrize(
    ("text", "time"),
    [
        pytest.param("03/Nov/2026:10:00:00 +0100", ns(2026, 11, 3, 9), id="access log"),
        pytest.param("Nov  3 10:00:00", ns(2025, 11, 3, 10), id="syslog, later this year would be the future"),
        pytest.param("Mar 10 10:00:00.5", ns(2026, 3, 10, 10, fraction=500_000_000), id="syslog, this year"),
        pytest.param("Mar 15 23:59:59", ns(2026, 3, 15, 23, 59, 59), id="nearly a day ahead: clocks differ"),
        pytest.param("Mar 17 00:00:00", ns(2025, 3, 17), id="more than a day ahead"),
        pytest.param("Feb 29 10:00:00", ns(2024, 2, 29, 10), id="the last leap day"),
        pytest.param("Feb 30 10:00:00", None, id="no day"),
        pytest.param("Foo 12 10:00:00", None, id="no month"),
        pytest.param("03/Foo/2026:10:00:00 +0100", None, id="no month in an access log"),
    ],
)
def test_times_of_syslog_and_access_logs(text: str, time: int | None) -> None:
    clock = Clock()
    clock.near(ns(2026, 3, 15, 12))
    assert clock.read_all([text, text]) == [time, time]


def test_a_year_goes_by_the_time_of_reading_alone() -> None:
    clock = Clock()
    clock.near(ns(2027, 1, 1, 0, 0, 5))
    assert clock.read("Dec 31 23:59:59") == ns(2026, 12, 31, 23, 59, 59)
    clock.near(ns(2028, 1, 5))
    assert clock.read("Dec 31 23:59:59") == ns(2027, 12, 31, 23, 59, 59)
    clock.near(ns(2027, 1, 1, 9))
    assert clock.read("Dec 31 23:59:59") == ns(2026, 12, 31, 23, 59, 59)


def test_a_format_without_a_year_takes_it_from_the_time_of_reading() -> None:
    assert problem("%m%d %H:%M:%S") is None
    clock = Clock("%m%d %H:%M:%S", "Europe/Amsterdam")
    clock.near(ns(2026, 3, 15, 12))
    assert clock.read("0229 10:00:00") == ns(2024, 2, 29, 9)
    assert clock.read("0310 10:00:00") == ns(2026, 3, 10, 9)
    assert clock.read("2026-11-03T10:00:00Z") == ns(2026, 11, 3, 10)


@pytest.mark.parametrize(
    "values",
    [
        ["2026-11-03 10:00:002", "026-11-03 10:00:01", "2026-11-03 10:00:02"],
        ["2026-11-03T10:00:00.12", "Z2026-11-03T10:00:00.12Z"],
        ["2026-11-03T10:00:00.123Z2026", "-11-03T10:00:00.123Z"],
    ],
    ids=["a digit", "a zone", "a year"],
)
def test_times_that_only_look_alike_in_a_row_are_read_one_by_one(values: list[str]) -> None:
    clock = Clock("auto", "UTC")
    assert clock.read_all(values) == list(map(clock.read, values))
