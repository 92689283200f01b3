"""``python -m afield``."""

from afield.cli import main

main()
