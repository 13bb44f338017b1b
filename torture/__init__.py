"""Torture: rotation, crashes and a bad network, all at once, and then a count of every single line."""
