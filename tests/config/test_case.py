"""Tests in a config: what may be written, and what is told of mistakes in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tailrace.config.case import Expected, series, series_text, time_ns
from tailrace.config.load import check

Write = Callable[[str], Path]

HEAD = """\
sources: { app: { use: file, include: [app.log] } }
stages: [ { use: parse }, { use: drop, match: '{level="debug"}' } ]
sinks:
  archive: { use: jsonl, path: "a/{date}.jsonl" }
  loki: { use: loki, url: "http://localhost:3100", labels: { app: x }, bearer: { env: TAILRACE_NO_SUCH_TOKEN } }
"""


def test_a_whole_test_is_read(write: Write) -> None:
    config, problems = check(
        write(
            HEAD
            + """\
tests:
  - name: a line comes out as it went in
    source: app
    file: /var/log/app.log
    now: 2026-11-23T12:00:00Z
    in: |
      one
      two
    out:
      archive:
        - one
        - { contains: tw, lacks: [x, y], fields: { a.b: null, n: 1 }, path: p, time: "1970-01-01T00:00:01Z" }
      loki: 2
    dropped: { drop: 1 }
    dead: [ { stage: parse, reason: bad, line: two } ]
    metrics: { 'a_total{b="c"}': 1 }
"""
        ),
        secrets=False,
    )
    assert (problems, config is not None) == ([], True)
    assert config
    (case,) = config.tests
    assert (case.data, case.read_at_ns) == (b"one\ntwo\n", 1_795_435_200_000_000_000)
    assert isinstance(case.out["archive"], list)
    assert case.out["archive"][0] == "one"
    assert case.out["archive"][1] == Expected(
        contains="tw", lacks=["x", "y"], fields={"a.b": None, "n": 1}, path="p", time="1970-01-01T00:00:01Z"
    )
    assert config.line_of("tests[0]") == 7


@pytest.mark.parametrize(
    ("test", "place", "message", "hint"),
    [
        ("{ name: a, in: x }", (7, 5), "the test expects nothing", "out:"),
        ("{ name: a, out: { archive: 1 } }", (7, 5), "tests[0]: the option 'in' is missing", ""),
        ("{ name: a, in: x, out: { archve: 1 } }", (7, 30), "no sink 'archve'", "did you mean 'archive'?"),
        ("{ name: a, in: x, source: b, dropped: 1 }", (7, 31), "no source 'b'", "sources: app"),
        ("{ name: a, in: x, dropped: { dorp: 1 } }", (7, 34), "no stage 'dorp'", "did you mean 'drop'?"),
        ("{ name: a, in: x, dead: [ { stage: prase } ] }", (7, 40), "no stage 'prase'", "did you mean 'parse'?"),
        ("{ name: a, in: x, now: yesterday, dropped: 1 }", (7, 28), "'yesterday' is not a time", "2026-11-23T12"),
        ("{ name: a, in: x, metrics: { 'a b': 1 } }", (7, 34), "'a b' is not a series", "calls_total"),
        ("{ name: a, in: x, metrics: { a: one } }", (7, 37), "tests[0].metrics.a: expected a number", ""),
        ("{ name: '', in: x, dropped: 1 }", (7, 13), "a test needs a name", ""),
        ("{ name: a, in: x, out: { archive: [ { labels: {} } ] } }", (7, 43), "sink 'archive' has no labels", ""),
        ("{ name: a, in: x, out: { loki: [ { time: soon } ] } }", (7, 46), "'soon' is not a time", ""),
        (
            "{ name: a, in: x, out: { loki: [ { labels: { status: 200 } } ] } }",
            (7, 58),
            "tests[0].out.loki[0].labels.status: expected text, got the number 200",
            'quote it: "200"',
        ),
        (
            "{ name: a, in: x, out: { loki: [ { lable: {} } ] } }",
            (7, 40),
            "tests[0].out.loki[0]: no option 'lable'",
            "",
        ),
    ],
)
def test_a_mistake_in_a_test_is_told_where_it_stands(
    write: Write, test: str, place: tuple[int, int], message: str, hint: str
) -> None:
    config, problems = check(write(HEAD + f"tests:\n  - {test}\n"), secrets=False)
    assert config is None
    found = [p for p in problems if (p.line, p.column) == place and p.message.startswith(message)]
    assert found, [p.render() for p in problems]
    assert hint in found[0].hint


def test_two_tests_of_one_name_and_a_source_left_open_are_told(write: Write) -> None:
    text = HEAD.replace("sources: {", "sources: { b: { use: stdin },")
    _, problems = check(
        write(text + "tests: [ { name: a, in: x, dropped: 0 }, { name: a, in: y, dropped: 0 } ]"), secrets=False
    )
    assert [problem.message for problem in problems] == [
        "`source:` is missing: the config has several",
        "`source:` is missing: the config has several",
        "two tests are named 'a'",
    ]


def test_secrets_are_needed_to_run_and_not_to_test(write: Write) -> None:
    path = write(HEAD)
    assert [problem.message for problem in check(path)[1]] == [
        "bearer: the environment variable TAILRACE_NO_SUCH_TOKEN is not set"
    ]
    config, problems = check(path, secrets=False)
    assert problems == []
    assert config
    assert repr(config.sinks["loki"].bearer) == "Secret(env TAILRACE_NO_SUCH_TOKEN)"  # type: ignore[attr-defined]  # it is Loki
    _, problems = check(write(HEAD.replace("{ env: TAILRACE_NO_SUCH_TOKEN }", "sesame")), secrets=False)
    assert ["a secret is never written in the config" in problem.message for problem in problems] == [True]


@pytest.mark.parametrize(
    ("text", "name", "labels"),
    [
        ("a_total", "a_total", {}),
        ("a{}", "a", {}),
        ('a{c="2", b="1"}', "a", {"b": "1", "c": "2"}),
        ('a{b="x\\"y}",}', "a", {"b": 'x"y}'}),
    ],
)
def test_a_series_is_read_as_prometheus_writes_it(text: str, name: str, labels: dict[str, str]) -> None:
    assert series(text) == (name, labels)
    assert series(series_text(name, labels)) == (name, labels)


@pytest.mark.parametrize("text", ["", "1a", "a{", "a{b}", "a{b=1}", 'a{b="1"c="2"}', 'a{b="1"} 2'])
def test_what_is_no_series_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a series"):
        series(text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01 01:00:00.000000001+01:00", 1),
        ("2026-11-23T12:00:00.5Z", 1_795_435_200_500_000_000),
    ],
)
def test_a_time_is_read_to_the_nanosecond(text: str, ns: int) -> None:
    assert time_ns(text) == ns
