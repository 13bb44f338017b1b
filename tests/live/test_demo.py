from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from ..services._server import free_ports
from ..services.loki import Entry, Loki
from ..services.prometheus import Prometheus
from .shipper import archived, get, total, unpacked

DEMO = Path(__file__).parent.parent.parent / "examples" / "demo"
PORT = "9464"
PLANTED = {
    "AWS key": r"AKIA\w{16}",
    "Slack token": r"xoxb-[\w-]+",
    "password in a URL": r"(?<=planner:)[^@]+(?=@)",
    "password in a field": r"hunter2\w+",
    "JWT": r"eyJ\w+\.eyJ\w+\.\w+",
    "signature of the JWT": r"(?<=\.)dBjf\w+",
    "API key": r"sk-proj-\w+",
    "card": r"\d{4}-\d{4}-\d{4}-\d{4}",
    "e-mail": r"[\w.]+@corp\.example",
}
"""What the sample logs hold and nobody may ever see."""


class Demo(NamedTuple):
    """What became of the demo."""

    folder: Path
    """Its folder `run`."""
    said: str
    """On stdout and stderr."""
    metrics: str
    """The last metrics page before it ended."""
    entries: list[Entry]
    """What Loki holds."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, loki: Loki) -> Demo:
    """The demo, run in a copy that has a port of its own."""
    root = tmp_path_factory.mktemp("demo")
    copy = root / "examples" / "demo"
    shutil.copytree(DEMO, copy, ignore=shutil.ignore_patterns("run", "__pycache__"))
    (port,) = free_ports(1)
    for path in (copy / "demo.py", copy / "tailrace.yaml"):
        text = path.read_text()
        assert PORT in text
        path.write_text(text.replace(PORT, str(port)))
    began, page = time.time_ns(), ""
    with (root / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, copy / "demo.py"],
            cwd=root,
            env=os.environ | {"TAILRACE_LOKI_URL": loki.url},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                assert time.time_ns() - began < 60 * 10**9, (root / "said").read_text()
                try:
                    page = get(f"http://127.0.0.1:{port}/metrics").text
                except OSError:  # not yet, or no more
                    time.sleep(0.02)
        finally:
            process.kill()
            code = process.wait()
    words = (root / "said").read_text()
    assert code == 0, words
    hour = 3600 * 10**9
    entries = loki.query('{app="fateforger"}', began - 2 * hour, began + hour)
    return Demo(copy / "run", words, page, entries)


def events(folder: Path) -> Counter[str]:
    """What the demo played: each event of its logs as it was read, and how often."""
    spec = importlib.util.spec_from_file_location("demo", DEMO / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    texts = [path.read_text() for path in (folder / "logs").iterdir()]
    return Counter(event.rstrip("\n") for text in texts for event in demo.EVENT.findall(text))


def secrets(text: str) -> dict[str, set[str]]:
    return {name: set(re.findall(pattern, text)) for name, pattern in PLANTED.items()}


def test_every_event_is_in_loki_once(demo: Demo) -> None:
    played = events(demo.folder)
    arrived = Counter(entry.line for entry in demo.entries)
    assert played.total() == arrived.total() > 600
    changed = played - arrived
    assert changed.total() == (arrived - played).total() < 0.2 * played.total()
    # Only what holds a secret, or a text that is too long, is not the same as before.
    assert [event for event in changed if len(event) < 600 and not any(secrets(event).values())] == []
    assert len([entry for entry in demo.entries if "Traceback (most recent call last)" in entry.line]) > 3


def test_the_archive_holds_what_loki_holds(demo: Demo) -> None:
    sources = Counter(entry.labels["source"] for entry in demo.entries)
    assert sources.keys() == {"sessions", "llm_io", "app"}
    for source, count in sources.items():
        assert len(archived(demo.folder / "archive" / source)) == count


def test_the_numbers_agree(demo: Demo) -> None:
    for sink in ("archive", "loki"):
        assert total(demo.metrics, "tailrace_events_out_total", kind="sink", component=sink) == len(demo.entries)
    assert total(demo.metrics, "tailrace_books_residual_events") == 0
    assert total(demo.metrics, "tailrace_dead_letters_total") == 0
    calls = [entry for entry in demo.entries if re.search(r'"event_type": ?"LLMCall"', entry.line)]
    assert total(demo.metrics, "llm_calls_total") == len(calls) > 0
    assert re.search(rf"{len(demo.entries)} events to loki", demo.said)
    assert re.search(r"\b0 events unaccounted for", demo.said)


@pytest.mark.parametrize("name", PLANTED)
def test_no_planted_secret_is_anywhere(demo: Demo, name: str) -> None:
    planted = secrets("\n".join(path.read_text() for path in (DEMO / "logs").iterdir()))[name]
    assert planted
    archive = {str(path): unpacked(path).decode() for path in demo.folder.rglob("*.jsonl*") if "logs" not in path.parts}
    state = {str(path): path.read_text() for path in (demo.folder / "state").iterdir()}
    places = {
        "Loki": "\n".join(map(repr, demo.entries)),
        "the metrics": demo.metrics,
        "what was said": demo.said,
        **archive,
        **state,
    }
    assert len(archive) >= 4
    assert {(secret, place) for secret in planted for place, text in places.items() if secret in text} == set()


def test_promtool_finds_nothing_to_complain_about(demo: Demo) -> None:
    assert total(demo.metrics, "tailrace_redactions_total") >= len(PLANTED) - 1
    assert Prometheus.problems(demo.metrics) == []
