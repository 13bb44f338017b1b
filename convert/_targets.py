"""Where a Promtail config reads: the targets of its jobs, with the labels that they are known by."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping
from itertools import product

import msgspec

from ..config._yaml import Node
from ._reader import Reader, children, items
from ._relabel import relabelled
from ._stages import Stages, plain_label
from .report import Report

_PODS = (
    "a source `file` with include /var/log/pods/*/*/*.log and `parse` with `format: cri`; `enrich` with `file_name:"
    " '/(?P<namespace>[^_/]+)_(?P<pod>[^_/]+)_[^/]+/(?P<container>[^/]+)/[^/]+$'` makes labels of the path"
)
_DISK = "have the logs written to a file or to Kafka, which tailrace reads"
SOURCES = {
    "docker_sd_configs": (
        "a source `file` with include /var/lib/docker/containers/*/*-json.log and `parse` with `format: docker`; labels"
        " of containers are not read, so name them in the file: docker run --log-opt labels=…"
    ),
    "kubernetes_sd_configs": _PODS,
    "journal": "rsyslog or `journalctl -f -o json >> FILE` writes what the source `file` reads",
    "syslog": "rsyslog or syslog-ng takes it and writes files; `parse` with `format: syslog` reads them",
    "kafka": "the source `kafka` with brokers, topics and a group of its own: its offsets are kept by Kafka",
    "gcplog": f"a sink of Cloud Logging into Kafka, or {_DISK}",
    "loki_push_api": f"send to Loki itself, or {_DISK}",
    "windows_events": "there is no source for Windows events",
    "azure_event_hubs": "the source `kafka`: event hubs speak its protocol, on port 9093",
    "gelf": _DISK,
    "cloudflare": "Logpush into a bucket or Kafka, which tailrace reads",
    "heroku_drain": _DISK,
    "file_sd_configs": "write the paths of the targets into `include`",
}
"""What reads from elsewhere than files, and what would do in its place."""
_OWN = ("job_name", "pipeline_stages", "relabel_configs", "static_configs", "encoding", "decompression", "entry_parser")
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")


class Target(msgspec.Struct):
    """One source of the new config."""

    name: str
    line: int
    include: list[str]
    exclude: list[str]
    stages: Stages


def targets(jobs: Node | None, reader: Reader, external: Mapping[str, str]) -> list[Target]:
    """All that read files, each under a name of its own; what reads from elsewhere is reported."""
    found: list[Target] = []
    for job in items(jobs):
        for key, instead in SOURCES.items():
            if job.child(key) is not None and isinstance(job.value, dict):
                reader.report.add("no equal", job.keys[key], f"`{key}`: there is no such source", instead)
        for key, node in children(job).items():
            if key.endswith("_sd_configs") and key not in SOURCES:
                reader.report.add("no equal", node, f"`{key}`: targets are not discovered", SOURCES["file_sd_configs"])
        known = (*_OWN, *SOURCES, *(key for key in children(job) if key.endswith("_sd_configs")))
        reader.unknown(job, known, "a job")
        if (encoding := job.child("encoding")) and reader.text(encoding).lower() not in ("utf-8", "utf8"):
            reader.report.add("no equal", encoding, f"`encoding: {encoding.text}`", "have the log written as UTF-8")
        if job.child("static_configs") is None:
            _tell_dead(job, reader)
        for target in _static(job, reader, external):
            target.name = _unique(target.name, [one.name for one in found])
            found.append(target)
    return found


def _static(job: Node, reader: Reader, external: Mapping[str, str]) -> Iterator[Target]:
    for group in items(job.child("static_configs")):
        node = group.child("labels")
        labels = {name: reader.text(one) for name, one in children(node).items()}
        after = relabelled({**labels, "__address__": "localhost"}, items(job.child("relabel_configs")), reader)
        place = node or group
        if after is None:
            reader.report.add("dead", place, "`relabel_configs` leave this target out", "leave it out")
            continue
        if "__path__" not in after:
            reader.report.add("dead", place, "a target without `__path__` reads nothing", "leave it out")
            continue
        if (host := after.get("__host__")) and host != socket.gethostname():
            reader.report.add(
                "no equal", place, f"a target for the host {host} only", "convert there, or take it over by hand"
            )
        public: dict[str, str] = {}
        for name, value in {**external, **after}.items():
            if not name.startswith("__") and value:
                public[name] = plain_label(name, value, children(node).get(name, place), reader)
        stages = Stages(reader, public)
        stages.take(job.child("pipeline_stages"))
        if stages.filename:
            message = "label `filename` makes a stream of each file: the path is structured metadata here, as `file`"
            reader.report.add("differs", place, message, 'in queries: {…} | file="…" in place of {filename="…"}')
        yield Target(
            name=public.get("job") or reader.text(job.child("job_name"), "logs"),
            line=place.line,
            include=_patterns(after["__path__"]),
            exclude=_patterns(after.get("__path_exclude__", "")),
            stages=stages,
        )


def _tell_dead(job: Node, reader: Reader) -> None:
    """Of a job that has no equal, what never worked: it would not in its place either."""
    rules = [rule for rule in items(job.child("relabel_configs")) if isinstance(rule.value, dict)]
    if any(reader.text(rule.child("action")).lower() == "labelmap" for rule in rules):
        return
    alone = Reader(Report(reader.report.file), {})
    labels = {reader.text(rule.child("target_label")): "" for rule in rules}
    Stages(alone, labels).take(job.child("pipeline_stages"))
    for one in alone.report.findings:
        if one.kind == "dead" and "which nothing extracts" in one.message:
            instead = "" if "timestamp" in one.message else one.instead
            reader.report.note(msgspec.structs.replace(one, instead=instead))


def _patterns(path: str) -> list[str]:
    """The path without braces, which are written out, and with Python's way to negate a class."""
    if not path:
        return []
    parts = _BRACES.split(path)
    choices = [part.split(",") if place % 2 else [part] for place, part in enumerate(parts)]
    return [os.path.normpath("".join(one)).replace("[^", "[!") for one in product(*choices)]


def _unique(name: str, taken: list[str]) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or "logs"
    name = name if name[0].isalpha() or name[0] == "_" else f"_{name}"
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
