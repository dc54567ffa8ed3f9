"""A day at full speed: the production wiring in virtual time, deterministic by its inputs.

The same configuration, tapes and signals give the same events in the same order, in every process: the trace hash, the
journal's last chain hash over everything but market data, says so in one line.
"""

import asyncio
import gc
from collections.abc import Callable

import msgspec

from daemon.clock import SimulatedClock, simulated_loop
from daemon.config import Config
from daemon.markets import Opened
from daemon.run import Run


class Simulated(msgspec.Struct, frozen=True):
    """What a simulation leaves behind besides its data directory."""

    events: int
    trace_hash: str
    market_events: int


def simulate(config: Config, opened: Opened, *, watch: Callable[[Run], None] | None = None) -> Simulated:
    """Run the day to its end; `watch` gets the run before it begins. Raises what made the run fail."""
    clock = SimulatedClock(opened.start)
    loop = simulated_loop(clock)
    try:
        asyncio.set_event_loop(loop)
        run = loop.run_until_complete(_built(config, opened, clock))
        if watch is not None:
            watch(run)
        gc.freeze()  # what was made so far stays: collections need not look at it again
        loop.run_until_complete(run.execute())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        gc.unfreeze()
    return Simulated(run.bus.seq, run.journal.tail_hash.hex(), run.feed.played)


async def _built(config: Config, opened: Opened, clock: SimulatedClock) -> Run:
    return Run(config, opened.market, clock, threaded=False)
