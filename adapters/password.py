"""A password as adapters are handed it: a way to ask for it at each connect, so a rotated one needs no restart."""

from collections.abc import Callable

Password = Callable[[], str]
"""The password as it is now; empty: none."""
