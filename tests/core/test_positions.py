"""Positions and cash against a slow bookkeeper with fractions, and the law that money does not appear or vanish."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import AccountOpened, FillBooked, FillBusted, PositionAdjusted
from core.orders import Side
from core.positions import Book, Position
from core.units import ZERO

START = Decimal(100_000)
MULTIPLIERS = {"AAPL": Decimal(1), "ES": Decimal(50), "BTC": Decimal("0.001")}
CLOSE_ENOUGH = Fraction(1, 10**12)  # an average price is a quotient, kept to 28 digits


def fill(  # noqa: PLR0917 - one column per fact in the tables below
    strategy: str, symbol: str, side: Side, qty: Decimal, price: Decimal, fee: Decimal = ZERO
) -> FillBooked:
    return FillBooked(
        ts=1,
        exec_id="e",
        cl_ord_id="c",
        parent_id="p",
        strategy=strategy,
        venue="paper",
        symbol=symbol,
        side=side,
        last_qty=qty,
        last_px=price,
        fee=fee,
        multiplier=MULTIPLIERS[symbol],
    )


def bust(booked: FillBooked) -> FillBusted:
    fields = msgspec.structs.asdict(booked)
    del fields["late"]
    return FillBusted(**fields)


def account(*fills: FillBooked | FillBusted) -> Book:
    book = Book()
    book.open(AccountOpened(ts=1, account="a", cash=START, currency="USD"))
    for each in fills:
        book.fill(each)
    return book


FILLS = st.lists(
    st.builds(
        fill,
        st.sampled_from(["alpha", "beta"]),
        st.sampled_from(sorted(MULTIPLIERS)),
        st.sampled_from(Side),
        st.decimals("0.1", 1_000, places=1),
        st.decimals("0.01", 1_000, places=2),
        st.decimals(-5, 5, places=3),  # a rebate is a negative fee
    ),
    max_size=25,
)
MARKS = st.fixed_dictionaries({symbol: st.decimals("0.01", 1_000, places=2) for symbol in MULTIPLIERS})


class SlowPosition:
    """A heap of shares and what it cost: what closes takes its part of the cost along, what is left over opens."""

    def __init__(self) -> None:
        self.qty = self.cost = self.realized = Fraction(0)

    def trade(self, signed: Fraction, price: Fraction) -> None:
        closing = Fraction(0)
        if self.qty * signed < 0:
            closing = signed if abs(signed) <= abs(self.qty) else -self.qty
            part = self.cost * closing / self.qty  # the sign of `closing` makes it a reduction
            self.realized += -closing * price + part
            self.cost += part
            self.qty += closing
        self.qty += signed - closing
        self.cost += (signed - closing) * price


@given(FILLS)
def test_positions_agree_with_the_slow_bookkeeper(fills: list[FillBooked]) -> None:
    slow: dict[tuple[str, str], SlowPosition] = {}
    for each in fills:
        signed = each.side.sign * Fraction(each.last_qty)
        slow.setdefault((each.strategy, each.symbol), SlowPosition()).trade(signed, Fraction(each.last_px))
    book = account(*fills)
    assert [(strategy, symbol) for strategy, symbol, _ in book.positions()] == list(slow)
    for strategy, symbol, position in book.positions():
        expected = slow[strategy, symbol]
        assert Fraction(position.qty) == expected.qty
        cost = Fraction(position.avg_px) * Fraction(position.qty)
        realized = Fraction(position.realized_pnl) / Fraction(position.multiplier)
        assert abs(cost - expected.cost) < CLOSE_ENOUGH
        assert abs(realized - expected.realized) < CLOSE_ENOUGH


def earned(fills: list[FillBooked], marks: dict[str, Decimal]) -> Decimal:
    """Sum what each trade alone has earned at the marks."""
    return sum((f.side.sign * f.last_qty * (marks[f.symbol] - f.last_px) * f.multiplier for f in fills), start=ZERO)


@given(FILLS, MARKS)
def test_equity_is_the_start_and_what_each_trade_earned_less_fees(
    fills: list[FillBooked], marks: dict[str, Decimal]
) -> None:
    book = account(*fills)
    holdings = sum((qty * marks[symbol] * MULTIPLIERS[symbol] for symbol, qty in book.symbols()), start=ZERO)
    assert book.cash + holdings == START + earned(fills, marks) - sum(f.fee for f in fills)


@given(FILLS, MARKS)
def test_realised_and_unrealised_profit_are_what_each_trade_earned(
    fills: list[FillBooked], marks: dict[str, Decimal]
) -> None:
    book = account(*fills)
    profit = sum((p.realized_pnl + p.unrealized_pnl(marks[symbol]) for _, symbol, p in book.positions()), start=ZERO)
    assert abs(profit - earned(fills, marks)) < Decimal("1e-12")
    assert sum(p.fees for _, _, p in book.positions()) == sum(f.fee for f in fills)


@given(FILLS)
def test_the_account_holds_the_sum_of_its_strategies(fills: list[FillBooked]) -> None:
    book = account(*fills)
    for symbol in MULTIPLIERS:
        parts = [p.qty for _, held, p in book.positions() if held == symbol]
        assert book.qty(symbol) == sum(parts)
    assert dict(book.symbols()).keys() == {f.symbol for f in fills}


@given(FILLS, MARKS, st.data())
def test_a_bust_undoes_a_fill_in_cash_quantity_fees_and_profit(
    fills: list[FillBooked], marks: dict[str, Decimal], data: st.DataObject
) -> None:
    busted = data.draw(st.lists(st.sampled_from(fills), unique_by=id) if fills else st.just([]))
    kept = [f for f in fills if not any(f is b for b in busted)]
    book, expected = account(*fills, *map(bust, busted)), account(*kept)
    assert book.cash == expected.cash
    for strategy, symbol, position in book.positions():
        other = expected.position(strategy, symbol) or Position(MULTIPLIERS[symbol])
        assert (position.qty, position.fees) == (other.qty, other.fees)
        mark = marks[symbol]
        profit = position.realized_pnl + position.unrealized_pnl(mark)
        assert abs(profit - other.realized_pnl - other.unrealized_pnl(mark)) < Decimal("1e-12")


@given(FILLS, FILLS)
def test_a_snapshot_through_json_goes_on_as_if_nothing_had_happened(
    before: list[FillBooked], after: list[FillBooked]
) -> None:
    book, again = account(*before), account(*after)  # what was in `again` must be gone
    again.load(msgspec.json.decode(msgspec.json.encode(book.dump())))
    for each in after:
        book.fill(each)
        again.fill(each)
    assert again.dump() == book.dump()
    assert list(again.symbols()) == list(book.symbols())


BUY, SELL = Side.BUY, Side.SELL


@pytest.mark.parametrize(
    "trades,qty,avg_px,realized",
    [
        ([(BUY, 100, "10")], 100, "10", "0"),
        ([(BUY, 100, "10"), (BUY, 300, "12")], 400, "11.5", "0"),
        ([(BUY, 100, "10"), (SELL, 40, "11")], 60, "10", "40"),  # a part leaves at the average
        ([(BUY, 100, "10"), (SELL, 100, "9")], 0, "0", "-100"),
        ([(BUY, 100, "10"), (SELL, 150, "12")], -50, "12", "200"),  # crossed: the rest is new
        ([(SELL, 100, "10"), (BUY, 30, "9")], -70, "10", "30"),
        ([(SELL, 100, "10"), (SELL, 100, "14"), (BUY, 250, "11")], 50, "11", "200"),
    ],
)
def test_profit_is_realised_when_a_position_shrinks_or_crosses(
    trades: list[tuple[Side, int, str]], qty: int, avg_px: str, realized: str
) -> None:
    position = Position(Decimal(1))
    for side, size, price in trades:
        position.trade(side.sign * Decimal(size), Decimal(price))
    assert (position.qty, position.avg_px, position.realized_pnl) == (
        Decimal(qty),
        Decimal(avg_px),
        Decimal(realized),
    )


@pytest.fixture
def bought() -> Callable[[Decimal], Book]:
    def buy(fee: Decimal) -> Book:
        return account(fill("alpha", "ES", BUY, Decimal(2), Decimal(100), fee))

    return buy


@pytest.mark.parametrize("fee,cash", [("3", "89997"), ("-1", "90001")])
def test_cash_pays_for_the_multiplier_and_the_fee(bought: Callable[[Decimal], Book], fee: str, cash: str) -> None:
    assert bought(Decimal(fee)).cash == Decimal(cash)


def test_what_was_never_traded_is_nothing() -> None:
    book = account()
    assert book.qty("AAPL") == ZERO
    assert book.position("alpha", "AAPL") is None
    assert not [*book.symbols(), *book.positions()]


# Shares that become others --------------------------------------------------------------------------------------------

RATIOS = st.sampled_from([(4, 1), (2, 1), (1, 10), (3, 2), (5, 4), (1_000, 1)])


@given(FILLS, RATIOS)
def test_a_split_moves_no_money_and_no_gain(fills: list[FillBooked], ratio: tuple[int, int]) -> None:
    numerator, denominator = ratio
    plain, after = account(*fills), account(*fills)
    after.adjust(PositionAdjusted(ts=1, symbol="AAPL", numerator=numerator, denominator=denominator, by="", reason=""))
    assert after.cash == plain.cash
    for strategy, symbol, before in plain.positions():
        position = after.position(strategy, symbol)
        assert position is not None
        assert (position.realized_pnl, position.fees) == (before.realized_pnl, before.fees)
        if symbol != "AAPL":
            assert (position.qty, position.avg_px) == (before.qty, before.avg_px)
            continue
        assert position.qty * denominator == before.qty * numerator
        paid = Fraction(position.qty) * Fraction(position.avg_px) - Fraction(before.qty) * Fraction(before.avg_px)
        assert abs(paid) <= CLOSE_ENOUGH
    for symbol in MULTIPLIERS:
        held = [position.qty for _, name, position in after.positions() if name == symbol]
        assert after.qty(symbol) == sum(held, ZERO)


def test_a_split_of_whole_numbers_is_exact() -> None:
    book = account(fill("alpha", "AAPL", Side.BUY, Decimal(100), Decimal(50)))
    book.adjust(PositionAdjusted(ts=1, symbol="AAPL", numerator=4, denominator=1, by="", reason=""))
    position = book.position("alpha", "AAPL")
    assert position is not None
    assert (position.qty, position.avg_px, position.unrealized_pnl(Decimal(15))) == (
        Decimal(400),
        Decimal("12.5"),
        Decimal(1_000),
    )


@given(FILLS, st.lists(st.sampled_from(["paper", "fast"]), min_size=25, max_size=25), st.sampled_from([(1, 2), (4, 1)]))
def test_what_lies_at_each_venue_was_traded_there_and_all_of_it_is_the_account(
    fills: list[FillBooked], venues: list[str], ratio: tuple[int, int]
) -> None:
    placed = [msgspec.structs.replace(each, venue=venue) for each, venue in zip(fills, venues, strict=False)]
    book, again = account(*placed), Book()
    again.load(msgspec.json.decode(msgspec.json.encode(book.dump()), type=dict[str, object]))
    for each in placed[:3]:
        book.fill(bust(each))
        again.fill(bust(each))
    numerator, denominator = ratio
    split = PositionAdjusted(ts=1, symbol="AAPL", numerator=numerator, denominator=denominator, by="ann", reason="")
    book.adjust(split)
    again.adjust(split)
    for symbol in MULTIPLIERS:
        for venue in ("paper", "fast"):
            here = [each for each in placed[3:] if (each.venue, each.symbol) == (venue, symbol)]
            expected = sum((each.side.sign * each.last_qty for each in here), ZERO)
            expected = expected * numerator / denominator if symbol == "AAPL" else expected
            assert book.qty_at(venue, symbol) == again.qty_at(venue, symbol) == expected
            assert book.at(venue).get(symbol, ZERO) == expected
        assert sum((book.qty_at(venue, symbol) for venue in book.venues()), ZERO) == book.qty(symbol)
        lies = {venue: qty for venue in ("paper", "fast") if (qty := book.qty_at(venue, symbol))}
        is_opposed = any(one * other < 0 for one in lies.values() for other in lies.values())
        assert book.opposed().get(symbol) == (lies if is_opposed else None)
