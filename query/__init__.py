"""Reading back what was shipped."""
