import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TAILRACE = [sys.executable, "-m", "tailrace.cli"]

CONFIG = """
sources:
  app: { use: file, include: ["logs/*.log"] }
stages:
  - { use: parse, format: json }
sinks:
  archive: { use: jsonl, path: "archive/{source}.jsonl" }
state: state
"""


def run(folder: Path, *arguments: str, config: str = CONFIG, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    (folder / "tailrace.yaml").write_text(config)
    return subprocess.run([*TAILRACE, "run", *arguments], cwd=folder, input=stdin, capture_output=True, timeout=60)


def archived(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "archive" / "app.jsonl").read_text().splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_text('{"id": 1}\n{"id": 2}\n')
    return tmp_path


def test_once_delivers_what_is_there_and_ends(folder: Path) -> None:
    done = run(folder, "--once")
    assert done.returncode == 0, done.stderr
    assert [record["id"] for record in archived(folder)] == [1, 2]
    assert b"all delivered" in done.stderr
    assert done.stdout == b""


def test_the_next_run_goes_on_where_the_last_one_ended(folder: Path) -> None:
    run(folder, "--once")
    with (folder / "logs" / "a.log").open("a") as log:
        log.write('{"id": 3}\n')
    assert run(folder, "--once").returncode == 0
    assert [record["id"] for record in archived(folder)] == [1, 2, 3]


def test_a_bad_config_stops_the_start_with_78_and_every_mistake(folder: Path) -> None:
    done = run(folder, config=CONFIG.replace("use: parse", "use: prase").replace("include", "inclde"))
    assert done.returncode == 78
    assert b"did you mean 'include'?" in done.stderr
    assert b"tailrace.yaml:3:15: error: source 'file' needs the option 'include'" in done.stderr
    assert b"tailrace.yaml:5:12: error: no stage 'prase'" in done.stderr
    assert not (folder / "archive").exists()


def test_a_missing_config_says_so(folder: Path) -> None:
    done = subprocess.run([*TAILRACE, "run", "no.yaml"], cwd=folder, capture_output=True, timeout=60)
    assert done.returncode == 78
    assert b"no.yaml" in done.stderr


def test_a_sink_that_cannot_be_reached_stops_the_start_before_anything_is_read(folder: Path) -> None:
    config = CONFIG + "exporter: { listen: '127.0.0.1:0' }\n"
    config = config.replace("sinks:", "sinks:\n  loki: { use: loki, url: 'http://127.0.0.1:1', labels: { app: a } }")
    done = run(folder, "--once", config=config)
    assert done.returncode == 78
    assert b"cannot reach Loki" in done.stderr
    assert not (folder / "archive").exists()
    assert not (folder / "state").exists()


def test_a_second_tailrace_on_the_same_state_refuses_and_names_the_first(folder: Path) -> None:
    (folder / "tailrace.yaml").write_text(CONFIG)
    first = subprocess.Popen([*TAILRACE, "run"], cwd=folder, stderr=subprocess.PIPE)
    assert first.stderr
    try:
        assert b"started" in first.stderr.readline()
        second = run(folder, "--once")
        assert second.returncode == 78
        assert f"pid {first.pid}".encode() in second.stderr
    finally:
        first.send_signal(signal.SIGTERM)
        assert b"stopped" in first.communicate(timeout=30)[1]
    assert first.returncode == 0


def test_sigterm_ends_the_first_process_of_a_container_also_before_it_ships(folder: Path) -> None:
    """The kernel keeps from such a process each signal that it does not handle."""
    alone = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*alone, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no namespace of its own for a process here")
    config = folder / "tailrace.yaml"
    os.mkfifo(config)
    outside = subprocess.Popen([*alone, *TAILRACE, "run", str(config)], stderr=subprocess.PIPE)
    try:
        with config.open("wb"):  # once it is opened here, tailrace has opened it, too, and waits for its text
            first = int(Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text())
            os.kill(first, signal.SIGTERM)
            assert outside.communicate(timeout=30)[1] == b""
        assert outside.returncode == 128 + signal.SIGTERM
    finally:
        outside.kill()


def test_a_pipe_is_shipped_to_its_end_without_once(folder: Path) -> None:
    config = CONFIG.replace('{ use: file, include: ["logs/*.log"] }', "{ use: stdin }")
    done = run(folder, config=config, stdin=b'{"id": 7}\n{"id": 8}')
    assert done.returncode == 0, done.stderr
    assert [record["id"] for record in archived(folder)] == [7, 8]


def test_a_reader_that_goes_away_ends_the_run_quietly(folder: Path) -> None:
    (folder / "logs" / "a.log").write_text('{"id": 1, "text": "%s"}\n' % ("x" * 1000) * 20_000)
    config = CONFIG.replace('{ use: jsonl, path: "archive/{source}.jsonl" }', "{ use: stdout }")
    (folder / "tailrace.yaml").write_text(config)
    process = subprocess.Popen([*TAILRACE, "run", "--once"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline().startswith(b'{"id": 1')
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr
    errors = process.stderr.read()
    process.stderr.close()
    assert b"Traceback" not in errors


def test_a_state_folder_that_is_no_folder_is_told(folder: Path) -> None:
    (folder / "state").touch()
    done = run(folder, "--once")
    assert done.returncode == 78
    assert b"state is not a folder" in done.stderr


def test_a_state_file_of_another_version_is_told_with_a_way_out(folder: Path) -> None:
    (folder / "state").mkdir()
    (folder / "state" / "checkpoint.json").write_text('{"version": 99, "sources": {}}')
    done = run(folder, "--once")
    assert done.returncode == 78
    assert b"version 99" in done.stderr
    assert b"move it and flight.jsonl away" in done.stderr
