"""One trial: logs are written and rotated, tailrace is killed, its network fails; then everything is counted."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import socket
import string
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any, Literal

import aiohttp
import msgspec

from ._lines import Kind, missed, such_as
from ._log import Log
from ._proxy import Proxy
from ._tally import by_metric, events_in_archive, in_archive, in_loki

AGE_MS = 600_000
"""The first line is as old as this: Loki takes it, and nothing of the trial gets into the future."""
END_SECONDS = 120
"""The longest that the last run, with a good network, may take."""


class Target(msgspec.Struct):
    """A Loki to ship to."""

    url: str
    tenant: str = ""
    restart: Callable[[float, bool], Awaitable[None]] | None = None
    """Stops it for so many seconds (True: by `kill -9`), for a Loki that belongs to the trial alone."""


class Plan(msgspec.Struct):
    """What a seed decides before the start; all else is drawn on the way."""

    seed: int
    kind: Kind
    files: int
    include: str
    names: Literal["numbers", "dates"]
    link: bool
    banner: bool
    chunk: str
    batch: str
    rotate_wait: str
    stream_each: bool
    """Each file is a stream of its own in Loki, else all are one."""
    reconcile: bool

    @classmethod
    def of(cls, seed: int) -> Plan:
        """The same seed, the same plan."""
        chance = random.Random(f"plan {seed}")
        return cls(
            seed=seed,
            kind=chance.choice(["json", "json", "text", "traceback"]),
            files=chance.randint(1, 4),
            include=chance.choice(["logs/*.log", "logs/*"]),
            names=chance.choice(["numbers", "dates"]),
            link=chance.random() < 0.3,
            banner=chance.random() < 0.3,
            chunk=chance.choice(["16KiB", "64KiB", "1MiB"]),
            batch=chance.choice(["16KiB", "64KiB", "1MiB"]),
            rotate_wait=chance.choice(["200ms", "1s", "5s"]),
            stream_each=chance.random() < 0.5,
            reconcile=chance.random() < 0.5,
        )

    def __str__(self) -> str:
        values = msgspec.structs.asdict(self)
        return " ".join(f"{name}={value}" for name, value in values.items() if name != "seed" and value is not False)


class Outcome(msgspec.Struct):
    """What was done, and what came of it."""

    plan: Plan
    seconds: float = 0.0
    lines: int = 0
    bytes: int = 0
    done: dict[str, int] = {}
    loki_lost: int = 0
    loki_twice: int = 0
    archive_lost: int = 0
    archive_twice: int = 0
    counted_too_many: int | None = None
    """How much more `count_over_time` counts than the archive has events; None without Loki."""
    residual: int = 0
    """The farthest from 0 that the books were ever seen."""
    looks: int = 0
    """How often the books were looked at."""
    dead: int = 0
    """Records in the dead letter: nothing here is a reason for one."""
    problems: list[str] = []

    @property
    def exact(self) -> bool:
        """Every line is there as often as it was written, and nothing else went wrong."""
        wrong = (self.loki_lost, self.loki_twice, self.archive_lost, self.archive_twice, self.residual, self.dead)
        return not any(wrong) and not self.problems


async def trial(seed: int, seconds: float, folder: Path, loki: Target | None = None) -> Outcome:
    """Torture tailrace for so long in this empty folder, let it finish, and count."""
    return await Trial(seed, folder, loki).run(seconds)


class Trial:
    """The parts of one trial."""

    def __init__(self, seed: int, folder: Path, loki: Target | None) -> None:
        self.plan = Plan.of(seed)
        self.outcome = Outcome(self.plan)
        self.done: Counter[str] = Counter()
        self.folder = folder
        self.loki = loki
        self.run_name = "trial-" + "".join(random.choices(string.ascii_lowercase, k=12))
        """The value of the label `run`: no other trial has it."""
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]

    async def run(self, seconds: float) -> Outcome:
        """See `trial`."""
        began = time.monotonic()
        began_ns = time.time_ns()
        logs = self._logs(began_ns // 1_000_000 - AGE_MS)
        async with AsyncExitStack() as opened:
            opened.callback(self._kill)
            session = await opened.enter_async_context(aiohttp.ClientSession())
            proxy = None
            if self.loki:
                proxy = await opened.enter_async_context(Proxy(self.loki.url, self._chance("proxy"), self.done))
            self._write_config(proxy)
            until = began + seconds
            async with asyncio.TaskGroup() as group:
                looking = group.create_task(self._look_at_books(session))
                tasks = [group.create_task(self._start_and_stop(until))]
                tasks += [
                    group.create_task(log.write(until, self._chance(log.path.name).choice([60, 400]))) for log in logs
                ]
                tasks += [group.create_task(log.rotate(until)) for log in logs]
                if self.loki and self.loki.restart:
                    tasks.append(group.create_task(self._restart_loki(self.loki.restart, until)))
                await asyncio.wait(tasks)
                if proxy:
                    proxy.calm = True
                for _ in range(2):  # the second has nothing to do
                    await self._finish()
                looking.cancel()
            written = sum((log.written for log in logs), Counter[int]())
            self.outcome.lines, self.outcome.bytes = written.total(), sum(log.size for log in logs)
            await self._count(session, written, began_ns)
        self.outcome.done = dict(self.done)
        self.outcome.seconds = round(time.monotonic() - began, 1)
        return self.outcome

    def _chance(self, what: str) -> random.Random:
        """Randomness of its own for each part: what one of them draws does not depend on the speed of the others."""
        return random.Random(f"{what} {self.plan.seed}")

    # ---- the parts

    def _logs(self, began_ms: int) -> list[Log]:
        plan = self.plan
        (self.folder / "logs").mkdir()
        numbers = count()
        logs = [
            Log(
                self.folder / "logs" / f"app{'abcd'[n]}.log",
                kind=plan.kind,
                names=plan.names,
                link=plan.link and n == 0,
                banner=plan.banner,
                numbers=numbers,
                began_ms=began_ms,
                random=self._chance(f"log {n}"),
                shipped=self._shipped,
                done=self.done,
            )
            for n in range(plan.files)
        ]
        for n, log in enumerate(logs):
            log.others = logs[n + 1 :] + logs[:n]
        return logs

    def _write_config(self, proxy: Proxy | None) -> None:
        plan = self.plan
        stage = {"json": "{ use: parse, format: json }", "traceback": "{ use: parse, format: python }", "text": ""}
        loki = ""
        if self.loki and proxy:
            each = ', file: "{file}"' if plan.stream_each else ""
            loki = (
                f'  loki: {{ use: loki, url: "{proxy.url}", tenant: "{self.loki.tenant}", timeout: 2s,'
                f" labels: {{ app: tailrace-torture, run: {self.run_name}{each} }},"
                f" batch_bytes: {plan.batch}, reconcile: {str(plan.reconcile).lower()} }}\n"
            )
        (self.folder / "tailrace.yaml").write_text(
            "sources:\n"
            f'  app: {{ use: file, include: ["{plan.include}"], chunk_bytes: {plan.chunk},'
            f" rotate_wait: {plan.rotate_wait}, multiline: {'traceback' if plan.kind == 'traceback' else 'off'} }}\n"
            f"stages: [ {stage[plan.kind]} ]\n"
            "sinks:\n"
            f'{loki}  archive: {{ use: jsonl, path: "archive/{{date}}.jsonl.zst", batch_bytes: {plan.batch} }}\n'
            f'exporter: {{ listen: "127.0.0.1:{self._port}" }}\n'
            "state: state\n"
            "drain: 2s\n"
        )

    async def _start_and_stop(self, until: float) -> None:
        chance = self._chance("kill")
        while time.monotonic() < until:
            self._start()
            await asyncio.sleep(
                min(chance.choice([chance.uniform(0, 1), chance.uniform(0.5, 3)]), until - time.monotonic())
            )
            if self._ended():
                continue
            if chance.random() < 0.75:
                self._kill()
                self.done["kill -9"] += 1
            else:
                await self._stop(chance)
            await asyncio.sleep(chance.choice([0, chance.uniform(0, 0.5)]))

    async def _stop(self, chance: random.Random) -> None:
        """SIGTERM; sometimes a second one, or the kill of who has not enough patience."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        self.done["SIGTERM"] += 1
        if chance.random() < 0.3:
            await asyncio.sleep(chance.uniform(0, 0.2))
            self._process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 6  # more than `drain`
        while self._process.poll() is None:
            if time.monotonic() > end:
                self.outcome.problems.append("does not end after SIGTERM")
                self._kill()
            await asyncio.sleep(0.02)
        if self._process.returncode not in (0, 1, -signal.SIGTERM):  # the last: a signal at the very start
            self.outcome.problems.append(f"exit code {self._process.returncode} after SIGTERM: {self._said()}")

    async def _restart_loki(self, restart: Callable[[float, bool], Awaitable[None]], until: float) -> None:
        chance = self._chance("loki")
        while True:
            await asyncio.sleep(chance.uniform(1, 5))
            if time.monotonic() + 1 > until:
                return
            killed = chance.random() < 0.3
            await restart(chance.uniform(0, 2), killed)
            self.done["Loki killed and started" if killed else "Loki stopped and started"] += 1

    async def _look_at_books(self, session: aiohttp.ClientSession) -> None:
        while True:
            with suppress(OSError, aiohttp.ClientError, TimeoutError):
                async with asyncio.timeout(1), session.get(f"http://127.0.0.1:{self._port}/metrics") as page:
                    found = re.findall(r"^tailrace_books_residual_events\{.*\} (\S+)$", await page.text(), re.MULTILINE)
                self.outcome.looks += 1
                self.outcome.residual = max(int(abs(float(value))) for value in [self.outcome.residual, *found])
            await asyncio.sleep(0.1)

    async def _finish(self) -> None:
        """A whole run with `--once` and nothing in its way."""
        self._start("--once")
        assert self._process
        end = time.monotonic() + END_SECONDS
        while self._process.poll() is None:
            if time.monotonic() > end:
                self.outcome.problems.append(f"the last run does not end: {self._said()}")
                self._kill()
            await asyncio.sleep(0.05)
        if self._process.returncode:
            self.outcome.problems.append(f"exit code {self._process.returncode} of the last run: {self._said()}")

    async def _count(self, session: aiohttp.ClientSession, written: Counter[int], began_ns: int) -> None:
        outcome = self.outcome
        archived = in_archive(self.folder / "archive")
        outcome.archive_lost, outcome.archive_twice = missed(written, archived)
        if archived != written:
            outcome.problems.append(f"archive: {such_as(written, archived)}")
        with suppress(FileNotFoundError):
            outcome.dead = (self.folder / "state" / "dead_letter.jsonl").read_bytes().count(b"\n")
        if self.loki:
            session.headers.update({"X-Scope-OrgID": self.loki.tenant} if self.loki.tenant else {})
            start, end, selector = began_ns - (AGE_MS + 1000) * 1_000_000, time.time_ns(), f'{{run="{self.run_name}"}}'
            stored = await in_loki(session, self.loki.url, selector, start, end)
            outcome.loki_lost, outcome.loki_twice = missed(written, stored)
            if stored != written:
                outcome.problems.append(f"loki: {such_as(written, stored)}")
            metric = await by_metric(session, self.loki.url, selector, end)
            outcome.counted_too_many = metric - events_in_archive(self.folder / "archive")

    # ---- the process

    def _start(self, *flags: str) -> None:
        with (self.folder / "stderr").open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tailrace.cli", "run", "--offline", *flags, "tailrace.yaml"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )

    def _kill(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _ended(self) -> bool:
        """It ended although nobody told it to: a problem."""
        assert self._process
        if self._process.poll() is None:
            return False
        self.outcome.problems.append(f"ended by itself with {self._process.returncode}: {self._said()}")
        return True

    def _said(self) -> str:
        return (self.folder / "stderr").read_text(errors="replace")[-600:]

    def _shipped(self, path: Path, whole: bool) -> bool:
        """The checkpoint says that every sink has all of this file, or (not `whole`) tailrace has seen it at all."""
        try:
            status = path.stat()
        except FileNotFoundError:
            return False
        own = [one["offset"] for one in self._positions(begun=not whole) if _identity(one) == _identity_of(status)]
        return status.st_size in own if whole else bool(own)

    def _positions(self, *, begun: bool) -> list[dict[str, Any]]:
        """What the checkpoint holds; with `begun` also what was written down since, before anything was delivered."""
        state = self.folder / "state"
        positions: list[dict[str, Any]] = []
        with suppress(FileNotFoundError):
            sources = msgspec.json.decode((state / "checkpoint.json").read_bytes())["sources"]
            positions += [one["position"] for one in sources.get("app", {}).values() if one["position"]]
        with suppress(FileNotFoundError):
            lines = (state / "flight.jsonl").read_bytes().split(b"\n")[:-1] if begun else []
            positions += [msgspec.json.decode(line)[4] for line in lines if line.startswith(b'["begun"')]
        return positions


def _identity(position: dict[str, Any]) -> tuple[int, int]:
    return position["device"], position["inode"]


def _identity_of(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
