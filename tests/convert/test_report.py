from __future__ import annotations

from tailrace.config._yaml import Node
from tailrace.convert.report import Report


def test_what_is_found_twice_is_told_once_in_the_order_of_the_file() -> None:
    report = Report("promtail.yml")
    report.add("differs", Node(None, 7, 3), "later")
    for _ in range(2):
        report.add("dead", Node(None, 2, 5), "earlier", "do this")
    assert [one.render() for one in report.findings] == [
        "promtail.yml:2:5: dead: earlier\n  instead: do this",
        "promtail.yml:7:3: differs: later",
    ]


def test_only_what_has_no_equal_makes_it_incomplete() -> None:
    report = Report("promtail.yml")
    report.add("dead", Node(None, 1, 1), "never worked")
    report.add("differs", Node(None, 1, 1), "looks otherwise")
    assert report.complete
    report.add("no equal", Node(None, 1, 1), "is not there")
    assert not report.complete
