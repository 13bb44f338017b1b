"""`python -m tailrace.cli`."""

from . import main

main()
