"""Configs of other log shippers become tailrace's, with a list of what has no equal."""
