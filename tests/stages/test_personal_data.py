"""Personal data: told from numbers that look like it."""

from __future__ import annotations

import pytest

from tailrace.stages._personal_data import pii_rule
from tailrace.stages._redaction import Engine


def cleaned(text: str, engine: Engine) -> str:
    return engine.text(text, [])


@pytest.mark.parametrize(
    ("group", "good", "bad"),
    [
        ("email", "bob@corp.example", "bob@localhost"),
        ("card", "4539 1488 0343 6467", "4539 1488 0343 6468"),
        ("card", "378282246310005", "378282246310006"),
        ("iban", "DE89 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 01"),
        ("ip", "192.168.1.20", "999.168.1.20"),
        ("ip", "2001:db8::ff00:42", "12:34:56"),
        ("ssn", "536-90-4399", "666-90-4399"),
        ("phone", "+49 30 901820", "2026-11-01"),
    ],
)
def test_personal_data_is_told_from_numbers_that_look_like_it(group: str, good: str, bad: str) -> None:
    engine = Engine([pii_rule(group)])
    assert cleaned(f"to {good} now", engine) == f"to [REDACTED:{group}] now"
    assert cleaned(f"to {bad} now", engine) == f"to {bad} now"


def test_the_fraction_of_a_number_is_no_card() -> None:
    assert cleaned("took 0.4539148803436467 s", Engine([pii_rule("card")])) == "took 0.4539148803436467 s"
