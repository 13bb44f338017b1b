"""The status page in a browser, of runs that ship just now."""

from __future__ import annotations

from pathlib import Path

from ..services._server import free_ports
from ..services.chromium import Chromium, Tab
from .agents import answers, shipped
from .shipper import Shipper

MARKUP = "<img src=x onerror=document.title='taken'><script>document.title='taken'<"
"""What a file may be called."""
CONTRASTS = """(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = numbers(colour).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if ((numbers(colour)[3] ?? 1) === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")]
    .filter((node) => node.checkVisibility() && [...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim()))
    .filter((node) => !["SCRIPT", "STYLE", "NOSCRIPT"].includes(node.tagName))
    .map((node) => {
      const pair = [light(getComputedStyle(node).color), light(ground(node))].sort((a, b) => b - a);
      return [(pair[0] + 0.05) / (pair[1] + 0.05), node.textContent];
    });
})()"""
"""Of every text that is shown, its contrast to what is behind it (WCAG 2), and the text."""
WORKERS = "[...document.querySelectorAll('#files tr')].map((row) => row.lastChild.innerText)"
BOOKS = "[...document.querySelectorAll('#books tr')].map((row) => [...row.children].map((cell) => cell.textContent))"


async def contrasts(tab: Tab) -> list[tuple[float, str]]:
    """Sorted, the worst first."""
    return sorted((float(ratio), text) for ratio, text in await tab.say(CONTRASTS))


async def moving(tab: Tab) -> None:
    """Wait until rates are shown."""

    async def moves() -> bool:
        told = (await tab.text("#events")).split(" ")[0].replace(",", "")
        return told.replace(".", "").isdecimal() and float(told) > 0 and bool(await tab.text("#books"))

    await tab.until(moves)


def number(cell: str) -> int:
    return int(cell.replace(",", ""))


def nobody() -> str:
    """Where no Loki is."""
    return f"http://127.0.0.1:{free_ports(1)[0]}"


async def test_the_page_shows_live_numbers_and_asks_nobody_else(tmp_path: Path, chromium: Chromium) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / f"{MARKUP}.json").write_text(2000 * '{"level":"info","message":"from an odd file"}\n')
    with shipped(tmp_path, nobody(), "--offline") as shipper:
        async with chromium.tab() as tab:
            await tab.open(f"http://127.0.0.1:{shipper.port}/")
            await moving(tab)
            first: list[list[str]] = await tab.say(BOOKS)

            async def failing() -> bool:
                return "loki fails" in await tab.text("#verdict") and bool(await tab.text("#troubles"))

            await tab.until(failing)

            async def further() -> bool:
                now: list[list[str]] = await tab.say(BOOKS)
                return number(now[0][1]) > number(first[0][1]) and number(now[0][3]) > number(first[0][3])

            await tab.until(further)
            books: list[list[str]] = await tab.say(BOOKS)
            assert [row[0] for row in books] == ["archive", "errors", "loki"]
            for row in books:
                read, *parts = map(number, row[1::2])
                assert (read, parts[-1]) == (sum(parts), 0)
            assert number(books[1][5]) > number(books[0][5]) > 0, "the errors' own sink does not take all"
            assert [await tab.text(f"#{kind} h3") for kind in ("sources", "stages", "sinks")] == [
                "sessions file",
                "parse",
                "archive jsonl",
            ]
            assert "Connect" in await tab.text("#sinks .fails .error")
            assert "delivery failed, trying again" in await tab.text("#troubles")
            assert " an event" in await tab.text("#stages .left")
            assert MARKUP in await tab.text("#files"), "a name is text"
            few: int = await tab.say("document.querySelectorAll('#files tr').length")
            await tab.say("document.querySelector('#all-files').click()")
            assert await tab.say("document.querySelectorAll('#files tr').length") > few == 12
            assert await tab.say("document.querySelectorAll('main img, main script').length") == 0
            assert await tab.say("document.querySelectorAll('#wires .runs').length > 5")
            assert "taken" not in await tab.say("document.title")
            assert tab.complaints == []
            own = f"http://127.0.0.1:{shipper.port}/"
            assert {url for url in tab.asked if not url.startswith(("data:", "about:"))} == {own, f"{own}-/status"}


async def test_light_dark_and_narrow_can_all_be_read(tmp_path: Path, chromium: Chromium) -> None:
    with shipped(tmp_path, nobody(), "--offline") as shipper:
        async with chromium.tab() as tab:
            await tab.open(f"http://127.0.0.1:{shipper.port}/")
            await moving(tab)
            grounds = []
            for dark in (False, True):
                await tab.like(dark=dark)
                for width in (1280, 360):
                    await tab.size(width, 800)
                    ratios = await contrasts(tab)
                    assert len(ratios) > 40
                    assert ratios[0][0] >= 4.5, ratios[0]
                    assert await tab.say("document.documentElement.scrollWidth") <= width
                grounds.append(await tab.say("getComputedStyle(document.body).backgroundColor"))
            assert grounds == ["rgb(244, 243, 239)", "rgb(16, 19, 21)"]


async def test_a_run_that_is_gone_is_told_with_the_age_of_the_numbers_and_comes_back(
    tmp_path: Path, chromium: Chromium
) -> None:
    with shipped(tmp_path, nobody(), "--offline", more="drain: 1s\n") as shipper:
        async with chromium.tab() as tab:
            await tab.open(f"http://127.0.0.1:{shipper.port}/")
            await moving(tab)
            shipper.kill()

            async def old() -> bool:
                return (await tab.text("#age")).startswith("These numbers are 2 s old")

            await tab.until(old)
            assert await tab.text("#silence") == "tailrace does not answer; asking again each second."
            assert await tab.text("#verdict") == "no answer"
            assert await tab.say("document.body.className") == "stale"
            assert (await contrasts(tab))[0][0] >= 4.5
            shipper.start("--offline")

            async def back() -> bool:
                return not await tab.say("document.body.className") and "events/s" in await tab.text("#events")

            await tab.until(back)
            assert await tab.say("document.querySelector('#silent').hidden")
            assert all("ERR_CONNECTION_REFUSED" in complaint for complaint in tab.complaints)


async def test_several_workers_are_one_page(tmp_path: Path, chromium: Chromium) -> None:
    config = 'workers: 2\nsources: { app: { use: file, include: ["logs/*.log"] } }\n'
    config += 'sinks: { archive: { use: jsonl, path: "archive.jsonl" } }\nexporter: { listen: "127.0.0.1:@PORT@" }\n'
    (tmp_path / "logs").mkdir()
    for name in "abcdefghijkl":
        (tmp_path / "logs" / f"{name}.log").write_text("one\ntwo\n")
    with Shipper(tmp_path, config) as shipper:
        shipper.start().until(lambda: answers(shipper))
        async with chromium.tab() as tab:
            await tab.open(f"http://127.0.0.1:{shipper.port}/")

            async def delivered() -> bool:
                rows: list[list[str]] = await tab.say(BOOKS)
                return [row[1::2] for row in rows] == [["24", "24", "0", "0", "0", "0"]]

            await tab.until(delivered)
            workers: list[str] = await tab.say(WORKERS)
            assert set(workers) == {"0", "1"}
            assert await tab.text("#no-stages") == "no stages"
            assert tab.complaints == []
        assert shipper.stop().code == 0
