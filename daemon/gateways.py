"""The venues of a run, made from its configuration: `[paper]` is the one named paper, each `[venues.NAME]` one more.

Each is an account of its own at a broker of its own, with its own book, log and cash. `GATEWAYS` has the kinds that
there are.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from adapters.brokers.paper import PaperGateway, PaperSettings
from adapters.gateway import Gateway
from core.units import ZERO
from daemon.config import DEFAULT_VENUE

if TYPE_CHECKING:
    from daemon.run import Run


def _paper(run: "Run", name: str, settings: PaperSettings, cash: Decimal) -> PaperGateway:
    log = "venue.jsonl" if name == DEFAULT_VENUE else f"venue-{name}.jsonl"
    return PaperGateway(
        name=name,
        instruments=run.instruments,
        clock=run.clock,
        report=run.bus.publish,
        settings=settings,
        log=run.config.data_dir / log,
        cash=cash,
        currency=run.config.account.currency,
    )


GATEWAYS: Mapping[str, Callable[["Run", str, PaperSettings, Decimal], Gateway]] = {"paper": _paper}
"""By `kind`: a gateway of a run, by its name, settings and the cash that its account begins with."""


def made(run: "Run") -> dict[str, Gateway]:
    """The venues by name, the default one first; called once."""
    config = run.config
    rest = config.account.cash - sum((own.cash for own in config.venues.values()), ZERO)
    default = _paper(run, DEFAULT_VENUE, config.paper, rest)
    return {DEFAULT_VENUE: default} | {
        name: GATEWAYS[own.kind](run, name, own, own.cash) for name, own in config.venues.items()
    }
