"""What people command over the control socket: halt, resume, flatten, single parents, risk and cash."""

import asyncio
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from adapters.brokers.paper import PaperGateway
from adapters.store import queries
from core.causes import STARTUP, TradingState
from core.events import (
    BreakFound,
    CashMoved,
    ExecutionKey,
    FlattenRequested,
    HighWaterMarkReset,
    OverrideGranted,
    OverrideProposed,
    PositionAdjusted,
    RegimeSet,
    StrategyResumed,
    SymbolReleased,
)
from core.reconcile import PAST, Break, BreakKind
from core.signals import AMOUNT_BOUNDS, fault_of_change, is_amount
from core.units import NS_PER_S, is_multiple
from daemon.config import DEFAULT_VENUE
from daemon.control import TEXT_MAX, Order
from daemon.halts import Refused
from risk.regime import Regime

if TYPE_CHECKING:
    from daemon.run import Run

Answer = dict[str, Any]

NOT_ON_RECORD = "it holds, but the database is away: after a restart before it is back, say it again"
CASH_MAX = Decimal(10) ** 12  # money in one move; more is mistyped
OVER = frozenset({"ended", "denied"})  # states of a parent on record
DENIALS_MAX = 100  # newest ones among which that of an amendment is looked for
PAST_MAX = 10_000  # executions of one side alone, of one symbol
SHARES_MAX = 1_000  # of either side of a split; more is mistyped
NAMED = 3  # of what stands in the way
COMMIT_S = 2.0  # how long an answer waits for the database before it says that it is away


class Commands:
    """Acts on one run. Each takes what was asked and who asked, and answers for people."""

    def __init__(self, run: "Run") -> None:
        self._run = run

    async def halt(self, order: Order, by: str) -> Answer:
        """Stop everything, take everything back; while the daemon starts, by the file, which is obeyed first."""
        if not self._run.ready.is_set():
            file = self._run.config.halt_file
            file.touch()
            return {"state": TradingState.HALTED, "causes": [STARTUP], "file": str(file)}
        halts = self._run.actors.halts
        await halts.kill(order.text or "execd halt", by=by)
        return {"state": self._run.actors.exposure.causes.state, "causes": sorted(halts.live)}

    async def resume(self, order: Order, by: str) -> Answer:
        """End a halt, a strategy's stop or a symbol's quarantine; what else holds trading back goes on doing so."""
        self._check_ready()
        if order.strategy and order.symbol:
            raise Refused("a strategy or a symbol, one at a time")
        if order.strategy:
            return await self._resume_strategy(order.strategy, by)
        if order.symbol:
            return await self._release(order.symbol, order.text, by)
        halts = self._run.actors.halts
        await halts.resume_trading(by)
        with suppress(TimeoutError):  # a database that is away pauses trading by itself
            async with asyncio.timeout(COMMIT_S):
                await halts.resumed()
        state = self._run.actors.exposure.causes.state
        return {"state": state, "causes": sorted(halts.live)}

    async def _resume_strategy(self, strategy: str, by: str) -> Answer:
        run, exposure = self._run, self._run.actors.exposure
        if strategy not in exposure.stopped:
            raise Refused(f"{strategy} is not stopped; what is: {', '.join(sorted(exposure.stopped)) or 'nothing'}")
        run.bus.publish(StrategyResumed(ts=run.clock.now(), strategy=strategy, by=by))
        await self._on_record(NOT_ON_RECORD)
        return {"strategy": strategy, "state": exposure.causes.state, "causes": sorted(run.actors.halts.live)}

    async def _release(self, symbol: str, reason: str, by: str) -> Answer:
        """Where positions agree and nothing foreign works: what has executed is past, and somebody answers for it."""
        run, quarantined = self._run, self._run.actors.exposure.quarantined
        if symbol not in quarantined:
            raise Refused(f"{symbol} is not in quarantine; what is: {', '.join(sorted(quarantined)) or 'nothing'}")
        if not reason:
            raise Refused("say why, for the record")
        said_before = self._breaks_said()
        try:
            for venue in run.gateways:
                await run.compare(venue)  # what reports explain is booked
            differs = await asyncio.gather(*(run.differences(venue, symbol) for venue in run.gateways))
        except OSError as error:
            raise Refused(f"a venue cannot be asked: {error}") from error
        found = [(venue, each) for venue, some in zip(run.gateways, differs, strict=True) for each in some]
        if standing := [f"{each.kind} at {venue}, {_sides(each)}" for venue, each in found if not self._is_past(each)]:
            said = "; ".join(standing[:NAMED])
            raise Refused(f"{symbol} still differs: {said}. Trade and cancel there until it agrees, and ask again")
        if self._breaks_said() != said_before:
            raise Refused("something was found to differ, or was released, this moment: ask again")
        past = [ExecutionKey(venue, each.exec_id) for venue, each in found if each.exec_id]
        if len(past) > PAST_MAX:
            raise Refused(f"{len(past):,} executions are not on both sides, and {PAST_MAX:,} at most are let pass")
        if strays := [what for _, where, what in run.actors.oms.left_behind(run.gateways) if where == symbol]:
            raise Refused(
                f"there are {', '.join(strays)} in {symbol} at a venue that is not among its own: name it again"
            )
        reason = reason[:TEXT_MAX]
        run.bus.publish(SymbolReleased(ts=run.clock.now(), symbol=symbol, by=by, reason=reason, executions=tuple(past)))
        await self._on_record(NOT_ON_RECORD)
        stops = sum(stop.order.symbol == symbol and stop.suspended for stop in run.actors.triggers)
        return {"symbol": symbol, "executions": len(past), "stops": stops}

    def _breaks_said(self) -> tuple[int, int]:
        """How many were ever said, and how many releases."""
        counts = self._run.bus.counts()
        return counts.get(BreakFound.__name__, 0), counts.get(SymbolReleased.__name__, 0)

    def _is_past(self, found: Break) -> bool:
        """Whether nothing more can come of a difference: an order that may still execute is for somebody to end."""
        oms = self._run.actors.oms
        if found.kind is BreakKind.GONE:
            return oms.is_given_up(found.cl_ord_id)  # its quantity stays reserved
        is_over = oms.view(found.cl_ord_id) is None or oms.is_given_up(found.cl_ord_id)
        return found.kind in PAST and is_over

    async def flatten(self, order: Order, by: str) -> Answer:
        """Close one position or all, while trading is halted or reducing: live parents would trade against it."""
        self._check_ready()
        run, exposure = self._run, self._run.actors.exposure
        if exposure.causes.state is TradingState.ACTIVE:
            raise Refused("trading is ACTIVE, and live parents would trade against it: `execd halt` first")
        if order.symbol and order.symbol not in run.instruments:
            raise Refused(f"{order.symbol} is not among the instruments: close it at the broker")
        now = run.clock.now()
        request_id = f"flatten-{now}"
        run.bus.publish(FlattenRequested(ts=now, request_id=request_id, by=by, symbol=order.symbol))
        await self._on_record("asked for, but the database is away: nothing leaves before it is back")
        held = {symbol: qty for symbol, qty in exposure.book.symbols() if qty and order.symbol in {"", symbol}}
        coming_back = {symbol: qty for symbol in held if (qty := exposure.coming_back(symbol))}
        opposed = {
            symbol: {"venues": lies, "strategies": dict(exposure.holders(symbol))}
            for symbol, lies in exposure.book.opposed().items()
            if order.symbol in {"", symbol}
        }
        orders = await asyncio.to_thread(self._flattened, request_id)
        return {
            "request": request_id,
            "orders": orders,
            "held": held,
            "coming_back": coming_back,
            "opposed": opposed,
        }

    async def parent(self, order: Order, by: str) -> Answer:
        """Amend one live parent, pause it, let it go on or cancel it, whatever the state of trading.

        What makes it larger is for the gate to judge: one that it denies stays as it is.
        """
        self._check_ready()
        run, change = self._run, order.change
        if not order.parent_id or change is None:
            raise Refused("name a parent, and what is to become of it")
        if fault := fault_of_change(change):
            raise Refused(fault)
        made = run.actors.slicer.amendment(order.parent_id, change, by=by, now=run.clock.now())
        if isinstance(made, str):
            raise Refused(await asyncio.to_thread(self._ended, order.parent_id) or made)
        before = run.bus.seq
        run.bus.publish(made)
        await self._on_record(NOT_ON_RECORD)
        if denied := await asyncio.to_thread(self._denied, order.parent_id, before):
            raise Refused(f"it stays as it is: {denied}")
        live = run.actors.slicer.parents.get(order.parent_id)
        standing = "ending" if live is None or live.stopped else "paused" if live.held else "live"
        return {"parent": order.parent_id, "standing": standing} | (
            {} if live is None else {"order_qty": live.order_qty, "price": live.how.price, "end": live.end}
        )

    async def reset_mark(self, order: Order, by: str) -> Answer:
        """Measure drawdowns from the present equity on, and let trading go on after one."""
        del order
        self._check_ready()
        run, equity = self._run, self._run.actors.exposure.at_marks
        if equity <= 0:
            raise Refused(f"equity is {equity:,.2f}: there is nothing to measure from")
        run.bus.publish(HighWaterMarkReset(ts=run.clock.now(), equity=equity, by=by))
        await self._on_record(NOT_ON_RECORD)
        return {"mark": equity, "state": run.actors.exposure.causes.state, "causes": sorted(run.actors.halts.live)}

    async def deposit(self, order: Order, by: str) -> Answer:
        """Cash has come into the account from outside; on the paper venue it comes now."""
        return await self._move(_amount(order), order.text, by)

    async def withdraw(self, order: Order, by: str) -> Answer:
        """Cash has left the account; on the paper venue it leaves now."""
        self._check_ready()
        amount, exposure, guard = _amount(order), self._run.actors.exposure, self._run.actors.guard
        cash, least = exposure.book.cash, min(exposure.equity, guard.day_equity, guard.mark)
        if amount > cash or amount >= least:
            raise Refused(f"cash is {cash:,.2f}, and losses are measured from no more than {least:,.2f}: withdraw less")
        return await self._move(-amount, order.text, by)

    async def _move(self, amount: Decimal, reason: str, by: str) -> Answer:
        self._check_ready()
        if not reason:
            raise Refused("say why, for the record")
        run, exposure = self._run, self._run.actors.exposure
        gateway = run.gateways[DEFAULT_VENUE]
        if isinstance(gateway, PaperGateway):  # what is said of any other broker has happened there
            gateway.move(amount)
        moved = CashMoved(
            ts=run.clock.now(), amount=amount, cash=exposure.book.cash + amount, by=by, reason=reason[:TEXT_MAX]
        )
        run.bus.publish(moved)
        with suppress(OSError, TimeoutError):  # then the next report comes when it would
            async with asyncio.timeout(COMMIT_S):
                await run.accounts.look()
        await self._on_record("it is booked, but the database is away: see `execd status` before you say it again")
        return {"amount": amount, "cash": exposure.book.cash, "equity": exposure.equity, "mark": run.actors.guard.mark}

    async def split(self, order: Order, by: str) -> Answer:
        """Shares of a symbol have become others: all books follow, where nothing is live in it and no part is left."""
        self._check_ready()
        if not order.text:
            raise Refused("say why, for the record")
        run, exposure, symbol = self._run, self._run.actors.exposure, order.symbol
        numerator, denominator = _ratio(order)
        self._check_adjustable(symbol, numerator, denominator)
        for gateway in run.gateways.values():
            if isinstance(gateway, PaperGateway):  # any other venue has done it
                try:
                    gateway.adjust(symbol, numerator, denominator)
                except ValueError as error:
                    raise Refused(str(error)) from error
        adjusted = PositionAdjusted(
            ts=run.clock.now(),
            symbol=symbol,
            numerator=numerator,
            denominator=denominator,
            by=by,
            reason=order.text[:TEXT_MAX],
        )
        run.bus.publish(adjusted)
        await self._on_record("it is booked, but the database is away: see `execd status` before you say it again")
        positions = {
            strategy: {"qty": position.qty, "avg_px": position.avg_px}
            for strategy, held, position in exposure.book.positions()
            if held == symbol and position.qty
        }
        return {"positions": positions, "equity": exposure.equity}

    def _check_adjustable(self, symbol: str, numerator: int, denominator: int) -> None:
        exposure, instrument = self._run.actors.exposure, self._run.instruments.get(symbol)
        if instrument is None:
            raise Refused(f"{symbol} is not among the instruments")
        for what, live in (("orders work", exposure.children), ("parents are live", exposure.parents)):
            if names := sorted(key for key, each in live.items() if each.symbol == symbol):
                more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
                raise Refused(f"{what} in {symbol}, wait for their end: {', '.join(names[:NAMED])}{more}")
        holders = exposure.holders(symbol)
        if not holders:
            raise Refused(f"nothing is held in {symbol}: there is nothing to adjust")
        book = exposure.book
        for holder, qty in (*holders, *((f"venue {venue}", book.qty_at(venue, symbol)) for venue in book.venues())):
            after = qty * numerator / denominator
            if not is_multiple(after, instrument.lot):
                raise Refused(
                    f"{holder} holds {qty:f} {symbol}, which would be {after:f} and no multiple of the lot "
                    f"{instrument.lot:f}: trade what is paid out in cash first"
                )

    async def regime(self, order: Order, by: str) -> Answer:
        """The market's regime is what a person says, or what the data says again."""
        self._check_ready()
        run, tail = self._run, self._run.actors.exposure.tail
        if tail is None:
            raise Refused("this account is run without a risk model: set risk.returns")
        if order.text not in {*Regime.__members__, ""}:
            raise Refused(f"{order.text} is none of {', '.join(Regime.__members__)}")
        run.bus.publish(RegimeSet(ts=run.clock.now(), regime=order.text, by=by))
        await self._on_record(NOT_ON_RECORD)
        return {"regime": tail.regime_at(run.clock.now()).name, "multiplier": tail.multiplier(run.clock.now())}

    async def reload(self, order: Order, by: str) -> Answer:
        """The limits of the configuration file are in force from now on, all or none of them."""
        del order
        self._check_ready()
        reloaded = await self._run.reloader.reload(by)
        await self._on_record("they are in force, and will be on record once the database is back")
        return msgspec.structs.asdict(reloaded)

    async def override(self, order: Order, by: str) -> Answer:
        """Propose that one order is let in that one check would deny; another supervisor grants it."""
        self._check_ready()
        run, wanted = self._run, order.override
        if wanted is None:
            raise Refused("name strategy, symbol, side, qty and reason of the order")
        self._check_overridable()
        if wanted.symbol not in run.instruments:
            raise Refused(f"{wanted.symbol} is not among the instruments")
        if not (is_amount(wanted.qty) and wanted.qty > 0):
            raise Refused(f"qty = {wanted.qty}: a positive number {AMOUNT_BOUNDS} belongs here")
        now, why = run.clock.now(), order.text[:TEXT_MAX]
        if why_not := run.actors.overrides.why_not_proposed(wanted.reason, wanted.expires_s, why, now):
            raise Refused(why_not)
        proposed = OverrideProposed(
            ts=now,
            override_id=f"override-{now}",
            by=by,
            strategy=wanted.strategy,
            symbol=wanted.symbol,
            side=wanted.side,
            order_qty=wanted.qty,
            reason=wanted.reason,
            expires=now + wanted.expires_s * NS_PER_S,
            text=why,
        )
        run.bus.publish(proposed)
        await self._on_record(NOT_ON_RECORD)
        return {"override": proposed.override_id, "expires_s": wanted.expires_s}

    async def confirm(self, order: Order, by: str) -> Answer:
        """Grant what another supervisor has proposed: the next parent that fits is let in."""
        self._check_ready()
        self._check_overridable()
        run, now = self._run, self._run.clock.now()
        if why_not := run.actors.overrides.why_not_granted(order.override_id, by, now):
            raise Refused(why_not)
        run.bus.publish(OverrideGranted(ts=now, override_id=order.override_id, by=by))
        await self._on_record(NOT_ON_RECORD)
        return {"override": order.override_id}

    def _check_overridable(self) -> None:
        if not self._run.actors.limits.current.override:
            raise Refused("overrides are off: set limits.override, and `execd risk reload`")

    async def record(self, order: Order, by: str) -> Answer:
        """Put what somebody did on record, as after a drill; the record itself is made by the control socket."""
        del order, by
        return {}

    async def _on_record(self, otherwise: str) -> None:
        """Return once what was published is durable; raises Refused with these words where that takes too long."""
        try:
            async with asyncio.timeout(COMMIT_S):
                await self._run.intake.committed()
        except TimeoutError:
            raise Refused(otherwise) from None

    def _ended(self, parent_id: str) -> str:
        """Why a parent can no longer be changed, from the records; empty where it has not ended."""
        rows = queries.parents(self._run.engine, parent_id=parent_id)
        return next((f"{parent_id} is over: {row['reason']}" for row in rows if row["state"] in OVER), "")

    def _denied(self, parent_id: str, before: int) -> str:
        """What the gate refused of a parent itself behind a place in the journal, from the records; empty: nothing."""
        rows = queries.denials(self._run.engine, parent_id=parent_id, limit=DENIALS_MAX)
        said = (f"{row['reason']}, {row['text']}" for row in rows if row["seq"] > before and not row["cl_ord_id"])
        return next(said, "")

    def _flattened(self, request_id: str) -> list[Answer]:
        """What became of the request, from the records."""
        rows = queries.parents(self._run.engine, signal_id=request_id)
        shown = ("parent_id", "strategy", "symbol", "side", "order_qty", "state", "reason")
        return [{name: row[name] for name in shown} for row in rows]

    def _check_ready(self) -> None:
        if not self._run.ready.is_set():
            raise Refused("the daemon is starting: ask again when `execd status` says that it has")


def _sides(found: Break) -> str:
    about = found.cl_ord_id or found.exec_id
    return f"{about}: ours {found.ours or '-'}, theirs {found.theirs or '-'}".removeprefix(": ")


def _ratio(order: Order) -> tuple[int, int]:
    """New shares and old ones; raises Refused."""
    new, _, old = order.ratio.partition(":")
    sides = [
        int(side) for side in (new, old) if side.isascii() and side.isdecimal() and len(side) <= len(f"{SHARES_MAX}")
    ]
    if len(sides) < len((new, old)) or not all(0 < side <= SHARES_MAX for side in sides) or sides[0] == sides[1]:
        raise Refused(f"{order.ratio}: new shares and old ones belong here, as 4:1; {SHARES_MAX:,} each at most")
    return sides[0], sides[1]


def _amount(order: Order) -> Decimal:
    """The money that a command names; raises Refused."""
    amount = order.amount
    if amount is None or not (amount.is_finite() and 0 < amount <= CASH_MAX):
        raise Refused(f"{amount}: an amount of money above 0, {CASH_MAX:,} at most, belongs here")
    return amount
