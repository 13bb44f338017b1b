"""`make torture`: the same as `tailrace torture`, with a Loki that it may stop, a new one for each trial."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tailrace.cli.torture import trials
from tailrace.torture.trial import Target

from ..services._server import NotInstalled
from ..services.loki import Loki


@contextmanager
def own_loki() -> Iterator[Target]:
    """A running Loki, and how to restart it."""
    # One thread that lives as long as the server: the kernel ends it with the thread that started it.
    with (
        ThreadPoolExecutor(1) as thread,
        tempfile.TemporaryDirectory(prefix="tailrace-loki-") as folder,
        Loki(Path(folder)) as loki,
    ):

        def restart(seconds: float, kill: bool) -> None:
            loki.stop(kill=kill)
            time.sleep(seconds)
            loki.start()

        async def in_thread(seconds: float, kill: bool) -> None:
            await asyncio.get_running_loop().run_in_executor(thread, restart, seconds, kill)

        yield Target(loki.url, restart=in_thread)


def main() -> int:
    """Exit code 0, or 1 if anything was lost or repeated."""
    parser = argparse.ArgumentParser(prog="make torture", description="Counts every line through every fault.")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    try:
        return trials(own_loki, chosen.seed, chosen.runs, chosen.seconds, json=chosen.json)
    except NotInstalled as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
