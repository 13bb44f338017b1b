"""The status page: one HTML file, which asks `/-/status` each second and may ask nobody else."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

from .pages import Page

FILE = Path(__file__).with_suffix(".html")
_INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


async def status_page(headers: Mapping[str, str]) -> Page:
    """The page, for `Pages`."""
    return _page()


@cache
def _page() -> Page:
    text = FILE.read_text(encoding="utf-8")
    headers = {
        "Content-Security-Policy": _policy(text),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return Page(text.encode(), "text/html; charset=utf-8", headers=headers)


def _policy(text: str) -> str:
    """Only the scripts and styles that stand in the page, by their hash, and only its own server (CSP level 3)."""
    hashes = {"style": "", "script": ""}
    for kind, inline in _INLINE.findall(text):
        hashes[kind] += f" 'sha256-{b64encode(sha256(inline.encode()).digest()).decode()}'"
    allowed = {
        "default-src": "'none'",
        "script-src": hashes["script"].strip(),
        "style-src": hashes["style"].strip(),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    return "; ".join(f"{what} {who}" for what, who in allowed.items())
