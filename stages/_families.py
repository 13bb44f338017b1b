"""Families of errors: a dozen words for what went wrong, few enough for the labels of a counter."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import re2

_BY_TYPE: Final = {
    "timeout": r"time_?d?_?out|deadline_?exceeded",
    "rate_limit": r"rate_?limit|too_?many_?requests|throttl|quota_?exceeded|resource_?exhausted",
    "auth": r"auth(?!or)|unauthori[sz]ed|forbidden|permission|access_?denied|credential|invalid_?(?:api_?key|token)",
    "cancelled": r"cancell?|aborted|interrupt|broken_?barrier|system_?exit",
    "database": r"sql|psycopg|integrity_?error|operational_?error|deadlock|database|mongo|\bpdo|active_?record",
    "network": r"connect|socket|network|transport|\bssl|\btls|certificate|\bdns|gai_?error|unknown_?host|unreachable|"
    r"broken_?pipe|remote_?disconnected|service_?unavailable|bad_?gateway|server_?error|http_?(?:error|status|exception)|"
    r"\beconn",
    "resources": r"memory|out_?of_?memory|stack_?overflow|recursion|no_?space|too_?many_?open|disk_?full",
    "not_found": r"not_?found_?(?:error|exception)|file_?not_?found|no_?such_?(?:file|element)|does_?not_?exist|"
    r"missing_?schema|\benoent",
    "validation": r"validation|value_?error|pars(?:e|ing)|decod|encod|format|schema|invalid(?!_?operation)|argument|"
    r"bad_?request|unprocessable|out_?of_?range|type_?mismatch",
    "io": r"\bio_?error|\bio_?exception|\bos_?error|\beof|file_?(?:system|exists)|is_?a_?directory",
    "bug": r"type_?error|attribute_?error|name_?error|key_?error|index_?error|import|module_?not_?found|syntax|"
    r"null_?(?:pointer|reference)|no_?method|no_?such_?method|reference_?error|assert|not_?implemented|"
    r"zero_?division|arithmetic|divide_?by_?zero|illegal_?state|state_?error|invalid_?operation|class_?cast|range_?error|"
    r"index_?out_?of|runtime error|unbound_?local|\bpanic|fatal error|unsupported",
}
"""By the type's name, the first that fits; what a type such as `KeyError` says is only `bug`, so it comes last."""

_CODE = r"(?:status|code|http|error)\W{0,3}(?:code\W{0,3})?"
_BY_MESSAGE: Final = {
    "timeout": r"timed? ?out|deadline exceeded|too late",
    "rate_limit": rf"rate.?limit|too many requests|throttl|quota exceeded|{_CODE}429\b",
    "auth": r"unauthori[sz]ed|forbidden|permission denied|access denied|authentication|"
    rf"(?:invalid|expired|missing) (?:api.?key|token|credential)|{_CODE}40[13]\b",
    "network": r"connection (?:refused|reset|closed|aborted|lost|error)|econn(?:refused|reset|aborted)|"
    r"no route to host|name or service not known|getaddrinfo|broken pipe|network is unreachable|certificate|"
    rf"bad gateway|service unavailable|{_CODE}50[0234]\b",
    "resources": r"out of memory|no space left|too many open files|maximum recursion|stack overflow",
    "not_found": rf"no such file|{_CODE}404\b|\bnot found\b",
    "validation": r"validation (?:error|failed)|is not valid|invalid (?:value|format|json|input)|failed to parse",
}

_types = [(family, re.compile(pattern, re.IGNORECASE)) for family, pattern in _BY_TYPE.items()]
_messages = [(family, re.compile(pattern, re.IGNORECASE)) for family, pattern in _BY_MESSAGE.items()]
_says_anything = re2.compile("(?i)" + "|".join(_BY_MESSAGE.values())).search
_MESSAGE_CHARS = 300

FAMILIES: Final = (*_BY_TYPE, "other")
"""All words that there are."""


def family(raised: Iterable[tuple[str, str]]) -> str:
    """The family of an error and its causes, the error first: pairs of type and message.

    A type that says more than `bug` goes first, then a message, then `bug`; `other` where nothing is known.
    """
    bug = False
    for name, message in raised:
        known = _of_type(name)
        bug = bug or known == "bug"
        if known in ("", "bug"):
            known = _of_message(message[:_MESSAGE_CHARS])
        if known:
            return known
    return "bug" if bug else "other"


@lru_cache(maxsize=1024)
def _of_type(name: str) -> str:
    # The class alone: `urllib3.exceptions.ReadTimeoutError` is no matter of URLs. `psycopg` and `sqlalchemy` say more.
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    own = re.split(r"[.:\\/$]", words)[-1]
    for text in (own, words):
        for known, pattern in _types:
            if (text is own or known in ("database", "network")) and pattern.search(text):
                return known
    return ""


def _of_message(message: str) -> str:
    if not _says_anything(message):
        return ""
    return next((known for known, pattern in _messages if pattern.search(message)), "")
