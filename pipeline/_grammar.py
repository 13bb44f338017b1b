"""What the first line of a log record looks like, and which lines of a bare stack trace belong together."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

import msgspec
import re2


class _Docker(msgspec.Struct):
    log: str
    stream: str


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

_USUAL: Final = ("9999-99-99T99:99", *(f'{{"{key}":' for key in ("timestamp", "ts", "time", "level")))
"""What records usually begin with: a subset of `_RECORDS`, 9 for a digit and T for T or a space."""
_BYTES: Final = {"9": rb"0-9", "T": rb" T", "-": rb"\-"}


def _unlike(shapes: Sequence[str]) -> bytes:
    """A pattern for what begins with none of these shapes, at the end of the text too."""
    first = dict.fromkeys(shape[0] for shape in shapes)
    ways = [rb"\z", rb"[^%b]" % b"".join(_BYTES.get(one, one.encode()) for one in first)]
    for one in first:
        rest = [shape[1:] for shape in shapes if shape[0] == one]
        if all(rest):
            ways.append(rb"[%b]%b" % (_BYTES.get(one, one.encode()), _unlike(rest)))
    return rb"(?:%b)" % rb"|".join(ways)


_usual = re.compile(rb"|".join(b"".join(b"[%b]" % _BYTES.get(one, one.encode()) for one in s) for s in _USUAL)).match
_as_bytes = re2.Options()
_as_bytes.encoding = re2.Options.Encoding.LATIN1  # else no class matches what is not UTF-8
_unusual = re2.compile(rb"\n" + _unlike(_USUAL), _as_bytes).search


def records(body: bytes) -> tuple[list[bytes], int, list[int]]:
    """The records that begin in a usual way up to the first other one, where that is, and which are several lines.

    `body` begins with a record. Lines that begin in a usual way are passed over with 5 to 10 GB/s, where `next_record`
    looks at each; where events of several lines are frequent it is quicker all the same, and the rest is left to it.
    """
    events: list[bytes] = []
    several: list[int] = []
    at = 0
    while at < len(body) and _usual(body, at) and len(several) * 16 <= len(events) + 512:
        other = _unusual(body, at)
        place = other.start() if other else len(body)
        events += body[at:place].split(b"\n")
        found = next_record.search(body, place)
        end = found.start() if found else len(body)
        if end > place:
            several.append(len(events) - 1)
            events[-1] += body[place:end]
        at = end + 1 if found else end
    return events, at, several


# java.util.logging writes `Nov 03, 2026 10:00:00 AM Class method` and, on a line of its own, `SEVERE: message`.
two_line_head = re.compile(rb"[A-Z][a-z]{2} \d{1,2}, \d{4},? \d{1,2}:\d\d:\d\d[^\n]*").fullmatch
two_line_body = re.compile(_LEVEL + rb": ").match
has_two_line_heads = re.compile(rb"\n[A-Z][a-z]{2} \d{1,2}, \d{4}").search

_ERROR = rb"(?:[A-Za-z_$][\w$./]*)?(?:Error|Exception|Throwable|Failure|Interrupt)(?:\$\w+)?(?: \[\w+\])?(?::|\s*$)"
_RUBY_AT = rb"(?:<internal:[^\s:]+>|[^\s:]+):\d+:in [`'\"]"
_COLOURS = rb"(?:\x1b\[[\d;]*m)*"
_BOX = rb"\s*" + _COLOURS + "(?:╭|\\+)(?:─|-|\x1b\\[[\\d;]*m)+ ".encode() + _COLOURS
_RICH = _BOX + rb"Traceback " + _COLOURS + rb"\(most recent call last\)"
_DART_TERSE = rb"(?:(?:package|dart|file):|/)\S+\.dart(?: \d+(?::\d+)?)? {2,}\S|dart:\S+(?: \d+(?::\d+)?)? {2,}\S"
_FLUTTER = rb"(?:[EI]/flutter ?\( *\d+\): )?"
_PY_HEAD = rb"(?:Exception Group )?Traceback \(most recent call (?:last|first)\):"

_FIRST: Final = {
    "py_frames": _PY_HEAD
    + rb"|--- Logging error ---|Exception ignored in[: ]|Exception in thread [^\"].*:\s*$|  File \".*\", line \d"
    + rb"|Fatal Python error: |Current thread 0x|[\w.]*RemoteTraceback:",
    "py_group": rb"\s+\+ " + _PY_HEAD,
    "rich_box": _RICH,
    "at_head": rb"Exception in thread \"|Unhandled exception\. |Uncaught ",
    "at_unhandled": rb"Unhandled Exception:\s*$",
    "at_frames": rb"\s+at [\w$<.(/\[]|Caused by: ",
    "at_guess": _ERROR,
    "js_source": rb"(?:file://)?(?:/|[A-Za-z]:\\)\S*\.[cm]?[jt]sx?:\d+\s*$|node:\S+:\d+\s*$",
    "go_head": rb"panic: |fatal error: |SIG[A-Z]+: |unexpected fault address |runtime: goroutine stack exceeds",
    "go_stack": rb"goroutine \d+ (?:gp=\S+ m=\S+ (?:mp=\S+ )?)?\[",
    "rust_head": rb"thread '[^'\n]*' (?:\(\d+\) )?panicked at [^'].*:\d+:\d+:\s*$",
    "rust_old": rb"thread '[^'\n]*' panicked at '",
    "php_head": rb"(?:PHP )?Fatal error: +Uncaught ",
    "dart_head": rb"Un(?:handled|expected) exception:\s*$",
    "dart_message": rb"[EI]/flutter ?\( *\d+\): \[ERROR:flutter/.*Unhandled Exception:",
    "dart_text": _FLUTTER + "══+╡ EXCEPTION CAUGHT BY ".encode(),
    "ruby_thread": rb"#<Thread:0x.* terminated with exception",
    "ruby_head": _RUBY_AT,
    "dart_frames": _DART_TERSE,
    "ruby_frames": rb"\s+from \S+:\d+",
}
"""Lines that a bare stack trace begins with, by the state they lead to (frames alone: the rest of one that was cut)."""

_DART_FRAME = _FLUTTER + rb"#\d+ {2,}\S|" + _DART_TERSE
_DART_RULE = _FLUTTER + "═══".encode()
_OTHER = rb"(?!" + rb"|".join(_FIRST.values()) + rb")"
_BLANK = rb"\s*$"
_PY_INDENTED = rb"(?!\s+\+ |  File \")\s+\S"
_PY_LINK = (
    _COLOURS + rb"(?:During handling of the above exception, another|The above exception was the direct cause of)"
)
# Brackets that close, and what SQLAlchemy and PostgreSQL write under their errors.
_PY_KNOWN = (
    rb"[)\]}]+[,;.]?\s*$|\[SQL: |\[parameters: |\(Background on this error at: |"
    rb"LINE \d+: |(?:DETAIL|HINT|CONTEXT): "
)
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
        "rich_box": _RICH + rb"|" + _BOX + rb"Sub-exception #\d",
        "py_error": _PY_INDENTED + rb"|Arguments: |\"\"\"|\[NOTE\] |" + _PY_KNOWN,
        "py_blank": _BLANK,
        "py_text": _TEXT,
    },
    "py_text": {"py_error": _PY_INDENTED, "py_chain": _PY_LINK, "py_message": _TEXT},
    "py_message": {"py_chain": _PY_LINK, "py_message": _TEXT},
    "py_wait": {"py_frames": rb"Current thread 0x|Thread 0x|Extension modules: |  File \"", "py_wait": _BLANK},
    "py_blank": {
        "py_chain": _PY_LINK,
        "rich_box": _BOX + rb"Sub-exception #\d",
        "py_blank": _BLANK,
        "py_message": _TEXT,
    },
    "py_chain": {
        "py_group": _FIRST["py_group"],
        "rich_box": _FIRST["rich_box"],
        "py_frames": _PY_HEAD + rb"|  File \"|[\w.]*RemoteTraceback:",
        "py_error": _ERROR,
        "py_chain": _BLANK,
    },
    "rich_box": {
        "rich_box": rb"\s*" + _COLOURS + "(?:│|\\|)".encode(),
        "rich_end": rb"\s*" + _COLOURS + "(?:╰|\\+)(?:─|-)".encode(),
    },
    "rich_end": {
        "rich_box": _BOX,
        "py_error": rb"\s*" + _COLOURS + rb"[A-Za-z_][\w.<>]*" + _COLOURS + rb"(?::|\s*$)",
        "py_blank": _BLANK,
    },
    "at_head": {
        "rust_cause": rb"Caused by:\s*$",
        "at_frames": rb"\s+at |\s*\.\.\. \d+ |\(Use `node ",
        "php_stack": rb"Stack trace:\s*$",
        "dart_frames": _DART_FRAME,
        "at_head": rb"Caused by: |\s+---> ",
        "at_done": rb"Node\.js v\d",
        "at_text": _TEXT,
    },
    "at_unhandled": {"at_guess": _ERROR},
    "at_frames": {
        "at_head": rb"\s*(?:Caused by|Suppressed): |\s*---> ",
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
    "rust_head": {"rust_message": rb"[\s\S]"},
    "rust_message": {"rust_stack": rb"stack backtrace:", "rust_done": rb"note: ", "rust_text": _TEXT},
    "rust_stack": {"rust_stack": rb"\s+\S", "rust_done": rb"note: "},
    "rust_cause": {"rust_cause": rb"\s+\S", "rust_blank": _BLANK},
    "rust_blank": {"rust_stack": rb"[Ss]tack backtrace:", "rust_blank": _BLANK},
    "php_head": {"php_stack": rb"Stack trace:", "php_text": _TEXT},
    "php_guess": {"php_stack": rb"Stack trace:\s*$"},
    "php_stack": {"php_stack": rb"#\d+ ", "php_done": rb"\s+thrown in ", "php_head": rb"Next ", "php_blank": _BLANK},
    "php_blank": {"php_head": rb"Next ", "php_blank": _BLANK},
    "dart_head": {"dart_message": rb"[\s\S]"},
    "dart_message": {"dart_frames": _DART_FRAME, "dart_text": _TEXT},
    "dart_frames": {
        "dart_frames": _DART_FRAME + rb"|" + _FLUTTER + rb"(?:<asynchronous suspension>|\(elided )",
        "dart_done": _DART_RULE,
        "dart_blank": _BLANK,
    },
    "dart_blank": {"dart_done": _DART_RULE, "dart_blank": _BLANK},
    "ruby_thread": {"ruby_head": _RUBY_AT},
    "ruby_head": {"ruby_frames": rb"\s+from ", "ruby_head": rb"\s+\S", "ruby_text": _TEXT},
    "ruby_frames": {"ruby_frames": rb"\s+\S", "ruby_head": _RUBY_AT},
}
"""For each state the lines that may follow, by the state they lead to."""

_NEXT["at_guess"] = _NEXT["at_head"]
_NEXT["at_text"] = _NEXT["at_head"]
_NEXT["go_text"] = _NEXT["go_head"]
_NEXT["rust_old"] = _NEXT["rust_text"] = _NEXT["rust_message"]
_NEXT["php_text"] = _NEXT["php_head"]
_NEXT["dart_text"] = _NEXT["dart_message"]
_NEXT["ruby_text"] = _NEXT["ruby_head"]

_OPEN: Final = {
    *("py_blank", "py_text", "py_message", "py_wait", "at_blank", "at_text", "go_blank", "go_text", "go_call"),
    *("ruby_text", "rust_text", "rust_blank", "php_text", "php_blank", "dart_text", "dart_blank"),
}
"""A line that leads here belongs to the trace only if a later line leads out of here."""
_MESSAGE: Final = {"py_text", "py_message"}
"""Lines that were led here belong to the trace as well if a log record comes next."""
_DONE: Final = {"at_done", "go_done", "rust_done", "php_done", "dart_done"}


def _states(table: dict[str, bytes]) -> re.Pattern[bytes]:
    return re.compile(
        rb"|".join(b"(?P<%s>%s)" % (name.encode(), pattern) for name, pattern in table.items()), re.DOTALL
    )


_first = _states(_FIRST).match
# An exception as text behind other text: no alternative of the above, which each line would have to pay for.
_php_guess = re.compile(rb"[^\n]* in \S+\.php:\d+\s*$").match


@cache
def _next(state: str) -> Callable[[bytes], re.Match[bytes] | None]:
    """Made when a trace leads there: all of them take 40 ms of a start."""
    return _states(_NEXT[state]).match


def heads(lines: Sequence[bytes]) -> list[int]:
    """Places of the lines that a bare stack trace may begin with."""
    return [
        place
        for place, line in enumerate(lines)
        if _first(line[:HEAD]) or (b".php:" in line and _php_guess(line[:HEAD]))
    ]


def trace_end(lines: Sequence[bytes], begin: int, record_follows: bool = False) -> tuple[int, bool]:
    """Where the stack trace that begins at this place ends, and whether lines that come later cannot change that.

    `record_follows`: behind the last line comes the first one of a log record. Whoever writes such records printed
    what stands before it as part of the trace.
    """
    found = _first(lines[begin][:HEAD])
    state = found.lastgroup if found else "php_guess"
    end, waiting = begin + 1, 0
    for place in range(begin + 1, len(lines)):
        line = lines[place][:HEAD]
        found = _next(state)(line) if state else None
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
    return len(lines) if record_follows and state in _MESSAGE else end, False


_CRI = re.compile(rb"\d{4}-\d\d-\d\dT[\d:.]{8,18}(?:Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP])(?::\S{0,64})?(?: |$)").match
_docker = msgspec.json.Decoder(_Docker).decode


def unwrapped(line: bytes) -> tuple[bytes, bytes, bool]:
    """What a program wrote, out of the line of a container runtime: stream, text, and whether the line goes on."""
    if found := _CRI(line):
        return found[1], line[found.end() :], found[2] == b"P"
    if line.startswith(b'{"log":"'):
        try:
            wrapped = _docker(line)
        except (msgspec.MsgspecError, ValueError):
            return b"", line, False
        text = wrapped.log.encode()
        return wrapped.stream.encode(), text.rstrip(b"\r\n"), not text.endswith(b"\n")
    return b"", line, False
