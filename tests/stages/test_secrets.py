from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.stages._secrets import (
    Engine,
    KeyNames,
    Rule,
    RuleError,
    built_in_rules,
    load_rules,
    pii_rule,
    unescape,
)
from tailrace.stages.redact import KEYS

# put together here, so that no scanner takes this file for a leak
A, D, H, U = "aB3dE6gH9j" * 20, "7391" * 60, "0123456789abcdef" * 12, "Q2W4E6R8T0" * 10
SAMPLES = {
    "private-key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow" + A + "\n-----END RSA PRIVATE KEY-----",
    "age-secret-key": "AGE-SECRET-KEY-1" + U[:58],
    "aws-access-key-id": "AKIA" + U[:16],
    "aws-presigned-signature": "X-Amz-Signature=" + H[:64],
    "gcp-api-key": "AIza" + A[:35],
    "gcp-oauth-token": "ya29." + A[:60],
    "gcp-oauth-client-secret": "GOCSPX-" + A[:28],
    "azure-client-secret": "abc8Q~" + A[:34],
    "azure-storage-key": "AccountKey=" + A[:86] + "==",
    "azure-sas-signature": "?sig=" + A[:43],
    "digitalocean-token": "dop_v1_" + H[:64],
    "heroku-api-key": "HRKU-" + A[:40],
    "anthropic-api-key": "sk-ant-api03-" + A[:80],
    "openrouter-api-key": "sk-or-v1-" + H[:64],
    "openai-api-key": "sk-proj-" + A[:60],
    "llm-api-key": "sk-" + A[:40],
    "groq-api-key": "gsk_" + A[:52],
    "xai-api-key": "xai-" + A[:80],
    "perplexity-api-key": "pplx-" + A[:48],
    "huggingface-token": "hf_" + A[:34],
    "replicate-api-token": "r8_" + A[:37],
    "nvidia-api-key": "nvapi-" + A[:64],
    "langfuse-secret-key": "sk-lf-" + H[:8] + "-0123-4567-89ab-" + H[:12],
    "github-token": "ghp_" + A[:36],
    "github-fine-grained-token": "github_pat_" + A[:82],
    "gitlab-token": "glpat-" + A[:20],
    "atlassian-token": "ATATT3" + A[:60],
    "npm-token": "npm_" + A[:36],
    "pypi-token": "pypi-AgEIcHlwaS5vcmc" + A[:80],
    "docker-token": "dckr_pat_" + A[:27],
    "terraform-token": A[:14] + ".atlasv1." + A[:64],
    "vault-token": "hvs." + A[:90],
    "doppler-token": "dp.pt." + A[:43],
    "pulumi-token": "pul-" + H[:40],
    "databricks-token": "dapi" + H[:32],
    "supabase-key": "sbp_" + H[:40],
    "slack-token": "xoxb-" + D[:12] + "-" + A[:24],
    "slack-webhook": "https://hooks.slack.com/services/T0" + U[:8] + "/B0" + U[:8] + "/" + A[:24],
    "telegram-bot-token": "bot" + "1234567890" + ":AA" + A[:33],
    "linear-api-key": "lin_api_" + A[:40],
    "notion-token": "ntn_" + A[:46],
    "stripe-key": "sk_live_" + A[:24],
    "webhook-signing-secret": "whsec_" + A[:32],
    "shopify-token": "shpat_" + H[:32],
    "sendgrid-api-key": "SG." + A[:22] + "." + A[:43],
    "mailgun-api-key": "key-" + H[:32],
    "grafana-token": "glsa_" + A[:32] + "_" + H[:8],
    "sentry-token": "sntrys_" + A[:60],
    "url-password": "postgres://app:" + "hunter2x" + "@db:5432/app",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0." + A[:43],
    "bearer-token": "Bearer " + A[:40],
    "basic-auth": "Basic " + A[:30] + "==",
    "generic-secret": "SIGNING_KEY_V2=" + A[:30],
}
RULES = built_in_rules()
ENGINE = Engine(RULES, KEYS)


def cleaned(text: str, engine: Engine = ENGINE) -> str:
    return engine.text(text, [])


@pytest.mark.parametrize(("rule", "secret"), SAMPLES.items(), ids=SAMPLES)
def test_each_credential_is_found_by_its_rule_alone(rule: str, secret: str) -> None:
    (only,) = [item for item in RULES if item.id == rule]
    assert f"[REDACTED:{rule}]" in cleaned(f"sent {secret} away", Engine([only]))


@pytest.mark.parametrize("secret", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize("around", ['"{}"', "x={},", "\\n{} ", "(see {})"], ids=["quoted", "value", "escape", "prose"])
def test_each_credential_is_found_among_all_rules(secret: str, around: str) -> None:
    new = cleaned(around.format(secret))
    assert "[REDACTED:" in new
    assert secret not in new


@pytest.mark.parametrize(
    "text",
    [
        "token budget updated key=72e8ae",
        "max_tokens=4096 prompt_tokens: 1631 token_count=77 tokenizer=cl100k_base",
        "time_to_first_token=0.31 price_per_token: 0.00002",
        "the disk-image task-runner asked for a risk-free desk-lamp",
        "https://example.com:8080/path?page=2",
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "password=None secret: null token=****",
        "trace_id=45a6550a0dd84c37266bec0fe4ee92c6",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert cleaned(text) == text


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
    assert cleaned(text, Engine([], KEYS)) == expected


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


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_gitleaks_file_says_group_entropy_and_what_is_allowed(tmp_path: Path) -> None:
    rules = load_rules(
        write(
            tmp_path / "r.toml",
            """
            [[rules]]
            id = "acme"
            regex = '''acme_(key|pin)=([a-z0-9]{8,})'''
            secretGroup = 2
            entropy = 2.0
            keywords = ["ACME_"]
            [[rules.allowlists]]
            regexTarget = "match"
            regexes = ['''pin=''']
            [[rules.allowlists]]
            stopwords = ["example"]
            [[rules]]
            id = "path-only"
            path = '''\\.pem$'''
            """,
        )
    )
    engine = Engine(rules)
    assert [rule.id for rule in rules] == ["acme"]
    assert cleaned("acme_key=a1b2c3d4e5", engine) == "acme_key=[REDACTED:acme]"
    for kept in ("acme_key=aaaaaaaaaa", "acme_pin=a1b2c3d4e5", "acme_key=example1234"):
        assert cleaned(kept, engine) == kept


def test_without_secret_group_the_first_group_is_the_secret(tmp_path: Path) -> None:
    rules = load_rules(
        write(tmp_path / "r.toml", "[[rules]]\nid='x'\nregex='''key:(a+)|pin:(b+)'''\nkeywords=['key','pin']")
    )
    assert cleaned("key:aaa pin:bbb", Engine(rules)) == "key:[REDACTED:x] pin:[REDACTED:x]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules = 5", "is not a rule file"),
        ("[[rules]", "is not a rule file"),
        ("[[rules]]\nid='x'\nregex='(?<=a)b'", "rule 'x': not a regular expression"),
        ("[[rules]]\nid='x'\nregex='a*'", "rule 'x': matches the empty text"),
        ("[[rules]]\nid='x'\nregex='a'\nsecretGroup=2", "rule 'x': secretGroup is 2"),
    ],
)
def test_a_rule_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RuleError, match=message.replace("(", r"\(")):
        load_rules(write(tmp_path / "r.toml", text))


def test_a_missing_rule_file_is_named() -> None:
    with pytest.raises(RuleError, match=r"cannot read none\.toml"):
        load_rules(Path("none.toml"))


def test_a_file_may_extend_another_without_some_rules(tmp_path: Path) -> None:
    write(tmp_path / "base.toml", "[[rules]]\nid='a'\nregex='aaaa'\n[[rules]]\nid='b'\nregex='bbbb'")
    path = write(
        tmp_path / "own.toml", "[extend]\npath='base.toml'\ndisabledRules=['a']\n[[rules]]\nid='c'\nregex='cccc'"
    )
    assert [rule.id for rule in load_rules(path)] == ["b", "c"]


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


def test_a_marker_with_an_unknown_rule_hides_nothing() -> None:
    engine = Engine([Rule("aws", r"AKIA[A-Z0-9]{16}")])
    assert cleaned("[REDACTED:" + "AKIA" + U[:16] + "]", engine) == "[REDACTED:[REDACTED:aws]]"


def test_hostile_text_takes_linear_time() -> None:
    start = time.process_time()
    for text in ("token=" * 20_000, "[" * 100_000, "a@" * 50_000, "-----BEGIN PRIVATE KEY-----" * 500, "\\\\" * 50_000):
        assert len(cleaned(text)) <= 2 * len(text)
    assert time.process_time() - start < 10


@given(st.binary(max_size=300))
def test_unescaping_never_fails(data: bytes) -> None:
    assert isinstance(unescape(data), bytes)


@given(
    st.lists(
        st.sampled_from([*SAMPLES.values(), "a", " ", "\n", '"', "\\", "\\n", "password=", ":", "]", "[REDACTED:jwt]"]),
        max_size=8,
    )
)
def test_redacting_twice_changes_nothing(parts: list[str]) -> None:
    once = cleaned("".join(parts))
    assert cleaned(once) == once
