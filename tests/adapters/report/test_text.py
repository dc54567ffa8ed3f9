"""Numbers are rounded once, half to even, and zero has no sign."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from adapters.report import text
from core.events import EndReason


@pytest.mark.parametrize(
    "write,value,written",
    [
        (text.qty, "500", "500"),
        (text.qty, "1E+3", "1,000"),
        (text.qty, "-1234567.50", "-1,234,567.5"),
        (text.qty, "-0.00", "0"),
        (text.price, "114.78956", "114.7896"),
        (text.price, "12345.00005", "12,345.0000"),
        (text.price, "0.00001234", "0.00001234"),
        (text.price, None, "-"),
        (text.money, "-306.125", "-306.12"),
        (text.money, "1234.5", "1,234.50"),
        (text.money, "-0.004", "0.00"),
        (text.money, None, "-"),
        (text.cost, "64.78", "+64.78"),
        (text.cost, "-306.12", "-306.12"),
        (text.cost, "0.004", "0.00"),
        (text.cost, "-0.00", "0.00"),
        (text.cost, "100", "+100.00"),
        (text.bps, "11.25", "+11.2"),
        (text.bps, "-0.04", "0.0"),
        (text.bps, "0.06", "+0.1"),
        (text.bps, None, "-"),
    ],
)
def test_a_number_is_written_so(write: Callable[[Decimal | None], str], value: str | None, written: str) -> None:
    assert write(None if value is None else Decimal(value)) == written


@pytest.mark.parametrize(
    "ns,written",
    [
        (10_581_432, "10 ms"),
        (59_999_999_999, "59 s"),
        (61 * 10**9, "1 min 1 s"),
        (6 * 3600 * 10**9 + 23 * 60 * 10**9, "6 h 23 min"),
    ],
)
def test_a_duration_is_written_in_two_units(ns: int, written: str) -> None:
    assert text.duration(ns) == written


def test_times_are_utc_and_cut_not_rounded() -> None:
    ts = 1_781_530_260_999_999_999
    assert text.clock(ts) == "13:31:00"
    assert text.clock(ts, with_ms=True) == "13:31:00.999"
    assert text.moment(ts) == "2026-06-15 13:31:00"


def test_a_share_of_nothing_is_not_known() -> None:
    assert text.percent(Decimal(1), Decimal(3)) == "33.3 %"
    assert text.percent(Decimal(1), Decimal(0)) == "-"


def test_every_reason_to_end_has_words() -> None:
    assert set(text.ENDS) == set(EndReason)


def test_what_a_terminal_would_obey_is_replaced() -> None:
    assert text.printable("a\x1b[31m\nb\x9bc é") == "a\ufffd[31m\ufffdb\ufffdc é"
