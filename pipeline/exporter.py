"""The exporter: tailrace's own numbers, the derived metrics, and its health, over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import os
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.registry import Collector

from .component import ProbeError
from .meter import BUCKETS, Meter
from .pages import Page, Pages
from .runner import Runner
from .status import MINIMAL, foremost, of_run
from .status_page import status_page

STALLED_SECONDS = 120.0
"""Not healthy when records wait for a sink that has taken nothing for this long."""
COMPONENT = ["kind", "component"]


class Exporter(Collector):
    """Serves `/metrics`, `/-/ready`, `/-/healthy` and `/-/status` for one run, and `/`, which shows it to people."""

    def __init__(self, runner: Runner, listen: str, version: str) -> None:
        self.runner = runner
        self.version = version
        host, _, port = listen.rpartition(":")
        self.host, self.port = host.strip("[]") or "127.0.0.1", int(port)
        self._pages = Pages(
            {
                "/": status_page,
                "/metrics": self._metrics,
                "/-/ready": self._ready,
                "/-/healthy": self._healthy,
                "/-/status": self._status,
            }
        )

    async def open(self) -> None:
        """Listen. Raises ProbeError when the port cannot be had."""
        try:
            self.port = await self._pages.open(self.host, self.port)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise ProbeError(f"cannot listen on {self.host}:{self.port}: {reason}", "listen") from None

    async def close(self) -> None:
        """Stop listening."""
        await self._pages.close()

    def unready(self) -> str:
        """Why tailrace cannot do its work now; empty when it can."""
        failing = [f"{d.sink.name}: {d.failing}" for d in self.runner.deliveries if d.failing]
        if self.runner.dead_letter.problem:
            failing.append(f"dead letter: {self.runner.dead_letter.problem}")
        return "; ".join(failing)

    def unhealthy(self) -> str:
        """Why tailrace makes no progress although there is work; empty when all is well."""
        now = time.monotonic()
        stalled = [
            f"{d.sink.name}: {d.held_events} records wait, nothing delivered for {now - d.last_progress:.0f} s"
            for d in self.runner.deliveries
            if d.held_events and now - d.last_progress > STALLED_SECONDS
        ]
        return "; ".join(stalled)

    async def _metrics(self, headers: Mapping[str, str]) -> Page:
        encode, content_type = choose_encoder(headers.get("accept", ""))
        zipped = gzip_accepted(headers.get("accept-encoding", ""))
        # Gathered here, where the numbers are changed; what takes long goes on beside the pipeline.
        body = await asyncio.to_thread(_encoded, encode, _Gathered(list(self.collect())), zipped)
        return Page(body, content_type, headers={"Content-Encoding": "gzip"} if zipped else {})

    async def _ready(self, headers: Mapping[str, str]) -> Page:
        return _verdict(self.runner.chain.clean(self.unready()))

    async def _healthy(self, headers: Mapping[str, str]) -> Page:
        return _verdict(self.runner.chain.clean(self.unhealthy()))

    async def _status(self, headers: Mapping[str, str]) -> Page:
        status = of_run(self.runner, self.version)
        if headers.get("prefer") == MINIMAL:
            status.partitions = foremost(status.partitions)
        body = msgspec.json.encode(self._clean(msgspec.to_builtins(status)))
        return Page(body, "application/json; charset=utf-8")

    def _clean(self, value: Any) -> Any:
        """Texts in it without what the stages hide: a path, or what a sink's last send failed with, may hold it."""
        if isinstance(value, str):
            return self.runner.chain.clean(value)
        if isinstance(value, dict):
            return {self._clean(name): self._clean(item) for name, item in value.items()}
        return [self._clean(item) for item in value] if isinstance(value, list) else value

    def collect(self) -> Iterable[Metric]:
        """All families, gathered at the scrape; those of one name that several components have are one family."""
        families: dict[str, Metric] = {}
        for family in self._families():
            if family.name in families:
                families[family.name].samples += family.samples
            else:
                families[family.name] = family
        return families.values()

    def _families(self) -> Iterable[Metric]:
        runner = self.runner
        info = InfoMetricFamily("tailrace_build", "The version that runs.")
        info.add_metric([], {"version": self.version})
        yield info
        meters = [*runner.meters.values(), *runner.chain.meters, *(d.meter for d in runner.deliveries)]
        yield from _component_families(meters)
        yield from self._delivery_families()
        yield from self._lag_families()
        letters = CounterMetricFamily("tailrace_dead_letters", "Records written to the dead letter since the start.")
        letters.add_metric([], runner.dead_letter.written)
        yield letters
        dropped = CounterMetricFamily(
            "tailrace_dead_letters_dropped", "Letters that gave way to newer ones since the start."
        )
        dropped.add_metric([], runner.dead_letter.dropped)
        yield dropped
        age = GaugeMetricFamily("tailrace_checkpoint_age_seconds", "Seconds since the saved positions were true.")
        age.add_metric([], time.monotonic() - runner.saved_at)
        yield age
        for component in (*runner.sources.values(), *runner.chain.stages, *runner.sinks.values()):
            yield from component.collect()

    def _delivery_families(self) -> Iterable[Metric]:
        labels = ["sink"]
        events = GaugeMetricFamily("tailrace_in_flight_events", "Events that a sink has not taken yet.", labels=labels)
        size = GaugeMetricFamily("tailrace_queue_bytes", "Bytes of lines that wait for a sink.", labels=labels)
        up = GaugeMetricFamily("tailrace_sink_up", "1 while the last delivery worked.", labels=labels)
        residual = GaugeMetricFamily(
            "tailrace_books_residual_events",
            "Events read that were neither delivered, dropped, dead-lettered nor are in flight: must be 0.",
            labels=["source", "sink"],
        )
        books = {source: self.runner.partitions.books(source) for source in self.runner.sources}
        for delivery in self.runner.deliveries:
            name = [delivery.sink.name]
            events.add_metric(name, delivery.held_events)
            size.add_metric(name, delivery.held_bytes)
            up.add_metric(name, 0 if delivery.failing else 1)
            for source, own in books.items():
                residual.add_metric([source, *name], own.residual(*name))
        return events, size, up, residual

    def _lag_families(self) -> Iterable[Metric]:
        labels = ["source", "file"]
        size = GaugeMetricFamily("tailrace_lag_bytes", "Bytes behind the end of the partition.", labels=labels)
        seconds = GaugeMetricFamily(
            "tailrace_lag_seconds", "Seconds since everything in the partition had been read.", labels=labels
        )
        for name, source in self.runner.sources.items():
            for lag in source.lag():
                partition = self.runner.chain.clean(lag.partition)
                size.add_metric([name, partition], lag.bytes)
                seconds.add_metric([name, partition], lag.seconds)
        return size, seconds


def _component_families(meters: Iterable[Meter]) -> Iterable[Metric]:
    """The numbers that every source, stage and sink has, under one naming scheme."""
    events_in = CounterMetricFamily("tailrace_events_in", "Events that came into a component.", labels=COMPONENT)
    events_out = CounterMetricFamily("tailrace_events_out", "Events that a component passed on.", labels=COMPONENT)
    bytes_in = CounterMetricFamily("tailrace_bytes_in", "Bytes of lines that came in.", labels=COMPONENT)
    bytes_out = CounterMetricFamily("tailrace_bytes_out", "Bytes of lines passed on.", labels=COMPONENT)
    dropped = CounterMetricFamily(
        "tailrace_events_dropped", "Events that ended in a component on purpose.", labels=[*COMPONENT, "reason"]
    )
    dead = CounterMetricFamily(
        "tailrace_events_dead_lettered", "Events that a component could not take.", labels=COMPONENT
    )
    long = CounterMetricFamily("tailrace_long_events", "Events over a source's limit.", labels=COMPONENT)
    cut = CounterMetricFamily("tailrace_cut_bytes", "Bytes left out of events over the limit.", labels=COMPONENT)
    retries = CounterMetricFamily("tailrace_retries", "Sends that failed and were tried again.", labels=COMPONENT)
    batches = HistogramMetricFamily("tailrace_batch_seconds", "Time that a batch took.", labels=COMPONENT)
    for meter in meters:
        labels = [meter.kind, meter.component]
        events_in.add_metric(labels, meter.events_in)
        events_out.add_metric(labels, meter.events_out)
        bytes_in.add_metric(labels, meter.bytes_in)
        bytes_out.add_metric(labels, meter.bytes_out)
        for reason, events in sorted(meter.dropped.items()):
            dropped.add_metric([*labels, reason], events)
        dead.add_metric(labels, meter.dead)
        long.add_metric(labels, meter.long)
        cut.add_metric(labels, meter.cut)
        retries.add_metric(labels, meter.retries)
        total, buckets = 0, []
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), meter.batches, strict=True):
            total += count
            buckets.append((bound, total))
        batches.add_metric(labels, buckets, meter.seconds)
    return events_in, events_out, bytes_in, bytes_out, dropped, dead, long, cut, retries, batches


class _Gathered(Collector):
    """Families as they were at one moment."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _encoded(encode: Callable[[Collector], bytes], gathered: Collector, zipped: bool) -> bytes:
    body = encode(gathered)
    return gzip.compress(body, compresslevel=1) if zipped else body


def _verdict(problem: str) -> Page:
    status = HTTPStatus.SERVICE_UNAVAILABLE if problem else HTTPStatus.OK
    return Page(f"{problem or 'ok'}\n".encode(), status=status)
