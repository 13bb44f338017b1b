"""Writes what an LLM agent app writes: session logs, llm_io rows, a patcher log, an app log, index files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

START = 1_772_667_360
"""2026-03-04T23:36:00Z, in seconds."""
CHANNEL = "C0AA6HC1RJL"
STAGES = ("CollectConstraints", "CaptureInputs", "Skeleton", "Refine", "ReviewCommit")
TRACE = "0af7651916cd43dd8448eb211c80319c"

APP_LOG = """\
2026-03-04 23:36:20,000 INFO app.jobs: job 1 begun
2026-03-04 23:36:21,000 ERROR app.jobs: job 1 failed
Traceback (most recent call last):
  File "/srv/app/agent.py", line 41, in run_turn
    reply = client.create(messages)
  File "/srv/app/llm.py", line 17, in create
    raise TimeoutError("no answer in 30 s")
TimeoutError: no answer in 30 s
2026-03-04 23:40:00,000 ERROR app.jobs: job 2 failed
Traceback (most recent call last):
  File "/srv/app/agent.py", line 44, in run_turn
    reply = client.create(messages)
  File "/srv/app/llm.py", line 19, in create
    raise TimeoutError("no answer in 31 s")
TimeoutError: no answer in 31 s
"""

PATCHER_LOG = """\
2026-03-04 23:36:30,000 DEBUG fateforger.agents.timeboxing.patching timebox_patcher request_id=patch-1 attempt=1/5 events=3
2026-03-04 23:36:31,000 DEBUG fateforger.agents.timeboxing.patching timebox_patcher request_id=patch-1 attempt=1 raw_len=9 raw_content=```json
{"ops": []}
```
2026-03-04 23:36:32,000 WARNING fateforger.agents.timeboxing.patching timebox_patcher request_id=patch-1 failed attempt=1/5 retryable=True error=1 validation error
ops
  Field required
2026-03-04 23:36:33,000 INFO fateforger.agents.timeboxing.patching timebox_patcher request_id=patch-1 success attempt=2/5 ops=4
2026-03-04 23:59:00,000 WARNING fateforger.agents.timeboxing.patching timebox_patcher request_id=patch-2 failed attempt=1/5 retryable=False error=bad
"""  # noqa: E501  # the lines as they are


def thread(number: int) -> str:
    return f"17726{number:05d}.310119"


def key(number: int) -> str:
    return f"{CHANNEL}:{thread(number)}"


def at(seconds: float, form: str = "log") -> str:
    """A time so many seconds after `START`, as session logs write it, or as llm_io rows do."""
    moment = datetime.fromtimestamp(START + seconds, UTC)
    if form == "log":
        return f"{moment:%Y-%m-%d %H:%M:%S},{moment.microsecond // 1000:03}"
    return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"


def session_log(folder: Path, number: int, begin: float, *events: dict[str, object]) -> Path:
    """One session log; an event every 10 s."""
    own: dict[str, object] = {"session_key": key(number), "thread_ts": thread(number), "channel_id": CHANNEL}
    started: dict[str, object] = {"event": "session_started"}
    lines = []
    for place, event in enumerate((started, *events)):
        fields = {"event": "", **own, "planned_date": "2026-03-05", "stage": STAGES[min(place, 4)], **event}
        lines.append(f"{at(begin + 10 * place)} INFO {json.dumps(fields, ensure_ascii=False)}\n")
    path = folder / f"timeboxing_session_20260304_233600_{CHANNEL}_{thread(number)}_{number}.log"
    path.write_text("".join(lines))
    return path


def call(number: int, seconds: float, **fields: object) -> dict[str, object]:
    """A row of an llm_io file."""
    return {
        "event_type": "LLMCall",
        "agent": f"timeboxing_agent/{key(number)}",
        "model": "openai_gpt-4o-mini",
        "status": "ok",
        "call_label": "skeleton_call",
        "function": "create",
        "stage": "Skeleton",
        "session_key": key(number),
        "thread_ts": thread(number),
        "channel_id": CHANNEL,
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "request_excerpt": None,
        "response_excerpt": {"content": f"plan {number}"},
        "error": None,
        "created_at": at(seconds, "row"),
        **fields,
    }


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def write(folder: Path) -> Path:
    """Three sessions, at 0, 600 and 1200 s, their calls, a patcher log, an app log and the index of sessions."""
    folder.mkdir(exist_ok=True)
    session_log(
        folder,
        1,
        0,
        {"event": "graph_turn_start", "user_text": "Lunch at noon"},
        {"event": "graph_turn_end", "elapsed_s": 2.5},
        {"event": "session_finalized", "status": "committed"},
    )
    session_log(
        folder,
        2,
        600,
        {
            "event": "graph_turn_error",
            "error_type": "TimeoutError",
            "error": "stage did not finish",
            "elapsed_s": 120.0,
        },
        {"event": "submission_result", "status": "partial_halted"},
    )
    session_log(folder, 3, 1200, {"event": "user_reply", "text": "naïve \u2028 ok"})
    jsonl(
        folder / "llm_io_20260304_233600_1.jsonl",
        call(1, 5, trace_id=TRACE),
        call(1, 25, trace_id=TRACE, model="google_gemini-3-flash-preview", call_label="refine_call"),
        call(2, 605, status="error", error="rate limit reached", completion_tokens=0),
        {"event_type": "ToolCall", "tool_name": "calendar.list", "session_key": key(1), "created_at": at(15, "row")},
    )
    jsonl(
        folder / "timeboxing_session_index.jsonl",
        {
            "type": "timeboxing_session",
            "created_at": at(0, "row").replace("Z", "+00:00"),
            "session_key": key(1),
            "thread_ts": thread(1),
            "channel_id": CHANNEL,
            "user_id": "U1",
            "log_path": "logs/one.log",
            "pid": 1,
        },
    )
    (folder / "timebox_patcher_20260304_233600_1.log").write_text(PATCHER_LOG)
    (folder / "app.log").write_text(APP_LOG)
    return folder
