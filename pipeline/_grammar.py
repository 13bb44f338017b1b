"""What the first line of a log record looks like, and which lines of a bare stack trace belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

HEAD: Final = 4096
"""A line is judged by its first bytes alone, this many, so that one without end can be judged too."""
_WAIT_LINES: Final = 16
"""Lines that may stand between two parts of a trace (a message of several lines, blanks) before it counts as over."""
_WAIT_BYTES: Final = 16 << 10
"""The same in bytes, so that waiting for the next part takes no more memory than this."""

_LEVEL = (
    rb"(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERR|ERROR|CRIT|CRITICAL|FATAL|SEVERE|"
    rb"CONFIG|FINE|FINER|FINEST|ALERT|EMERG)"
)
_KEYS = (
    rb"@?timestamp|@?time|@t|ts|datetime|created_at|asctime|"
    rb"level|levelname|severity|lvl|log\.level|msg|@?message|MESSAGE|log"
)

# Each is bounded and has no end anchor: it says the same of a whole line and of its first 4 KiB. Frequent ones first.
_RECORDS = (
    rb"\d{4}-\d\d-\d\d[ T]\d\d:\d\d",  # 2026-11-03 10:00:00
    rb"\{\"(?:timestamp|ts|time|level)\" ?:",
    rb"(?:\xef\xbb\xbf)?(?:\x1b\[[\d;]{0,12}m){0,3}(?:",  # what may stand before the others: byte order mark, colours
    rb"[\[(<]?\d{1,4}[-/.](?:\d{1,2}|[A-Z][a-z]{2})[-/.]\d{1,4}[T ,:_]{1,2}\d{1,2}:\d\d",  # [03/Nov/2026:10:00:00
    rb"[\[(]?\d{8}(?:T\d{4}| \d\d:\d\d)",  # 20261103T1000
    rb"[\[(]?\d\d:\d\d:\d\d(?:[.,]\d{1,9})?[\]) ]",  # 10:00:00,123
    rb"[\[(]?(?:[A-Z][a-z]{2} )?[A-Z][a-z]{2} [ \d]?\d,?(?: \d{4},?)? \d{1,2}:\d\d:\d\d",  # Nov  3 10:00:00; ctime
    rb"(?:\d{1,7}:[A-Z] )?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d",  # 3 Nov 2026 10:00; Redis
    rb"[IWEFDC]\d{4}(?:\d{4})? \d\d:\d\d:\d\d",  # klog, glog
    rb"[DIWEFAU], \[\d{4}-",  # Ruby's Logger
    rb"\[ {0,8}\d{1,8}\.\d{6}\]",  # the kernel
    rb"<\d{1,3}>",  # syslog's priority
    rb"[\da-f.:]{3,45} \S{1,64} \S{1,64} \[\d\d/[A-Z][a-z]{2}/\d{4}:",  # access logs
    _LEVEL + rb"[: \t\[|\x1b]",  # ERROR:logger:message
    rb"\[ {0,3}(?i:" + _LEVEL + rb") {0,8}\]",  # [error]
    rb"\[[^\]\n]{1,80}\] {1,3}" + _LEVEL + rb"[: \t]",  # [main] INFO
    rb"(?:trce|dbug|info|warn|fail|crit): [\w.`+]{1,200}\[\d",  # ASP.NET's console
    rb"(?:ts|time|timestamp|level|lvl)=[\"\w]",  # logfmt
    rb"\{ ?(?=[^\n]{0,2000}?\"(?:" + _KEYS + rb")\" ?:))",  # a JSON object; one without such a key is part of a message
)
_RECORD = rb"(?![ \t])(?:" + rb"|".join(_RECORDS).replace(b"(?:|", b"(?:") + rb")"
record = re.compile(_RECORD).match
"""Whether a line (at a position) is the first one of a log record."""
next_record = re.compile(rb"\n(?=" + _RECORD + rb")")
"""The line break before a line that is the first one of a log record."""

# java.util.logging writes `Nov 03, 2026 10:00:00 AM Class method` and, on a line of its own, `SEVERE: message`.
two_line_head = re.compile(rb"[A-Z][a-z]{2} \d{1,2}, \d{4},? \d{1,2}:\d\d:\d\d[^\n]*").fullmatch
two_line_body = re.compile(_LEVEL + rb": ").match
has_two_line_heads = re.compile(rb"\n[A-Z][a-z]{2} \d{1,2}, \d{4}").search

_ERROR = rb"[A-Za-z_$][\w$./]*(?:Error|Exception|Throwable|Failure|Interrupt)(?:\$\w+)?(?: \[\w+\])?(?::|\s*$)"
_RUBY_AT = rb"[^\s:]+:\d+:in [`'\"]"
_PY_HEAD = rb"(?:Exception Group )?Traceback \(most recent call (?:last|first)\):"

_FIRST: Final = {
    "py_frames": _PY_HEAD
    + rb"|--- Logging error ---|Exception ignored in[: ]|Exception in thread [^\"].*:\s*$|  File \".*\", line \d"
    + rb"|Fatal Python error: |Current thread 0x|[\w.]*RemoteTraceback:",
    "py_group": rb"\s+\+ " + _PY_HEAD,
    "at_head": rb"Exception in thread \"|Unhandled exception\. |Uncaught ",
    "at_frames": rb"\s+at [\w$<.(/\[]|Caused by: ",
    "at_guess": _ERROR,
    "js_source": rb"(?:file://)?(?:/|[A-Za-z]:\\)\S*\.[cm]?[jt]sx?:\d+\s*$|node:\S+:\d+\s*$",
    "go_head": rb"panic: |fatal error: |SIG[A-Z]+: |unexpected fault address |runtime: goroutine stack exceeds",
    "go_stack": rb"goroutine \d+ (?:gp=\S+ m=\S+ (?:mp=\S+ )?)?\[",
    "ruby_thread": rb"#<Thread:0x.* terminated with exception",
    "ruby_head": _RUBY_AT,
    "ruby_frames": rb"\s+from \S+:\d+",
}
"""Lines that a bare stack trace begins with, by the state they lead to (frames alone: the rest of one that was cut)."""

_OTHER = rb"(?!" + rb"|".join(_FIRST.values()) + rb")"
_BLANK = rb"\s*$"
_TEXT = _OTHER  # any line, blank ones too, that does not begin another trace

_NEXT: Final[dict[str, dict[str, bytes]]] = {
    "py_frames": {
        "py_frames": rb"\s+\S|" + _PY_HEAD + rb"|\"\"\"|Current thread 0x|Thread 0x",
        "py_error": rb"(?:\x1b\[[\d;]*m)*[A-Za-z_][\w.<>]*(?:\x1b\[[\d;]*m)*(?::|\s*$)|" + _RUBY_AT,
        "py_wait": _BLANK,
    },
    "py_group": {"py_group": rb"\s+[|+]", "py_blank": _BLANK},
    "py_error": {
        "py_frames": rb"Call stack:",
        "py_error": rb"(?!\s+\+ |  File \")\s+\S|Arguments: |\"\"\"",
        "py_blank": _BLANK,
        "py_text": _TEXT,
    },
    "py_text": {"py_error": rb"(?!\s+\+ |  File \")\s+\S"},
    "py_wait": {"py_frames": rb"Current thread 0x|Thread 0x|Extension modules: |  File \"", "py_wait": _BLANK},
    "py_blank": {
        "py_chain": rb"During handling of the above exception, another|The above exception was the direct cause of",
        "py_blank": _BLANK,
    },
    "py_chain": {
        "py_group": _FIRST["py_group"],
        "py_frames": _PY_HEAD + rb"|  File \"|[\w.]*RemoteTraceback:",
        "py_error": _ERROR,
        "py_chain": _BLANK,
    },
    "at_head": {
        "at_frames": rb"\s+at |\s*\.\.\. \d+ |\(Use `node ",
        "at_head": rb"Caused by: |\s+---> ",
        "at_done": rb"Node\.js v\d",
        "at_text": _TEXT,
    },
    "at_frames": {
        "at_head": rb"\s*(?:Caused by|Suppressed): |\s+---> ",
        "at_frames": rb"\s+\S|[}\]]|--- End of ",
        "at_blank": _BLANK,
    },
    "at_blank": {"at_done": rb"Node\.js v\d", "at_blank": _BLANK},
    "js_source": {"js_line": rb"[\s\S]"},
    "js_line": {"js_line": rb"\s*\^+\s*$", "js_blank": _BLANK},
    "js_blank": {"js_blank": _BLANK, "at_head": rb"\S"},
    "go_head": {
        "go_stack": _FIRST["go_stack"] + rb"|runtime stack:",
        "go_head": rb"\[signal |\s+panic: |fatal error: |runtime: |\[recovered",
        "go_done": rb"exit status \d",
        "go_text": _TEXT,
    },
    "go_stack": {
        "go_stack": rb"\s+\S|created by |\.\.\.|runtime stack:|[a-z]\w{1,5}\s+0x[0-9a-f]+\s*$|" + _FIRST["go_stack"],
        "go_done": rb"exit status \d",
        "go_call": rb"\S+\(.*\)\s*$",
        "go_blank": _BLANK,
    },
    "go_call": {"go_stack": rb"\s+\S"},
    "go_blank": {
        "go_stack": rb"created by |runtime stack:|[a-z]\w{1,5}\s+0x[0-9a-f]+\s*$|" + _FIRST["go_stack"],
        "go_done": rb"exit status \d",
        "go_blank": _BLANK,
    },
    "ruby_thread": {"ruby_head": _RUBY_AT},
    "ruby_head": {"ruby_frames": rb"\s+from ", "ruby_head": rb"\s+\S", "ruby_text": _TEXT},
    "ruby_frames": {"ruby_frames": rb"\s+\S", "ruby_head": _RUBY_AT},
}
"""For each state the lines that may follow, by the state they lead to."""

_NEXT["at_guess"] = _NEXT["at_head"]
_NEXT["at_text"] = _NEXT["at_head"]
_NEXT["go_text"] = _NEXT["go_head"]
_NEXT["ruby_text"] = _NEXT["ruby_head"]

_OPEN: Final = {"py_blank", "py_text", "py_wait", "at_blank", "at_text", "go_blank", "go_text", "go_call", "ruby_text"}
"""A line that leads here belongs to the trace only if a later line leads out of here."""
_DONE: Final = {"at_done", "go_done"}


def _states(table: dict[str, bytes]) -> re.Pattern[bytes]:
    return re.compile(
        rb"|".join(b"(?P<%s>%s)" % (name.encode(), pattern) for name, pattern in table.items()), re.DOTALL
    )


_first = _states(_FIRST).match
_next = {state: _states(table).match for state, table in _NEXT.items()}


def heads(lines: Sequence[bytes]) -> list[int]:
    """Places of the lines that a bare stack trace may begin with."""
    return [place for place, line in enumerate(lines) if _first(line[:HEAD])]


def trace_end(lines: Sequence[bytes], begin: int) -> tuple[int, bool]:
    """Where the stack trace that begins at this place ends, and whether lines that come later cannot change that."""
    found = _first(lines[begin][:HEAD])
    state = found.lastgroup if found else None
    end, waiting = begin + 1, 0
    for place in range(begin + 1, len(lines)):
        line = lines[place][:HEAD]
        found = _next[state](line) if state else None
        state = found.lastgroup if found else None
        if state is None or (state == "ruby_head" and line == lines[begin]):
            return end, True  # the same Ruby error once more is another one, not the cause of the first
        if state not in _OPEN:
            end, waiting = place + 1, 0
            if state in _DONE:
                return end, True
        else:
            waiting += len(lines[place]) + 1
            if place - end >= _WAIT_LINES or waiting > _WAIT_BYTES:
                return end, True
    return end, False
