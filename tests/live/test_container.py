"""The image of the Dockerfile: built, looked at, and run read-only without root beside the real Loki."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tailrace

from ..services import _image
from ..services._server import NotInstalled, free_ports
from ..services.loki import Loki
from .shipper import get, new_app

ROOT = Path(__file__).parent.parent.parent
LIMIT = 150 * 10**6
CONFIG = """
sources: {{ app: {{ use: file, include: ["/var/log/app/*.log"] }} }}
stages:
  - {{ use: parse }}
  - {{ use: redact }}
  - {{ use: enrich, fields: {{ app: {app} }} }}
sinks:
  loki: {{ use: loki, url: "{loki}", labels: {{ app: "{{app}}", level: "{{level}}" }} }}
  archive: {{ use: jsonl, path: "archive/{{date}}.jsonl" }}
exporter: {{ listen: "127.0.0.1:{port}" }}
state: state
"""
Built = tuple[_image.Image, _image.Facts]


@pytest.fixture(scope="module")
def built() -> Iterator[Built]:
    """The image; skips where none can be built, and says why."""
    if reason := _image.hindrance():
        pytest.skip(reason)
    image = _image.Image()
    try:
        facts = image.build()
    except NotInstalled as error:
        if os.environ.get("TAILRACE_LIVE") == "required":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    yield image, facts
    image.remove()


def test_the_image_says_what_it_is_and_runs_without_root(built: Built) -> None:
    config = built[1].config
    labels = {key.removeprefix("org.opencontainers.image."): text for key, text in config["Labels"].items()}
    assert (labels["title"], labels["version"], labels["licenses"]) == ("tailrace", tailrace.__version__, "Apache-2.0")
    assert built[0].user(built[1]) == (10001, 10001)
    assert list(config["Volumes"]) == [config["WorkingDir"]] == ["/var/lib/tailrace"]
    assert [*config["Entrypoint"], *config["Cmd"]] == ["tailrace", "run", "/etc/tailrace/tailrace.yaml"]
    assert config["StopSignal"] == "SIGTERM"


def test_the_image_is_small(built: Built) -> None:
    size = built[1].bytes_over_base
    print(f"{size / 1e6:.0f} MB over its base")
    assert 10**6 < size < LIMIT


def test_the_test_s_base_stands_for_the_one_in_the_dockerfile() -> None:
    assert f"ARG BASE={_image.OFFICIAL}\n" in (ROOT / "Dockerfile").read_text()


def test_a_container_tails_a_volume_ships_to_loki_and_drains_on_sigterm(
    built: Built, loki: Loki, tmp_path: Path
) -> None:
    image, facts = built
    app, (port,) = new_app(), free_ports(1)
    logs, etc, state = tmp_path / "logs", tmp_path / "etc", tmp_path / "state"
    for folder in (logs, etc, state):
        folder.mkdir()
    os.chown(state, *image.user(facts))
    (etc / "tailrace.yaml").write_text(CONFIG.format(app=app, loki=loki.url, port=port))
    log = logs / "app.log"
    log.write_text("2026-11-23 12:00:00,000 INFO app: before the start, password=hunter2\n")
    volumes = {"/var/log/app": (logs, "ro"), "/etc/tailrace": (etc, "ro"), "/var/lib/tailrace": (state, "rw")}
    said = tmp_path / "said"
    command = [*facts.config["Entrypoint"], *facts.config["Cmd"]]
    with image.container(facts, command, volumes, said) as container:
        until(lambda: shipped(port) == 1, container, said)
        with log.open("a") as more:
            more.write("2026-11-23 12:00:01,000 ERROR app: while it runs\n")
        until(lambda: shipped(port) == 2, container, said)
        assert get(f"http://127.0.0.1:{port}/-/healthy").status == 200
        with log.open("a") as more:
            more.writelines(f"2026-11-23 12:00:02,{number:03} INFO app: last {number}\n" for number in range(500))
        until(lambda: shipped(port) > 2, container, said)
        container.signal(signal.SIGTERM)
        assert container.wait() == 0, said.read_text()
    assert 'msg="stopped, all delivered"' in said.read_text()
    lines = [entry.line for entry in loki.query(f'{{app="{app}"}}')]
    assert lines[0].endswith("before the start, password=[REDACTED:key-name]")
    assert lines[1].endswith("while it runs")
    assert len(lines) == len(set(lines)) == len((state / "archive/2026-11-23.jsonl").read_text().splitlines())
    assert (state / "state/checkpoint.json").stat().st_uid == image.user(facts)[0]


def test_nothing_can_be_written_outside_the_volume(built: Built, tmp_path: Path) -> None:
    image, facts = built
    os.chown(tmp_path, *image.user(facts))
    script = (
        "for f in / /tmp /opt/tailrace /etc/tailrace /var/lib/tailrace; do touch $f/x && echo wrote $f; done; id -u"
    )
    said = tmp_path.parent / "said"
    with image.container(facts, ["sh", "-c", script], {"/var/lib/tailrace": (tmp_path, "rw")}, said) as container:
        assert container.wait() == 0
    words = said.read_text()
    assert [line for line in words.splitlines() if line.startswith("wrote")] == ["wrote /var/lib/tailrace"]
    assert words.endswith("\n10001\n")
    assert words.count("Read-only file system") == 4


@pytest.mark.parametrize(("listens", "code"), [(True, 0), (False, 1)], ids=["healthy", "nobody-there"])
def test_the_health_check_asks_the_exporter(built: Built, tmp_path: Path, listens: bool, code: int) -> None:
    image, facts = built
    kind, *check = facts.config["Healthcheck"]["Test"]
    (port,) = free_ports(1)
    check = [word.replace("9464", str(port)) for word in check]
    tries = 'i=0; until "$@" || [ $((i += 1)) = 40 ]; do sleep 0.1; done'
    script = f'tailrace run t.yaml & trap "kill $!" EXIT; {tries}; "$@"'
    os.chown(tmp_path, *image.user(facts))
    listen = f'exporter: {{ listen: "127.0.0.1:{port}" }}\n' if listens else ""
    (tmp_path / "t.yaml").write_text(
        f'sources: {{ app: {{ use: file, include: ["*.log"] }} }}\nsinks: {{ out: {{ use: stdout }} }}\n{listen}'
    )
    script = script.replace("= 40", "= 40" if listens else "= 1")
    said = tmp_path.parent / "said"
    command = ["sh", "-c", script, "sh", *check]
    with image.container(facts, command, {"/var/lib/tailrace": (tmp_path, "rw")}, said) as container:
        assert (kind, container.wait()) == ("CMD", code), said.read_text()


def test_bytecode_holds_no_time_so_that_two_builds_are_the_same(built: Built, tmp_path: Path) -> None:
    """Of the files that the image adds, none holds a time: bytecode is checked by its source's hash."""
    image, facts = built
    root = "/opt/tailrace/lib"
    script = (
        "import pathlib, sys\n"
        f"found = [path.read_bytes()[4:8] for path in pathlib.Path({root!r}).rglob('*.pyc')]\n"
        "print(len(found), set(found))\n"
        "sys.exit(not (len(found) > 500 and set(found) == {b'\\x01\\0\\0\\0'}))"
    )
    said = tmp_path / "said"
    with image.container(facts, ["python3", "-c", script], {}, said) as container:
        assert container.wait() == 0, said.read_text()


def shipped(port: int) -> float:
    """Records that Loki has taken."""
    try:
        page = get(f"http://127.0.0.1:{port}/metrics").text
    except OSError:
        return 0
    rows = [
        row for row in page.splitlines() if row.startswith("tailrace_events_out_total{") and 'component="loki"' in row
    ]
    return sum(float(row.split()[-1]) for row in rows)


def until(condition: object, container: _image.Container, said: Path) -> None:
    deadline = time.monotonic() + 30
    assert callable(condition)
    while not condition():
        assert container.running(), said.read_text()
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.05)
