"""OpenTelemetry's names for what records hold: one table, of one version of the semantic conventions."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

VERSION: Final = "1.41.1"
"""The version of the semantic conventions that all names here follow: the last one that has those for GenAI, too. The
next ones call them moved into a repository of their own."""
SCHEMA_URL: Final = f"https://opentelemetry.io/schemas/{VERSION}"
"""Goes with all that is sent, so that a receiver can translate it into another version."""

Kind: TypeAlias = Literal["llm", "tool", "stage", "session", "other"]

OPERATION: Final[dict[Kind, str]] = {"llm": "chat", "tool": "execute_tool"}
"""`gen_ai.operation.name`, where the record does not tell another one. It begins the span's name, too."""

Table: TypeAlias = dict[str, tuple[str, ...]]

_ANY: Final[Table] = {
    "error.type": ("error_type",),
    "session.id": ("session_key",),
    "tailrace.event": ("event", "event_type"),
    "tailrace.stage": ("stage",),
    "tailrace.turn": ("turn",),
    "tailrace.status": ("status",),
    "tailrace.component": ("component",),
    "tailrace.call_label": ("call_label",),
}
_GEN_AI: Final[Table] = {
    "gen_ai.operation.name": ("operation",),
    "gen_ai.provider.name": ("provider",),
    "gen_ai.agent.name": ("agent",),
    "gen_ai.agent.id": ("agent_id",),
    "gen_ai.conversation.id": ("session_key",),
}
ATTRIBUTES: Final[dict[Kind, Table]] = {
    "llm": _ANY
    | _GEN_AI
    | {
        "gen_ai.request.model": ("model",),
        "gen_ai.request.temperature": ("temperature",),
        "gen_ai.request.top_p": ("top_p",),
        "gen_ai.request.max_tokens": ("max_tokens",),
        "gen_ai.response.model": ("response_model",),
        "gen_ai.response.id": ("response_id",),
        "gen_ai.response.finish_reasons": ("finish_reason", "finish_reasons"),
        "gen_ai.usage.input_tokens": ("prompt_tokens", "input_tokens"),
        "gen_ai.usage.output_tokens": ("completion_tokens", "output_tokens"),
        "gen_ai.usage.cache_read.input_tokens": ("cached_tokens", "cache_read_input_tokens"),
        "gen_ai.usage.cache_creation.input_tokens": ("cache_creation_input_tokens",),
        "gen_ai.usage.reasoning.output_tokens": ("reasoning_tokens",),
    },
    "tool": _ANY
    | _GEN_AI
    | {
        "gen_ai.tool.name": ("tool_name",),
        "gen_ai.tool.type": ("tool_type",),
        "gen_ai.tool.call.id": ("tool_call_id",),
    },
    "stage": _ANY | {"gen_ai.agent.name": ("agent",)},
    "session": _ANY,
    "other": _ANY | {"gen_ai.agent.name": ("agent",)},
}
"""By what a span is of: an attribute, and the fields to take it from, of which the first one that is there counts."""
OF_LOGS: Final[Table] = {name: _ANY[name] for name in ("session.id", "error.type", "tailrace.event")}
"""The attributes of a log record; all else is a matter of its body."""
NUMBERS: Final[dict[str, type[int] | type[float]]] = {
    "gen_ai.request.temperature": float,
    "gen_ai.request.top_p": float,
    "gen_ai.request.max_tokens": int,
    "gen_ai.usage.input_tokens": int,
    "gen_ai.usage.output_tokens": int,
    "gen_ai.usage.cache_read.input_tokens": int,
    "gen_ai.usage.cache_creation.input_tokens": int,
    "gen_ai.usage.reasoning.output_tokens": int,
}
"""Attributes that are numbers; what is none stays in the log only."""
LISTS: Final = frozenset(("gen_ai.response.finish_reasons",))
"""Attributes that are lists, also of one."""
EXCEPTION: Final = {"error_type": "exception.type", "error_message": "exception.message"}
"""Attributes of the event `exception` of a span that failed …"""
STACKTRACE: Final = "exception.stacktrace"
"""… and the one for its traceback."""
ERROR_TYPE: Final = "error.type"
OTHER_ERROR: Final = "_OTHER"
"""The `error.type` of a span that failed for no reason that the record tells."""
OPERATION_NAME: Final = "gen_ai.operation.name"
SERVICE_NAME: Final = "service.name"
UNKNOWN_SERVICE: Final = "unknown_service"
"""The `service.name` where nothing tells one."""
UID: Final = "log.record.uid"
"""Stands on a span and on the log record that it was made of."""

SEVERITY: Final = {
    "trace": 1,
    "debug": 5,
    "info": 9,
    "information": 9,
    "notice": 10,
    "warn": 13,
    "warning": 13,
    "error": 17,
    "err": 17,
    "critical": 21,
    "crit": 21,
    "fatal": 21,
    "alert": 22,
    "emergency": 24,
    "emerg": 24,
    "panic": 24,
}
"""`severity_number` by the level in lower case."""
FAILED: Final = frozenset(("error", "failed", "failure", "timeout", "exception"))
"""Values of `status` that make a span one that failed."""

LLM: Final = '{event_type=~"LLMCall|LLMStreamEnd|review_llm_call|llm_call"} or {event=~"LLMCall|LLMStreamEnd|llm_call"}'
TOOL: Final = '{event=~"ToolCall|tool_call"} or {event_type=~"ToolCall|tool_call"}'
STAGE: Final = '{event=~"graph_turn_end|graph_turn_error|stage_end"}'
SESSION: Final = '{event=~"session_finalized|session_canceled|session_end"}'
"""Which records a span of this kind is made of, unless the config says otherwise."""
