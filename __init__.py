"""tailrace ships logs: files in, Loki, JSONL archives and Prometheus out, each record exactly once."""

__version__ = "0.1.0"
