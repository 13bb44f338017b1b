"""The picture of docs/performance.md. Needs matplotlib (dependency group `bench`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .result import Result
from .table import LIMIT, Groups, grouped, median, remark, values

if TYPE_CHECKING:
    from matplotlib.axes import Axes  # type: ignore[import-not-found,unused-ignore]  # only for pictures

TITLES = {
    ("s1", "json"): "S1: raw lines to Loki",
    ("s2", "json"): "S2: JSON, level label, four redactions",
    ("s2", "llm"): "S2 on LLM calls of 4 to 16 KB",
    ("s3", "traceback"): "S3: tracebacks joined and parsed",
    ("s4", "json"): "S4: file to file",
    ("s5", "json"): "S5: JSON, level label",
}
"""The panels."""
OURS = "#1f6feb"
OTHERS = "#9aa4b2"
LIMITS = "#dde3ea"


def draw(results: Sequence[Result], path: Path) -> None:
    """Write an SVG: a panel for each scenario, a bar for each shipper, with the lowest and the highest run.
    The same results make the same bytes. Raises ImportError without matplotlib."""
    import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore]  # only for pictures

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "tailrace", "svg.fonttype": "none", "font.size": 8})
    from matplotlib import pyplot as plt

    groups = grouped(results)
    places = [place for place in TITLES if place in groups]
    height = max(1, (len(places) + 1) // 2)
    figure, axes = plt.subplots(height, 2, figsize=(9, 2.2 * height), squeeze=False, layout="constrained")
    for axis, place in zip(axes.flat, places, strict=False):
        _panel(axis, place, groups)
    for axis in axes.flat[len(places) :]:
        axis.set_visible(False)
    figure.supxlabel("MB of input for one second of CPU time: more is better. The line spans lowest and highest run.")
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def _panel(axis: Axes, place: tuple[str, str], groups: Groups) -> None:
    shippers = groups[place]
    names = list(shippers)
    for row, name in enumerate(names):
        runs = shippers[name]
        speed = median(runs, "mb_per_cpu_s")
        if speed is None:
            axis.text(0, row, f" {remark(runs)}", va="center", color="#b00020")
            continue
        speeds = values(runs, "mb_per_cpu_s")
        color = OURS if name == "tailrace" else LIMITS if name == LIMIT else OTHERS
        axis.barh(row, speed, color=color, height=0.7)
        axis.plot([min(speeds), max(speeds)], [row, row], color="#30363d", linewidth=1)
        axis.text(max(speeds), row, f" {speed:.0f}", va="center")
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)  # the fastest on top
    axis.set_title(TITLES[place], loc="left", fontsize=9)
    axis.margins(x=0.12)
    axis.spines[["top", "right"]].set_visible(False)
