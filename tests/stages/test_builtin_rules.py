"""The rules that come with tailrace: each kind of credential is found, and nothing that only looks like one."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.stages._redaction import Engine
from tailrace.stages._rule_files import built_in_rules
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


def test_hostile_text_takes_linear_time() -> None:
    start = time.process_time()
    for text in ("token=" * 20_000, "[" * 100_000, "a@" * 50_000, "-----BEGIN PRIVATE KEY-----" * 500, "\\\\" * 50_000):
        assert len(cleaned(text)) <= 2 * len(text)
    assert time.process_time() - start < 10


@given(
    st.lists(
        st.sampled_from([*SAMPLES.values(), "a", " ", "\n", '"', "\\", "\\n", "password=", ":", "]", "[REDACTED:jwt]"]),
        max_size=8,
    )
)
def test_redacting_twice_changes_nothing(parts: list[str]) -> None:
    once = cleaned("".join(parts))
    assert cleaned(once) == once
