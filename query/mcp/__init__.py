"""The MCP server: agents ask archives, Loki and Prometheus, and can change nothing."""
