"""`workers: N`: several processes under one parent, from start to end, through deaths of each."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

TAILRACE = [sys.executable, "-m", "tailrace.cli"]
CONFIG = """
workers: 2
sources:
  app: { use: file, include: ["logs/*.log"] }
stages:
  - { use: parse, format: json }
sinks:
  archive: { use: jsonl, path: "archive/{source}.jsonl" }
"""
T = TypeVar("T")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    for number in range(8):
        append(tmp_path, number, number)
    return tmp_path


def append(folder: Path, log: int, number: int) -> None:
    with (folder / "logs" / f"{'abcdefgh'[log]}.log").open("a") as file:
        file.write(f'{{"id": {number}}}\n')


def run(
    folder: Path, *arguments: str, config: str = CONFIG, command: str = "run", stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    (folder / "tailrace.yaml").write_text(config)
    return subprocess.run([*TAILRACE, command, *arguments], cwd=folder, input=stdin, capture_output=True, timeout=60)


def archived(folder: Path) -> list[int]:
    lines = [line for path in (folder / "archive").glob("*") for line in path.read_text().splitlines()]
    return sorted(json.loads(line)["id"] for line in lines)


@contextmanager
def running(folder: Path, config: str = CONFIG) -> Iterator[subprocess.Popen[bytes]]:
    (folder / "tailrace.yaml").write_text(config)
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen([*TAILRACE, "run"], cwd=folder, stdin=subprocess.DEVNULL, stderr=stderr)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def children(process: subprocess.Popen[bytes]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], T], seconds: float = 20) -> T:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_once_ends_when_all_have_delivered_and_says_who_did(folder: Path) -> None:
    done = run(folder, "--once")
    assert done.returncode == 0, done.stderr
    assert archived(folder) == list(range(8))
    assert sorted(path.name for path in (folder / "archive").glob("*")) == [
        "app.worker-0.jsonl",
        "app.worker-1.jsonl",
    ]
    assert b'msg="stopped, all delivered" worker=0\n' in done.stderr
    assert b'msg="stopped, all delivered" worker=1\n' in done.stderr


def test_the_number_may_change_with_each_start(folder: Path) -> None:
    for turn, workers in enumerate((1, 2, 3, 1, 4)):
        append(folder, turn, 100 + turn)
        done = run(folder, "--once", config=CONFIG.replace("workers: 2", f"workers: {workers}"))
        assert done.returncode == 0, done.stderr
    assert archived(folder) == [*range(8), *range(100, 105)]


def test_a_worker_that_is_killed_is_started_again_and_goes_on(folder: Path) -> None:
    with running(folder) as process:
        until(lambda: archived(folder) == list(range(8)))
        for child in children(process):
            os.kill(child, signal.SIGKILL)
        for number in range(8):
            append(folder, number, 10 + number)
        until(lambda: archived(folder) == [*range(8), *range(10, 18)])
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    said = (folder / "stderr").read_text()
    assert all(f'msg="worker {number} was killed, starting it again" by=SIGKILL' in said for number in range(2))


def test_workers_end_with_their_parent_and_the_next_start_is_alone(folder: Path) -> None:
    with running(folder) as process:
        until(lambda: archived(folder) == list(range(8)))
        workers = children(process)
        process.kill()
        process.wait()
        append(folder, 0, 8)
        done = run(folder, "--once")
    assert done.returncode == 0, done.stderr
    assert archived(folder) == list(range(9))
    assert [pid for pid in workers if is_alive(pid)] == []


def test_a_second_tailrace_is_refused_as_long_as_a_worker_lives(folder: Path) -> None:
    with running(folder) as process:
        until(lambda: archived(folder) == list(range(8)))
        done = run(folder, "--once")
        assert done.returncode == 78
        assert f"pid {process.pid}".encode() in done.stderr


def test_a_signal_to_the_whole_group_is_one_signal(folder: Path) -> None:
    (folder / "tailrace.yaml").write_text(CONFIG)
    process = subprocess.Popen([*TAILRACE, "run"], cwd=folder, stderr=subprocess.PIPE, start_new_session=True)
    try:
        until(lambda: (folder / "archive").exists() and archived(folder) == list(range(8)))
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    finally:
        process.kill()
    assert process.returncode == 0
    assert said.count(b"all delivered") == 2
    assert b"second signal" not in said


def test_a_second_signal_leaves_at_once(folder: Path) -> None:
    config = CONFIG + "  loki: { use: loki, url: 'http://127.0.0.1:1', labels: { file: '{file}' } }\n"
    (folder / "tailrace.yaml").write_text(config)
    process = subprocess.Popen([*TAILRACE, "run", "--offline"], cwd=folder, stderr=subprocess.PIPE)
    assert process.stderr
    try:
        until(lambda: (folder / "archive").exists() and archived(folder) == list(range(8)))
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        said = process.communicate(timeout=30)[1]
    finally:
        process.kill()
    assert process.returncode == 1
    assert b"second signal" in said


def test_one_page_and_one_status_tell_of_all(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running(folder, CONFIG + f"exporter: {{ listen: '127.0.0.1:{port}' }}\n") as process:
        until(lambda: (folder / "archive").exists() and archived(folder) == list(range(8)))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
            text = page.read().decode()
        told = subprocess.run([*TAILRACE, "status"], cwd=folder, capture_output=True, timeout=60, check=True)
    shares = [line for line in text.splitlines() if line.startswith("tailrace_events_out_total{") and "archive" in line]
    assert [line.partition(",")[0] for line in shares] == [
        'tailrace_events_out_total{worker="0"',
        'tailrace_events_out_total{worker="1"',
    ]
    assert sum(float(line.split()[-1]) for line in shares) == 8
    status = json.loads(told.stdout)
    assert (status["running"], status["pid"], status["version"] != "") == (True, process.pid, True)
    assert {one["worker"] for one in status["partitions"]} == {0, 1}
    assert sum(one["events"] for one in status["partitions"]) == 8


def test_the_status_without_a_run_is_that_of_all(folder: Path) -> None:
    run(folder, "--once")
    status = json.loads(run(folder, command="status").stdout)
    assert (status["running"], len(status["partitions"])) == (False, 8)


def test_what_a_worker_could_not_take_is_in_the_one_dead_letter_and_can_be_retried(folder: Path) -> None:
    (folder / "boom.py").write_text(
        "from tailrace.pipeline.component import Stage\n\n\n"
        "class Boom(Stage):\n"
        "    def reads(self):\n"
        "        return ['id']\n\n"
        "    def process(self, batch):\n"
        "        for record in batch.records:\n"
        "            if record.fields['id'] in (3, 4) and not __import__('os').path.exists('calm'):\n"
        "                raise ValueError('boom')\n"
        "        return batch\n"
    )
    config = CONFIG.replace("stages:\n", "stage_files: [boom.py]\nstages:\n  - { use: boom }\n")
    config = config.replace("  - { use: boom }\n  - { use: parse, format: json }", "  - use: parse\n  - use: boom")
    assert run(folder, "--once", config=config).returncode == 0
    assert archived(folder) == [0, 1, 2, 5, 6, 7]
    assert len(run(folder, "list", config=config, command="dlq").stdout.splitlines()) == 2
    (folder / "calm").touch()
    done = run(folder, "retry", config=config, command="dlq")
    assert done.returncode == 0, done.stderr
    assert run(folder, "--once", config=config).returncode == 0
    assert archived(folder) == list(range(8))
    assert run(folder, "list", config=config, command="dlq").stdout == b""


def test_standard_input_is_the_first_worker_s(folder: Path) -> None:
    config = CONFIG.replace("sources:\n", "sources:\n  pipe: { use: stdin }\n")
    done = run(folder, "--once", config=config, stdin=b'{"id": 8}\n')
    assert done.returncode == 0, done.stderr
    assert archived(folder) == list(range(9))
    assert [path.name for path in (folder / "archive").glob("pipe*")] == ["pipe.worker-0.jsonl"]


def test_what_is_wrong_is_told_once_and_before_anything_is_started(folder: Path) -> None:
    done = run(folder, config=CONFIG + "  loki: { use: loki, url: 'http://127.0.0.1:1', labels: { f: '{file}' } }\n")
    assert done.returncode == 78
    assert done.stderr.count(b"cannot reach Loki") == 1
    assert not (folder / "state").exists()


def test_an_error_in_one_worker_ends_all(folder: Path) -> None:
    (folder / "bad.py").write_text(
        "from tailrace.pipeline.component import Source\n\n\n"
        "class Bad(Source):\n"
        "    async def chunks(self, resume, *, once):\n"
        "        raise RuntimeError('broken')\n"
        "        yield\n"
    )
    config = CONFIG.replace("sources:\n", "stage_files: [bad.py]\nsources:\n  bad: { use: bad }\n")
    done = run(folder, config=config)
    assert done.returncode == 1
    assert b'error="RuntimeError: broken" worker=0' in done.stderr
    assert b"stopping the others" in done.stderr
