"""Tries what a config names, before the first byte is read: endpoints, tokens, folders, ports."""

from __future__ import annotations

import asyncio
import os
import socket

import msgspec

from ..pipeline.component import ProbeError, Sink, Source
from .load import Config
from .problem import Problem

PATIENCE = 15.0
"""Seconds after which an endpoint that does not answer is given up."""


async def probe(config: Config) -> list[Problem]:
    """Every problem found by trying, all components at once; leaves nothing open and nothing behind.

    Works on copies: a sink of the config itself is not opened by this.
    """
    found = [*_state(config), *_exporter(config)]
    parts = {place: part for place, part in config.components().items() if isinstance(part, Source | Sink)}
    for problem in await asyncio.gather(*(_try(config, place, part) for place, part in parts.items())):
        found += problem
    return sorted(found, key=lambda problem: (problem.line, problem.column))


async def _try(config: Config, place: str, component: Source | Sink) -> list[Problem]:
    component = msgspec.structs.replace(component)
    try:
        async with asyncio.timeout(PATIENCE):
            if isinstance(component, Sink):
                await component.open()
            try:
                await component.probe()
            finally:
                if isinstance(component, Sink):
                    await component.close()
    except ProbeError as error:
        return [config.problem(f"{place}.{error.option}" if error.option else place, str(error))]
    except TimeoutError:
        return [config.problem(place, f"no answer within {PATIENCE:g} s", "see whether it runs, or `--offline`")]
    except Exception as error:  # a component of a user's own may raise anything
        return [config.problem(place, f"cannot be tried: {type(error).__name__}: {error}")]
    return []


def _state(config: Config) -> list[Problem]:
    """The state folder, or the nearest folder above it that exists, must take files."""
    folder = config.state.absolute()
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        return [config.problem("state", f"{folder} is not a folder")]
    if not os.access(folder, os.W_OK | os.X_OK):
        return [config.problem("state", f"the folder {folder} cannot be written to by user {os.geteuid()}")]
    return []


def _exporter(config: Config) -> list[Problem]:
    """The exporter's port must be free."""
    if config.exporter is None:
        return []
    listen = config.exporter.listen
    try:
        family, _, _, _, address = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM)[0]
        with socket.create_server(address[:2], family=family):
            pass
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        return [
            config.problem("exporter.listen", f"cannot listen on {listen}: {reason}", "choose another port or host")
        ]
    return []
