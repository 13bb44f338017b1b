"""`tailrace patcher`: the requests of patcher logs."""

from __future__ import annotations

import typer

from ._filters import Asked, with_filters

COLUMNS = ("created_at", "request_id", "status", "attempts", "ops", "error")
SESSION = frozenset(("session_key", "thread_ts", "channel_id"))


@with_filters
def patcher(asked: Asked) -> None:
    """List the last requests to the patcher, 10 unless --limit says otherwise, with attempts, outcome and error.

    A patcher log names no session: --session and --thread choose what was patched while that session lasted.

    Example: tailrace patcher --status failed
    """
    import msgspec

    from ..query.find import find
    from ..query.patcher import requests
    from ..query.sessions import sessions

    wanted = asked.wanted("patcher")
    index, files = asked.index()
    exact = dict(wanted.exact)
    status = exact.pop("status", "")
    session = {field: exact.pop(field) for field in SESSION & exact.keys()}
    if exact:
        raise typer.BadParameter(f"a patcher log has no {', '.join(sorted(exact))}")
    wanted = msgspec.structs.replace(wanted, exact={})
    rows = requests(find(index, files, wanted))
    if session:
        spans = sessions(files, msgspec.structs.replace(wanted, exact=session))
        rows = [row for row in rows if any(s["created_at"] <= row["created_at"] <= s["last_seen"] for s in spans)]
    rows = [row for row in rows if not status or row["status"] == status]
    asked.show(rows[-(asked.limit or 10) :], COLUMNS)
