"""The command line, one file a command."""

import os
import signal
from types import FrameType


def main() -> None:
    """The `tailrace` command."""
    if os.getpid() == 1:  # the first process of a container: the kernel lets no signal end it that it does not handle
        signal.signal(signal.SIGTERM, _end)
    from .app import app

    app(prog_name="tailrace")


def _end(number: int, frame: FrameType | None) -> None:
    """End with the code that a shell tells of a process which this signal has ended."""
    os._exit(128 + number)
