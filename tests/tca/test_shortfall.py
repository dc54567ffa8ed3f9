"""What an order cost: parts that sum exactly, published worked numbers, and signs that hurt on both sides."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.instruments import Instrument
from core.orders import Side
from tca.shortfall import Fills, Parts, modelled_impact, parts

D = Decimal
SHARE = Instrument(symbol="X")
Fill = tuple[Decimal, Decimal, Decimal, Decimal]  # quantity, price, mid when it was booked, fee


def fills_of(side: Side, arrival: Decimal, executions: Sequence[Fill]) -> Fills:
    fills = Fills()
    for qty, price, mid, fee in executions:
        fills.add(side=side, qty=qty, price=price, mid=mid, arrival=arrival, fee=fee)
    return fills


def cost(  # noqa: PLR0917 - one column per fact in the tables below
    side: Side,
    wanted: str,
    decision: str,
    arrival: str,
    end: str,
    executions: Sequence[tuple[str, str, str, str]],
    instrument: Instrument = SHARE,
) -> Parts:
    exact = [(D(qty), D(price), D(mid), D(fee)) for qty, price, mid, fee in executions]
    return parts(
        fills_of(side, D(arrival), exact),
        side=side,
        order_qty=D(wanted),
        decision=D(decision),
        arrival=D(arrival),
        end=D(end),
        instrument=instrument,
    )


def made_of(**money: str) -> Parts:
    names = ("delay", "spread", "impact", "timing", "opportunity", "fees", "shortfall")
    return Parts(**{name: D(money.get(name, "0")) for name in names})


def test_perold_complete_order_bought_behind_a_rising_price() -> None:
    """5,000 decided at 10, the price ends at 11: paper gains 5,000, the account 2,400 after fees of 100."""
    found = cost(Side.BUY, "5000", "10", "10", "11", [("5000", "10.5", "10.5", "100")])
    assert found == made_of(timing="2500", fees="100", shortfall="2600")


def test_perold_and_wagner_on_an_order_that_was_not_finished() -> None:
    """4,000 of 5,000 at 10.50, arrival 10.25: delay 250 + 1,000, trading 1,000, opportunity 750, fees 80 = 3,080."""
    found = cost(Side.BUY, "5000", "10", "10.25", "11", [("4000", "10.5", "10.25", "80")])
    assert found == made_of(delay="1250", spread="1000", opportunity="750", fees="80", shortfall="3080")


def test_a_worked_purchase_of_a_thousand() -> None:
    """1,000 decided at 10.00, next close 10.05, 700 at 10.07, fees 14, close 10.08: 87 in all."""
    found = cost(Side.BUY, "1000", "10", "10.05", "10.08", [("700", "10.07", "10.06", "14")])
    expected = made_of(delay="50", spread="7", timing="7", opportunity="9", fees="14", shortfall="87")
    assert found == expected
    assert found.spread + found.timing == 14  # trading


def test_a_sale_into_a_falling_price_costs_its_fall() -> None:
    """50,000 decided at 43, sold at 40.25, 0.05 a share in fees: 2.80 a share."""
    found = cost(Side.SELL, "50000", "43", "43", "40.25", [("50000", "40.25", "40.25", "2500")])
    assert found == made_of(timing="137500", fees="2500", shortfall="140000")
    assert found.shortfall / 50_000 == D("2.8")


def test_a_cost_may_be_a_gain() -> None:
    found = cost(Side.BUY, "100", "10", "10", "9", [("100", "9.5", "9.6", "-1")])
    assert found == made_of(spread="-10", timing="-40", fees="-1", shortfall="-51")


def test_an_order_of_which_nothing_was_done_costs_what_was_missed() -> None:
    found = cost(Side.SELL, "100", "10", "9.9", "9.5", [])
    assert found == made_of(delay="10", opportunity="40", shortfall="50")


def test_the_multiplier_of_a_contract_is_in_every_part() -> None:
    future = Instrument(symbol="F", multiplier=D(50))
    one = cost(Side.BUY, "10", "100", "101", "104", [("6", "102.5", "102", "3")])
    fifty = cost(Side.BUY, "10", "100", "101", "104", [("6", "102.5", "102", "150")], future)
    for name in ("delay", "spread", "timing", "opportunity", "fees", "shortfall"):
        assert getattr(fifty, name) == 50 * getattr(one, name), name


def test_an_over_fill_is_an_opportunity_that_was_taken_too_often() -> None:
    found = cost(Side.BUY, "10", "100", "100", "90", [("12", "100", "100", "0")])
    assert found == made_of(opportunity="20", shortfall="20")


PRICES = st.decimals("0.01", "9999.99", places=4)
QTYS = st.decimals("0.001", "99999", places=3)
MONEY = st.decimals("-99", "99", places=4)
EXECUTIONS = st.lists(st.tuples(QTYS, PRICES, PRICES, MONEY), max_size=8)
INSTRUMENTS = st.sampled_from(
    [
        SHARE,
        Instrument(symbol="A", adv=D(10**6), volatility=0.02),
        Instrument(symbol="F", multiplier=D("0.1"), adv=D(7), volatility=0.5),
    ]
)


@given(st.sampled_from(Side), QTYS, PRICES, PRICES, PRICES, EXECUTIONS, INSTRUMENTS)
def test_the_parts_sum_to_the_shortfall_exactly(  # noqa: PLR0917 - one strategy per fact
    side: Side,
    wanted: Decimal,
    decision: Decimal,
    arrival: Decimal,
    end: Decimal,
    executions: list[Fill],
    instrument: Instrument,
) -> None:
    found = parts(
        fills_of(side, arrival, executions),
        side=side,
        order_qty=wanted,
        decision=decision,
        arrival=arrival,
        end=end,
        instrument=instrument,
    )
    total = found.delay + found.spread + found.impact + found.timing + found.opportunity + found.fees
    assert total == found.shortfall
    slow = slowly(side, wanted, (decision, arrival, end), executions, instrument)
    for name, value in slow.items():
        assert Fraction(getattr(found, name)) == value, name


def slowly(
    side: Side,
    wanted: Decimal,
    prices: tuple[Decimal, Decimal, Decimal],
    executions: list[Fill],
    instrument: Instrument,
) -> dict[str, Fraction]:
    """The formulas of the module's head in fractions, but for the model's share, which is taken out of the timing."""
    decision, arrival, end = map(Fraction, prices)
    s = 1 if side is Side.BUY else -1
    k = s * Fraction(instrument.multiplier)
    done = sum((Fraction(q) for q, *_ in executions), Fraction(0))
    fees = sum((Fraction(fee) for *_, fee in executions), Fraction(0))
    left = Fraction(wanted) - done
    impact = Fraction(modelled_impact(Decimal(done.numerator) / Decimal(done.denominator), prices[1], instrument))
    return {
        "delay": k * Fraction(wanted) * (arrival - decision),
        "spread": k * sum(Fraction(q) * (Fraction(p) - Fraction(m)) for q, p, m, _ in executions),
        "timing": k * sum(Fraction(q) * (Fraction(m) - arrival) for q, _, m, _ in executions) - impact,
        "opportunity": k * left * (end - arrival),
        "fees": fees,
        "shortfall": k
        * (sum(Fraction(q) * (Fraction(p) - decision) for q, p, _, _ in executions) + left * (end - decision))
        + fees,
    }


@given(QTYS, PRICES, PRICES, PRICES, EXECUTIONS)
def test_a_sale_costs_what_a_purchase_in_the_mirror_costs(
    wanted: Decimal, decision: Decimal, arrival: Decimal, end: Decimal, executions: list[Fill]
) -> None:
    """Prices mirrored at 10,000: what hurts a buyer hurts a seller as much."""
    buy = parts(
        fills_of(Side.BUY, arrival, executions),
        side=Side.BUY,
        order_qty=wanted,
        decision=decision,
        arrival=arrival,
        end=end,
        instrument=SHARE,
    )
    top = 10_000
    mirrored = [(qty, top - price, top - mid, fee) for qty, price, mid, fee in executions]
    sell = parts(
        fills_of(Side.SELL, top - arrival, mirrored),
        side=Side.SELL,
        order_qty=wanted,
        decision=top - decision,
        arrival=top - arrival,
        end=top - end,
        instrument=SHARE,
    )
    assert sell == buy


@given(st.sampled_from(Side), PRICES, EXECUTIONS, st.data())
def test_an_execution_that_is_taken_out_again_was_never_there(
    side: Side, arrival: Decimal, executions: list[Fill], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(executions))
    fills = fills_of(side, arrival, executions)
    for qty, price, mid, fee in order:
        fills.add(side=side, qty=-qty, price=price, mid=mid, arrival=arrival, fee=-fee)
    assert [getattr(fills, name) for name in Fills.__slots__] == [0] * len(Fills.__slots__)


@given(EXECUTIONS)
def test_sums_survive_a_snapshot(executions: list[Fill]) -> None:
    fills = fills_of(Side.BUY, D(10), executions)
    again = Fills()
    again.load(msgspec.convert(msgspec.json.decode(msgspec.json.encode(fills.dump())), list[Decimal]))
    assert again.dump() == fills.dump()


@pytest.mark.parametrize(
    "adv,volatility,impact",
    [
        (None, 0.02, "0"),
        ("1000000", None, "0"),
        ("1000000", 0.02, "2000"),  # 2 % of daily movement, a hundredth of the volume, a million in money
        ("40000", 0.02, "10000"),  # a quarter of the day: half of the movement
    ],
)
def test_the_models_share_is_the_square_root_law_and_nothing_without_its_numbers(
    adv: str | None, volatility: float | None, impact: str
) -> None:
    instrument = Instrument(symbol="X", adv=None if adv is None else D(adv), volatility=volatility)
    assert modelled_impact(D(10_000), D(100), instrument) == D(impact)
    assert modelled_impact(D(0), D(100), instrument) == 0
