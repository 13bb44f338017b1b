"""A small LLM agent that only pretends: plans days, session by session, and logs as such apps do.

Writes into AGENT_LOGS (default `logs`): a log for each session, rows of LLM and tool calls, an app log with tracebacks.
AGENT_SESSIONS ends it after so many sessions (default: never), AGENT_PACE is the wait between turns in seconds.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import traceback
import uuid
from datetime import UTC, datetime
from pathlib import Path

STAGES = ("CollectConstraints", "CaptureInputs", "Skeleton", "Refine", "ReviewCommit")
MODELS = ("openai_gpt-4o-mini", "google_gemini-3-flash-preview")
TOOLS = ("calendar.list", "calendar.create", "notes.search")
Row = dict[str, object]


class UpstreamTimeout(Exception):
    """A model that does not answer."""


class Agent:
    """Plans days until it is told to stop."""

    def __init__(self, folder: Path, chance: random.Random, pace: float) -> None:
        self.folder, self.chance, self.pace = folder, chance, pace
        self.stop = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)
        began = f"{datetime.now(UTC):%Y%m%d_%H%M%S}"
        self._rows = folder / f"llm_io_{began}_{os.getpid()}.jsonl"
        self._app = folder / "app.log"

    def session(self) -> None:
        """One session, from its start to a plan or to an error."""
        now = datetime.now(UTC)
        thread = f"{now.timestamp():.6f}"
        own: Row = {"session_key": f"C0AA6HC1RJL:{thread}", "thread_ts": thread, "trace_id": uuid.uuid4().hex}
        log = self.folder / f"timeboxing_session_{now:%Y%m%d_%H%M%S}_C0AA6HC1RJL_{thread}_{os.getpid()}.log"
        self._event(log, "INFO", {"event": "session_started", **own, "user_text": "Plan my day, mail ada@example.com"})
        for stage in STAGES:
            if self.stop.wait(self.pace):
                return
            self._event(log, "INFO", {"event": "graph_turn_start", **own, "stage": stage})
            seconds = round(self.chance.lognormvariate(0.8, 0.8), 3)
            try:
                self._call(own, stage)
            except UpstreamTimeout as error:
                self._failed(stage)
                told = {"error_type": "UpstreamTimeout", "error": str(error), "elapsed_s": seconds}
                self._event(log, "ERROR", {"event": "graph_turn_error", **own, "stage": stage, **told})
                return
            self._event(log, "INFO", {"event": "graph_turn_end", **own, "stage": stage, "elapsed_s": seconds})
        self._event(log, "INFO", {"event": "session_finalized", **own, "status": "committed"})

    def _call(self, own: Row, stage: str) -> None:
        model = self.chance.choice(MODELS)
        tool = {"event_type": "ToolCall", "tool_name": self.chance.choice(TOOLS), "status": "ok"}
        call: Row = {
            "event_type": "LLMCall",
            "model": model,
            "call_label": f"{stage.lower()}_call",
            "function": "create",
        }
        call["request_excerpt"] = {"messages": "Plan the day", "api_key": "sesame-1234"}
        if failed := self.chance.random() < 0.06:
            call |= {"status": "error", "error": "no answer in 30 s", "prompt_tokens": 900, "completion_tokens": 0}
        else:
            tokens = {
                "prompt_tokens": self.chance.randint(300, 4000),
                "completion_tokens": self.chance.randint(20, 600),
            }
            call |= {"status": "ok", "error": None, **tokens, "response_excerpt": {"content": f"{stage}: done"}}
        for row in (tool, call):
            made = {"created_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}", "agent": "planner", "stage": stage}
            _append(self._rows, json.dumps({**row, **own, **made}))
        if failed:
            raise UpstreamTimeout("no answer in 30 s")

    def _failed(self, stage: str) -> None:
        _append(self._app, f"{_clock()} ERROR agent.turn: {stage} failed\n{traceback.format_exc().rstrip()}")

    def _event(self, log: Path, level: str, fields: Row) -> None:
        _append(log, f"{_clock()} {level} {json.dumps(fields)}")


def _clock() -> str:
    now = datetime.now(UTC)
    return f"{now:%Y-%m-%d %H:%M:%S},{now.microsecond // 1000:03}"


def _append(path: Path, text: str) -> None:
    with path.open("a") as out:
        out.write(text + "\n")


def main() -> int:
    """Plan until SIGTERM or Ctrl-C. Returns the exit code."""
    seed = os.environ.get("AGENT_SEED")
    agent = Agent(
        Path(os.environ.get("AGENT_LOGS", "logs")), random.Random(seed), float(os.environ.get("AGENT_PACE", "1"))
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop.set())
    left = int(os.environ.get("AGENT_SESSIONS", "-1"))
    while left and not agent.stop.is_set():
        agent.session()
        left -= 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
