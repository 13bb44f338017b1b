"""What stands beside the app: compose.yaml, the configs of its servers, systemd and Kubernetes, and the agent."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tailrace.cli.app import app

from ..services._server import NotInstalled, Server
from ..services.loki import Loki
from ..services.prometheus import Prometheus

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def passes(path: Path) -> None:
    result = CliRunner().invoke(app, ["check", "--offline", str(path)])
    assert result.exit_code == 0, result.output


def run(kind: type[Server], program: str, *words: str) -> str:
    try:
        command = [str(kind.program(program)), *words]
    except NotInstalled as missing:
        if os.environ.get("TAILRACE_LIVE") == "required":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    done = subprocess.run(command, cwd=DEPLOY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("profile", ["a", "b", "c"])
def test_the_config_of_a_profile_is_a_good_one(profile: str) -> None:
    passes(DEPLOY / f"tailrace-{profile}.yaml")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_and_reached_from_this_machine_only(name: str) -> None:
    service = SERVICES[name]
    assert service["image"] == "tailrace" or service["image"].rpartition(":")[2] not in {"", "latest"}
    assert [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")] == []
    assert set(service["profiles"]) <= {"a", "b", "c"}
    # The image of tailrace has one of its own; `folder` ends.
    assert "healthcheck" in service or service["image"] == "tailrace" or name == "folder"


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_mounts_and_waits_for_is_there(name: str) -> None:
    service = SERVICES[name]
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
    for other in service.get("depends_on", []):
        assert set(service["profiles"]) <= set(SERVICES[other]["profiles"])


def test_prometheus_takes_its_config_and_rules() -> None:
    assert "7 rules found" in run(Prometheus, "promtool", "check", "config", "prometheus.yml")


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    assert "SUCCESS" in run(Prometheus, "promtool", "test", "rules", "alerts_test.yml")
    alerts = {r["alert"] for g in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"] for r in g["rules"]}
    tests = yaml.safe_load((DEPLOY / "alerts_test.yml").read_text())["tests"]
    fired = {t["alertname"] for one in tests for t in one["alert_rule_test"] if t["exp_alerts"]}
    assert fired == alerts


def test_loki_takes_its_config() -> None:
    run(Loki, "loki", "-verify-config", "-config.file=loki.yaml")


def test_grafana_s_data_sources_lead_only_to_each_other() -> None:
    text = (DEPLOY / "grafana/datasources.yaml").read_text()
    sources = yaml.safe_load(text)["datasources"]
    known = {source["uid"] for source in sources}
    led = {
        line.split("datasourceUid: ")[1].split(",")[0].strip(" }")
        for line in text.splitlines()
        if "datasourceUid" in line
    }
    assert led <= known == {"prometheus", "loki", "tempo"}
    assert {source["url"].split("//")[1].split(":")[0] for source in sources} <= set(SERVICES)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_kubernetes_example_holds_a_good_config_and_no_root_file_system_to_write(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POD_NAME", "agent-0")
    config, workload = yaml.safe_load_all(path.read_text())
    (tmp_path / "tailrace.yaml").write_text(config["data"]["tailrace.yaml"])
    passes(tmp_path / "tailrace.yaml")
    pod = workload["spec"]["template"]["spec"]
    (container,) = [one for one in pod["containers"] if one["name"] == "tailrace"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["terminationGracePeriodSeconds"] > 30
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
    assert mounted <= claims | {volume["name"] for volume in pod["volumes"]}
    assert {"name": "config", "configMap": {"name": config["metadata"]["name"]}} in pod["volumes"]


def test_the_unit_checks_the_config_that_it_runs() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep the case
    unit.read_string((DEPLOY / "systemd/tailrace.service").read_text())
    service = unit["Service"]
    assert service["ExecStartPre"].split()[1:3] == ["check", "--offline"]
    assert service["ExecStartPre"].split()[-1] == service["ExecStart"].split()[-1]
    assert (service["RestartPreventExitStatus"], int(service["TimeoutStopSec"]) > 30) == ("78", True)


def test_the_image_s_lock_agrees_with_the_developers() -> None:
    def pins(name: str) -> set[str]:
        return {line.split()[0] for line in (ROOT / name).read_text().splitlines() if "==" in line and line[0] != "#"}

    assert pins("requirements.lock") <= pins("requirements-dev.lock")
    assert len(pins("requirements.lock")) > 20


def test_the_agent_writes_logs_that_profile_b_reads(tmp_path: Path) -> None:
    logs, data = tmp_path / "logs", tmp_path / "data"
    environment = {"AGENT_LOGS": str(logs), "AGENT_SESSIONS": "12", "AGENT_PACE": "0", "AGENT_SEED": "3"}
    agent = [sys.executable, str(ROOT / "examples/agent/agent.py")]
    subprocess.run(agent, env=os.environ | environment, check=True)
    text = (DEPLOY / "tailrace-b.yaml").read_text()
    text = text.replace("/var/log/agent/logs", str(logs)).replace("/var/lib/tailrace", str(data))
    config = tmp_path / "tailrace.yaml"
    config.write_text(text.replace("0.0.0.0:9464", "127.0.0.1:0"))
    shipped = [sys.executable, "-m", "tailrace.cli", "run", "--once", str(config)]
    done = subprocess.run(shipped, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (calls,) = (path for path in (data / "llm_io").glob("llm_io_2*.jsonl"))
    rows = [json.loads(line) for line in calls.read_text().splitlines()]
    assert {row["event_type"] for row in rows} == {"LLMCall", "ToolCall"}
    assert {row["status"] for row in rows} == {"ok", "error"}
    assert "sesame" not in calls.read_text()
