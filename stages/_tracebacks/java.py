"""Stack traces of Java, Kotlin, Scala, Groovy and Clojure."""

from __future__ import annotations

import re

from ._trace import Frame, Grammar, Raised, head

_FRAME = re.compile(
    r"(\s+)at (?:[\w.@-]*/)*([\w.$]+\.[\w$<>-]+)"
    r"\(([\w$-]+\.(?:java|kt|kts|scala|groovy|clj)(?::\d+)?|Native Method|Unknown Source|<generated>)\)"
)
_NAME = r"((?:[a-zA-Z_]\w*\.)+[A-Z][\w$]*)(?:: (.*)|$)"
_HEAD = re.compile(rf'(?:Exception in thread ".*?" )?{_NAME}')
_INLINE = re.compile(rf"(?<![\w.$]){_NAME}")
_CAUSE = re.compile(rf"(\s*)Caused by: {_NAME}")


def parse(lines: list[str]) -> Raised | None:
    """The exception raised last."""
    first = next((place for place, line in enumerate(lines) if _FRAME.match(line)), None)
    if first is None:
        return None
    top = current = head(lines[:first], _HEAD, _INLINE) or Raised("", "")
    indent = len(lines[first]) - len(lines[first].lstrip())
    for line in lines[first:]:
        if (found := _FRAME.match(line)) and len(found[1]) == indent:  # those of `Suppressed:` stand deeper
            file = found[3].partition(":")[0] if "." in found[3] else found[2].rpartition(".")[0]
            current.frames.append(Frame(file, found[2]))
        elif (cause := _CAUSE.match(line)) and len(cause[1]) < indent:
            current.cause = current = Raised(cause[2], cause[3] or "")
    return top


GRAMMAR = Grammar(
    "java",
    re.compile(r"^[ \t]+at .*[^()]\)", re.MULTILINE),
    parse,
    re.compile(
        r"\n(?:javax?|jdk|sun|com\.sun|jakarta|kotlinx?|scala|groovy|clojure|android|androidx|org\.springframework|"
        r"org\.apache|org\.hibernate|org\.eclipse|org\.junit|io\.netty|io\.grpc|reactor|com\.fasterxml|com\.google)\."
    ),
)
