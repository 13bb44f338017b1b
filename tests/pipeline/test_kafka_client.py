from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tailrace.pipeline import kafka_client
from tailrace.pipeline.component import ProbeError
from tailrace.pipeline.kafka_client import Sasl, Token, connection, problems
from tailrace.pipeline.options import Secret, Tls


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> Secret:
    monkeypatch.setenv("KAFKA_PASSWORD", "hunter2")
    return Secret.decode({"env": "KAFKA_PASSWORD"})


def test_a_missing_package_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_client, "find_spec", lambda name: None)
    assert list(problems(["host:9092"], None)) == [
        ("use", "Kafka needs a package that is not installed: pip install 'tailrace[kafka]'")
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"mechanism": "PLAIN"},
        {"mechanism": "SCRAM-SHA-256", "username": "me"},
        {"mechanism": "OAUTHBEARER"},
        {"mechanism": "OAUTHBEARER", "username": "me"},
    ],
    ids=str,
)
def test_a_login_without_what_it_needs_is_refused(options: dict[str, Any]) -> None:
    assert {place for place, _ in problems(["host:9092"], Sasl(**options))} == {"sasl"}


@pytest.mark.parametrize("broker", ["host", "http://host:9092", ":9092", "host:kafka"])
def test_a_broker_is_a_host_and_a_port(broker: str) -> None:
    assert [place for place, _ in problems(["host:1", broker], None)] == ["brokers[1]"]


def test_a_login_becomes_what_the_client_takes(secret: Secret) -> None:
    made = connection(["host:9092"], None, Sasl("SCRAM-SHA-512", "me", secret))
    assert made["security_protocol"] == "SASL_PLAINTEXT"
    assert (made["sasl_mechanism"], made["sasl_plain_username"]) == ("SCRAM-SHA-512", "me")
    assert made["sasl_plain_password"] == "hunter2"


def test_tls_needs_files_that_are_there(tmp_path: Path) -> None:
    assert connection(["host:9092"], Tls(), None)["security_protocol"] == "SSL"
    with pytest.raises(ProbeError, match="cannot use these files"):
        connection(["host:9092"], Tls(ca=str(tmp_path / "none.pem")), None)


async def test_a_token_is_read_again_whenever_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    token = Token(Secret.decode({"file": str(path)}))
    assert await token.token() == "first"
    path.write_text("second\n")
    assert await token.token() == "second"


def test_what_the_client_warns_of_stands_in_our_log(caplog: pytest.LogCaptureFixture) -> None:
    connection(["host:9092"], None, None)
    with caplog.at_level(logging.WARNING, "tailrace"):
        logging.getLogger("aiokafka.some").warning("no %s", "coordinator")
    record = caplog.records[0]
    assert (record.getMessage(), record.__dict__["fields"]["detail"]) == ("the Kafka client says", "no coordinator")
