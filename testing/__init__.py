"""What tests are built from, tailrace's own and yours: batches, sources and sinks in memory, whole configs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .memory import READ_AT, ListSink, ListSource, batch_of, lines_of, run_stage
    from .rehearsal import Lost, Sent, Shipped, ship

__all__ = [
    "READ_AT",
    "ListSink",
    "ListSource",
    "Lost",
    "Sent",
    "Shipped",
    "batch_of",
    "lines_of",
    "run_stage",
    "ship",
]


def __getattr__(name: str) -> object:
    """Import on first use: pytest imports this package with the plugin, in every project that has tailrace."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import memory, rehearsal

    return getattr(memory if hasattr(memory, name) else rehearsal, name)
