"""What servers write: syslog (RFC 3164 and RFC 5424) and the access logs of Apache and nginx."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ..pipeline.record import Fields
from ._text_lines import LEVELS, decoded, with_rest

_SEVERITIES = ("critical", "critical", "critical", "error", "warning", "notice", "info", "debug")
_FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock", *(f"local{number}" for number in range(8))),
)

_NEW = re.compile(
    r"<(\d{1,3})>1 (\S++) (\S++) (\S++) (\S++) (\S++) "
    r'(-|(?:\[(?:[^\]\\"]|\\.|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+\])++)(?: (.*+))?',
    re.ASCII,
)
_ELEMENT = re.compile(r'\[([^\s\]="]++)((?:[^\]\\"]|\\.|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+)\]')
_PARAMETER = re.compile(r'([^\s="]++)="([^"\\]*+(?:\\.[^"\\]*+)*+)"')
_OLD = re.compile(
    r"(?:<(\d{1,3})>)?+([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,9})?+|"
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?+(?:Z|[+-]\d\d:?\d\d)) (.*+)",
    re.ASCII,
)
_TAGGED = re.compile(r"(?:(\w[\w.:-]*+)(?<!:) )?+([^\s:\[\]-][^\s:\[\]]*+)(?:\[(\d{1,10})\])?+:(?: |$)(.*+)", re.ASCII)
_ACCESS = re.compile(
    r"(?!(?:" + "|".join(LEVELS) + r"):)([\w.:%-]++) (\S++) (\S++(?: [^\s\[]++)*+) "
    r'\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "([^"\\]*+(?:\\.[^"\\]*+)*+)" (\d{3}) (\d{1,18}|-)'
    r'(?: "([^"\\]*+(?:\\.[^"\\]*+)*+)" "([^"\\]*+(?:\\.[^"\\]*+)*+)")?+(?: "([^"\\]*+(?:\\.[^"\\]*+)*+)")?+(?:$| .*+)',
    re.ASCII,
)
_REQUEST = re.compile(r"([A-Z]{1,20}) (\S++)(?: (HTTP/[\d.]{1,4}))?+")


def syslog(lines: Sequence[bytes]) -> list[Fields | None]:
    """RFC 5424, and RFC 3164 as daemons send it and as files hold it: with or without `<priority>`, host and pid."""
    return [_one(text, _syslog) for text in decoded(lines)]


def combined(lines: Sequence[bytes]) -> list[Fields | None]:
    """Apache's and nginx' common and combined log formats; what stands behind them does not matter."""
    return [_one(text, _access) for text in decoded(lines)]


def _one(text: str, read: Callable[[str], Fields | None]) -> Fields | None:
    head, _, rest = text.removeprefix("\ufeff").partition("\n")
    fields = read(head)
    return None if fields is None else with_rest(fields, rest)


def _syslog(text: str) -> Fields | None:
    if found := _NEW.fullmatch(text):
        priority, time, host, program, pid, kind, data, message = found.groups()
        fields: Fields = {"timestamp": time, **_priority(priority), "host": host, "program": program, "pid": pid}
        fields |= {"msgid": kind, "message": (message or "").removeprefix("\ufeff")}
        fields = {name: value for name, value in fields.items() if value != "-" or name == "message"}
        return fields if data == "-" else {**fields, "structured_data": _elements(data)}
    if (found := _OLD.fullmatch(text)) is None:
        return None
    priority, time, rest = found.groups()
    tagged = _TAGGED.fullmatch(rest)
    if tagged is None:
        # Without a priority and a tag it could be anything that begins with a time.
        return {"timestamp": time, **_priority(priority), "message": rest} if priority else None
    host, program, pid, message = tagged.groups()
    if host in LEVELS or (host is None and program in LEVELS):
        return None  # Python's logging
    fields = {"timestamp": time, **_priority(priority), "host": host, "program": program, "pid": pid}
    return {name: value for name, value in fields.items() if value is not None} | {"message": message}


def _priority(text: str | None) -> Fields:
    number = int(text) if text else 999
    if number >= 8 * len(_FACILITIES):
        return {}
    return {"level": _SEVERITIES[number % 8], "facility": _FACILITIES[number // 8]}


def _elements(data: str) -> dict[str, dict[str, str]]:
    return {
        name: {key: re.sub(r'\\(["\\\]])', r"\1", value) for key, value in _PARAMETER.findall(parameters)}
        for name, parameters in _ELEMENT.findall(data)
    }


def _access(text: str) -> Fields | None:
    found = _ACCESS.fullmatch(text)
    if found is None:
        return None
    address, _, user, time, request, status, size, referer, agent, forwarded = found.groups()
    fields: Fields = {"timestamp": time, "remote_addr": address, "user": user, "status": int(status)}
    fields["bytes"] = 0 if size == "-" else int(size)
    if asked := _REQUEST.fullmatch(request):
        fields |= {"method": asked[1], "path": asked[2], "protocol": asked[3]}
    fields |= {"referer": referer, "user_agent": agent, "forwarded_for": forwarded, "message": request}
    return {name: value for name, value in fields.items() if value not in (None, "-") or name == "message"}
