"""Key names: which of them hide their value, and where that value is in text."""

from __future__ import annotations

import pytest

from tailrace.stages._key_names import KeyNames
from tailrace.stages._redaction import Engine
from tailrace.stages.redact import KEYS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=hunter2 user=bob", "password=[REDACTED:key-name] user=bob"),
        ("db.password: hunter2, next", "db.password: [REDACTED:key-name], next"),
        ('{"apiKey": "a b c", "n": 1}', '{"apiKey": "[REDACTED:key-name]", "n": 1}'),
        ("{'client_secret': 'x', 'n': 1}", "{'client_secret': '[REDACTED:key-name]', 'n': 1}"),
        (r"{\"password\": \"ab\\\\cd\", \"n\": 1}", r"{\"password\": \"[REDACTED:key-name]\", \"n\": 1}"),
        ("Authorization: Digest abc,def; x", "Authorization: Digest [REDACTED:key-name]"),
        ("GET /?access_token=abc&page=2", "GET /?access_token=[REDACTED:key-name]&page=2"),
        ("login(password=b'abc')", "login(password=b'[REDACTED:key-name]')"),
        ("secrets: token=['a1', 'b2']", "secrets: token=[REDACTED:key-name]"),
        ("Set-Cookie: sid=abc; Path=/", "Set-Cookie: [REDACTED:key-name]"),
        ("OPENAI_API_KEY=abc", "OPENAI_API_KEY=[REDACTED:key-name]"),
    ],
)
def test_values_behind_key_names_in_text_are_hidden(text: str, expected: str) -> None:
    assert Engine([], KEYS).text(text, []) == expected


@pytest.mark.parametrize(
    "key", ["password", "apiKey", "API-KEY", "x-api-key", "DB_PASSWORD", "Set-Cookie", "accessToken"]
)
def test_key_names_are_compared_without_case_and_separators(key: str) -> None:
    assert KeyNames(KEYS).hides(key)


@pytest.mark.parametrize(
    "key", ["max_tokens", "token_count", "tokenizer", "secretary", "time_to_first_token", "monkey", ""]
)
def test_key_names_that_only_look_alike_hide_nothing(key: str) -> None:
    assert not KeyNames(KEYS).hides(key)


@pytest.mark.parametrize(
    "text",
    [
        "    token = self._client.exchange(code, secret=self._secret)",
        "connect(user=user, password=password)",
        "token = token_store.get(key)",
        "failed to list *v1.Secret: secrets is forbidden",
        "wtoken = AppWindowToken{451fa769 token=Token{29c3e1 ActivityRecord}}",
    ],
)
def test_expressions_of_a_program_are_no_values(text: str) -> None:
    assert Engine([], KEYS).text(text, []) == text


@pytest.mark.parametrize("value", ["hunter2(x", "Pass(word)1", "Token{notahash", "selfmade", "s3lf.made"])
def test_values_that_look_a_little_like_a_program_are_hidden(value: str) -> None:
    assert Engine([], KEYS).text(f"password={value} x", []).startswith("password=[REDACTED:key-name]")
