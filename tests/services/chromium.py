"""Chromium without a window, and its tabs: what a page shows, asks for, complains about and looks like."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request

from aiohttp import ClientSession, ClientWebSocketResponse

from ._install import apt_install
from ._server import HttpError, Server

PACKAGE = "chromium-headless-shell"
NAMES = (f"/usr/lib/chromium/{PACKAGE}", "chromium", "chromium-browser", "google-chrome")
"""Any of them will do: what is here is taken. Of Debian's shell the program itself: its script would outlive us."""


class Chromium(Server):
    """Of the machine itself, for it stands on many libraries: one that is there, else Debian's by apt."""

    name = "chromium"
    version = "system"
    programs = ("chromium",)
    images = {}

    @classmethod
    def hindrance(cls) -> str:
        """Only root may install."""
        if any(map(shutil.which, NAMES)) or os.geteuid() == 0:
            return ""
        return f"there is none of {', '.join(NAMES)}, and only root can install Debian's {PACKAGE}"

    @classmethod
    def build(cls, into: Path, scratch: Path) -> None:
        """A link to the one that is here."""
        if not any(map(shutil.which, NAMES)):
            apt_install(PACKAGE, "fonts-dejavu-core")
        into.joinpath(cls.name).symlink_to(next(path for name in NAMES if (path := shutil.which(name))))

    def command(self) -> list[str]:
        """It asks nobody for anything by itself, and trusts the pages of these tests (root has no sandbox)."""
        return [
            str(self.program(self.name)),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--hide-scrollbars",
            f"--user-data-dir={self.folder / 'profile'}",
            f"--remote-debugging-port={self.ports[0]}",
            "about:blank",
        ]

    def ready(self) -> bool:
        """It can be told what to do."""
        try:
            self.get("/json/version")
        except (HttpError, OSError):
            return False
        return True

    @asynccontextmanager
    async def tab(self, *, dark: bool = False, width: int = 1280, height: int = 900) -> AsyncIterator[Tab]:
        """A new tab of this size, for people who like it light or dark."""
        told = json.loads(self._ask(Request(f"{self.url}/json/new?about:blank", method="PUT")))
        async with ClientSession() as session, session.ws_connect(told["webSocketDebuggerUrl"], max_msg_size=0) as line:
            tab = Tab(line)
            for domain in ("Page", "Runtime", "Network", "Log"):
                await tab.call(f"{domain}.enable")
            await tab.size(width, height)
            await tab.like(dark=dark)
            try:
                yield tab
            finally:
                self.get(f"/json/close/{told['id']}")


class Tab:
    """One tab, by the DevTools protocol."""

    def __init__(self, line: ClientWebSocketResponse) -> None:
        self._line = line
        self._calls = 0
        self.asked: list[str] = []
        """URLs that the page has asked for."""
        self.complaints: list[str] = []
        """What stands in the console as an error, with failed requests and refused scripts."""

    async def call(self, method: str, **parameters: object) -> Any:
        """The result of a method. Raises RuntimeError when it has none."""
        self._calls += 1
        await self._line.send_json({"id": self._calls, "method": method, "params": parameters})
        while True:
            told = await self._line.receive_json(timeout=30)
            if told.get("id") == self._calls:
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error']['message']}")
                return told["result"]
            self._note(told.get("method", ""), told.get("params", {}))

    def _note(self, event: str, told: Any) -> None:
        if event == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(told["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(told["args"]))
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")

    async def open(self, url: str) -> None:
        """Go there."""
        await self.call("Page.navigate", url=url)

    async def size(self, width: int, height: int) -> None:
        """Make the tab as large as this, in CSS pixels."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def like(self, *, dark: bool) -> None:
        """Say what whoever looks prefers."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def say(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of its promise. Raises RuntimeError when it throws."""
        told = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in told:
            raise RuntimeError(f"{expression}: {json.dumps(told['exceptionDetails'])}")
        return told["result"].get("value")

    async def text(self, selector: str) -> str:
        """What stands in the first element that the CSS selector finds, as it is shown; empty where there is none."""
        found: str = await self.say(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")
        return found

    async def until(self, holds: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
        """Ask until it holds. Raises AssertionError with what the page shows when it takes too long."""
        deadline = time.monotonic() + seconds
        while not await holds():
            assert time.monotonic() < deadline, f"not within {seconds:g} s; the page:\n{await self.text('body')}"
            await asyncio.sleep(0.1)

    async def picture(self, width: int, height: int) -> bytes:
        """What it looks like, from its top: PNG."""
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        told = await self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(told["data"])
