"""Pre-trade cost: the numbers that papers print, laws that hold for every model, and refusals in place of guesses."""

import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import impact
from core.impact import MODELS, Estimate, NoEstimateError, Prospect, permanent, prospect, recorded, temporary
from core.instruments import Instrument
from core.units import NS_PER_S
from tests.builders import session

D = Decimal
MINUTE = 60 * NS_PER_S


def order(**changes: Any) -> Prospect:  # noqa: ANN401 - any field
    """A hundredth of a day's volume in a fifth of the day, in a market of 4 bps."""
    plain = Prospect(
        qty=10_000.0,
        adv=1e6,
        volatility=0.02,
        half_spread_bps=2.0,
        lasting=0.2,
        market=False,
        shares_outstanding=2e8,
    )
    return msgspec.structs.replace(plain, **changes)


# Printed numbers ------------------------------------------------------------------------------------------------------

IBM = {"adv": 6.561e6, "shares_outstanding": 1_728e6, "volatility": 0.0157}
DRI = {"adv": 1.929e6, "shares_outstanding": 168e6, "volatility": 0.0226}


@pytest.mark.parametrize("stock, printed", [(IBM, 19.860), (DRI, 21.679)])
def test_almgren_prints_the_permanent_impact_of_a_tenth_of_the_volume(stock: dict[str, float], printed: float) -> None:
    turnover = stock["shares_outstanding"] / stock["adv"]
    assert 1e4 * permanent(0.1, turnover, stock["volatility"]) == pytest.approx(printed, abs=5e-4)


@pytest.mark.parametrize("lasting, normal", [(0.1, 0.142), (0.2, 0.094), (0.5, 0.054)])
def test_almgren_prints_the_temporary_impact_in_volatilities(lasting: float, normal: float) -> None:
    assert temporary(0.1 / lasting, 1.0) == pytest.approx(normal, abs=5e-4)


@pytest.mark.parametrize(
    "stock, lasting, fleeting, cost",
    [
        (IBM, 0.1, 22, 32),
        (IBM, 0.2, 15, 25),
        (IBM, 0.5, 8, 18),
        (DRI, 0.1, 32, 43),
        (DRI, 0.2, 21, 32),
        (DRI, 0.5, 12, 23),
    ],
)
def test_almgren_prints_the_cost_of_a_tenth_of_the_volume(
    stock: dict[str, float], lasting: float, fleeting: int, cost: int
) -> None:
    found = MODELS["almgren"](order(qty=0.1 * stock["adv"], lasting=lasting, **stock))
    assert round(1e4 * temporary(0.1 / lasting, stock["volatility"])) == fleeting
    assert (round(found.cost_bps), found.spread_bps) == (cost, 0)


def test_the_square_root_law_of_a_hundredth_at_two_percent() -> None:
    assert MODELS["sqrt"](order()).impact_bps == pytest.approx(20)


@pytest.mark.parametrize("market, spread", [(True, 2.0), (False, 1.0)])
def test_the_half_spread_is_paid_by_who_crosses_and_half_of_it_by_who_rests_first(market: bool, spread: float) -> None:  # noqa: FBT001
    assert MODELS["sqrt"](order(market=market)).spread_bps == spread


ANNUAL_HALF = 0.5 / math.sqrt(252)


@pytest.mark.parametrize(
    "qty, adv, volatility, market, cost",
    [
        (100, 1e8, 0.0, True, 8.5),  # 5 + 1, and half the spread again for haste
        (100, 1e8, 0.0, False, 6.0),
        (1_000, 5e4, 0.0, True, 107.5),  # 141 are too many: 100
        (100, 1e6, ANNUAL_HALF, True, 30.0),  # 10 + 10 + 5 + 5
        (1_000, 1e8, 0.0, True, 10.6623),
    ],
)
def test_the_linear_model_prints_its_examples(
    qty: float,
    adv: float,
    volatility: float,
    market: bool,  # noqa: FBT001 - a column of the table
    cost: float,
) -> None:
    found = MODELS["linear"](order(qty=float(qty), adv=adv, volatility=volatility, market=market))
    assert found.cost_bps == pytest.approx(cost, abs=5e-5)


def test_in_money_and_in_prices_the_linear_example_is_this() -> None:
    cost = MODELS["linear"](order(qty=100.0, adv=1e8, volatility=0.0, market=True)).cost_bps / 1e4
    assert 100 * 150 * cost == pytest.approx(12.75)
    assert (150 * (1 + cost), 150 * (1 - cost)) == pytest.approx((150.1275, 149.8725))


# The interval ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_the_timing_risk_is_that_of_an_even_curve(model: str) -> None:
    """A curve that falls evenly from all to nothing, summed over a thousand steps of the day."""
    steps = 100_000
    slow = math.sqrt(sum((1 - (k + 0.5) / steps) ** 2 for k in range(steps)) / steps * 0.2)
    assert MODELS[model](order()).risk_bps == pytest.approx(1e4 * 0.02 * slow, rel=1e-6)


def test_the_square_root_laws_coefficient_lies_between_a_half_and_one_and_a_half() -> None:
    still = order(lasting=1e-12, half_spread_bps=0.0)
    found = MODELS["sqrt"](still)
    assert (found.low_bps, found.high_bps) == pytest.approx((10, 30), abs=0.3)


def test_almgrens_interval_is_that_of_its_parameters_moved_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, moves = MODELS["almgren"](order()), []
    for name in ("GAMMA", "ETA", "BETA"):
        with monkeypatch.context() as moved:
            step = getattr(impact, f"{name}_ERROR") * 1e-4
            moved.setattr(impact, name, getattr(impact, name) + step)
            moves.append((MODELS["almgren"](order()).cost_bps - plain.cost_bps) / 1e-4)
    assert plain.error_bps == pytest.approx(math.hypot(*moves), rel=1e-3)


def test_the_linear_model_states_no_error_of_its_own() -> None:
    assert MODELS["linear"](order()).error_bps == 0


def test_the_interval_is_the_normal_one_of_both_deviations() -> None:
    found = Estimate(spread_bps=1.0, impact_bps=2.0, risk_bps=3.0, error_bps=4.0)
    assert found.cost_bps == 3.0
    assert (found.low_bps, found.high_bps) == pytest.approx((3 - 1.96 * 5, 3 + 1.96 * 5), abs=1e-3)


# Laws -----------------------------------------------------------------------------------------------------------------

ORDERS = st.builds(
    Prospect,
    qty=st.floats(1, 1e7),
    adv=st.floats(1e3, 1e9),
    volatility=st.floats(1e-4, 0.5),
    half_spread_bps=st.floats(0, 500),
    lasting=st.floats(1e-3, 1),
    market=st.booleans(),
    shares_outstanding=st.floats(1e4, 1e11),
)


@pytest.mark.parametrize("model", MODELS)
@given(first=ORDERS, factor=st.floats(1, 100))
def test_more_shares_and_more_volatility_never_cost_less(model: str, first: Prospect, factor: float) -> None:
    plain = MODELS[model](first)
    for name in ("qty", "volatility"):
        more = MODELS[model](msgspec.structs.replace(first, **{name: getattr(first, name) * factor}))
        assert more.cost_bps >= plain.cost_bps * (1 - 1e-12)
        assert more.risk_bps >= plain.risk_bps


@pytest.mark.parametrize("model", MODELS)
@given(first=ORDERS)
def test_the_parts_sum_and_the_interval_holds_what_is_expected(model: str, first: Prospect) -> None:
    found = MODELS[model](first)
    assert found.spread_bps + found.impact_bps == found.cost_bps > 0
    assert found.low_bps <= found.cost_bps <= found.high_bps
    assert found.high_bps - found.cost_bps == pytest.approx(found.cost_bps - found.low_bps)
    assert found.high_bps - found.cost_bps >= 1.95 * found.risk_bps
    assert min(found.spread_bps, found.impact_bps, found.error_bps) >= 0 < found.risk_bps


@pytest.mark.parametrize("model", MODELS)
@given(first=ORDERS)
def test_who_crosses_pays_no_less_than_who_rests(model: str, first: Prospect) -> None:
    rests, crosses = (MODELS[model](msgspec.structs.replace(first, market=each)) for each in (False, True))
    assert crosses.cost_bps >= rests.cost_bps


@given(first=ORDERS, longer=st.floats(1, 10))
def test_with_more_time_almgren_is_cheaper_and_less_certain(first: Prospect, longer: float) -> None:
    patient = msgspec.structs.replace(first, lasting=min(first.lasting * longer, 1.0))
    quick, slow = MODELS["almgren"](first), MODELS["almgren"](patient)
    assert slow.cost_bps <= quick.cost_bps
    assert slow.risk_bps >= quick.risk_bps


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model, lack, said",
    [
        *((model, "adv", "adv is not set for the instrument") for model in MODELS),
        *((model, "volatility", "volatility is not set for the instrument") for model in MODELS),
        ("sqrt", "half_spread_bps", "the market is not two-sided"),
        ("almgren", "shares_outstanding", "shares_outstanding is not set for the instrument"),
    ],
)
def test_what_a_model_lacks_it_says(model: str, lack: str, said: str) -> None:
    with pytest.raises(NoEstimateError, match=f"^no estimate: {said}$"):
        MODELS[model](order(**{lack: None}))


@pytest.mark.parametrize("model, lack", [("almgren", "half_spread_bps"), ("sqrt", "shares_outstanding")])
def test_what_a_model_does_not_use_it_does_not_ask_for(model: str, lack: str) -> None:
    assert MODELS[model](order(**{lack: None})) == MODELS[model](order())


@pytest.mark.parametrize(
    "changes, complaint",
    [
        ({"qty": 0.0}, "qty = 0.0: a positive number of shares"),
        ({"qty": math.nan}, "qty = nan"),
        ({"adv": -1.0}, "adv = -1.0"),
        ({"shares_outstanding": math.inf}, "shares_outstanding = inf"),
        ({"volatility": -0.1}, "volatility = -0.1: zero or more"),
        ({"half_spread_bps": math.nan}, "half_spread_bps = nan"),
        ({"lasting": 0.0}, "lasting = 0.0: a part of a day between 0 and 1"),
        ({"lasting": 1.1}, "lasting = 1.1"),
        ({"lasting": math.nan}, "lasting = nan"),
    ],
)
def test_numbers_that_are_none_of_their_kind_are_refused(changes: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Prospect(**(msgspec.structs.asdict(order()) | changes))


# From the books -------------------------------------------------------------------------------------------------------

SHARE = Instrument(symbol="X", adv=D(1_000_000), volatility=0.02, shares_outstanding=D(200_000_000))
DAY_NS = session().close - session().open


def of(bid: str | None, ask: str | None, lasting_ns: int = DAY_NS // 5) -> Prospect:
    low, high = (None if each is None else D(each) for each in (bid, ask))
    return prospect(SHARE, D(10_000), low, high, session(), lasting_ns, market=False)


def test_an_order_is_made_of_its_instrument_and_its_market() -> None:
    assert of("99.98", "100.02") == order()


@pytest.mark.parametrize("bid, ask", [(None, "100"), ("100", None), (None, None), ("100.01", "100"), ("0", "100")])
def test_a_market_that_is_not_two_sided_has_no_spread(bid: str | None, ask: str | None) -> None:
    assert of(bid, ask).half_spread_bps is None


@pytest.mark.parametrize(
    "lasting_ns, part", [(0, 1 / 390), (MINUTE, 1 / 390), (39 * MINUTE, 0.1), (DAY_NS, 1.0), (2 * DAY_NS, 1.0)]
)
def test_nothing_is_done_in_less_than_a_minute_or_more_than_a_day(lasting_ns: int, part: float) -> None:
    assert of("99", "101", lasting_ns).lasting == pytest.approx(part)


def test_an_instrument_that_says_nothing_of_itself_is_not_known() -> None:
    found = prospect(Instrument(symbol="X"), D(1), D(9), D(11), session(), MINUTE, market=True)
    assert (found.adv, found.volatility, found.shares_outstanding) == (None, None, None)


def test_a_models_number_is_on_record_to_a_ten_thousandth() -> None:
    assert recorded(12.345678) == D("12.3457")
