"""What the engine counts of each component, so that no component has to."""

from __future__ import annotations

from bisect import bisect_left

BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""Upper bounds of the batch-time histogram, in seconds."""


class Meter:
    """Plain numbers, added to once a batch and read by the exporter."""

    def __init__(self, kind: str, component: str) -> None:
        self.kind = kind
        self.component = component
        self.events_in = self.events_out = 0
        self.bytes_in = self.bytes_out = 0
        self.dropped: dict[str, int] = {}
        """Events left out, by reason."""
        self.dead = 0
        """Events put into the dead letter."""
        self.long = self.cut = 0
        """Events over a source's limit, and the bytes left out of them."""
        self.retries = 0
        self.seconds = 0.0
        self.batches = [0] * (len(BUCKETS) + 1)
        """Batches by their time: one count a bucket, the last for those above all."""

    def count_in(self, events: int, size: int) -> None:
        """Note what came in."""
        self.events_in += events
        self.bytes_in += size

    def count_out(self, events: int, size: int, seconds: float) -> None:
        """Note what went on, and the time the batch took."""
        self.events_out += events
        self.bytes_out += size
        self.seconds += seconds
        self.batches[bisect_left(BUCKETS, seconds)] += 1

    def drop(self, reason: str, events: int) -> None:
        """Note events that end here on purpose."""
        self.dropped[reason] = self.dropped.get(reason, 0) + events
