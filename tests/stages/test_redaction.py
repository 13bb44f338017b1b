"""The engine: what rules find is taken out of texts."""

from __future__ import annotations

from tailrace.stages._redaction import Engine
from tailrace.stages._rules import Rule


def cleaned(text: str, engine: Engine) -> str:
    return engine.text(text, [])


def test_a_marker_with_an_unknown_rule_hides_nothing() -> None:
    engine = Engine([Rule("aws", r"AKIA[A-Z0-9]{16}")])
    assert cleaned("[REDACTED:" + "AKIA" + "Q2W4E6R8T0Q2W4E6" + "]", engine) == "[REDACTED:[REDACTED:aws]]"


def test_texts_that_go_through_together_come_out_as_each_alone() -> None:
    engine = Engine(
        [Rule("pin", r"\bpin[0-9]{4}\b"), Rule("mail", r"[a-z]+@[a-z]+"), Rule("rest", r"pw=[^;]+")], ["token"]
    )
    lines = [
        b"pin1234",
        b"a@b pin1234 pin9999",
        b"spin1234",
        b"pw=a pin1234",
        b"; a@b",
        b"token: x",
        b"\xff pw=",
        b"x\\npin1234",
    ]
    together = engine.scrub(dict(enumerate(lines)), engine.search(lines, raw=True))
    for place, line in enumerate(lines):
        alone = engine.scrub({0: line}, engine.search([line], raw=True))
        assert together.get(place) == alone.get(0)
    assert sorted(together) == [0, 1, 3, 4, 5, 7]


def test_a_finding_that_does_not_fit_leaves_its_text_as_it_is() -> None:
    engine = Engine([Rule("pin", r"pin[0-9]{4}")])
    lines = {3: b"pin1234", 5: b"x pin1234"}
    hits = {3: engine.candidates(lines[3]), 5: engine.candidates(lines[5])}
    done, left = engine.take_out(lines, hits, raw=True, fits=lambda _, findings: findings[0][0] > 0)
    assert (done, left) == ({5: (b"x [REDACTED:pin]", [("pin", b"pin1234")])}, [3])


def test_what_is_found_in_the_key_before_a_value_stays() -> None:
    engine = Engine([Rule("acme", r'acme": "[0-9]{4}')])
    assert engine.text("1234", [], key="acme") == "[REDACTED:acme]"
    assert engine.text("12345", [], key="acme") == "[REDACTED:acme]5"
    assert engine.text("1234", [], key="other") == "1234"
