from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tailrace.config.load import load
from tailrace.config.problem import ConfigError
from tailrace.convert.promtail import Converted, convert

HEAD = """\
clients: [{ url: "http://loki:3100/loki/api/v1/push" }]
scrape_configs:
  - job_name: app
    static_configs: [{ targets: [localhost], labels: { job: app, env: dev, __path__: /logs/app.log } }]
"""
FATEFORGER = Path(__file__).with_name("fateforger.yml")


def converted(tmp_path: Path, text: str, environment: Mapping[str, str] | None = None) -> Converted:
    """What becomes of a config; what is written is always a config that tailrace takes."""
    file = tmp_path / "promtail.yml"
    file.write_text(text)
    made = convert(file, environment or {})
    for number, one in enumerate(made.configs):
        (tmp_path / f"{number}.yaml").write_text(one.text)
        assert load(tmp_path / f"{number}.yaml", secrets=False).sources
    return made


def one(made: Converted) -> dict[str, Any]:
    (config,) = made.configs
    data: dict[str, Any] = yaml.safe_load(config.text)
    return data


def pipeline(tmp_path: Path, *stages: str) -> tuple[dict[str, Any], list[tuple[str, int, str]]]:
    """The config made of these stages, and what is told of them: kind, number of the stage, message."""
    text = HEAD + "    pipeline_stages:\n" + "".join(f"      - {stage}\n" for stage in stages)
    made = converted(tmp_path, text + "      - labeldrop: [filename]\n")
    first = HEAD.count("\n") + 1
    return one(made), [(found.kind, found.line - first, found.message) for found in made.findings]


JSON = "json: { expressions: { level: , lvl: level, at: time, n: count, user: user.name, kind: } }"


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([JSON], [{"use": "parse", "format": "json", "timestamp": []}]),
        (["logfmt: { mapping: { kind: } }"], [{"use": "parse", "format": "logfmt", "timestamp": []}]),
        (
            [JSON, "timestamp: { source: at, format: RFC3339 }"],
            [{"use": "parse", "format": "json", "timestamp": ["time"]}],
        ),
        (
            [JSON, "timestamp: { source: at, format: '02.01.2006 15:04:05', location: Europe/Berlin }"],
            [
                {
                    "use": "parse",
                    "format": "json",
                    "timestamp": ["time"],
                    "timestamp_format": "%d.%m.%Y %H:%M:%S",
                    "timezone": "Europe/Berlin",
                }
            ],
        ),
        (["regex: { expression: '^(?P<word>x+) ' }"], [{"use": "enrich", "patterns": ["^(?P<word>x+) "]}]),
        (
            ["regex: { expression: '^(?P<at>x+) ' }", "timestamp: { source: at, format: Unix }"],
            [{"use": "parse", "format": "regex", "pattern": "^(?P<at>x+) ", "timestamp": ["at"]}],
        ),
        (
            ["regex: { source: filename, expression: '/(?P<name>[^/]+)$' }"],
            [{"use": "enrich", "file_name": "/(?P<name>[^/]+)$"}],
        ),
        (["drop: { expression: 'health|ready' }"], [{"use": "drop", "match": '{} |~ "health|ready"'}]),
        (
            [JSON, "drop: { source: lvl, value: debug }"],
            [{"use": "parse", "format": "json", "timestamp": []}, {"use": "drop", "match": '{level="debug"}'}],
        ),
        (
            [JSON, "drop: { source: user, expression: '^bot' }"],
            [
                {"use": "parse", "format": "json", "timestamp": []},
                {"use": "drop", "match": '{user.name=~"(?s).*(?:^bot).*"}'},
            ],
        ),
        (
            ['match: { selector: \'{job="app"} |= "noise"\', action: drop }'],
            [{"use": "drop", "match": '{} |= "noise"'}],
        ),
        (
            ["match: { selector: '{job=\"app\"}', stages: [ { drop: { expression: a } } ] }"],
            [{"use": "drop", "match": '{} |~ "a"'}],
        ),
        (
            [JSON, "labels: { lvl: }", "match: { selector: '{lvl=~\"d.*\"}', action: drop }"],
            [{"use": "parse", "format": "json", "timestamp": []}, {"use": "drop", "match": '{level=~"d.*"}'}],
        ),
        (
            [r"replace: { expression: 'key=(\w+)', replace: '***' }"],
            [{"use": "redact", "builtin": False, "patterns": {"promtail_6": r"key=(?P<secret>\w+)"}}],
        ),
        (
            [JSON, "metrics: { lines: { type: Counter, source: lvl, config: { action: inc } } }"],
            [
                {"use": "parse", "format": "json", "timestamp": []},
                {
                    "use": "derive_metrics",
                    "metrics": [
                        {
                            "name": "promtail_custom_lines_total",
                            "type": "counter",
                            "labels": {"job": "app", "env": "dev"},
                            "expire": "5m",
                            "match": '{level!=""}',
                        }
                    ],
                },
            ],
        ),
    ],
    ids=[
        *("json", "logfmt", "timestamp", "layout", "regex", "regex-with-time", "filename", "drop", "drop-value"),
        *("drop-expression", "match-drop", "match-always", "match-label", "replace", "metrics"),
    ],
)
def test_a_stage_becomes_its_equal(tmp_path: Path, stages: list[str], expected: list[dict[str, Any]]) -> None:
    config, told = pipeline(tmp_path, *stages)
    assert config["stages"] == expected
    assert [kind for kind, _, _ in told if kind == "no equal"] == []


@pytest.mark.parametrize(
    ("stages", "labels", "metadata"),
    [
        ([JSON, "labels: { severity: lvl, kind: }"], {"severity": "{level}", "kind": "{kind}"}, None),
        (["static_labels: { team: blue }"], {"team": "blue"}, None),
        ([JSON, "labels: { kind: }", "labeldrop: [kind]"], {}, None),
        ([JSON, "structured_metadata: { kind: }"], {}, ["kind"]),
        (["json: { expressions: { session_id: } }", "labels: { session_id: }"], {}, ["session_id"]),
        (["json: { expressions: { key: session_key } }", "labels: { key: }"], {}, ["session_key"]),
    ],
    ids=["labels", "static", "dropped", "metadata", "many-values", "many-values-renamed"],
)
def test_labels_stay_few(tmp_path: Path, stages: list[str], labels: dict[str, str], metadata: list[str] | None) -> None:
    config, _ = pipeline(tmp_path, *stages)
    sink = config["sinks"]["loki"]
    assert sink["labels"] == {"job": "app", "env": "dev", **labels}
    assert sink.get("metadata") == metadata


def test_only_allowed_labels_stay(tmp_path: Path) -> None:
    config, _ = pipeline(tmp_path, "labelallow: [job]")
    assert config["sinks"]["loki"]["labels"] == {"job": "app"}


def test_lines_are_joined_by_the_source_and_a_tenant_is_the_sinks(tmp_path: Path) -> None:
    config, told = pipeline(tmp_path, "multiline: { firstline: '^\\[', max_wait_time: 2s }", "tenant: { value: blue }")
    assert config["sources"]["app"] == {
        "use": "file",
        "include": ["/logs/app.log"],
        "multiline": {"start": "^\\["},
        "multiline_wait": "2s",
    }
    assert config["sinks"]["loki"]["tenant"] == "blue"
    assert told == []


@pytest.mark.parametrize(
    "stage",
    [
        "docker: {}",
        "cri: {}",
        "template: { source: level, template: '{{ ToUpper .Value }}' }",
        "limit: { rate: 10, burst: 20 }",
        "pack: { labels: [env] }",
        "sampling: { rate: 0.1 }",
        "geoip: { db: x.mmdb, source: ip }",
        "decolorize: {}",
        "eventlogmessage: {}",
        "drop: { older_than: 24h }",
        "drop: { longer_than: 8kb }",
        "json: { expressions: { first: 'items[0]' } }",
        "nonsense: {}",
        "match: { selector: '{filename=~\".*x\"}', stages: [ { static_labels: { a: b } } ] }",
        "replace: { expression: '(a)', replace: '{{ .Value | Hash \"salt\" }}' }",
        "metrics: { size: { type: Counter, config: { match_all: true, count_entry_bytes: true, action: add } } }",
    ],
    ids=lambda stage: stage.split("{")[0].strip(" :"),
)
def test_what_has_no_equal_is_listed_with_its_line(tmp_path: Path, stage: str) -> None:
    _, told = pipeline(tmp_path, "static_labels: { a: b }", stage)
    assert [(kind, number) for kind, number, _ in told if kind == "no equal"] == [("no equal", 2)]


@pytest.mark.parametrize(
    ("stages", "word"),
    [
        ([JSON, "timestamp: { source: ts, format: RFC3339 }", "labels: { lvl: , n: , user: kind }"], "`ts`"),
        (["labels: { word: }"], "`word`"),
        (["drop: { source: word, value: x }"], "`word`"),
        (["output: { source: word }"], "`word`"),
        (["metrics: { n: { type: Gauge, source: word, config: { action: set } } }"], "`word`"),
        (["match: { selector: '{job=\"other\"}', stages: [ { static_labels: { a: b } } ] }"], '{job="other"}'),
        (["replace: { expression: 'abc', replace: x }"], "no"),
        (["json: { expressions: { word: } }"], "word"),
    ],
    ids=["timestamp", "labels", "drop", "output", "metrics", "match", "replace", "extracted"],
)
def test_what_never_did_anything_is_pointed_out(tmp_path: Path, stages: list[str], word: str) -> None:
    _, told = pipeline(tmp_path, *stages)
    assert [message for kind, _, message in told if kind == "dead" and word in message]


def test_a_field_in_a_field_is_no_label(tmp_path: Path) -> None:
    config, told = pipeline(tmp_path, JSON, "labels: { user: }")
    assert "user" not in config["sinks"]["loki"]["labels"]
    assert ("no equal", 2) in [(kind, number) for kind, number, _ in told]


def test_relabelling_is_worked_out_beforehand(tmp_path: Path) -> None:
    made = converted(
        tmp_path,
        """\
clients: [{ url: "http://loki:3100" }]
scrape_configs:
  - job_name: app
    static_configs:
      - { labels: { job: app, host: Web-1, tier: a, __path__: "/logs/{web,shop}/*.log", __path_exclude__: "/*/x.log" } }
      - { labels: { job: app, host: db, __path__: /db.log } }
    relabel_configs:
      - { source_labels: [host], regex: db, action: drop }
      - { source_labels: [host], regex: "(\\\\w+)-(.*)", target_label: machine, replacement: "${1}_$2" }
      - { source_labels: [host], action: lowercase, target_label: host }
      - { regex: tier, action: labeldrop }
      - { regex: "ma(.*)", replacement: "re$1", action: labelmap }
      - { source_labels: [job], regex: app, target_label: empty, replacement: "" }
""",
    )
    config = one(made)
    assert config["sources"] == {
        "app": {
            "use": "file",
            "include": ["/logs/web/*.log", "/logs/shop/*.log"],
            "exclude": ["/*/x.log"],
        }
    }
    labels = {"job": "app", "host": "web-1", "machine": "Web_1", "rechine": "Web_1"}
    assert config["sinks"]["loki"]["labels"] == labels
    assert [found.line for found in made.findings if found.kind == "dead"] == [6]


CLIENT = """\
clients:
  - url: https://me:hunter2@loki:3100/loki/api/v1/push
    tenant_id: blue
    batchwait: 2s
    batchsize: 4194304
    timeout: 5s
    external_labels: { site: one }
    tls_config: { ca_file: /ca.pem, insecure_skip_verify: true }
    backoff_config: { max_retries: 3 }
  - url: http://other:3100/loki/api/v1/push
    bearer_token: ${TOKEN}
  - url: http://third:3100
    basic_auth: { username: "${WHO:-nobody}", password: swordfish }
  - url: http://fourth:3100
    bearer_token_file: /run/token
    headers: { X-A: b }
server: { http_listen_port: 9080, http_listen_address: 127.0.0.1 }
limits_config: { readline_rate_enabled: true, max_line_size: 64kb }
scrape_configs:
  - { job_name: app, static_configs: [ { labels: { job: app, __path__: /a.log } } ] }
"""


def test_clients_become_sinks_and_secrets_references(tmp_path: Path) -> None:
    made = converted(tmp_path, CLIENT)
    config = one(made)
    first, second, third, fourth = config["sinks"].values()
    assert first == {
        "use": "loki",
        "url": "https://loki:3100",
        "basic_auth": {"username": "me", "password": {"env": "LOKI_PASSWORD"}},
        "tenant": "blue",
        "tls": {"ca": "/ca.pem", "verify": False},
        "batch_wait": "2s",
        "batch_bytes": 4 << 20,
        "queue_bytes": 4 << 20,
        "timeout": "5s",
        "labels": {"site": "one", "job": "app"},
        "metadata": ["file"],
        "max_line": 64 << 10,
    }
    assert second["bearer"] == {"env": "TOKEN"}
    assert third["basic_auth"] == {"username": "nobody", "password": {"env": "LOKI3_PASSWORD"}}
    assert fourth["bearer"] == {"file": "/run/token"}
    assert config["exporter"] == {"listen": "127.0.0.1:9080"}
    assert [found.line for found in made.findings if found.kind == "no equal"] == [16, 18]


def test_no_secret_is_told(tmp_path: Path) -> None:
    made = converted(tmp_path, CLIENT)
    told = "".join([*(config.text for config in made.configs), *(found.render() for found in made.findings)])
    assert not [secret for secret in ("hunter2", "swordfish") if secret in told]


def test_variables_are_filled_in(tmp_path: Path) -> None:
    text = HEAD.replace("http://loki:3100", "${LOKI:http://default:3100}").replace("dev", '"${ENV}"')
    config = one(converted(tmp_path, text, {"ENV": "prod"}))
    assert (config["sinks"]["loki"]["url"], config["sinks"]["loki"]["labels"]["env"]) == ("http://default:3100", "prod")
    made = converted(tmp_path, text, {"LOKI": "http://given:3100"})
    assert one(made)["sinks"]["loki"]["url"] == "http://given:3100"
    assert [(found.kind, found.line) for found in made.findings if "ENV has" in found.message] == [("no equal", 4)]


def test_jobs_that_differ_in_drops_and_labels_share_a_config(tmp_path: Path) -> None:
    config = one(
        converted(
            tmp_path,
            """\
clients: [{ url: "http://loki:3100" }]
scrape_configs:
  - job_name: a
    static_configs: [{ labels: { job: a, __path__: /a.log } }]
    pipeline_stages: [{ drop: { expression: x } }, { drop: { expression: both } }]
  - job_name: b
    static_configs: [{ labels: { job: b, __path__: /b.log } }]
    pipeline_stages: [{ drop: { expression: both } }]
""",
        )
    )
    matches = [stage["match"] for stage in config["stages"]]
    assert matches == ['{source="a"} |~ "x"', '{} |~ "both"']
    assert config["sinks"]["loki"]["labels"] == {"job": "{source}"}


def test_jobs_whose_stages_do_not_go_together_get_a_config_each(tmp_path: Path) -> None:
    made = converted(
        tmp_path,
        """\
server: { http_listen_port: 9080 }
clients: [{ url: "http://loki:3100" }]
scrape_configs:
  - job_name: a
    static_configs: [{ labels: { __path__: /a.log } }]
    pipeline_stages: [{ json: { expressions: { x: } } }]
  - job_name: b
    static_configs: [{ labels: { __path__: /b.log } }]
    pipeline_stages: [{ regex: { expression: '(?P<y>.)' } }]
""",
    )
    configs = [yaml.safe_load(config.text) for config in made.configs]
    assert [config["state"] for config in configs] == ["state/a", "state/b"]
    assert [config["exporter"]["listen"] for config in configs] == ["0.0.0.0:9080", "0.0.0.0:9081"]


@pytest.mark.parametrize(
    "source",
    [
        *("docker_sd_configs", "kubernetes_sd_configs", "journal", "syslog", "kafka", "gcplog", "loki_push_api"),
        *("windows_events", "gelf", "cloudflare", "heroku_drain", "consul_sd_configs"),
    ],
)
def test_what_is_no_file_is_listed(tmp_path: Path, source: str) -> None:
    made = converted(tmp_path, f"{HEAD}  - job_name: more\n    {source}: {{}}\n")
    assert [(found.kind, found.line) for found in made.findings if source in found.message] == [("no equal", 6)]
    assert not made.complete


def test_fateforgers_file_becomes_one_config_and_its_dead_stage_is_pointed_out(tmp_path: Path) -> None:
    made = converted(tmp_path, FATEFORGER.read_text())
    config = one(made)
    assert config["stages"] == [{"use": "parse", "format": "auto"}]
    assert list(config["sources"]) == ["fateforger_llm_io", "fateforger_session"]
    assert [sink["match"] for sink in config["sinks"].values()] == [
        '{source="fateforger_llm_io"}',
        '{source="fateforger_session"}',
    ]
    dead = [found.line for found in made.findings if "stage `timestamp` reads `ts`" in found.message]
    assert dead == [20, 30, 42]
    assert [found.line for found in made.findings if found.kind == "no equal"] == [12]
    assert sum("label `filename`" in found.message for found in made.findings) == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [("scrape_configs: [\n", 2), ("sources: {}\n", 1), ("- a\n", 1), ("a: b: c\n", 1)],
    ids=["torn", "another-program", "list", "not-yaml"],
)
def test_what_cannot_be_read_is_told_with_its_place(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(ConfigError) as told:
        converted(tmp_path, text)
    assert [(problem.line, problem.column > 0) for problem in told.value.problems] == [(line, True)]


def test_each_part_tells_where_it_came_from(tmp_path: Path) -> None:
    made = converted(tmp_path, HEAD + "    pipeline_stages:\n      - drop: { expression: x }\n")
    text = made.configs[0].text
    assert "  # line 4\n  app:" in text
    assert "  # line 6\n  - use: drop" in text
    assert "  # line 1\n  loki:" in text
