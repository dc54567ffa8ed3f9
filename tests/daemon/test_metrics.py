"""Metrics: what Prometheus reads is well-formed, true of a run, and bounded whatever is traded."""

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from algos.planning import ALGOS
from core.causes import KILL
from core.events import CostReport, FillBooked, MarketData, Outcome, Reason, TimeAdvanced, VenueAway
from core.instruments import Instrument, Instruments
from core.orders import Side
from core.trading import halted
from core.units import NS_PER_S, ZERO
from daemon.clock import SimulatedClock
from daemon.drain import Halted
from daemon.metrics import BUCKETS_S, COST_PARTS, SYMBOLS_MAX, Collector, Histogram, Stages, Tally
from daemon.run import Run
from risk.limits import version_of
from tca.analyst import Analyst
from tests.adapters.store.examples import beside
from tests.builders import NOW, child, denied, limits_set, quote
from tests.daemon.crashing import config, write_signals
from tests.daemon.test_run import facts, live

Sample = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(run: Run) -> Sample:
    """Every sample, by name and labels, as Prometheus would read it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(run))
    text = generate_latest(registry).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Sample, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def labelled(samples: Sample, name: str, label: str) -> dict[str, float]:
    """The samples of a metric by the value of one label."""
    return {dict(labels)[label]: sample for (found, labels), sample in samples.items() if found == name}


@pytest.fixture
def own(tmp_path: Path) -> Run:
    """A small day that is over, for a test that changes it."""
    write_signals(tmp_path / "day")
    return live(config(tmp_path / "day"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small day that is over."""
    folder = tmp_path_factory.mktemp("metrics") / "day"
    write_signals(folder)
    return live(config(folder), lambda run: run.bus.tap(run.tally.put))


def test_a_day_in_numbers(run: Run) -> None:
    samples = scraped(run)
    assert value(samples, "execd_ready") == 1
    assert value(samples, "execd_trading_state", state="ACTIVE") == 1
    assert value(samples, "execd_trading_state", state="HALTED") == 0
    assert value(samples, "execd_halt_cause", cause="kill") == 0
    assert value(samples, "execd_halts_total", cause="startup") == 1
    assert value(samples, "execd_signals_total", outcome="accepted", reason="") == 4
    assert value(samples, "execd_signals_received_total", source="file:signals.jsonl") == 4
    assert value(samples, "execd_risk_verdicts_total", verdict="accepted", reason="") == 4
    assert value(samples, "execd_parents_ended_total", reason="FILLED") == 3
    assert value(samples, "execd_events_total", event="ParentEnded") == 4
    assert value(samples, "execd_fills_total", venue="paper") == len(run.actors.oms.executions("paper"))
    assert value(samples, "execd_equity") == pytest.approx(float(run.actors.exposure.equity))
    held = {symbol: float(qty) for symbol, qty in run.actors.exposure.book.symbols() if qty}
    assert {dict(labels)["symbol"] for name, labels in samples if name == "execd_position_value"} == set(held)
    assert 0 < value(samples, "execd_limit_use_ratio", limit="position") < 1
    assert value(samples, "execd_limit_use_ratio", limit="parents_per_day") == 4 / 100
    assert value(samples, "execd_journal_depth") == 0
    assert value(samples, "execd_journal_seq_total") == run.journal.durable_seq
    assert value(samples, "execd_edge_up", edge="file:signals.jsonl") == 1
    (who,) = (dict(labels) for name, labels in samples if name == "execd_info")
    assert (who["account"], who["world"], who["limits"]) == ("paper", "simulation", run.config.limits_version)


def test_the_limits_that_are_named_are_those_in_force(run: Run) -> None:
    in_force = run.actors.limits
    before, tight = in_force.current, msgspec.structs.replace(in_force.current, positions_max=1)
    in_force.take(limits_set(tight))
    samples = scraped(run)
    (who,) = (dict(labels) for name, labels in samples if name == "execd_info")
    assert who["limits"] == version_of(tight) != run.config.limits_version
    held_symbols = len(run.actors.exposure.reach(of_parents=True).spans)
    assert value(samples, "execd_limit_use_ratio", limit="positions") == held_symbols
    in_force.take(limits_set(before))


def test_what_is_known_beforehand_is_counted_from_zero(run: Run) -> None:
    samples = scraped(run)
    assert labelled(samples, "execd_submits_total", "outcome").keys() == set(Outcome)
    assert value(samples, "execd_submits_total", outcome="REJECTED") == 0
    assert value(samples, "execd_risk_verdicts_total", verdict="denied", reason="STATE") == 0
    assert labelled(samples, "execd_shadow_verdicts_total", "outcome") == {"tighter": 0, "wider": 0}
    assert value(samples, "execd_events_total", event="Anomaly") == 0
    assert value(samples, "execd_halts_total", cause="redis") == 0
    assert labelled(samples, "execd_live_parents", "algo") == dict.fromkeys(map(str, ALGOS), 0)


def test_the_farthest_vwap_is_a_ratio_and_absent_where_there_is_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "execd_vwap_deviation_ratio" not in {name for name, _ in scraped(run)}
    monkeypatch.setattr(Analyst, "farthest_bps", lambda analyst: Decimal(-125))
    assert value(scraped(run), "execd_vwap_deviation_ratio") == pytest.approx(-0.0125)


def test_a_venue_that_is_away_is_one(own: Run) -> None:
    before = scraped(own)
    own.bus.publish(VenueAway(ts=own.clock.now(), venue="paper", text="no line"))
    found = [value(samples, "execd_venue_away", venue="paper") for samples in (before, scraped(own))]
    assert found == [0, 1]
    assert value(before, "execd_venue_reject_ratio", venue="paper") == pytest.approx(0.01, abs=0.01)
    assert value(before, "execd_venue_latency_seconds", venue="paper") >= 0


def test_the_parts_of_the_costs_sum_to_the_shortfalls_of_the_reports(run: Run) -> None:
    parts = labelled(scraped(run), "execd_shortfall", "part")
    reports = facts(run.config.data_dir, CostReport.__name__)
    assert set(parts) == set(COST_PARTS)
    assert sum(parts.values()) == pytest.approx(float(sum(Decimal(str(report["shortfall"])) for report in reports)))
    assert parts["fees"] == pytest.approx(float(sum(Decimal(str(report["fees"])) for report in reports)))


def test_a_halt_is_quiet_only_once_its_own_report_says_so(own: Run) -> None:
    halts, drain = own.actors.halts, own.actors.drain

    def seen() -> dict[str, float]:
        samples = scraped(own)
        figures = labelled(samples, "execd_last_halt_seconds", "until")
        return figures | {"is quiet": value(samples, "execd_halt_quiet")}

    assert seen() == {"is quiet": 1}  # nobody has halted anything
    halts.halt(halted(KILL, NOW, text="enough"))
    halts.heard_ns = 5_000_000_000
    assert seen() == {"is quiet": 0}
    drain.last = Halted(KILL, 5_000_000_000, 4_000_000_000, 5_250_000_000, 0, 3)
    assert seen() == {"is quiet": 0, "last_order": 0, "last_cancel": 0.25}
    drain.last = Halted(KILL, 5_000_000_000, 4_000_000_000, 5_250_000_000, 5_500_000_000, 0)
    quiet = {"is quiet": 1, "last_order": 0, "last_cancel": 0.25, "quiet": 0.5}
    assert seen() == quiet
    halts.heard_ns = 9_000_000_000  # it was halted again
    assert seen() == quiet | {"is quiet": 0}


def test_of_a_halt_that_an_earlier_run_heard_no_times_are_told(own: Run) -> None:
    own.actors.halts.halt(halted(KILL, NOW, text="enough"))
    own.actors.drain.last = Halted(KILL, 0, 0, 7_000_000_000_000, 7_000_000_000_000, 0)
    samples = scraped(own)
    assert labelled(samples, "execd_last_halt_seconds", "until") == {}
    assert value(samples, "execd_halt_quiet") == 1


def test_a_symbol_is_stale_in_session_without_a_quote_that_may_be_traded_on(own: Run) -> None:
    market, age_ns = own.actors.exposure.market, own.config.limits.quote_age_ns_max
    now = own.clock.now() + 3_600 * NS_PER_S  # behind the close of New York
    own.clock = SimulatedClock(now)
    own.instruments = Instruments(
        [Instrument(symbol=name, calendar="24x7") for name in ("FRESH", "OLD", "NEVER")]
        + [Instrument(symbol="SHUT", calendar="XNYS")]
    )
    for symbol, ts in (("FRESH", now - age_ns), ("OLD", now - age_ns - 1), ("SHUT", now - 3_600 * NS_PER_S)):
        market[symbol] = quote_of(symbol, ts)
    assert value(scraped(own), "execd_stale_symbols") == 2


def test_without_equity_the_position_limit_is_full_and_no_ratio_to_it_is_told(own: Run) -> None:
    book = own.actors.exposure.book
    assert any(qty for _, qty in book.symbols())
    book.cash -= own.actors.exposure.equity
    samples = scraped(own)
    assert value(samples, "execd_equity") == 0
    assert value(samples, "execd_limit_use_ratio", limit="position") == 1
    assert "execd_gross_exposure_ratio" not in {name for name, _ in samples}


def test_every_metric_has_a_prefix_a_help_and_finite_values(run: Run) -> None:
    for metric in Collector(run).collect():
        assert metric.name.startswith("execd_")
        assert metric.documentation.endswith(".")
        for sample in metric.samples:
            assert sample.value == sample.value, sample  # no NaN
            assert abs(sample.value) < float("inf"), sample


def test_before_recovery_only_what_is_certain_is_said(tmp_path: Path) -> None:
    write_signals(tmp_path / "day")
    seen: list[set[str]] = []
    live(config(tmp_path / "day"), lambda run: seen.append({name for name, _ in scraped(run)}))
    assert "execd_ready" in seen[0]
    assert not {name for name in seen[0] if name.startswith(("execd_equity", "execd_events", "execd_trading"))}


def test_10000_symbols_and_as_many_strategies_do_not_flood_the_labels(tmp_path: Path) -> None:
    write_signals(tmp_path / "day")
    run = live(config(tmp_path / "day"))
    before = len(scraped(run))
    exposure, names = run.actors.exposure, [f"S{number}" for number in range(10_000)]
    run.instruments = exposure.instruments = Instruments([Instrument(symbol=name) for name in ("AAA", "BBB", *names)])
    for number, name in enumerate(names):
        exposure.quote(quote_of(name))
        fill = FillBooked(
            ts=NOW,
            exec_id=name,
            cl_ord_id=name,
            parent_id=name,
            strategy=f"strategy {number}",
            venue="paper",
            symbol=name,
            side=Side.BUY,
            last_qty=Decimal(number + 1),
            last_px=Decimal(1),
            fee=ZERO,
        )
        exposure.fill(fill)
        run.tally.filled(fill)
        run.tally.denied(denied(child(), Reason.RATE))
    samples = scraped(run)
    values = {
        dict(labels)["symbol"]: sample for (name, labels), sample in samples.items() if name == "execd_position_value"
    }
    assert len(values) == SYMBOLS_MAX + 1
    assert values["other"] + sum(v for k, v in values.items() if k != "other") == pytest.approx(
        float(sum(exposure.values().values()))
    )
    assert len(samples) < before + SYMBOLS_MAX + 10


def quote_of(symbol: str, ts: int = NOW) -> MarketData:
    return MarketData(
        ts=ts,
        symbol=symbol,
        bid=Decimal(1),
        bid_size=Decimal(1),
        ask=Decimal(1),
        ask_size=Decimal(1),
        last=None,
        high=None,
        low=None,
        volume=ZERO,
        notional=ZERO,
        trades=0,
    )


# Histograms -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10**11)))
def test_a_histogram_counts_like_the_obvious_one(durations_ns: list[int]) -> None:
    histogram = Histogram()
    for ns in durations_ns:
        histogram.observe(ns)
    expected = [(str(bound), float(sum(ns <= int(bound * 1e9) for ns in durations_ns))) for bound in BUCKETS_S]
    assert histogram.buckets() == [*expected, ("+Inf", float(len(durations_ns)))]
    assert histogram.sum_ns == sum(durations_ns)


def test_stages_know_what_an_event_belongs_to() -> None:
    stages = Stages()
    stages.cascade(TimeAdvanced(ts=1), 1_000)
    stages.cascade(quote(), 2_000)
    stages.cascade(denied(child()), 4_000)  # no stage of its own
    assert {name: histogram.sum_ns for name, histogram in stages.by_name.items() if histogram.sum_ns} == {
        "timer": 1_000,
        "market": 2_000,
    }


def test_a_tally_counts_reasons() -> None:
    tally = Tally()
    for reason in (Reason.RATE, Reason.RATE, Reason.COLLAR):
        tally.put(1, denied(child(), reason))
    assert tally.verdicts == {("denied", "RATE"): 2, ("denied", "COLLAR"): 1}


def test_a_tally_counts_how_shadow_limits_differ() -> None:
    tally = Tally()
    for in_force, shadow in ((100, 0), (0, 100), (100, 60)):
        tally.put(1, beside(1, "", in_force=in_force, shadow=shadow))
    assert tally.shadow == {"tighter": 2, "wider": 1}
