"""The command line, one file a command."""


def main() -> None:
    """The `tailrace` command."""
    from .app import app

    app(prog_name="tailrace")
