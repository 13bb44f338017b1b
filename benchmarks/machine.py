"""What the figures were measured with: date, hardware, versions."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from pathlib import Path

from .result import Result
from .shipper import Shipper, fill, find


def about(shippers: dict[str, Shipper], results: list[Result]) -> str:
    """A list in Markdown."""
    loads = [result.load1 for result in results if result.load1 is not None]
    lines = [time.strftime("%Y-%m-%d", time.gmtime()), hardware(), f"Python {platform.python_version()}"]
    if loads:
        lines.append(f"load average of the machine during the runs: {min(loads):.1f} to {max(loads):.1f}")
    lines += filter(None, map(version, shippers.values()))
    return "".join(f"- {line}\n" for line in lines)


def hardware() -> str:
    """Cores, CPU, memory and kernel."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cpu = model[1] if model else platform.machine()
    return f"{os.cpu_count()} cores, {cpu}, {memory:.0f} GiB, Linux {platform.release()}"


def version(shipper: Shipper) -> str:
    """The first line of what it says about itself."""
    if not shipper.version:
        return ""
    command = fill(shipper.version, shipper.vars)
    said = subprocess.run([find(command[0]) or command[0], *command[1:]], capture_output=True, text=True, check=False)
    first = next(iter((said.stdout + said.stderr).splitlines()), "")
    return " ".join(first.removesuffix("compiled with:").split())
