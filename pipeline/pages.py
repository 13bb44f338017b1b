"""A few pages over HTTP/1.1, on asyncio: one request a connection, and none may take long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple, TypeAlias

from .log import log

CLIENT_SECONDS = 30.0
"""For a whole request and its answer."""
CLIENTS = 64
"""At a time; one more, and the one that has been there for longest has to go."""
HEAD_BYTES = 64 << 10


class Page(NamedTuple):
    """What a request is answered."""

    body: bytes
    type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = {}


Make: TypeAlias = Callable[[Mapping[str, str]], Awaitable[Page]]
"""Makes a page, given the headers of the request, whose names are in small letters."""


class Pages:
    """Serves pages by their path, to GET and HEAD."""

    def __init__(self, pages: Mapping[str, Make]) -> None:
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], None] = {}

    async def open(self, host: str, port: int) -> int:
        """Listen. Returns the port, which the system chooses for 0. Raises OSError when it cannot be had."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=HEAD_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, and leave whoever is being served."""
        if self._server:
            self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.current_task()
        assert client
        if len(self._clients) >= CLIENTS:
            next(iter(self._clients)).cancel()
        self._clients[client] = None
        writer.transport.set_write_buffer_limits(high=0)  # drained is then: all is with the system
        try:
            async with asyncio.timeout(CLIENT_SECONDS):
                writer.write(await self._answer(reader))
                await writer.drain()
            writer.close()
        except (TimeoutError, OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            del self._clients[client]

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        """The bytes of the answer to the request that comes in."""
        try:
            request, _, rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").partition("\r\n")
            method, path, _ = request.split(" ")
        except (asyncio.LimitOverrunError, ValueError):
            return _encoded(_problem(HTTPStatus.BAD_REQUEST))
        pairs = (line.partition(":") for line in rest.split("\r\n"))
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        page = await self._page(method, path.partition("?")[0], headers)
        return _encoded(page, with_body=method != "HEAD")

    async def _page(self, method: str, path: str, headers: Mapping[str, str]) -> Page:
        if path not in self._pages:
            return _problem(HTTPStatus.NOT_FOUND)
        if method not in ("GET", "HEAD"):
            return _problem(HTTPStatus.METHOD_NOT_ALLOWED, Allow="GET, HEAD")
        try:
            return await self._pages[path](headers)
        except Exception as error:  # a page is made of what components of a user's own tell
            log.error("cannot make a page", path=path, error=f"{type(error).__name__}: {error}")
            return _problem(HTTPStatus.INTERNAL_SERVER_ERROR)


def _problem(status: HTTPStatus, **headers: str) -> Page:
    return Page(f"{status.value} {status.phrase}\n".encode(), status=status, headers=headers)


def _encoded(page: Page, *, with_body: bool = True) -> bytes:
    headers = {
        "Content-Type": page.type,
        "Content-Length": str(len(page.body)),
        "Connection": "close",
        **page.headers,
    }
    lines = [f"HTTP/1.1 {page.status.value} {page.status.phrase}", *(f"{name}: {headers[name]}" for name in headers)]
    return "\r\n".join([*lines, "", ""]).encode() + (page.body if with_body else b"")
