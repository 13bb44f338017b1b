"""The real servers as fixtures, started once a session; every test in this folder is marked `live`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from ..services._server import NotInstalled, Server
from ..services.chromium import Chromium
from ..services.jaeger import Jaeger
from ..services.kafka import Kafka
from ..services.loki import Loki
from ..services.otelcol import Otelcol
from ..services.prometheus import Prometheus
from ..services.tempo import Tempo

S = TypeVar("S", bound=Server)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session")
def loki(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loki]:
    with _started(Loki, tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with _started(Chromium, tmp_path_factory) as browser:
        yield browser


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    with _started(Jaeger, tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="session")
def tempo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tempo]:
    with _started(Tempo, tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="session")
def otelcol(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Otelcol]:
    with _started(Otelcol, tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with _started(Kafka, tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with _started(Prometheus, tmp_path_factory) as server:
        yield server


def _started(kind: type[S], folders: pytest.TempPathFactory) -> S:
    """A server to enter; skips the test when it is not installed, or fails it if `TAILRACE_LIVE=required`."""
    missing = ""
    try:
        kind.program(kind.name)
    except NotInstalled as error:
        missing = str(error)
    if missing and os.environ.get("TAILRACE_LIVE") == "required":
        pytest.fail(missing, pytrace=False)
    if missing:
        pytest.skip(missing)
    return kind(folders.mktemp(kind.name))
