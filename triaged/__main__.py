"""Run the command line as ``python -m triaged``."""

from triaged.cli import main

main()
