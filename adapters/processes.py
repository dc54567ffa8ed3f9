"""Child processes that do not outlive their parent."""

import ctypes
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def _ask_to_be_ended() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


ends_with_parent: Callable[[], None] | None = _ask_to_be_ended if sys.platform == "linux" else None
"""For `preexec_fn`: on Linux the kernel ends the child with its parent, however that ends; elsewhere nothing does."""
