"""The plan and the receipt of a replay, for people."""

from __future__ import annotations

from ..pipeline.record import rfc3339
from ..replay.plan import Plan
from ..replay.receipt import Receipt


def lost(plan: Plan) -> int:
    """How much Loki would not keep."""
    return plan.refused_records + plan.too_many_streams + plan.deleted


def told_plan(plan: Plan) -> list[str]:
    """For people."""
    read = plan.read
    lines = [f"read        {read.events:,} events, {size(read.bytes)}"]
    for number, what in (
        (read.dropped, "dropped by stages"),
        (read.no_match, "not for this sink"),
        (read.out_of_range, "out of the time asked for"),
        (read.dead, "that a stage could not take"),
        (read.untimed, "without a time of their own"),
        (len(read.unreadable), "files that cannot be read"),
    ):
        if number:
            lines.append(f"            {number:,} {what}")
    if read.redactions:
        lines.append(f"redacted    {read.redacted:,} records by the rules of today")
        lines += [f"            {number:,} by {rule}" for rule, number in read.redactions.items()]
    lines.append(f"replay      {plan.records:,} records, {size(plan.bytes)}, in {len(plan.streams)} streams")
    if plan.first_ns is not None and plan.last_ns is not None:
        lines.append(f"            from {rfc3339(plan.first_ns)} to {rfc3339(plan.last_ns)}")
    lines.append(
        f"to          {plan.sink}, " + (f'{plan.label}="{plan.name}"' if plan.label else "no label of its own")
    )
    if plan.limits is not None:
        lines.append(f"refused     {plan.refused_records:,}")
        lines += [f"            {number:,} {why}" for why, number in plan.refused.items()]
        lines.append(f"deleted     {plan.deleted:,} by retention")
        lines += [f"            {number:,} by {rule}" for rule, number in plan.deleted_by.items()]
        lines.append(f"invisible   {plan.invisible:,} until they are flushed")
        if plan.rate:
            lines.append(f"rate        {size(int(plan.rate))} a second, {plan.seconds:,.0f} s")
        if plan.there:
            lines.append(f"there       something, {plan.already:,} of these at least: Loki is asked for each first")
    return lines + [f"advice      {advice}" for advice in plan.advice]


def told_receipt(receipt: Receipt) -> list[str]:
    """For people."""
    state = "complete" if receipt.complete else "not complete: start it again, it goes on where it was"
    lines = [
        f"replay {receipt.name} to {receipt.sink}: {state}",
        f"  {receipt.delivered:,} of {receipt.records:,} delivered, {receipt.refused:,} refused",
        f"  in {receipt.seconds:.0f} s",
    ]
    lines += [f"  {number:,} refused: {why}" for why, number in receipt.reasons.items()]
    if (found := receipt.verified) is not None:
        lines.append(f"  verified: {found.found:,} of {found.wanted:,} found in {found.buckets:,} counts")
        lines += [f"  missing in {place}" for place in found.missing_in]
        if found.unseen:
            lines.append(f"  {found.unseen:,} of them show once Loki has flushed them: --verify again later")
    return lines


def size(number: int) -> str:
    """Bytes for people."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number} B"
