"""A bad network in front of Loki: a proxy that fails in every way that proxies and networks do."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections import Counter
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

FAULTS = {
    "": 50,
    "slow answer": 18,
    "connection reset": 6,
    "reset inside the request": 5,
    "answer lost": 6,
    "answer cut short": 4,
    "half-closed": 3,
    "no answer in time": 1,
    "429": 3,
    "429 with Retry-After": 2,
    "500 storm": 2,
}
"""How often each of them comes, of all pushes together; the first is none."""
STORM = (0.3, 1.5)
"""Seconds for which every push is answered with an error."""
HUNG = 3.0
"""Seconds without an answer: longer than the torture's config waits."""
PASSED_ON = ("Content-Type", "Content-Encoding", "X-Scope-OrgID", "X-Loki-Response-Encoding-Flags")


class Proxy:
    """Listens on 127.0.0.1 while it is entered, and passes on to `upstream` what it does not spoil."""

    def __init__(self, upstream: str, random: random.Random, done: Counter[str]) -> None:
        self.calm = False
        """Nothing fails any more."""
        self.url = ""
        self._upstream = upstream.rstrip("/")
        self._random = random
        self._done = done
        self._storm_until = 0.0

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30), auto_decompress=False)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await self._client.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """What is not a push is passed on as it is: a look-up that fails is not what is tortured."""
        fault = self._fault() if request.method == "POST" else ""
        if fault:
            self._done[fault] += 1
        match fault:
            case "slow answer":
                await asyncio.sleep(self._random.uniform(0.02, 0.8))
            case "connection reset":
                return _reset(request)
            case "reset inside the request":
                await request.content.read(1)
                return _reset(request)
            case "half-closed":
                assert request.transport
                request.transport.write_eof()
                await asyncio.sleep(0.5)
                return _reset(request)
            case "429":
                return web.Response(status=429, text="Ingestion rate limit exceeded")
            case "429 with Retry-After":
                return web.Response(status=429, text="slow down", headers={"Retry-After": "1"})
            case "500 storm":
                return web.Response(status=self._random.choice([500, 502, 503, 504]), text="a storm")
        answer = await self._pass_on(request)
        match fault:
            case "answer lost":
                return _reset(request)
            case "answer cut short":
                assert request.transport
                request.transport.write(b"HTTP/1.1 204 No Con")
                request.transport.close()
            case "no answer in time":
                await asyncio.sleep(HUNG)
        return answer

    def _fault(self) -> str:
        if self.calm:
            return ""
        now = time.monotonic()
        if now < self._storm_until:
            return "500 storm"
        (fault,) = self._random.choices([*FAULTS], [*FAULTS.values()])
        if fault == "500 storm":
            self._storm_until = now + self._random.uniform(*STORM)
        return fault

    async def _pass_on(self, request: web.Request) -> web.Response:
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        if "Authorization" in request.headers:
            headers["Authorization"] = request.headers["Authorization"]
        try:
            async with self._client.request(
                request.method, self._upstream + request.raw_path, data=await request.read(), headers=headers
            ) as answer:
                kind = {"Content-Type": answer.headers.get("Content-Type", "text/plain")}
                if answer.status == 204:
                    return web.Response(status=204)
                return web.Response(status=answer.status, body=await answer.read(), headers=kind)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return web.Response(status=502, text=f"nobody answers: {type(error).__name__}")


def _reset(request: web.Request) -> web.Response:
    """End the connection with RST; the response is written to nobody."""
    if request.transport:
        raw: socket.socket = request.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()
