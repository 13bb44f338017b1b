"""A real server for tests: on free ports of 127.0.0.1, ready before anybody uses it, gone when its parent is."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

HERE = Path(__file__).parent


class NotInstalled(Exception):
    """A server's program is not in the cache."""


class HttpError(Exception):
    """The server answered with an error; `status` and its own words."""

    def __init__(self, url: str, status: int, body: str) -> None:
        super().__init__(f"{url} answered {status}: {body.strip()}")
        self.status = status
        self.body = body


class Server:
    """One server process with its data in a folder. Restarts keep the ports and the data."""

    name: ClassVar[str]
    """The name of the file, of the folder in the cache, and of the program."""
    version: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    """What the folder in the cache holds."""
    images: ClassVar[Mapping[str, tuple[str, ...]]]
    """Container images of this version, and the paths of the programs inside."""
    tells_version: ClassVar[tuple[str, ...]] = ("--version",)
    """What its programs are asked for their version with: shows that they run."""
    ports_needed: ClassVar[int] = 1

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.flags = flags
        self.ports = free_ports(self.ports_needed)
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def hindrance(cls) -> str:
        """Why it cannot be got on this machine; empty when it can."""
        return ""

    @classmethod
    def build(cls, into: Path, scratch: Path) -> None:
        """Get the programs without a container engine. Raises `CalledProcessError`."""
        raise NotImplementedError

    @classmethod
    def complete(cls, into: Path) -> None:
        """Add what neither the images nor `build` give."""

    def command(self) -> list[str]:
        """What to run."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Variables for the process beside the inherited ones."""
        return {}

    @classmethod
    def home(cls) -> Path:
        """The folder in the cache that holds the programs of this version."""
        return cache() / f"{cls.name}-{cls.version}"

    @classmethod
    def program(cls, name: str) -> Path:
        """Where a program is. Raises `NotInstalled` saying what would do."""
        path = cls.home() / name
        if not os.access(path, os.X_OK):
            raise NotInstalled(f"{name} {cls.version} is not in {cache()}: `make services` gets it")
        return path

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def log(self) -> Path:
        """What it printed, over all its starts."""
        return self.folder / f"{self.name}.log"

    def start(self, seconds: float = 90) -> None:
        """Start it and wait until it is ready. Raises RuntimeError with the end of its log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self.command()
        if guard := shutil.which("setpriv"):  # the kernel ends the server with us, even when we are killed
            command = [guard, "--pdeathsig", "KILL", *command]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=os.environ | self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop it
            )
        deadline = time.monotonic() + seconds
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                words = self.log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"{self.name} did not get ready within {seconds:g} s; it said:\n{words}")
            time.sleep(0.05)

    def stop(self, *, kill: bool = False) -> None:
        """Stop it and wait for its end; `kill`: without a chance to tidy up. Stopping twice is fine."""
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def ready(self) -> bool:
        """True when it says so itself."""
        try:
            self.get("/ready")
        except (HttpError, OSError):
            return False
        return True

    def get(self, path: str, parameters: Mapping[str, str | int] | None = None, **headers: str) -> bytes:
        """GET. Raises `HttpError`, or OSError when nobody answers."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        return self._ask(urllib.request.Request(f"{self.url}{path}{query}", headers=headers))

    def post(self, path: str, body: bytes = b"", **headers: str) -> bytes:
        """POST. Raises `HttpError`, or OSError when nobody answers."""
        return self._ask(urllib.request.Request(f"{self.url}{path}", body, headers, method="POST"))

    def _ask(self, request: urllib.request.Request) -> bytes:
        direct = urllib.request.build_opener(
            urllib.request.ProxyHandler({})
        )  # never through a proxy of the environment
        try:
            with direct.open(request, timeout=60) as answer:
                body: bytes = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise HttpError(request.full_url, error.code, error.read().decode(errors="replace")) from None
        return body

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def cache() -> Path:
    """Where the programs are kept, outside the checkout: `TAILRACE_CACHE`, else the user's cache folder."""
    if folder := os.environ.get("TAILRACE_CACHE"):
        return Path(folder).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tailrace"


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on.

    Below the range that outgoing connections use: there, a client that keeps trying a stopped server's port may
    at last be given that very port as its own, and talk to itself.
    """
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
