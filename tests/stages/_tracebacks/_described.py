"""What a trace says, as the twins of the grammars compare it."""

from __future__ import annotations

from tailrace.stages._tracebacks import find


def described(text: str) -> tuple[str, list[tuple[str, str]], str]:
    """Language, types and messages from the last raised to the root cause, and the application's innermost frame."""
    trace = find(text)
    assert trace is not None
    frame = trace.frame
    where = f"{frame.file}:{frame.function}" if frame else ""
    return trace.language, [(one.type, one.message) for one in trace.raised.path()], where
