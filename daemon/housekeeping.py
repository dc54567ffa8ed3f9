"""The interpreter's settings for a process in which nothing may stop everything else for long.

The garbage collector: full collections of a heap of a million objects take 100 ms and find nothing, because what a
trading day makes is freed by its reference counts. So the automatic full collection is off; instead what survived the
last second is looked at once and then moved out of the collector's sight, which is cheap because it is little. When
nothing trades, the whole heap is looked at, for the cycles that hide there.

Measured before: pauses of 90 to 127 ms, 14 of them in two minutes at a thousand live parents, all without garbage.

The interpreter lock: the loop's thread waits for it a switch interval whenever the journal's has it, 5 ms by default.
"""

import asyncio
import gc
import sys
from collections.abc import Callable

THRESHOLDS = (10_000, 20, 1_000_000)  # of the young, the middle (once in 20), and the old generation (never by itself)
SWITCH_S = 0.0005  # much less costs more in switches than it gains
EVERY_S = 1.0  # some thousands of survivors in a busy time: a few ms
WHOLE_S = 900.0  # between two looks at the whole heap, when nothing trades


class Housekeeper:
    """Keeps collections and switches short, for as long as it runs."""

    name = "housekeeper"

    def __init__(self, is_idle: Callable[[], bool]) -> None:
        self._is_idle = is_idle

    async def run(self) -> None:
        """Tidy up for ever; the settings are as they were afterwards."""
        time = asyncio.get_running_loop().time
        thresholds, switch_s, whole = gc.get_threshold(), sys.getswitchinterval(), time()
        gc.set_threshold(*THRESHOLDS)
        sys.setswitchinterval(SWITCH_S)
        try:
            while True:
                if self._is_idle() and time() - whole > WHOLE_S:
                    gc.unfreeze()
                    whole = time()
                gc.collect()
                gc.freeze()
                await asyncio.sleep(EVERY_S)
        finally:
            gc.set_threshold(*thresholds)
            sys.setswitchinterval(switch_s)
            gc.unfreeze()
