"""What became of one event: the stages run again, and what state folder, dead letter and destinations tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from ..config.load import Config
from ..pipeline.batch import Batch
from ..pipeline.clock import NAME as CLOCK
from ..pipeline.component import Sink
from ..pipeline.dead_letter import FILE, DeadLetter, Letter
from ..pipeline.record import rfc3339
from ..pipeline.sinks.jsonl import Jsonl
from ..pipeline.status import holder
from ..testing.story import Arrival, Change, Step, Teller
from ._event import Event, Place, event_of
from ._landed import Spot, look
from ._veil import Veil

Status = Literal["delivered", "taken", "missing", "in flight", "not read", "dead letter", "not for it", "unknown"]
"""`delivered`: seen where it landed. `taken`: the sink has taken it, as the state folder tells. `missing`: it has taken
it, and it is not there."""


class Fate(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became of it at one sink."""

    sink: str
    use: str
    status: Status
    told: str = ""
    line: str = ""
    """What it gets, without secrets."""
    time: str = ""
    labels: dict[str, str] = {}
    metadata: dict[str, str] = {}
    spot: Spot | None = None


class Death(msgspec.Struct, kw_only=True):
    """One letter of the dead letter that is about it."""

    where: str
    kind: str
    reason: str
    hint: str
    read: str


class Account(msgspec.Struct, kw_only=True):
    """All of it."""

    id: str
    source: str
    partition: str
    path: str
    """Where the event was read now."""
    offset: int
    end: int
    lines: int
    bytes: int
    line: str
    """Without secrets."""
    state: Literal["settled", "in flight", "not read", "unknown"]
    """Of its place in the file: every sink is done with it, some is not, it was not read yet, nothing is known."""
    position: int | None
    """Before this offset everything is settled."""
    read: str
    """The same for the eye, with when."""
    read_at: str
    """When it was read, if that is still written down."""
    worker: int | None
    running: int | None
    """The process that ships; None while nothing does."""
    reconstruction: str
    """Why the stages may have had something else in mind then; empty: they had not."""
    steps: list[Step]
    sinks: list[Fate]
    letters: list[Death]
    notes: list[str]
    missing: bool
    """It is not where it should be."""
    verdict: str


def account_of(config: Config, place: Place, *, secrets: bool) -> Account:
    """What became of the event at a place. `secrets`: the config has its own. Raises NotFound, OSError, StateError."""
    event = event_of(config, place)
    veil = Veil(config)
    teller = Teller(config)
    teller.rehearsal.begin(event.source, event.chunk.partition, _begin(event), event.state)
    guess = event.read_at_ns or (event.before[-1][1] if event.before else 0) or _mtime_ns(event)
    for chunk, read_at_ns in event.before:
        teller.pass_over(event.source, chunk, read_at_ns, event.slot)
    shown = veil.clean(_shown(veil, config, event))
    stories, batch = teller.tell(event.source, event.chunk, guess, event.slot)
    clock = teller.rehearsal.state(event.source, event.chunk.partition).get(CLOCK, {})
    timed = clock.get("event") is not None
    # What is carried from further back than was looked at may be missing: the line may be another one then.
    carried = teller.rehearsal.state(event.source, event.chunk.partition).keys() - {CLOCK}
    hashed = not secrets and any(getattr(stage, "mode", "") == "hash" for stage in config.stages)
    doubt = (bool(event.guessed) and bool(carried)) or hashed
    sure = not doubt and (timed or bool(event.read_at_ns))
    letters = _letters(config, event)
    state, position = _state(event)
    running = holder(config.state)
    fates: list[Fate] = []
    for number, story in enumerate(stories):
        for arrival in story.sinks:
            sink = teller.rehearsal.sinks[arrival.sink]
            if isinstance(sink, Jsonl) and event.known and event.known.worker is not None:
                sink.share(event.known.worker)
            part = teller.rehearsal.part_of(arrival.sink, batch.with_records(batch.records[number : number + 1]))
            fates.append(_fate(sink, arrival, part, event, letters, state, veil.clean, sure=sure, secrets=secrets))
    first = stories[0]
    steps = [_cleaned(step, veil.clean) for step in first.steps]
    account = Account(
        id=veil.clean(event.id),
        source=event.source,
        partition=veil.clean(event.chunk.partition),
        path=veil.clean(event.path),
        offset=event.offset,
        end=event.end,
        lines=event.chunk.lines[0].count(b"\n") + 1,
        bytes=len(event.chunk.lines[0]),
        line=shown,
        state=state,
        position=position,
        read=_read(event, state, position, running),
        read_at=rfc3339(event.read_at_ns) if event.read_at_ns else "",
        worker=event.known.worker if event.known else None,
        running=running,
        reconstruction=event.guessed if carried else "",
        steps=steps,
        sinks=fates,
        letters=[
            Death(
                where=one.where, kind=one.kind, reason=veil.clean(one.reason), hint=veil.clean(one.hint), read=one.read
            )
            for one in letters
        ],
        notes=[],
        missing=any(fate.status == "missing" for fate in fates),
        verdict="",
    )
    if hashed:
        account.notes.append("the key for hashes is not set here: they come out differently")
    if event.guessed and carried:
        account.notes.append(f"a reconstruction: {event.guessed}, so carried fields and times may have been others")
    if not timed and not event.read_at_ns and fates:
        account.notes.append(
            "it has no time of its own, and when it was read is not written down any more: times are guesses"
        )
    if account.missing:
        account.notes.append("if the config, or the environment that it reads, was another then, so was the line")
    if state == "settled" and getattr(config.sources[event.source], "start_at", "") == "end" and account.missing:
        account.notes.append("start_at: end: what was in the file before the very first start was never shipped")
    account.verdict = _verdict(account)
    return account


def _begin(event: Event) -> int:
    return event.before[0][0].offsets[0] if event.before else event.offset


def _mtime_ns(event: Event) -> int:
    from pathlib import Path

    return Path(event.path).stat().st_mtime_ns


def _shown(veil: Veil, config: Config, event: Event) -> str:
    """The line itself, as it may be shown."""
    from ..pipeline.ack import Ack

    batch = Batch.of_chunk(event.chunk, event.source, Ack(None, 0, ()), _mtime_ns(event), {})
    batch = batch.with_records(batch.records)
    (one,) = veil.veil(batch, 0)
    return "(withheld, for it cannot be redacted)" if one is None else one.record.text


def _cleaned(step: Step, clean: Callable[[str], str]) -> Step:
    """Names and sizes, never values."""
    return msgspec.structs.replace(
        step,
        changes=[Change(field=clean(change.field), kind=change.kind, withheld=True) for change in step.changes],
        line=None if step.line is None else "(changed)",
        dropped=clean(step.dropped),
        dead=clean(step.dead),
        counted={clean(series): value for series, value in step.counted.items()},
    )


def _state(event: Event) -> tuple[Literal["settled", "in flight", "not read", "unknown"], int | None]:
    if event.known is None:
        return "unknown", None
    position = int(event.known.position["offset"])
    if event.end <= position:
        return "settled", position
    if any(flown.start < event.end <= flown.end for flown in event.known.partition.flown):
        return "in flight", position
    return "not read", position


def _letters(config: Config, event: Event) -> list[Letter]:
    """Those about it."""
    return [
        letter
        for letter in DeadLetter(config.state / FILE).letters()
        if letter.source == event.source
        and letter.offset == event.offset
        and (letter.partition == event.chunk.partition or (event.known is None and _same_file(letter, event)))
    ]


def _same_file(letter: Letter, event: Event) -> bool:
    return letter.labels.get("file") == event.chunk.labels["file"]


def _fate(
    sink: Sink,
    arrival: Arrival,
    part: Batch,
    event: Event,
    letters: list[Letter],
    state: str,
    clean: Callable[[str], str],
    *,
    sure: bool,
    secrets: bool,
) -> Fate:
    fate = Fate(sink=arrival.sink, use=sink.word(), status="unknown")
    if letter := next((one for one in letters if one.kind == "sink" and one.where == arrival.sink), None):
        fate.status, fate.told = "dead letter", clean(letter.reason)
        return fate
    if not arrival.takes:
        fate.status, fate.told = "not for it", arrival.why
        return fate
    fate.line, fate.time = clean(arrival.line), arrival.time
    fate.labels = {name: clean(value) for name, value in arrival.labels.items()}
    fate.metadata = {name: clean(value) for name, value in arrival.metadata.items()}
    spot = fate.spot = look(sink, part, sure=sure, secrets=secrets)
    spot.path, spot.stream, spot.why = clean(spot.path), clean(spot.stream), clean(spot.why)
    taken = state == "settled" or _took(event, arrival.sink)
    if spot.found == "found":
        fate.status = "delivered"
    elif taken:
        fate.status = "missing" if spot.found == "missing" and sure else "taken"
        if spot.found == "missing" and not sure:
            fate.told = "not found, but its time or line may have been another then"
        if fate.status == "missing":
            fate.told = spot.why
    elif state == "in flight":
        fate.status, fate.told = "in flight", "it has not taken it yet"
    elif state == "not read":
        fate.status = "not read"
    elif spot.found == "missing":
        fate.told = spot.why
    return fate


def _took(event: Event, sink: str) -> bool:
    """What the state folder notes: this sink has it, though another one may not."""
    if event.known is None:
        return False
    partition = event.known.partition
    start = next((one.start for one in partition.flown if one.start < event.end <= one.end), event.offset)
    return sink in partition.ledger.taken and event.end <= partition.skip_before(sink, start)


def _read(event: Event, state: str, position: int | None, running: int | None) -> str:
    """The place in the file, for the eye."""
    if event.known is None:
        return "the state folder knows nothing of this file" + ("" if running is not None else ", and nothing runs")
    path = event.known.folder / "checkpoint.json"
    saved = f"; saved {rfc3339(path.stat().st_mtime_ns)[:19]}Z" if path.exists() else ""
    where = f" (by worker {event.known.worker})" if event.known.worker is not None else ""
    at = f"{rfc3339(event.read_at_ns)}, " if event.read_at_ns else ""
    told = {
        "settled": f"done with{where}",
        "in flight": f"on its way{where}",
        "not read": "not yet",
    }[state]
    runs = "running" + (f", pid {running}" if running else "") if running is not None else "nothing runs now"
    return f"{at}{told}: the file is settled up to byte {position:,}{saved}; {runs}"


def _verdict(account: Account) -> str:
    """One sentence."""
    last: Any = account.steps[-1] if account.steps else None
    stage_letters = [letter for letter in account.letters if letter.kind == "stage"]
    if stage_letters:
        return f"in the dead letter: the stage {stage_letters[0].where} gave it up ({stage_letters[0].reason})"
    tense = "" if account.state in ("settled", "in flight") else "would be "
    if last is not None and last.dropped:
        return f"{tense}dropped by the stage {last.stage}: {last.dropped}"
    if last is not None and last.dead:
        return f"{tense or 'was '}given up by the stage {last.stage}: {last.dead}"
    by_status: dict[str, list[str]] = {}
    for fate in account.sinks:
        by_status.setdefault(fate.status, []).append(fate.sink)
    words = {
        "delivered": "delivered to {}",
        "taken": "taken by {}",
        "missing": "taken by {}, but not there",
        "in flight": "on its way to {}",
        "not read": "not read yet, meant for {}",
        "dead letter": "refused by {}, in the dead letter",
        "unknown": "meant for {}; whether it got there is not known",
    }
    told = [text.format(", ".join(by_status[status])) for status, text in words.items() if status in by_status]
    return "; ".join(told) or "for no sink: none of them matches it"
