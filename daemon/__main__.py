"""`python -m daemon` is `execd`."""

from daemon.cli import main

main()
