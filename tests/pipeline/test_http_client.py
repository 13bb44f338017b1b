"""Requests to servers in the test that answer byte by byte as they are told."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop

from tailrace.pipeline.http_client import Client, NotSent, Response

SECRET = "hunter2-is-not-told"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NEVER = b""


class Request(NamedTuple):
    connection: int
    head: str
    body: bytes


class Served:
    """A server, and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Request] = []
        self.connections = 0
        self.gone = asyncio.Event()
        """A client has left."""


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(
    *answers: bytes | Answer, host: str = "127.0.0.1", context: ssl.SSLContext | None = None
) -> AsyncIterator[Served]:
    """Answers one request after the other; with nothing left it closes the connection instead."""
    left, served, open_now = list(answers), Served(), set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        open_now.add(task)
        served.connections += 1
        connection = served.connections
        try:
            while left:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                size = int(head.partition("Content-Length: ")[2].partition("\r")[0] or 0)
                answer = left.pop(0)
                if callable(answer):
                    served.requests.append(Request(connection, head, b""))
                    await answer(reader, writer)
                    continue
                served.requests.append(Request(connection, head, await reader.readexactly(size)))
                writer.write(answer)
                await writer.drain()
                if b"close" in answer or answer.startswith(b"HTTP/1.0"):
                    break
            writer.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            served.gone.set()
            open_now.remove(task)

    server = await asyncio.start_server(serve, host, 0, ssl=context)
    name = f"[{host}]" if ":" in host else host
    served.url = f"http{'s' if context else ''}://{name}:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()
        for task in open_now:
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)


@asynccontextmanager
async def client_of(url: str, **options: Any) -> AsyncIterator[Client]:
    client = Client(url, **{"headers": {"Authorization": f"Bearer {SECRET}"}, "timeout": 30.0, **options})
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("answer", "expected", "again"),
    [
        pytest.param(OK, (200, {"Content-Length": "2"}, b"ok"), True, id="with a length"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", (204, {}, b""), True, id="without a body"),
        pytest.param(b"HTTP/1.1 204\r\n\r\n", (204, {}, b""), True, id="without a phrase"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding:chunked\r\n\r\n"
            b"3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n",
            (200, {"Transfer-Encoding": "chunked"}, b"abc0123456789"),
            True,
            id="in chunks",
        ),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
            (200, {"Content-Length": "2"}, b"ok"),
            True,
            id="after interim ones",
        ),
        pytest.param(
            b"HTTP/1.1 429 Slow down\r\nRETRY-AFTER:  7 \r\nconnection: Close\r\ncontent-length: 1\r\n\r\nx",
            (429, {"Retry-After": "7", "Connection": "Close", "Content-Length": "1"}, b"x"),
            False,
            id="and closed",
        ),
        pytest.param(
            b"HTTP/1.1 302 Found\r\nLocation: /x\r\nConnection: close\r\n\r\nup to the end",
            (302, {"Location": "/x", "Connection": "close"}, b"up to the end"),
            False,
            id="up to the end, a redirect that is not followed",
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nold", (200, {}, b"old"), False, id="of an old server"),
    ],
)
async def test_an_answer_is_read_whole_and_its_connection_used_again_where_it_may(
    answer: bytes, expected: tuple[Any, ...], again: bool
) -> None:
    async with serving(answer, OK) as server, client_of(server.url) as client:
        assert await client.request("POST", server.url, b"one") == Response(*expected)
        assert (await client.request("POST", server.url, b"two")).body == b"ok"
    assert [(request.connection, request.body) for request in server.requests] == [
        (1, b"one"),
        (1 if again else 2, b"two"),
    ]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(b"HTTP/1.1 204 No Con", "closed before all of an answer came", id="inside the head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Type: app", "closed before all", id="inside a header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "closed before all", id="inside the body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "closed before all", id="inside a chunk"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "closed before", id="between chunks"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n",
            "not HTTP",
            id="no chunk size",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab", "not HTTP", id="no length"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "not HTTP", id="another protocol"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "not HTTP", id="something else"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "not HTTP", id="a head without an end"),
    ],
)
async def test_what_is_cut_short_or_no_answer_may_have_arrived(answer: bytes, said: str) -> None:
    async with serving(answer) as server, client_of(server.url) as client:
        with pytest.raises(OSError, match=said) as caught:
            await client.request("POST", server.url, b"body")
        assert not isinstance(caught.value, NotSent)
        assert [request.body for request in server.requests] == [b"body"]
        assert SECRET not in repr(caught.value)


async def test_a_connection_that_is_closed_instead_of_an_answer_may_have_carried_it() -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with serving(leave) as server, client_of(server.url) as client:
        with pytest.raises(ConnectionResetError, match="before an answer came"):
            await client.request("POST", server.url, b"body")


async def test_an_answer_up_to_the_end_is_none_where_the_connection_is_lost() -> None:
    async def crash(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf of")
        await writer.drain()
        await heard.wait()
        reset = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        writer.transport.abort()

    heard = asyncio.Event()
    async with serving(crash) as server, client_of(server.url) as client:
        request = asyncio.ensure_future(client.request("GET", server.url))
        while not server.requests:  # noqa: ASYNC110  # what it waits for is plain state
            await asyncio.sleep(0)
        heard.set()
        with pytest.raises(ConnectionResetError, match="the connection was lost: Connection reset by peer"):
            await request


async def test_where_nobody_listens_nothing_was_sent() -> None:
    async with client_of("http://127.0.0.1:1") as client:
        with pytest.raises(NotSent, match=r"^cannot connect to 127\.0\.0\.1:1: Connection refused$"):
            await client.request("GET", "http://127.0.0.1:1/x")


async def test_each_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("127.0.0.9", "127.0.0.1")]

    async with serving(OK) as server, client_of(server.url.replace("127.0.0.1", "loki.example")) as client:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        assert (await client.request("GET", "/")).body == b"ok"


async def test_a_name_that_nobody_knows_leads_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with client_of("http://loki.example") as client:
        with pytest.raises(NotSent, match=r"^cannot connect to loki\.example:80: Name or service not known$"):
            await client.request("GET", "/")


def test_a_name_server_that_does_not_answer_holds_up_neither_a_request_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def resolve(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        threads.append(threading.current_thread())
        answered.wait()
        return []

    async def ask() -> None:
        async with client_of("http://loki.example", timeout=0.05) as client:
            with pytest.raises(NotSent, match=r"within 0\.05 s$"):
                await client.request("GET", "/")

    threads: list[threading.Thread] = []
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    uvloop.run(ask())
    assert [(thread.is_alive(), thread.daemon) for thread in threads] == [(True, True)]
    answered.set()
    threads[0].join()


async def test_a_server_that_says_a_byte_at_a_time_is_cut_off() -> None:
    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while not writer.transport.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0)

    async with serving(dribble) as server, client_of(server.url, timeout=0.05) as client:
        with pytest.raises(TimeoutError, match=r"^no answer within 0\.05 s$"):
            await client.request("POST", server.url, b"body")
        await server.gone.wait()


async def test_who_does_not_finish_the_handshake_was_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        async with client_of(url, timeout=0.05, context=ssl.create_default_context()) as client:
            with pytest.raises(NotSent, match=r"^cannot connect to 127\.0\.0\.1:\d+ within 0\.05 s$"):
                await client.request("POST", url, b"body")


async def test_a_request_that_nobody_waits_for_any_more_is_cut_off() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()

    asked = asyncio.Event()
    async with serving(hang) as server, client_of(server.url) as client:
        request = asyncio.ensure_future(client.request("GET", server.url))
        await asked.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await server.gone.wait()


async def test_a_connection_that_was_closed_meanwhile_is_not_used_again() -> None:
    """Closed while the loop is busy with something else, which has not heard of it yet."""
    closed, requests = threading.Event(), []

    def serve(listening: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listening.accept()
            with connection:
                requests.append(connection.recv(10_000))
                connection.sendall(OK)
            closed.set()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=[listening])
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with client_of(url) as client:
            for _ in range(2):
                assert (await client.request("POST", url, b"body")).body == b"ok"
                assert closed.wait(5)
        thread.join()
    assert len(requests) == 2


async def test_a_refusal_that_comes_before_all_was_sent_is_heard_and_the_connection_given_up() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await refused.wait()
        writer.close()

    refused = asyncio.Event()
    async with serving(refuse, OK) as server, client_of(server.url) as client:
        assert (await client.request("POST", server.url, bytes(32 << 20))).status == 413
        refused.set()
        assert (await client.request("POST", server.url, b"small")).status == 200
    assert [request.connection for request in server.requests] == [1, 2]


async def test_large_bodies_arrive_whole() -> None:
    body = bytes(range(256)) * 40_000
    echo = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with serving(echo) as server, client_of(server.url) as client:
        assert (await client.request("POST", server.url, body)).body == body
    assert server.requests[0].body == body


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789", id="by length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n12\r\n7\r\n3456789\r\n", id="by chunks"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n123456789", id="by the end"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234", id="by length, before it has come"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n1234", id="by chunks, before it has come"
        ),
    ],
)
@pytest.mark.parametrize("at_most", [2, 4])
async def test_of_an_answer_no_more_is_read_than_was_asked_for(answer: bytes, at_most: int) -> None:
    async with serving(answer, OK) as server, client_of(server.url) as client:
        assert (await client.request("GET", server.url, at_most=at_most)).body == b"123456789"[:at_most]
        assert (await client.request("GET", server.url, at_most=at_most)).body == b"ok"
    assert [request.connection for request in server.requests] == [1, 2]


async def test_requests_at_one_time_have_connections_of_their_own_and_keep_them() -> None:
    async with serving(OK, OK, OK, OK) as server, client_of(server.url) as client:
        await asyncio.gather(client.request("GET", server.url), client.request("GET", server.url))
        await asyncio.gather(client.request("GET", server.url), client.request("GET", server.url))
    assert sorted(request.connection for request in server.requests) == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("", "/"),
        ("/a/b?c=1&d=%20+x", "/a/b?c=1&d=%20+x"),
        ("/ä b#part", "/%C3%A4%20b"),
        ('?q={app="a"}', "?q=%7Bapp=%22a%22%7D"),
    ],
)
async def test_a_request_says_what_it_should_and_asks_no_proxy(
    monkeypatch: pytest.MonkeyPatch, url: str, target: str
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(OK, OK) as server, client_of(server.url) as client:
        await client.request("GET", server.url + url, headers={"X-More": "ü"})
        await client.request("POST", server.url + url)
    where = server.url.removeprefix("http://")
    common = f"Host: {where}\r\nAuthorization: Bearer {SECRET}\r\n"
    assert [request.head for request in server.requests] == [
        f"GET {target} HTTP/1.1\r\n{common}X-More: ü\r\n\r\n",
        f"POST {target} HTTP/1.1\r\n{common}Content-Length: 0\r\n\r\n",
    ]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://loki", "loki"),
        ("http://loki:80/x", "loki"),
        ("https://loki:80", "loki:80"),
        ("https://LOKI:443", "loki"),
        ("http://[::1]:3100", "[::1]:3100"),
        ("http://bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_the_host_is_named_as_others_expect_it(url: str, host: str) -> None:
    assert Client(url, headers={}, timeout=1)._headers == {"Host": host}


async def test_ipv6_is_spoken() -> None:
    async with serving(OK, host="::1") as server, client_of(server.url) as client:
        assert (await client.request("GET", server.url)).body == b"ok"


@pytest.mark.parametrize("value", [f"{SECRET}\r\nX: y", f"{SECRET}\n", f"\0{SECRET}"])
def test_a_header_that_cannot_be_sent_is_refused_and_its_value_not_told(value: str) -> None:
    with pytest.raises(ValueError, match="header Authorization has a line break") as caught:
        Client("http://loki", headers={"Authorization": value}, timeout=1)
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize("url", ["http://loki:99999", "http://loki:x", "http://[::1"])
def test_a_url_that_leads_nowhere_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"[Pp]ort|IPv6"):
        Client(url, headers={}, timeout=1)


# ---- TLS ---------------------------------------------------------------------------------------------------------


def server_context(certificates: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem")
    return context


async def test_a_server_is_trusted_by_its_certificate(certificates: Path) -> None:
    trusting = ssl.create_default_context(cafile=certificates / "server.pem")
    async with serving(OK, OK, context=server_context(certificates)) as server:
        async with client_of(server.url, context=trusting) as client:
            for _ in range(2):
                assert (await client.request("POST", server.url, bytes(1 << 20))).body == b"ok"
        assert [(request.connection, len(request.body)) for request in server.requests] == [(1, 1 << 20)] * 2


async def test_who_is_not_trusted_was_sent_nothing(certificates: Path) -> None:
    async with serving(OK, context=server_context(certificates)) as server:
        async with client_of(server.url, context=ssl.create_default_context()) as client:
            with pytest.raises(NotSent, match=r"certificate verify failed: self.signed certificate"):
                await client.request("POST", server.url, b"body")
        assert server.requests == []


async def test_who_has_the_certificate_of_another_was_sent_nothing(certificates: Path) -> None:
    trusting = ssl.create_default_context(cafile=certificates / "server.pem")
    async with serving(OK, host="127.0.0.2", context=server_context(certificates)) as server:
        async with client_of(server.url, context=trusting) as client:
            with pytest.raises(NotSent, match=r"IP address mismatch.*127\.0\.0\.2"):
                await client.request("POST", server.url, b"body")
        assert server.requests == []


async def test_who_speaks_no_tls_was_sent_nothing() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    plain = await asyncio.start_server(speak, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}"
    async with client_of(url, context=ssl.create_default_context()) as client:
        with pytest.raises(NotSent, match=r"cannot connect.*WRONG_VERSION|cannot connect.*wrong version"):
            await client.request("POST", url, b"body")
    plain.close()


async def test_a_client_shows_its_certificate(certificates: Path) -> None:
    demanding = server_context(certificates)
    demanding.verify_mode = ssl.CERT_REQUIRED
    demanding.load_verify_locations(certificates / "client.pem")
    context = ssl.create_default_context(cafile=certificates / "server.pem")
    context.load_cert_chain(certificates / "client.pem")
    async with serving(OK, context=demanding) as server, client_of(server.url, context=context) as client:
        assert (await client.request("GET", server.url)).status == 200


@pytest.mark.parametrize(
    "test",
    [
        test_where_nobody_listens_nothing_was_sent,
        test_a_connection_that_is_closed_instead_of_an_answer_may_have_carried_it,
        test_a_server_that_says_a_byte_at_a_time_is_cut_off,
        test_who_does_not_finish_the_handshake_was_sent_nothing,
        test_a_request_that_nobody_waits_for_any_more_is_cut_off,
        test_a_connection_that_was_closed_meanwhile_is_not_used_again,
        test_a_refusal_that_comes_before_all_was_sent_is_heard_and_the_connection_given_up,
        test_large_bodies_arrive_whole,
        test_requests_at_one_time_have_connections_of_their_own_and_keep_them,
        test_ipv6_is_spoken,
        test_who_speaks_no_tls_was_sent_nothing,
    ],
    ids=lambda test: test.__name__.removeprefix("test_"),
)
def test_on_the_loop_of_a_run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    uvloop.run(test())


@pytest.mark.parametrize(
    "test",
    [
        test_a_server_is_trusted_by_its_certificate,
        test_who_is_not_trusted_was_sent_nothing,
        test_who_has_the_certificate_of_another_was_sent_nothing,
        test_a_client_shows_its_certificate,
    ],
    ids=lambda test: test.__name__.removeprefix("test_"),
)
def test_on_the_loop_of_a_run_with_tls(test: Callable[[Path], Coroutine[Any, Any, None]], certificates: Path) -> None:
    uvloop.run(test(certificates))
