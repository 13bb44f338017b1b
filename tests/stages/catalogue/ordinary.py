"""Ordinary material without a secret in it: system logs in the style of LogHub's families, ids, hashes, code, images.

https://github.com/logpai/loghub is what the system logs are modelled on; every line is made here, from a seed.
"""

from __future__ import annotations

import base64
import json
import sysconfig
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from random import Random

FAMILIES: dict[str, list[str]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def _png(random: Random) -> str:
    return base64.b64encode(
        b"\x89PNG\r\n\x1a\n" + bytes(40) + random.randbytes(random.randrange(2_000, 12_000))
    ).decode()


_SIGNS = {
    "a": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    "b": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/",
    "d": "0123456789",
    "h": "0123456789abcdef",
    "u": "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
}


class _Filling(dict[str, str]):
    """What stands for `{d5}` and the like, drawn anew each time it is asked for."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def __missing__(self, what: str) -> str:
        random = self._random
        if what == "ip":
            return ".".join(str(random.randrange(1, 255)) for _ in range(4))
        if what == "uuid":
            return str(uuid.UUID(int=random.getrandbits(128), version=4))
        if what == "png":
            return _png(random)
        return "".join(random.choices(_SIGNS[what[0]], k=int(what[1:])))


def events(count: int, seed: int = 1) -> Iterator[tuple[str, str]]:
    """Events as a log would have them, with the name of their family: each family equally often, some as JSON."""
    random = Random(seed)
    filling = _Filling(random)
    families = list(FAMILIES.items())
    for number in range(count):
        family, templates = families[number % len(families)]
        text = random.choice(templates).format_map(filling)
        if number % 3 == 0 and not text.startswith("{"):
            text = json.dumps({"timestamp": "2026-03-04T23:36:00Z", "level": "info", "message": text, "n": number})
        yield family, text


def code(count: int, seed: int = 1) -> Iterator[str]:
    """Lines of the Python code that is installed here, tests and all."""
    files = sorted(Path(sysconfig.get_path("purelib")).rglob("*.py"))
    Random(seed).shuffle(files)
    for path in files:
        for line in path.read_text("utf-8", "replace").splitlines():
            if line.strip():
                yield line
                count -= 1
                if not count:
                    return
