"""The server as clients meet it: the SDK's own client over stdio and HTTP, and requests that no client would send."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from tailrace.query.mcp.outgoing import NOTICE
from tailrace.query.mcp.serve import triage, with_token

from .. import agent_logs

ROOT = Path(__file__).parent.parent.parent.parent
TOKEN = "0123456789abcdef0123456789abcdef"
WATCHED = """
import os, sys
allowed = os.path.realpath(sys.argv[1])
def look(event, given):
    if event == "open":
        path, mode, flags = given
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if writes and not isinstance(path, int) and os.fsdecode(os.fspath(path)) not in (allowed, os.devnull):
            os.write(2, b"WRITES " + os.fsencode(os.fspath(path)) + b"\\n")
            os._exit(99)
    elif event in ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
                   "os.chown", "os.utime", "shutil.rmtree", "shutil.move", "subprocess.Popen", "os.system", "os.exec",
                   "os.posix_spawn", "os.fork", "sqlite3.connect", "tempfile.mkstemp", "socket.connect"):
        os.write(2, b"DOES " + event.encode() + b"\\n")
        os._exit(98)
sys.addaudithook(look)
from tailrace.cli.app import app
app(["mcp", sys.argv[2]])
"""
"""Runs the server, and ends it when it opens anything but the audit log for writing, or changes, runs, connects."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    agent_logs.write(tmp_path / "logs")
    (tmp_path / "mcp.yaml").write_text(f"folders: [{tmp_path}/logs]\naudit: {tmp_path}/audit.jsonl\n")
    return tmp_path


def as_it_is(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "audit.jsonl"]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("sessions", {}),
    ("events", {"contains": "lunch"}),
    ("llm", {"summary": True}),
    ("llm", {"has_error": True}),
    ("patcher", {}),
    ("errors", {}),
    ("trace", {"id": agent_logs.TRACE, "records": True}),
    ("logql", {"query": '{level="error"} |= "x"'}),
    ("logql", {"query": 'sum(count_over_time({event_type="LLMCall"}[24h]))', "to": "2026-03-05"}),
    ("errors", {"path": "../../../etc/passwd"}),
    ("errors", {"output": "/tmp/x"}),
    ("logql", {"query": '{a="b"} > /tmp/x'}),
    ("write", {"path": "x", "text": "y"}),
]


async def test_over_stdio_nothing_is_written_but_the_audit_log(folder: Path) -> None:
    before = as_it_is(folder)
    server = StdioServerParameters(
        command=sys.executable,
        args=["-B", "-c", WATCHED, str(folder / "audit.jsonl"), str(folder / "mcp.yaml")],
        env={"HOME": str(folder / "home"), "XDG_CACHE_HOME": str(folder / "cache")},
    )
    answered = []
    async with Client(stdio_client(server)) as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["sessions", "events", "llm", "patcher", "errors", "trace", "logql"]
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
        for tool, arguments in CALLS:
            found = await client.call_tool(tool, arguments)
            answered.append(not found.is_error)
            assert found.content[0].text.startswith(NOTICE)  # type: ignore[union-attr]  # always text
            if not found.is_error:
                assert found.structured_content["untrusted"] is True
        prompt = await client.get_prompt("triage")
        assert prompt.messages[0].content.text == triage()  # type: ignore[union-attr]  # always text
    assert answered == [True] * 9 + [False] * 4
    assert as_it_is(folder) == before
    assert not (folder / "home").exists()
    assert not (folder / "cache").exists()
    entries = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    assert [entry["tool"] for entry in entries[1:]] == [tool for tool, _ in CALLS]


def test_what_watches_for_writing_does_see_it(folder: Path) -> None:
    command = [sys.executable, "-B", "-c", WATCHED, str(folder / "another.jsonl"), str(folder / "mcp.yaml")]
    told = subprocess.run(command, input="", capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (99, f"WRITES {folder}/audit.jsonl\n")


class Running(NamedTuple):
    """A server that listens."""

    url: str
    port: int


@pytest.fixture
def http(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    (folder / "token").write_text(TOKEN)
    with (folder / "mcp.yaml").open("a") as config:
        config.write(f'http: {{ listen: "127.0.0.1:0", token: {{ file: {folder}/token }} }}\nlimits: {{ calls: 5 }}\n')
    command = [sys.executable, "-m", "tailrace.cli", "mcp", str(folder / "mcp.yaml")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stderr
        line = process.stderr.readline()
        url = line.rpartition("url=")[2].strip()
        assert url.endswith("/mcp"), line
        yield Running(url, int(url.rpartition(":")[2].partition("/")[0]))
        process.terminate()
        told = process.stderr.read()
    assert TOKEN not in told
    assert "Traceback" not in told


@asynccontextmanager
async def connected(url: str, token: str = TOKEN) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


def asked(port: int, method: str = "POST", path: str = "/mcp", body: bytes = b"", **headers: str) -> int:
    """The status of a request as somebody sends it who is no client."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    own = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    own |= {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body, own)
        return connection.getresponse().status
    finally:
        connection.close()


PING = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
BEARER = f"Bearer {TOKEN}"


async def test_over_http_who_knows_the_token_is_answered_and_nobody_else(http: Running, folder: Path) -> None:
    async with connected(http.url) as client:
        found = await client.call_tool("errors", {})
        assert not found.is_error
        assert found.structured_content["rows"]
        outcomes = [(await client.call_tool("sessions", {})).is_error for _ in range(6)]
    assert outcomes == [False] * 4 + [True] * 2, "five calls in a minute"
    entries = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    assert entries[1]["client"] == "http 127.0.0.1"
    port = http.port
    assert asked(port, body=PING) == 401
    assert asked(port, body=PING, Authorization="Bearer wrong") == 401
    assert asked(port, body=PING, Authorization=f"Basic {TOKEN}") == 401
    assert asked(port, body=PING, Authorization=BEARER[:-1]) == 401
    assert asked(port, "GET", "/", Authorization="") == 401
    assert asked(port, "GET", "/other", Authorization=BEARER) == 404
    assert asked(port, body=PING, Authorization=BEARER, Host="evil.example.com") == 421
    assert asked(port, body=PING, Authorization=BEARER, Host=f"evil.example.com:{port}") == 421
    assert asked(port, body=PING, Authorization=BEARER, Origin="http://evil.example.com") == 403
    assert asked(port, body=PING, Authorization=BEARER, Origin=f"http://127.0.0.1:{port}") == 403
    assert asked(port, body=b"x" * (2 << 20), Authorization=BEARER) == 413
    assert asked(port, body=b"{not json", Authorization=BEARER) == 400
    assert len((folder / "audit.jsonl").read_text().splitlines()) == len(entries)


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ([(b"authorization", BEARER.encode())], True),
        ([], False),
        ([(b"authorization", b"")], False),
        ([(b"authorization", BEARER.encode().lower())], False),
        ([(b"authorization", BEARER.encode()), (b"authorization", b"Bearer x")], False),
        ([(b"authorization", "Bearer ü".encode())], False),
    ],
    ids=["right", "none", "empty", "other letters", "two", "no ASCII"],
)
async def test_only_the_whole_token_opens(headers: list[tuple[bytes, bytes]], passes: bool) -> None:
    reached, sent = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    async def receive() -> Any:
        raise AssertionError("nothing is read of who has no token")

    async def send(message: Any) -> None:
        sent.append(message)

    guarded = with_token(app, TOKEN)
    await guarded({"type": "http", "headers": headers}, receive, send)
    await guarded({"type": "websocket", "headers": headers}, receive, send)
    assert reached == ["http"] * passes
    assert [message.get("status") for message in sent] == ([] if passes else [401, None])
