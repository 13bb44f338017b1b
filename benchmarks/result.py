"""What one measurement found: one line of JSON."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Result(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One run of one shipper. MB are 10⁶ bytes of input, whatever was sent; CPU time is the shipper's alone."""

    rival: str
    scenario: str
    mix: str
    input_mb: float
    want: int
    """Records to arrive."""
    status: str
    """`ok`; `short` or `more` records than wanted; `ended`: it was no longer there; `leaks`: a redacting scenario left
    secrets; `wrong`: lines differ from what they should be (if verified); `cannot`: not run."""
    got: int = 0
    wall_s: float = 0.0
    """From exec to the arrival of the last record."""
    cpu_s: float = 0.0
    """User and system time of the whole process tree in that time."""
    start_s: float | None = None
    """From exec to the first push accepted at the sink."""
    mb_per_cpu_s: float | None = None
    rec_per_cpu_s: float | None = None
    mb_per_s: float | None = None
    rec_per_s: float | None = None
    peak_rss_mb: float | None = None
    load1: float | None = None
    """The machine's load average over the minute before."""
    alive: bool = False
    """It was still following the file at the end, as it should."""
    exit: int | None = None
    requests: int | None = None
    wire_mb: float | None = None
    """Request bodies as sent."""
    line_mb: float | None = None
    """The lines in them, without line breaks (JSON: as escaped)."""
    kinds: dict[str, int] = {}
    """Requests by protocol, format and compression."""
    leaks: dict[str, int] = {}
    """Planted secrets still there; `card` is a near count."""
    labels: int | None = None
    """Label sets."""
    wrong_lines: int | None = None
    """If verified: lines that are missing, and lines that should not be there."""
    archived: int | None = None
    """S6: lines in the archive."""
    stage_s: dict[str, float] = {}
    """S6: seconds that each of tailrace's stages took."""
    sink_cpu_s: float | None = None
    sink_errors: int | None = None
    same_bytes: bool | None = None
    """S4: the output is as long as the input."""
    out_mb: float | None = None
    log_tail: str = ""
    """The end of what the shipper said, when it did not do as it should."""

    @property
    def counts(self) -> bool:
        """Whether its speed is worth anything: all records arrived, and no others."""
        return self.status in ("ok", "leaks")


def read(paths: list[Path]) -> list[Result]:
    """The results in files of JSON lines. Raises msgspec.DecodeError."""
    decode = msgspec.json.Decoder(Result).decode_lines
    results: list[Result] = []
    for path in paths:
        results += decode(path.read_bytes())
    return results
