"""`tailrace errors`: tracebacks and other errors, each fault once."""

from __future__ import annotations

from ._filters import Asked, with_filters

COLUMNS = ("last_seen", "count", "error_type", "error_message", "error_frame", "stage", "error_fingerprint")


@with_filters
def errors(asked: Asked) -> None:
    """List the faults, 100 unless --limit says otherwise: how often, when first and last, and a sample of each.

    Tracebacks are one fault when they have one fingerprint, other errors when they have one type in one kind of event.

    Example: tailrace errors --from 1d
    """
    import msgspec

    from ..query.errors import errors as grouped
    from ..query.find import each

    index, files = asked.index()
    wanted = msgspec.structs.replace(asked.wanted(), has_error=True)
    asked.show(grouped(each(index, files, wanted))[-(asked.limit or 100) :], COLUMNS)
