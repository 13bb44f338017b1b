"""What the real Loki makes of lines that nobody should have written: it has each of them, or an excerpt."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from tailrace.pipeline.dead_letter import FILE, DeadLetter

from ..services.loki import Loki
from .shipper import Shipper, archived, new_app

MIB = 1 << 20
PIECE = 200 << 10


def test_loki_has_all_and_an_excerpt_of_what_is_too_long_for_it(tmp_path: Path, loki: Loki) -> None:
    app = new_app()
    began = time.time_ns()
    config = f"""
sources:
  app: {{ use: file, include: ["app.log"], max_event: {PIECE} }}
  whole: {{ use: file, include: ["nul.log"] }}
stages:
  - {{ use: parse }}
  - {{ use: redact }}
  - {{ use: classify }}
sinks:
  loki:
    use: loki
    url: "{loki.url}"
    labels: {{ app: {app}, source: "{{source}}", level: "{{level}}" }}
    metadata: [kind]
  archive: {{ use: jsonl, path: "archive/{{source}}.jsonl" }}
"""
    nuls = b"\0" * MIB
    deep = b'{"level": "deep", "kind": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    odd = [
        b"before",
        deep,
        b"\xff\xfe\x80 not UTF-8",
        rb'{"level": "\ud800", "kind": "\udc00"}',
        b"a\rb\0c",
        b'"',
        b"\\",
    ]
    long = b"0123456789abcde " * (50 * MIB // 16)
    with Shipper(tmp_path, config) as shipper:
        (tmp_path / "app.log").write_bytes(b"\n".join([*odd, long, b"after", b"not ended"]))
        (tmp_path / "nul.log").write_bytes(b"first\n" + nuls + b"\nlast\n")
        ended = shipper.once()
        assert ended.code == 0, ended.stderr
    assert len(archived(tmp_path / "archive")) == len(odd) + -(-len(long) // PIECE) + 2 + 3
    assert list(DeadLetter(tmp_path / "state" / FILE).letters()) == []
    found = loki.query(f'{{app="{app}"}}', began, page=40)
    lines = {source: [one.line for one in found if one.labels["source"] == source] for source in ("app", "whole")}
    first, excerpt, last = lines["whole"]
    assert (first, len(excerpt.encode()), last) == ("first", 256 << 10, "last")
    assert f"…(truncated, {MIB} bytes, sha256 {hashlib.sha256(nuls).hexdigest()[:12]})" in excerpt
    assert lines["app"][: len(odd)] == [line.decode("utf-8", "replace") for line in odd]
    assert "".join(lines["app"][len(odd) : -2]).encode() == long
    assert lines["app"][-2:] == ["after", "not ended"]
    assert all(isinstance(json.loads(line), dict) for line in archived(tmp_path / "archive"))
