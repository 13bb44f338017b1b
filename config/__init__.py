"""What may be written in YAML: loaded, checked as a whole, explained, and described for people and editors."""
