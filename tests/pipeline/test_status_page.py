"""The status page is one file that may ask nobody but its own server, and puts texts in as texts."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

from tailrace.pipeline.status_page import FILE, status_page

TEXT = FILE.read_text(encoding="utf-8")


async def policy() -> dict[str, str]:
    page = await status_page({})
    told = page.headers["Content-Security-Policy"].split("; ")
    return dict(line.split(" ", 1) for line in told)


async def test_the_page_is_the_file() -> None:
    page = await status_page({})
    assert (page.status, page.type, page.body) == (200, "text/html; charset=utf-8", FILE.read_bytes())
    assert page.headers["X-Content-Type-Options"] == "nosniff"


async def test_only_what_stands_in_it_may_run_and_only_its_server_be_asked() -> None:
    allowed = await policy()
    assert (allowed["default-src"], allowed["connect-src"]) == ("'none'", "'self'")
    assert allowed["require-trusted-types-for"] == "'script'"
    for kind in ("script", "style"):
        (inline,) = re.findall(rf"<{kind}>(.*?)</{kind}>", TEXT, re.DOTALL)
        digest = b64encode(sha256(inline.encode()).digest()).decode()
        assert allowed[f"{kind}-src"] == f"'sha256-{digest}'"
    assert not [rule for rule in allowed.values() if "unsafe" in rule or "*" in rule or "http" in rule]


def test_nothing_in_it_leads_elsewhere() -> None:
    places = re.findall(r"""(?:href|src|action)=["']([^"']+)""", TEXT)
    assert [place for place in places if not place.startswith(("data:", "-/", "metrics"))] == []
    assert "@import" not in TEXT
    assert re.findall(r"url\(", TEXT) == []


def test_texts_never_become_markup_and_nothing_is_styled_in_place() -> None:
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(", TEXT) == []
    assert re.findall(r"<[^>]+ (?:style|on[a-z]+)=", TEXT.partition("<script>")[0]) == []


def test_it_is_made_for_light_dark_still_and_narrow() -> None:
    assert "prefers-color-scheme: dark" in TEXT
    assert "prefers-reduced-motion" in TEXT
    assert "width=device-width" in TEXT
