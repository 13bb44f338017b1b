"""What Loki says of itself; the real one: tests/live/test_replay_limits.py."""

from __future__ import annotations

import pytest

from tailrace.replay.limits import Limits, parse_limits
from tailrace.replay.retention import Rule

HOUR = 3600 * 1_000_000_000

CONFIG = """
target: all
querier:
  query_ingesters_within: 3h0m0s
ingester:
  lifecycler:
    ring:
      kvstore: {store: inmemory}
  chunk_idle_period: 30m0s
  max_chunk_age: 2h0m0s
  query_store_max_look_back_period: 0s
compactor:
  retention_enabled: true
limits_config:
  ingestion_rate_mb: 4
  max_label_names_per_series: 15
  reject_old_samples: true
  reject_old_samples_max_age: 1w
  creation_grace_period: 10m
  max_line_size: 256KB
  per_stream_rate_limit: 3MB
  retention_period: 31d
  retention_stream:
  - period: 1d
    priority: 2
    selector: '{app="web"}'
frontend: {}
"""


def test_limits_are_read_from_what_loki_says() -> None:
    limits = parse_limits(CONFIG, "reject_old_samples_max_age: 2w\nmax_line_size: 1MB\n")
    assert limits == Limits(
        told=True,
        max_age=14 * 86_400.0,
        max_line=1 << 20,
        retention=31 * 86_400.0,
        retention_rules=[Rule('{app="web"}', 86_400.0, 2)],
        rate=4 << 20,
        stream_rate=3 << 20,
    )
    assert limits.window_ns == HOUR
    assert limits.shown == 161 * 60


def test_where_loki_says_nothing_its_defaults_count() -> None:
    assert parse_limits("", "") == parse_limits("<html>a: [</html>", "- x") == Limits()


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        pytest.param(CONFIG.replace("period: 0s", "period: -1ns"), None, id="ingesters look at everything"),
        pytest.param(CONFIG.replace("within: 3h0m0s", "within: 0s"), None, id="ingesters are always asked"),
        pytest.param(CONFIG.replace("within: 3h0m0s", "within: 1h"), 3600, id="asked for an hour"),
        pytest.param(CONFIG.replace("age: 2h0m0s", "age: 1h0m0s"), 101 * 60, id="younger chunks"),
    ],
)
def test_how_old_an_entry_shows_before_it_is_flushed(config: str, shown: float | None) -> None:
    assert parse_limits(config).shown == shown


def test_without_a_compactor_that_deletes_there_is_no_retention() -> None:
    limits = parse_limits(CONFIG.replace("retention_enabled: true", "retention_enabled: false"))
    assert (limits.retention, limits.retention_rules) == (0.0, [])
