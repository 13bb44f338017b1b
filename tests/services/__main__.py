"""Gets and runs the servers: `python3 -m tests.services install [NAME…]`, `python3 -m tests.services run NAME`."""

from __future__ import annotations

import argparse
import importlib
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from . import _image
from ._install import install
from ._server import HERE, NotInstalled, Server

NAMES = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


def server_class(name: str) -> type[Server]:
    """The class in the server's file."""
    module = importlib.import_module(f".{name}", __package__)
    (found,) = (kind for kind in vars(module).values() if isinstance(kind, type) and getattr(kind, "name", "") == name)
    return found


def main() -> int:
    """Exit code 0, or 1 with a message."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.services", description="The real servers that tests use.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    getting = verbs.add_parser("install", help="put servers into the cache (all of them, unless named)")
    getting.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*NAMES, "image"]))
    running = verbs.add_parser("run", help="run one until Ctrl-C, its data in a temporary folder")
    running.add_argument("name", choices=NAMES)
    chosen = parser.parse_args()
    try:
        if chosen.verb == "install":
            for name in chosen.names or [*NAMES, "image"]:
                if name == "image":
                    _image.install()
                    continue
                if name not in NAMES:
                    parser.error(f"no server {name!r}; there are: {', '.join(NAMES)}, and image")
                install(server_class(name))
            return 0
        with (
            tempfile.TemporaryDirectory(prefix="tailrace-") as folder,
            server_class(chosen.name)(Path(folder)) as server,
        ):
            print(server.url, flush=True)
            ends = {signal.SIGINT, signal.SIGTERM}
            signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # only now: the server would inherit it
            signal.sigwait(ends)
    except subprocess.CalledProcessError as error:
        words = " ".join(map(str, error.cmd))
        print(f"`{words}` failed with exit code {error.returncode}", file=sys.stderr)
        return 1
    except FileNotFoundError as error:
        print(f"{error.filename} is not installed on this machine", file=sys.stderr)
        return 1
    except NotInstalled as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
