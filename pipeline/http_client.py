"""A client for HTTP/1.1 on asyncio: as much of it as pushes and look-ups need, and it tells what was never sent."""

from __future__ import annotations

import asyncio
import os
import re
import select
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from ssl import SSLContext, SSLError
from threading import Thread
from typing import Literal, NamedTuple, cast
from urllib.parse import quote, urlsplit

CONNECT_SECONDS = 10.0
"""For each address of a name, so that one from which nothing comes back leaves time for the next."""
HEAD_BYTES = 64 << 10
"""More of an answer's head, or of one of its lines, is not read."""
WRITTEN = "!#$%&'()*+,/:;=?@[]~"
"""What stays in a URL as it was written."""

_STATUS = re.compile(rb"HTTP/1\.(\d) (\d{3})(?: .*)?")


class NotSent(OSError):
    """There was no connection: not one byte of the request has left."""


class Response(NamedTuple):
    """An answer. The names of its headers are written as in `Retry-After`, whatever the server writes."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """Talks to one server, over as many connections as there are requests at a time; they stay open for the next ones.

    Follows no redirect and asks no proxy. `timeout`: seconds for the whole of a request.

    Raises ValueError for a URL or a header that cannot be used; the message has no value of a header.
    """

    def __init__(
        self, url: str, *, headers: Mapping[str, str], timeout: float, context: SSLContext | None = None
    ) -> None:
        parts = urlsplit(url)
        default = 443 if parts.scheme == "https" else 80
        self._host = (parts.hostname or "").encode("idna").decode()
        self._port = parts.port or default
        self._timeout = timeout
        self._context = context
        self._idle: list[_Connection] = []
        written = f"[{self._host}]" if ":" in self._host else self._host
        self._where = f"{written}:{self._port}"
        self._headers = {"Host": written if self._port == default else self._where, **headers}
        for name, value in headers.items():
            if re.search("[\0\r\n]", value):
                raise ValueError(f"the value of the header {name} has a line break in it")

    async def request(
        self,
        method: Literal["GET", "POST"],
        url: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        at_most: int | None = None,
    ) -> Response:
        """One request to a URL of this server. Of the answer's body no more than `at_most` bytes are read.

        Raises NotSent when nothing of it was sent; and OSError, of which TimeoutError is one, when it may have arrived.
        """
        target = _target(url)
        lines = {**self._headers, **(headers or {})}
        if method == "POST":
            lines["Content-Length"] = str(len(body))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        connection = None
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                connection = self._kept()
                if connection is None:
                    connection = await self._connect()
                connection.send(f"{head}\r\n".encode(), body)
                response = await connection.answer(at_most)
        except BaseException as error:
            if connection is not None:
                connection.cut()
            if not (isinstance(error, TimeoutError) and limit.expired()):
                raise
            if connection is None:
                raise NotSent(f"cannot connect to {self._where} within {self._timeout:g} s") from None
            raise TimeoutError(f"no answer within {self._timeout:g} s") from None
        if connection.stays:
            self._idle.append(connection)
        else:
            connection.cut()
        return response

    async def close(self) -> None:
        """Close the connections that no request is using."""
        while self._idle:
            self._idle.pop().cut()
        await asyncio.sleep(0)  # which the loop does in its next turn

    def _kept(self) -> _Connection | None:
        """A connection that stayed open, if the other side has not closed it since."""
        while self._idle:
            connection = self._idle.pop()
            if connection.silent():
                return connection
            connection.cut()
        return None

    async def _connect(self) -> _Connection:
        loop, name = asyncio.get_running_loop(), self._host if self._context else None
        problem: OSError | None = None
        try:
            addresses = await _addresses(self._host, self._port)
        except OSError as error:
            addresses, problem = [], error
        for address in addresses:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    _, connection = await loop.create_connection(
                        _Connection, address, self._port, ssl=self._context, server_hostname=name
                    )
                    return connection
            except OSError as error:
                problem = problem or error
        raise NotSent(f"cannot connect to {self._where}: {_reason(problem)}")


class _Connection(asyncio.Protocol):
    """One connection, and what has arrived over it but is not read yet."""

    def __init__(self) -> None:
        self.stays = True
        """Whether it can be used again after this answer."""
        self._unread = bytearray()
        self._ended = ""
        """Why no more will arrive."""
        self._lost = False
        self._arrived = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._arrived.set()

    def eof_received(self) -> None:
        self._ended = "the connection was closed"  # which the transport does in turn
        self._arrived.set()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._ended:
            self._lost, self._ended = True, f"the connection was lost: {_reason(error)}"
        self._arrived.set()

    def silent(self) -> bool:
        """Nothing came since the last answer, not even the end, of which the loop may not know yet."""
        if self._ended or self._unread or self._transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def send(self, head: bytes, body: bytes) -> None:
        """Begin to send: none of them is copied."""
        self._transport.write(head)
        if body:
            self._transport.write(body)

    def cut(self) -> None:
        """End it, with what is still to be sent."""
        self._transport.abort()

    async def answer(self, at_most: int | None) -> Response:
        """Read the answer; sets `stays`. Raises ConnectionResetError when it is cut short, OSError if it is no HTTP."""
        version, status = b"", 100
        while status < 200:  # interim ones come before the one that counts
            first, _, rest = (await self._until(b"\r\n\r\n")).partition(b"\r\n")
            match = _STATUS.fullmatch(first)
            if not match or match[2] == b"101":
                raise OSError("the answer is not HTTP/1.1")
            version, status = match[1], int(match[2])
        pairs = [line.partition(":") for line in rest.decode("latin-1").split("\r\n")]
        headers = {name.strip().title(): value.strip() for name, _, value in pairs if name}
        self.stays = version != b"0" and "close" not in headers.get("Connection", "").lower()
        if status in (204, 304):
            body = b""
        elif "Transfer-Encoding" in headers:
            body = await self._chunks(at_most)
        elif "Content-Length" in headers:
            size = _number(headers["Content-Length"].encode(), 10)
            self.stays &= at_most is None or size <= at_most
            body = await self._exactly(size if at_most is None else min(size, at_most))
        else:
            body = await self._rest(at_most)
        self.stays &= not self._transport.get_write_buffer_size()  # who refuses a request may not read all of it
        return Response(status, headers, body)

    async def _chunks(self, at_most: int | None) -> bytes:
        body = bytearray()
        while at_most is None or len(body) < at_most:
            size = _number((await self._until(b"\r\n")).partition(b";")[0].strip(), 16)
            if not size:
                while await self._until(b"\r\n"):
                    pass
                return bytes(body)
            body += await self._exactly(size if at_most is None else min(size, at_most - len(body)))
            if at_most is None or len(body) < at_most:
                await self._until(b"\r\n")
        self.stays = False
        return bytes(body)

    async def _rest(self, at_most: int | None) -> bytes:
        self.stays = False
        while (at_most is None or len(self._unread) < at_most) and (self._lost or not self._ended):
            await self._more()
        return bytes(self._unread[:at_most])

    async def _until(self, mark: bytes) -> bytes:
        """What comes before a mark, and the mark is left out."""
        start = 0
        while (end := self._unread.find(mark, start)) < 0:
            if len(self._unread) > HEAD_BYTES:
                raise OSError("the answer is not HTTP/1.1")
            start = max(0, len(self._unread) - len(mark))
            await self._more()
        found = bytes(self._unread[:end])
        del self._unread[: end + len(mark)]
        return found

    async def _exactly(self, size: int) -> bytes:
        while len(self._unread) < size:
            await self._more()
        found = bytes(self._unread[:size])
        del self._unread[:size]
        return found

    async def _more(self) -> None:
        if self._ended:
            raise ConnectionResetError(f"{self._ended} before {'all of ' if self._unread else ''}an answer came")
        self._arrived.clear()
        await self._arrived.wait()


@lru_cache(maxsize=256)
def _target(url: str) -> str:
    """What stands behind the method. Remembered, as most requests are pushes to one URL."""
    return quote(urlsplit(url)._replace(scheme="", netloc="", fragment="").geturl() or "/", safe=WRITTEN)


async def _addresses(host: str, port: int) -> list[str]:
    """Of a name. Not by the loop, whose end waits for name servers that do not answer. Raises OSError."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[str] | OSError] = loop.create_future()

    def look() -> None:
        found: list[str] | OSError
        try:
            found = [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        except OSError as error:
            found = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(_tell, done, found)

    Thread(target=look, name="tailrace names", daemon=True).start()
    found = await done
    if isinstance(found, OSError):
        raise found
    return found


def _tell(done: asyncio.Future[list[str] | OSError], found: list[str] | OSError) -> None:
    """Unless nobody waits any more."""
    if not done.done():
        done.set_result(found)


def _number(text: bytes, base: int) -> int:
    """Strictly: what is misread here would be taken for the next answer."""
    if not re.fullmatch(rb"[0-9]+" if base == 10 else rb"[0-9a-fA-F]+", text):
        raise OSError("the answer is not HTTP/1.1")
    return int(text, base)


def _reason(error: BaseException | None) -> str:
    if isinstance(error, OSError) and not isinstance(error, SSLError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)  # asyncio has words of its own
    return getattr(error, "strerror", None) or str(error or "") or "no answer"
