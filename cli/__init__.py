"""The command line, one file a command."""

from __future__ import annotations

import sys


def main() -> None:
    """The `tailrace` command."""
    from .app import app

    app(prog_name="tailrace")


if __name__ == "__main__":
    sys.exit(main())
