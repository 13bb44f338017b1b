"""What the figures were measured with: date, hardware, versions, flags."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .result import Result
from .shipper import Shipper, fill, find


def about(shippers: Mapping[str, Shipper], results: Sequence[Result]) -> str:
    """Machine and corpora as a list, and those shippers that took part as a table, in Markdown."""
    loads = [result.load1 for result in results if result.load1 is not None]
    lines = [time.strftime("%Y-%m-%d", time.gmtime()), hardware(), f"Python {platform.python_version()}"]
    if loads:
        lines.append(f"load average of the machine during the runs: {min(loads):.1f} to {max(loads):.1f}")
    took_part = {result.rival for result in results if result.status != "cannot"}
    rows = [
        f"| {name} | {version(shipper)} | `{command(name, shipper)}` | {wire(name, results)} |\n"
        for name, shipper in shippers.items()
        if name in took_part
    ]
    table = "\n| shipper | version | started as | sends |\n|---|---|---|---|\n" + "".join(rows) if rows else ""
    return "".join(f"- {line}\n" for line in lines) + table


def hardware() -> str:
    """Cores, CPU, memory and kernel."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cpu = model[1] if model else platform.machine()
    return f"{os.cpu_count()} cores, {cpu}, {memory:.0f} GiB, Linux {platform.release()}"


def version(shipper: Shipper) -> str:
    """The number in the first line of what it says about itself, or that line."""
    if not shipper.version:
        return ""
    command = fill(shipper.version, shipper.vars)
    said = subprocess.run([find(command[0]) or command[0], *command[1:]], capture_output=True, text=True, check=False)
    first = next(iter((said.stdout + said.stderr).splitlines()), "")
    number = re.search(r"\d+\.\d+(\.\d+)*", first)
    return number[0] if number else first


def command(name: str, shipper: Shipper) -> str:
    """How it is started, without this machine's folders."""
    config = f"{shipper.config or name}.s1.{shipper.ext}"
    words = [word.replace("@CFG@", config).replace("@STATE@", "STATE") for word in shipper.cmd]
    return " ".join(word.rpartition("/")[2] if word.startswith("@DIR@") else word for word in words)


def wire(name: str, results: Sequence[Result]) -> str:
    """Protocol, format and compression that it used."""
    return ", ".join(sorted({kind for result in results if result.rival == name for kind in result.kinds}))
