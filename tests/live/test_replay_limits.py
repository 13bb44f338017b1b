"""A replay beside live logs in a Loki with little room: a low rate limit, and its own ideas of what a query shows."""

from __future__ import annotations

import json
import time
from pathlib import Path

from ..services import loki as service
from ..services.loki import Loki
from .numbered import each_once
from .shipper import Shipper, new_app
from .test_replay import DAY, HOUR, SECOND, Replay, line, numbers_in, write

LIVE = """
sources: {{ app: {{ use: file, include: ["live.log"] }} }}
stages: [{{ use: parse, format: json }}]
sinks: {{ loki: {{ use: loki, url: "{url}", labels: {{ app: {app} }}, batch_wait: 100ms }} }}
state: state
"""


def test_a_replay_gives_way_to_live_logs_where_loki_takes_little(tmp_path: Path) -> None:
    """1 MB a second for both: told to go at a hundred times that, the replay learns it from the 429s."""
    app, count = new_app(), 24_000
    flags = ("-distributor.ingestion-rate-limit-mb=1", "-distributor.ingestion-burst-size-mb=1")
    with Loki(tmp_path / "loki", *flags) as loki, Shipper(tmp_path, LIVE.format(url=loki.url, app=app)) as shipper:
        replay = Replay(tmp_path / "old", loki, app)
        begin = time.time_ns() - 9 * HOUR
        write(tmp_path / "old" / "logs", [line(n, begin + n * SECOND, pad="x" * 250) for n in range(count)], 3)
        live = tmp_path / "live.log"
        live.touch()
        shipper.start()
        process = replay.start("--rate", "100MB")
        lags: list[float] = []
        number = 0
        while process.poll() is None:
            with live.open("ab") as file:
                for _ in range(10):
                    file.write(line(number, time.time_ns()) + b"\n")
                    number += 1
            newest = loki.query(f'{{app="{app}", replay=""}}', start=time.time_ns() - 60 * SECOND)
            if newest:
                lags.append((time.time_ns() - newest[-1].time_ns) / SECOND)
            time.sleep(0.1)
        out, _ = process.communicate()
        said = (tmp_path / "old" / "stderr").read_text()
        assert process.returncode == 0, said
        assert "429" in said
        shipper.until(lambda: len(numbers_in(loki, f'{{app="{app}", replay=""}}')) == number)
        assert max(lags) < 5, lags
        each_once(numbers_in(loki, f'{{app="{app}", replay=""}}'), number)
        each_once(numbers_in(loki, f'{{app="{app}", replay="{json.loads(out)["name"]}"}}'), count)


RETENTION = """
  retention_period: 30d
  retention_stream:
    - { selector: '{level=~"debug|info"}', priority: 1, period: 2d }
    - { selector: '{level="info"}', priority: 2, period: 20d }
"""


def test_a_plan_tells_what_retention_would_delete_and_by_which_rule(tmp_path: Path) -> None:
    config = tmp_path / "loki.yaml"
    config.write_text(Path(service.__file__).with_name("loki.yaml").read_text().rstrip() + RETENTION)
    flags = ("-compactor.retention-enabled=true", "-compactor.delete-request-store=filesystem")
    with Loki(tmp_path / "loki", *flags, f"-config.file={config}") as loki:
        # 10 a day of each of the four levels, for 40 days.
        now = time.time_ns()
        lines = [line(n, now - 40 * DAY + HOUR + n // 4 * DAY // 10) for n in range(1600)]
        write(tmp_path / "logs", lines, 4)
        code, plan = Replay(tmp_path, loki, new_app()).run("--plan")
        assert code == 3
        debug, info, others = '{level=~"debug|info"}', '{level="info"}', "retention_period"
        assert plan["deleted_by"] == {debug: 380, info: 200, others: 200}
        assert plan["deleted"] == 780


def test_a_plan_foretells_exactly_what_no_query_shows_before_it_is_flushed(tmp_path: Path) -> None:
    """With what Loki does by default: the file for tests has it show all."""
    app = new_app()
    with Loki(tmp_path / "loki", "-ingester.query-store-max-look-back-period=0") as loki:
        begin, count = time.time_ns() - 5 * HOUR, 2000
        write(tmp_path / "logs", [line(n, begin + n * 5 * HOUR // count) for n in range(count)], 3)
        replay = Replay(tmp_path, loki, app)
        code, plan = replay.run("--plan")
        assert code == 0
        seconds = (begin + plan["invisible"] * 5 * HOUR // count - plan["at_ns"]) / -SECOND
        assert abs(seconds - (2 * 60 + 41) * 60) < 20
        code, receipt = replay.run("--verify")
        # One that shows just now no longer does when it is asked for: every 9 s comes one.
        found = numbers_in(loki, f'{{app="{app}"}}')
        assert 0 <= count - plan["invisible"] - len(found) <= 4
        assert sorted(found) == list(range(count - len(found), count))
        assert (code, receipt["delivered"]) == (1, count)
        assert receipt["verified"]["unseen"] == receipt["verified"]["missing"]
        assert abs(receipt["verified"]["unseen"] - plan["invisible"]) <= 4
        loki.flush()
        code, receipt = replay.run("--verify")
        assert (code, receipt["verified"]["missing"]) == (0, 0)
        assert sorted(numbers_in(loki, f'{{app="{app}"}}')) == list(range(count))
