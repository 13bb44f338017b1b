"""The pages of several workers as one: each serves its own to this machine, the first one serves them all together."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

import msgspec

from .component import ProbeError
from .http_client import Client
from .pages import Page, Pages
from .status import Status, merged
from .status_page import status_page

PORT = "port"
"""The file in a worker's folder that tells where it answers on this machine."""
PATIENCE = 5.0
"""Seconds to wait for the answer of a worker."""
_OWN = re.compile(r'(?<=[{,])worker="')
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{?)")
_SILENT = Page(b"does not answer: it is starting, or starting again\n", status=HTTPStatus.SERVICE_UNAVAILABLE)


class Merged:
    """Serves what the exporters of all workers serve: `/metrics` with a label `worker`, and the pages about them."""

    def __init__(self, listen: str, state: Path, folders: Sequence[Path], pid: int) -> None:
        host, _, port = listen.rpartition(":")
        self.host, self.port = host.strip("[]") or "127.0.0.1", int(port)
        self._state = state
        self._folders = folders
        self._pid = pid
        """Of the process that started the workers."""
        self._pages = Pages(
            {
                "/": status_page,
                "/metrics": self._metrics,
                "/-/ready": lambda headers: self._verdict("/-/ready"),
                "/-/healthy": lambda headers: self._verdict("/-/healthy"),
                "/-/status": self._status,
            }
        )

    async def open(self) -> None:
        """Listen. Raises ProbeError when the port cannot be had."""
        try:
            self.port = await self._pages.open(self.host, self.port)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise ProbeError(f"cannot listen on {self.host}:{self.port}: {reason}", "listen") from None

    async def close(self) -> None:
        """Stop listening."""
        await self._pages.close()

    async def _metrics(self, headers: Mapping[str, str]) -> Page:
        pages = await self._ask("/metrics", {"Accept": headers.get("accept", "")})
        served = [page for page in pages if page.status == HTTPStatus.OK]
        text = merge([page.body.decode() if page.status == HTTPStatus.OK else "" for page in pages])
        return Page(text.encode(), served[0].type if served else Page(b"").type)

    async def _verdict(self, path: str) -> Page:
        pages = await self._ask(path)
        wrong = [f"worker {n}: {page.body.decode()}" for n, page in enumerate(pages) if page.status != HTTPStatus.OK]
        return Page("".join(wrong or ["ok\n"]).encode(), status=max(page.status for page in pages))

    async def _status(self, headers: Mapping[str, str]) -> Page:
        pages = await self._ask("/-/status", {"Prefer": headers.get("prefer", "")})
        if any(page.status != HTTPStatus.OK for page in pages):
            return Page(b"not all workers answer\n", status=HTTPStatus.SERVICE_UNAVAILABLE)
        told = [msgspec.json.decode(page.body, type=Status) for page in pages]
        body = msgspec.json.encode(merged(told, self._state, self._pid))
        return Page(body, "application/json; charset=utf-8")

    async def _ask(self, path: str, headers: Mapping[str, str] = {}) -> list[Page]:
        return await asyncio.gather(*(_page(folder, path, headers) for folder in self._folders))


async def _page(folder: Path, path: str, headers: Mapping[str, str]) -> Page:
    """What a worker answers."""
    try:
        url = f"http://127.0.0.1:{int((folder / PORT).read_text())}"
        client = Client(url, headers=dict(headers), timeout=PATIENCE)
        answer = await client.request("GET", url + path)
        await client.close()
        return Page(answer.body, answer.headers.get("Content-Type", Page(b"").type), HTTPStatus(answer.status))
    except (OSError, ValueError):
        return _SILENT


def merge(pages: Iterable[str]) -> str:
    """Pages of metrics (Prometheus' text format, or OpenMetrics) as one, each sample with the label `worker`.

    A label `worker` that a sample has already becomes `exported_worker`, as Prometheus itself does it.
    """
    families: dict[str, tuple[list[str], list[str]]] = {}
    end = ""
    for worker, page in enumerate(pages):
        about: list[str] = []
        samples: list[str] = []
        for line in page.splitlines():
            if line == "# EOF":
                end = "# EOF\n"
            elif line.startswith("# "):
                if line.startswith("# HELP "):
                    about, samples = families.setdefault(line.split(" ", 3)[2], ([], []))
                if line not in about:
                    about.append(line)
            elif line:
                samples.append(_of(worker, line))
    return "".join("\n".join([*about, *samples, ""]) for about, samples in families.values()) + end


def _of(worker: int, sample: str) -> str:
    found = _SAMPLE.match(sample)
    if found is None:
        return sample
    name, brace = found.groups()
    rest = _OWN.sub('exported_worker="', sample[len(name) :])
    return f'{name}{{worker="{worker}"' + (f",{rest[1:]}" if brace else f"}}{rest}")
