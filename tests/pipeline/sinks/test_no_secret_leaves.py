"""The proof: canaries in every place where a secret may stand, and no byte that leaves holds one of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tailrace.config.data_flow import wanted
from tailrace.config.load import check
from tailrace.pipeline.dead_letter import FILE, DeadLetter
from tailrace.pipeline.exporter import Exporter
from tailrace.pipeline.log import log, to_stderr
from tailrace.pipeline.runner import Runner


class Pushed(NamedTuple):
    labels: str
    time_ns: int
    line: bytes
    metadata: dict[str, str]


Read = Callable[[bytes], list[Pushed]]

CONFIG = """
sources:
  app: { use: file, include: ["logs/*/*.log"], multiline: traceback, max_event: 4000 }
  llm: { use: file, include: ["logs/*/*.jsonl"] }
stage_files: [ choke.py, stumble.py ]
stages:
  - { use: stumble }
  - { use: parse }
  - { use: enrich, file_name: "(?P<before>[^/]*)/[^/]*$" }
  - { use: redact, pii: [email, card] }
  - { use: enrich, file_name: "(?P<after>[^/]*)/[^/]*$", fields: { tier: test } }
  - { use: classify }
  - use: derive_metrics
    metrics:
      - name: calls_total
        type: counter
        labels: { agent: "{agent}", folder: "{before}-{after}", why: "{error_message}" }
  - { use: choke }
sinks:
  plain: { use: jsonl, path: "archive/{agent}-{before}-{after}.jsonl" }
  packed: { use: jsonl, path: "archive/{source}.jsonl.zst" }
  out: { use: stdout, line: json }
  loki:
    use: loki
    url: "@URL@"
    labels: { app: "{agent}", folder: "{before}", file: "{file}" }
    metadata: [session_key, after, error_message, token]
    line: json
  raw: { use: loki, url: "@URL@", labels: { file: "{file}" } }
exporter: { listen: "127.0.0.1:0" }
state: state
"""

CHOKE = """
from tailrace.pipeline.component import Stage


class Choke(Stage):
    def process(self, batch):
        for record in batch.records:
            if b"choke-on-this" in record.line:
                raise ValueError("no answer from https://svc:@SECRET@@vault.example/v1")
        return batch
"""
STUMBLE = """
from tailrace.pipeline.component import Stage


class Stumble(Stage):
    def process(self, batch):
        for record in batch.records:
            if b"stumble-here" in record.line:
                raise ValueError(f"cannot read {record.text}")
        return batch
"""


class Canaries:
    """Secrets that were never given out, each known by the place in which it is planted."""

    def __init__(self) -> None:
        self.planted: dict[str, str] = {}

    def __call__(self, place: str, kind: str = "key") -> str:
        number = len(self.planted) + 1
        made = {
            "key": "AKIA" + f"QWERTY{number:02d}ZXCVBNMX",
            "token": "gh" + "p_" + f"c4n4ry{number:02d}" * 5,
            "word": f"hunter{number:02d}xyzzy",
            "mail": f"canary{number:02d}@example.org",
            "pem": f"-----BEGIN RSA {'PRIVATE'} KEY-----\nMIIEcanary{number:02d}line\nq1w2e3{number:02d}r4t5\n"
            f"-----END RSA {'PRIVATE'} KEY-----",
        }[kind]
        self.planted[place] = made
        return made

    def found_in(self, where: str, data: bytes) -> list[tuple[str, str]]:
        """Each canary of which a part stands in the bytes, escaped or not: where, and which."""
        return [
            (where, place)
            for place, canary in self.planted.items()
            for part in canary.splitlines()
            if not part.startswith("-----") and part[4:].encode() in data
        ]


def _escaped(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" for char in text)


def text_lines(plant: Canaries) -> Iterator[str]:
    yield f"2026-03-04 23:36:00,179 INFO app.main starting with {plant('text')}"
    yield f"2026-03-04 23:36:01,179 INFO app.main password={plant('key=value', 'word')} user=bob"
    yield f"2026-03-04 23:36:02,179 INFO app.main sent to {plant('mail in text', 'mail')}"
    yield "2026-03-04 23:36:03,179 ERROR app.main it failed"
    yield "Traceback (most recent call last):"
    yield '  File "/srv/app/client.py", line 88, in call'
    yield f'    connect(password="{plant("source line of a traceback", "word")}")'
    yield f"app.errors.AuthError: refused {plant('message of a traceback', 'token')}"
    settings = {"event": "x", "settings": {"api_key": plant("JSON behind a prefix", "word")}}
    yield f"2026-03-04 23:36:04,179 INFO app.main {json.dumps(settings)}"
    yield f"2026-03-04 23:36:05,179 INFO app.main choke-on-this {plant('record that a later stage refuses')}"
    yield f"2026-03-04 23:36:06,179 INFO app.main stumble-here {plant('record that an earlier stage refuses')}"
    yield f"2026-03-04 23:36:06,500 INFO app.main stumble-here password={plant('reason that quotes', 'word')}"
    yield f"2026-03-04 23:36:07,179 INFO app.main refuse-me {plant('record that a sink refuses')}"
    yield f"\x00\x01\ufffd {plant('odd bytes')}"
    yield f"2026-03-04 23:36:08,179 INFO app.main {plant('event over the limit')} {'x' * 5000}"


def json_lines(plant: Canaries) -> Iterator[str]:
    def row(**fields: Any) -> str:
        return json.dumps({"timestamp": "2026-03-04T23:36:00Z", "level": "info", "agent": "a", **fields})

    yield row(message=f"uses {plant('message')}")
    yield row(messages=[{"role": "user", "content": [{"text": f"why does\n{plant('nested value')} fail?"}]}])
    yield row(**{plant("key"): {plant("nested key"): 1}})
    yield row(headers=[{"name": "Authorization", "value": plant("header", "word")}, ["Cookie", plant("pair", "word")]])
    yield row(
        arguments=json.dumps({"env": {"DB_PASSWORD": plant("JSON in JSON", "word"), "m": plant("deep", "token")}})
    )
    yield row(message="@").replace("@", f"a\\n{_escaped(plant('escaped text'))} b")
    yield row(
        exc_info=f'Traceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: {plant("exc_info")}'
    )
    yield row(pem=plant("private key", "pem"), message=plant("private key in text", "pem"))
    yield row(agent=plant("label"), message="x")
    yield row(agent=f"team/{plant('label of a metric', 'token')}", message="x")
    yield row(session_key=plant("metadata"), token=plant("metadata by name", "word"), message="x")
    yield row(a=plant("equal keys", "token"), message="x").replace('"message"', '"a": "b", "message"')
    yield row(mail=plant("mail", "mail"))
    yield row(refuse="refuse-me", note=plant("JSON that a sink refuses"))
    yield '{"broken": "' + plant("JSON that is cut off")


@pytest.fixture
def _own_log() -> Iterator[None]:
    logger = logging.getLogger("tailrace")
    before, clean = (logger.handlers, logger.level, logger.propagate), log.clean
    log._printed.clear()  # what another test wrote a moment ago would only be counted
    yield
    (logger.handlers, logger.level, logger.propagate), log.clean = before, clean


class Outside(NamedTuple):
    """What left in one run."""

    data: dict[str, bytes]
    """The bytes, by where they were seen."""
    answers: set[int]
    refused_by: set[str]
    residual: int


Capture = pytest.CaptureFixture[bytes]


async def run(plant: Canaries, tmp_path: Path, config_text: str, captured: Capture, read_body: Read) -> Outside:
    """Let the engine ship it all, and gather every byte that it lets out."""
    folder = tmp_path / "logs" / plant("folder", "token")
    folder.mkdir(parents=True)
    (folder / f"app-{plant('file name')}.log").write_text("\n".join(text_lines(plant)) + "\n")
    (folder / "llm.jsonl").write_text("\n".join(json_lines(plant)) + "\n")
    of_server = plant("answer of a server"), plant("reason of a server", "token")
    (tmp_path / "choke.py").write_text(CHOKE.replace("@SECRET@", plant("error of a stage", "word")))
    (tmp_path / "stumble.py").write_text(STUMBLE)

    bodies: list[bytes] = []
    answers: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        if request.method != "POST":
            return web.json_response({"status": "success", "data": []})
        body = await request.read()
        bodies.append(body)
        if not answers:
            answers.append(500)
            return web.Response(status=500, text=f"try later, {of_server[0]}")
        bad = any(b"refuse-me" in entry.line for entry in read_body(body))
        answers.append(400 if bad else 204)
        return web.Response(status=answers[-1], text=f"never: {of_server[1]}" if bad else None)

    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", answer)
    outside: dict[str, bytes] = {}
    async with TestServer(app) as server:
        (tmp_path / "tailrace.yaml").write_text(config_text.replace("@URL@", str(server.make_url("")).rstrip("/")))
        config, problems = check(tmp_path / "tailrace.yaml")
        assert config is not None, problems
        to_stderr()
        runner = Runner(
            config.sources,
            config.stages,
            config.sinks,
            wanted=wanted(config.stages, config.sinks.values()),
            state=config.state,
        )
        exporter = Exporter(runner, "127.0.0.1:0", "0")
        await exporter.open()
        try:
            assert await runner.run(once=True) == 0
            async with aiohttp.ClientSession(f"http://127.0.0.1:{exporter.port}") as http:
                for page in ("/metrics", "/-/status", "/-/ready", "/-/healthy"):
                    async with http.get(page) as got:
                        outside[page] = await got.read()
        finally:
            await exporter.close()
    outside["stdout"], outside["own log"] = captured.readouterr()
    entries = [entry for body in bodies for entry in read_body(body)]
    outside["Loki"] = "\n".join(map(repr, entries)).encode() + b"\n".join(entry.line for entry in entries)
    outside["Loki, decoded"] = b"".join(_decoded(entry.line) for entry in entries)
    for path in sorted((tmp_path / "archive").rglob("*")):
        data = path.read_bytes()
        if path.suffix == ".zst":
            import cramjam

            data = bytes(cramjam.zstd.decompress(data))
        outside[f"archive {path.name[:10]}"] = str(path.relative_to(tmp_path)).encode() + data
        outside[f"archive {path.name[:10]}, decoded"] = b"".join(map(_decoded, data.splitlines()))
    letters = list(DeadLetter(config.state / FILE).letters())
    for number, letter in enumerate(letters):
        told = [letter.reason, letter.hint, letter.line, letter.fields, letter.labels]
        outside[f"letter {number}"] = repr(told).encode() + (letter.raw or b"")

    residual = runner.partitions.books("llm").residual("loki")
    return Outside(outside, set(answers), {letter.where for letter in letters}, residual)


@pytest.mark.usefixtures("_own_log")
async def test_no_byte_that_leaves_holds_a_canary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture, read_body: Read
) -> None:
    monkeypatch.chdir(tmp_path)
    plant = Canaries()
    ran = await run(plant, tmp_path, CONFIG, capfdbinary, read_body)
    outside = ran.data
    assert [leak for where, data in outside.items() for leak in plant.found_in(where, data)] == []
    assert ran.answers == {500, 204, 400}
    assert ran.refused_by == {"stumble", "choke", "loki", "raw"}
    assert ran.residual == 0
    assert outside["stdout"].count(b"REDACTED") > 20
    assert b"[REDACTED:aws-access-key-id]" in outside["own log"]
    assert b"events over the limit" in outside["own log"]
    for page in ("/metrics", "/-/status"):
        assert b"REDACTED" in outside[page]
    assert b"calls_total{agent=" in outside["/metrics"]


@pytest.mark.usefixtures("_own_log")
async def test_without_the_stage_every_canary_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture, read_body: Read
) -> None:
    monkeypatch.chdir(tmp_path)
    plant = Canaries()
    config = CONFIG.replace("  - { use: redact, pii: [email, card] }\n", "")
    ran = await run(plant, tmp_path, config, capfdbinary, read_body)
    leaks = {place for where, data in ran.data.items() for _, place in plant.found_in(where, data)}
    assert leaks == set(plant.planted)
    for where in ("stdout", "own log", "Loki", "/metrics", "/-/status"):
        assert plant.found_in(where, ran.data[where])


def _decoded(line: bytes) -> bytes:
    """Every key and value of a JSON line, and of the JSON in its strings, as they are read."""

    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for name, item in value.items():
                yield name
                yield from texts(item)
        elif isinstance(value, list):
            for item in value:
                yield from texts(item)
        else:
            yield str(value)
            if isinstance(value, str) and value[:1] in ("{", "["):
                yield _decoded(value.encode()).decode()

    try:
        return "\n".join(texts(json.loads(line))).encode("utf-8", "replace")
    except ValueError:
        return line


def test_the_scan_finds_a_canary_that_did_leave() -> None:
    plant = Canaries()
    secret, pem = plant("a"), plant("b", "pem")
    assert plant.found_in("x", f"say {secret}".encode()) == [("x", "a")]
    assert plant.found_in("y", _decoded(json.dumps({"m": json.dumps([pem])}).encode())) == [("y", "b"), ("y", "b")]
    assert plant.found_in("z", b"nothing") == []
