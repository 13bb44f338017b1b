"""The bar of `tailrace sessions`: 10,000 session logs in less than a second, once the index is there."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..query import agent_logs

pytestmark = pytest.mark.live

FILES = 10_000


def test_the_sessions_of_ten_thousand_files_are_listed_in_a_second(tmp_path: Path) -> None:
    for number in range(FILES):
        agent_logs.session_log(tmp_path, number, 300.0 * number, {"event": "user_reply", "text": "Lunch at noon"})
    command = [sys.executable, "-m", "tailrace.cli", "sessions", "--path", str(tmp_path), "--limit", "3"]
    seconds, shown = [], b""
    for _ in range(6):
        begun = time.perf_counter()
        shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60).stdout
        seconds.append(time.perf_counter() - begun)
    keys = [json.loads(line)["session_key"] for line in shown.splitlines()]
    assert keys == [agent_logs.key(number) for number in range(FILES - 3, FILES)]
    print(f"first {seconds[0]:.1f} s, then {min(seconds[1:]):.2f} s")
    assert min(seconds[1:]) < 1.0
