"""The scan: which of many lines may hold a secret."""

from __future__ import annotations

import pytest

from tailrace.stages._redaction import Engine
from tailrace.stages._rules import Rule
from tailrace.stages._scan import Scan


def cleaned(text: str, engine: Engine) -> str:
    return engine.text(text, [])


def test_keywords_inside_one_another_and_direct_rules_do_not_hide_each_other() -> None:
    engine = Engine(
        [
            Rule("long", r"sk-ant-[0-9]{4}", keywords=["sk-ant-"]),
            Rule("short", r"sk-[a-z]+-[0-9]{4}Z", keywords=["sk-"]),
            Rule("direct", r"[a-z]+@[a-z]+"),
            Rule("in-direct", r"kw[0-9]+", keywords=["kw"]),
        ]
    )
    assert cleaned("sk-ant-1234Z", engine) == "[REDACTED:long]"
    assert cleaned("sk-foo-1234Z", engine) == "[REDACTED:short]"
    assert cleaned("a@b kw12", engine) == "[REDACTED:direct] [REDACTED:in-direct]"


def test_hundreds_of_rules_are_one_engine() -> None:
    rules = [Rule(f"r{n}", rf"\bvendor{n}_[a-z0-9]{{8,}}", keywords=[f"vendor{n}_"]) for n in range(600)]
    rules += [Rule(f"d{n}", rf"(?P<secret>direct{n}x[0-9]{{4}})") for n in range(40)]
    engine = Engine(rules)
    lines = [b"nothing here"] * 500 + [b"vendor599_abcdefgh1", b"direct39x1234"]
    assert sorted(engine.search(lines, raw=True)) == [500, 501]
    assert cleaned("vendor599_abcdefgh1 direct39x1234", engine) == "[REDACTED:r599] [REDACTED:d39]"


def test_a_search_over_lines_tells_the_right_ones() -> None:
    engine = Engine([Rule("pin", r"\bpin[0-9]{4}\b")])
    lines = [b"\x1e", b"a\\npin1234", b"", b"C:\\\\temp", b"x pin1234 \x1e", b"\\\\npin1234 \\u001e", b"spin12345"]
    assert sorted(engine.search(lines, raw=True)) == [1, 4, 5]
    assert sorted(engine.search(lines, raw=False)) == [1, 4, 5]


def test_escapes_within_a_secret_are_seen_through_twice() -> None:
    scan = Scan([Rule("pin", r"pin[0-9]{4}")])
    lines = [rb"p\u0069n1234", rb"p\\u0069n1234", rb"x", rb"p\\u0069n12 34"]
    assert sorted(scan.search(lines, raw=True)) == [0, 1]
    assert sorted(scan.search(lines, raw=False)) == [0, 1]


def test_no_lines_and_no_rules_have_no_hits() -> None:
    assert Scan([Rule("pin", r"pin[0-9]{4}")]).search([], raw=True) == {}
    assert Scan([]).search([b"pin1234", b"a\\n"], raw=True) == {}


@pytest.mark.parametrize("pattern", [r'[^"]{20}', r"(?s).{20}", r"\C{20}", r"\s+b", r"[\s\S]{20}"])
def test_a_pattern_that_would_run_over_line_ends_comes_to_an_end_and_passes_over_no_line(pattern: str) -> None:
    lines = [b"b" * 20, b" b" * 10, b'"' * 20, b"a" * 25, b"a\\nb" * 5, b"", b"a" * 19]
    together = Scan([Rule("r", pattern)]).search(lines, raw=True)
    alone = {place for place, line in enumerate(lines) if Rule("r", pattern).maybe(line.replace(b"\\n", b"\n"))}
    assert set(together) >= alone
