"""Ready-made metrics for what agents write: LLM calls, tools, stages, errors."""

from __future__ import annotations

from typing import Any, Final

SETS: Final[dict[str, list[dict[str, Any]]]] = {
    "llm": [
        {
            "name": "llm_calls_total",
            "type": "counter",
            "help": "LLM calls by agent, model, status and what they were for.",
            "match": '{event_type=~"LLMCall|LLMStreamEnd|review_llm_call"} or {event=~"LLMCall|LLMStreamEnd|llm_call"}',
            "labels": {
                "agent": "{agent}",
                "model": "{model}",
                "status": "{status}",
                "call_label": "{call_label}",
                "function": "{function}",
            },
            "exemplar": "trace_id",
        },
        *(
            {
                "name": f"llm_{kind}_tokens_total",
                "type": "counter",
                "help": f"Tokens of LLM calls: {kind}.",
                "match": f'{{{kind}_tokens!=""}}',
                "value": f"{kind}_tokens",
                "labels": {"agent": "{agent}", "model": "{model}", "call_label": "{call_label}"},
            }
            for kind in ("prompt", "completion")
        ),
    ],
    "tools": [
        {
            "name": "tool_calls_total",
            "type": "counter",
            "help": "Tool calls by agent, tool and outcome (the level, where there is no status).",
            "match": '{event=~"ToolCall|tool_call"} or {event_type=~"ToolCall|tool_call"}',
            "labels": {"agent": "{agent}", "tool": "{tool_name}", "status": "{status}", "level": "{level}"},
            "exemplar": "trace_id",
        },
    ],
    "stages": [
        {
            "name": "stage_duration_seconds",
            "type": "histogram",
            "help": "Time that a stage of a session took.",
            "match": '{event="graph_turn_end"}',
            "value": "elapsed_s",
            "labels": {"stage": "{stage}"},
            "buckets": [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120],
            "exemplar": "trace_id",
        },
        {
            "name": "stage_events_total",
            "type": "counter",
            "help": "Turns that ended, were slow, timed out or failed.",
            "match": '{event=~"graph_turn_(end|slow|timeout|error)"}',
            "labels": {"stage": "{stage}", "event": "{event}"},
        },
    ],
    "errors": [
        {
            "name": "errors_total",
            "type": "counter",
            "help": "Errors by component, agent and type.",
            "match": '{error_type!=""} or {event_type=~"MessageHandlerException|AgentConstructionException"}',
            "labels": {
                "component": "{component}",
                "agent": "{agent}",
                "error_type": "{error_type}",
                "event_type": "{event_type}",
            },
            "exemplar": "trace_id",
        },
    ],
}
"""By the name that stands under `sets`."""
