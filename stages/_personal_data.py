"""Rules for personal data: a pattern each, and what tells a real one from a number that looks like it."""

from __future__ import annotations

import ipaddress

from ._rules import Check, Rule


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


PII: dict[str, tuple[str, Check | None]] = {
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
