from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from tailrace.config.load import load
from tailrace.config.probe import probe

Write = Callable[[str], Path]

TRYING = """\
from tailrace.pipeline.component import ProbeError, Sink

seen = []

class Trying(Sink, kw_only=True):
    url: str = ""
    fail: str = ""

    async def open(self) -> None:
        seen.append("open")

    async def probe(self) -> None:
        seen.append("probe")
        if self.fail == "told":
            raise ProbeError("nobody answers: start it", "url")
        if self.fail:
            raise OSError("to http://bob:hunter2@host")

    async def close(self) -> None:
        seen.append("close")
"""


def trying(write: Write, sink: str, more: str = "") -> Path:
    Path("trying.py").write_text(TRYING)
    return write(
        "stage_files: [trying.py, list_source.py]\n"
        "sources: { app: { use: list_source } }\n"
        f"sinks: {{ out: {{ use: trying, {sink} }} }}\n{more}"
    )


async def test_what_works_is_no_problem_and_is_closed_again(write: Write) -> None:
    config = load(trying(write, "url: x", "exporter: { listen: '127.0.0.1:0' }\nstate: a/b\n"))
    assert await probe(config) == []
    assert config.sinks["out"].probe.__globals__["seen"] == ["open", "probe", "close"]
    assert not os.access("a", os.F_OK)


async def test_what_does_not_work_is_told_at_the_option(write: Write) -> None:
    config = load(trying(write, "url: x, fail: told"))
    (problem,) = await probe(config)
    assert (problem.line, problem.source[problem.column - 1 :]) == (3, "x, fail: told } }")
    assert problem.message == "nobody answers: start it"
    assert config.sinks["out"].probe.__globals__["seen"][-1] == "close"


async def test_any_other_error_is_told_without_credentials(write: Write) -> None:
    (problem,) = await probe(load(trying(write, "fail: otherwise")))
    assert (problem.line, problem.message) == (3, "cannot be tried: OSError: to http://***@host")


async def test_a_taken_port_is_told(write: Write) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (problem,) = await probe(load(trying(write, "", f"exporter: {{ listen: '127.0.0.1:{port}' }}\n")))
    assert problem.message == f"cannot listen on 127.0.0.1:{port}: Address already in use"
    assert problem.line == 4


async def test_a_state_that_is_a_file_is_told(write: Write, tmp_path: Path) -> None:
    (problem,) = await probe(load(trying(write, "", "state: trying.py/state\n")))
    assert (problem.line, problem.message) == (4, f"{tmp_path}/trying.py is not a folder")
