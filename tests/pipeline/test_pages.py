"""Pages for clients of every kind: those that ask badly, and those that never do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest

from tailrace.pipeline import pages as module
from tailrace.pipeline.http_client import Client
from tailrace.pipeline.pages import Page, Pages


async def hello(headers: Mapping[str, str]) -> Page:
    return Page(f"hello {headers.get('name', 'you')}\n".encode(), headers={"X-More": "yes"})


async def away(headers: Mapping[str, str]) -> Page:
    return Page(b"away\n", "text/x-away", HTTPStatus.SERVICE_UNAVAILABLE)


async def broken(headers: Mapping[str, str]) -> Page:
    raise LookupError("nothing of this is for those who ask")


async def large(headers: Mapping[str, str]) -> Page:
    return Page(bytes(16 << 20))


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """The port on which they are served."""
    pages = Pages({"/": hello, "/away": away, "/broken": broken, "/large": large})
    port = await pages.open("127.0.0.1", 0)
    try:
        yield port
    finally:
        async with asyncio.timeout(5):
            await pages.close()


async def said(port: int, request: bytes) -> bytes:
    """All that is answered to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


HELLO = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Connection: close\r\nX-More: yes\r\n\r\n"
)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", HELLO % 10 + b"hello you\n", id="GET"),
        pytest.param(b"GET /?a=b HTTP/1.0\r\nNAME:  me \r\nX\r\n\r\n", HELLO % 9 + b"hello me\n", id="with headers"),
        pytest.param(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", HELLO % 10, id="HEAD"),
    ],
)
async def test_a_page_is_served(request_: bytes, answer: bytes) -> None:
    async with serving() as port:
        assert await said(port, request_) == answer


@pytest.mark.parametrize(
    ("request_", "status", "more"),
    [
        pytest.param(b"GET /away HTTP/1.1\r\n\r\n", 503, b"\r\n\r\naway\n", id="of its own status"),
        pytest.param(b"GET /nothing HTTP/1.1\r\n\r\n", 404, b"404 Not Found\n", id="nothing there"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405, b"Allow: GET, HEAD\r\n", id="POST"),
        pytest.param(b"GET /broken HTTP/1.1\r\n\r\n", 500, b"500 Internal Server Error\n", id="a page that fails"),
        pytest.param(b"hello\r\n\r\n", 400, b"400 Bad Request\n", id="no request"),
        pytest.param(b"\x16\x03\x01\x02\r\n\r\n", 400, b"400 Bad Request\n", id="TLS"),
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"x" * 65_600, 400, b"400 Bad Request\n", id="without an end"),
    ],
)
async def test_what_cannot_be_served_is_told(request_: bytes, status: int, more: bytes) -> None:
    async with serving() as port:
        answer = await said(port, request_)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert more in answer
    assert b"nothing of this" not in answer


async def test_who_never_asks_or_never_listens_keeps_nobody_else_waiting_and_not_the_end() -> None:
    async with serving() as port:
        _, silent = await asyncio.open_connection("127.0.0.1", port)
        reader, deaf = await asyncio.open_connection("127.0.0.1", port)  # stops reading when its buffer is full
        deaf.write(b"GET /large HTTP/1.1\r\n\r\n")
        assert await reader.read(4) == b"HTTP"
        _, slow = await asyncio.open_connection("127.0.0.1", port)
        slow.write(b"GET / HT")
        assert (await said(port, b"GET / HTTP/1.1\r\n\r\n")).endswith(b"hello you\n")
    for writer in (silent, deaf, slow):
        writer.transport.abort()


async def test_who_takes_too_long_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLIENT_SECONDS", 0.01)
    async with serving() as port:
        assert await said(port, b"") + await said(port, b"GET / HTTP/1.1\r\n") == b""


async def test_of_too_many_the_one_that_has_been_there_for_longest_has_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLIENTS", 2)
    async with serving() as port:
        first, of_first = await asyncio.open_connection("127.0.0.1", port)
        second, of_second = await asyncio.open_connection("127.0.0.1", port)
        assert (await said(port, b"GET / HTTP/1.1\r\n\r\n")).endswith(b"hello you\n")
        assert await first.read() == b""
        of_second.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await second.read()).endswith(b"hello you\n")
        of_first.close()
        of_second.close()


async def test_a_large_page_arrives_whole() -> None:
    async with serving() as port:
        client = Client(f"http://127.0.0.1:{port}", headers={}, timeout=30)
        assert (await client.request("GET", "/large")).body == bytes(16 << 20)
        await client.close()


async def test_a_port_that_is_taken_cannot_be_had() -> None:
    async with serving() as port:
        with pytest.raises(OSError, match="in use"):
            await Pages({}).open("127.0.0.1", port)


async def test_closing_what_was_never_opened_does_nothing() -> None:
    pages = Pages({})
    await pages.close()
    assert not pages._clients
