"""Makes the pictures in docs/how-to: `python -m tailrace.tests.live.screenshots`, with the real Loki and Chromium."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from ..services._server import NotInstalled
from ..services.chromium import Chromium
from ..services.loki import Loki
from .agents import shipped

DOCS = Path(__file__).parent.parent.parent / "docs" / "how-to"
SECONDS = 45
"""Until the curve has a shape."""
SIZE = (1120, 900)
PHONE = (390, 760)


async def main() -> None:
    """Light and dark with all well, and a phone while Loki is away."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Loki(Path(folder, "loki")) as loki,
        Chromium(Path(folder, "chromium")) as chromium,
        shipped(Path(folder, "agent"), loki.url, pace=0.05) as shipper,
    ):
        async with chromium.tab(width=SIZE[0], height=SIZE[1]) as tab:
            await tab.open(f"http://127.0.0.1:{shipper.port}/")
            await asyncio.sleep(SECONDS)
            for dark, name in ((False, "light"), (True, "dark")):
                await tab.like(dark=dark)
                DOCS.joinpath(f"status-page-{name}.png").write_bytes(await tab.picture(*SIZE))
            await tab.like(dark=False)
            await tab.size(*PHONE)
            loki.stop()

            async def failing() -> bool:
                return await tab.text("#verdict") == "loki fails"

            await tab.until(failing)
            DOCS.joinpath("status-page-phone.png").write_bytes(await tab.picture(*PHONE))


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except NotInstalled as error:
        sys.exit(str(error))
