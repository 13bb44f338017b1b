"""Loki's settings that decide on old logs, as it tells them itself."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import msgspec
import yaml

from ..pipeline.options import Size
from ..pipeline.sinks.loki import Loki
from .retention import Rule, rules, seconds_of

NANOS = 1_000_000_000
FLUSHED_AFTER = 41 * 60.0
"""Seconds: so much longer than `max_chunk_age` Loki itself looks for entries in what was not flushed."""
NO_TENANT = "fake"
"""Loki's own name for who it is told nothing of."""


class Limits(msgspec.Struct):
    """Loki's settings that decide on old logs; its defaults where it does not tell them."""

    told: bool = False
    """By Loki itself."""
    reject_old: bool = True
    max_age: float = 7 * 86_400.0
    """Seconds."""
    grace: float = 600.0
    """Seconds that an entry may lie in the future."""
    max_chunk_age: float = 7200.0
    idle: float = 1800.0
    """Seconds without a push after which a chunk is flushed."""
    max_line: int = 256 << 10
    truncates: bool = False
    max_labels: int = 15
    max_label_value: int = 2048
    max_metadata: int = 64 << 10
    max_pairs: int = 128
    rate: float = 4 * (1 << 20)
    """Bytes a second, of the tenant …"""
    stream_rate: float = 3 * (1 << 20)
    """… and of each stream."""
    max_streams: int = 5000
    retention: float = 0.0
    """Seconds; 0: nothing is deleted …"""
    retention_rules: list[Rule] = []
    """… but in streams that one of these matches."""
    look_back: float = 0.0
    """Seconds up to which entries show before they are flushed, -1: all do; 0: as the age of chunks says."""
    ingesters_within: float = 10_800.0

    @property
    def window_ns(self) -> int:
        """How far behind the newest entry of its stream one may be."""
        return int(self.max_chunk_age / 2 * NANOS)

    @property
    def shown(self) -> float | None:
        """Seconds: what is older shows only once it is flushed. None: all shows at once."""
        if self.look_back < 0 or not self.ingesters_within:
            return None
        return min(self.ingesters_within, self.look_back or self.max_chunk_age + FLUSHED_AFTER)


def parse_limits(config: str, tenant: str = "") -> Limits:
    """From what Loki says at `/config`, and of a tenant at `/config/tenant/v1/limits`, both YAML."""
    sections = {name: _section(config, name) for name in ("limits_config", "ingester", "querier", "compactor")}
    limits = sections["limits_config"] | _yaml(tenant)
    ingester, querier = sections["ingester"], sections["querier"]
    known = Limits()
    if not limits:
        return known
    deletes = bool(sections["compactor"].get("retention_enabled"))
    look_back = seconds_of(ingester.get("query_store_max_look_back_period"), 0.0)
    return Limits(
        told=True,
        reject_old=bool(limits.get("reject_old_samples", True)),
        max_age=seconds_of(limits.get("reject_old_samples_max_age"), known.max_age),
        grace=seconds_of(limits.get("creation_grace_period"), known.grace),
        max_chunk_age=seconds_of(ingester.get("max_chunk_age"), known.max_chunk_age),
        idle=seconds_of(ingester.get("chunk_idle_period"), known.idle),
        max_line=_bytes(limits.get("max_line_size"), known.max_line),
        truncates=bool(limits.get("max_line_size_truncate")),
        max_labels=int(limits.get("max_label_names_per_series", known.max_labels)),
        max_label_value=int(limits.get("max_label_value_length", known.max_label_value)),
        max_metadata=_bytes(limits.get("max_structured_metadata_size"), known.max_metadata),
        max_pairs=int(limits.get("max_structured_metadata_entries_count", known.max_pairs)),
        rate=float(limits.get("ingestion_rate_mb", 4)) * (1 << 20),
        stream_rate=_bytes(limits.get("per_stream_rate_limit"), int(known.stream_rate)),
        max_streams=int(limits.get("max_global_streams_per_user", known.max_streams)),
        retention=seconds_of(limits.get("retention_period"), 0.0) if deletes else 0.0,
        retention_rules=rules(limits.get("retention_stream")) if deletes else [],
        look_back=-1.0 if look_back < 0 else look_back,
        ingesters_within=seconds_of(querier.get("query_ingesters_within"), known.ingesters_within),
    )


async def ask_limits(sink: Loki) -> Limits:
    """Of an open sink's Loki; its defaults where it does not say (a gateway may hide the page). Raises OSError."""
    answers = [await sink.get("/config"), await sink.get("/config/tenant/v1/limits", tenant=NO_TENANT)]
    config, tenant = (answer.body.decode() if answer.status == HTTPStatus.OK else "" for answer in answers)
    return parse_limits(config, tenant)


def _section(config: str, name: str) -> dict[str, Any]:
    """One of the sections at the top: reading all 3500 lines takes a second."""
    found = re.search(rf"^{name}:\n((?:[ \t].*\n|\n)+)", config, re.MULTILINE)
    section = _yaml(f"{name}:\n{found[1]}").get(name) if found else None
    return section if isinstance(section, dict) else {}


def _yaml(text: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _bytes(value: object, default: int) -> int:
    """A size as Loki means it: its KB is 1024 bytes."""
    if isinstance(value, int):
        return value
    try:
        return int(Size.decode(re.sub(r"^(\d+(?:\.\d+)?)([KMG])B$", r"\1\2iB", str(value))))
    except ValueError:
        return default
