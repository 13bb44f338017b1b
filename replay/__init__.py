"""Old logs into Loki or into a new archive: sorted by time, planned, resumable, verified."""
