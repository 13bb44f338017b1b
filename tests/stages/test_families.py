"""Families of errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.stages._families import FAMILIES, family


@pytest.mark.parametrize(
    ("name", "message", "word"),
    [
        ("TimeoutError", "", "timeout"),
        ("httpx.ReadTimeout", "", "timeout"),
        ("java.net.SocketTimeoutException", "", "timeout"),
        ("route_timeout", "", "timeout"),
        ("openai.RateLimitError", "", "rate_limit"),
        ("botocore.exceptions.ClientError", "An error occurred (ThrottlingException)", "rate_limit"),
        ("RuntimeError", "HTTP status 429: slow down", "rate_limit"),
        ("openai.AuthenticationError", "", "auth"),
        ("PermissionError", "[Errno 13]", "auth"),
        ("AuthorError", "unknown author", "other"),
        ("asyncio.exceptions.CancelledError", "", "cancelled"),
        ("sqlalchemy.exc.IntegrityError", "", "database"),
        ("psycopg.OperationalError", "", "database"),
        ("openai.APIConnectionError", "", "network"),
        ("ssl.SSLCertVerificationError", "", "network"),
        ("transport_recoverable", "", "network"),
        ("Error", "connect ECONNREFUSED 127.0.0.1:1", "network"),
        ("RecursionError", "", "resources"),
        ("java.lang.OutOfMemoryError", "", "resources"),
        ("FileNotFoundError", "", "not_found"),
        ("Error", "ENOENT: no such file or directory", "not_found"),
        ("pydantic_core._pydantic_core.ValidationError", "", "validation"),
        ("json.decoder.JSONDecodeError", "", "validation"),
        ("System.FormatException", "", "validation"),
        ("BlockingIOError", "", "other"),
        ("OSError", "x", "io"),
        ("KeyError", "'x'", "bug"),
        ("java.lang.NullPointerException", "", "bug"),
        ("System.InvalidOperationException", "x", "bug"),
        ("panic", "boom", "bug"),
        ("KeyError", "request timed out", "timeout"),
        ("App\\OutOfStockException", "no stock", "other"),
        ("", "", "other"),
    ],
)
def test_a_type_or_a_message_says_the_family(name: str, message: str, word: str) -> None:
    assert family([(name, message)]) == word


def test_a_cause_says_what_the_error_itself_does_not() -> None:
    assert family([("app.JobFailed", "x"), ("httpx.ReadTimeout", "")]) == "timeout"
    assert family([("app.JobFailed", "x"), ("KeyError", "'a'"), ("app.Other", "y")]) == "bug"
    assert family([("ValueError", "x"), ("httpx.ReadTimeout", "")]) == "validation"


@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=400)), max_size=4))
def test_any_error_has_one_of_a_few_words(raised: list[tuple[str, str]]) -> None:
    assert family(raised) in FAMILIES
