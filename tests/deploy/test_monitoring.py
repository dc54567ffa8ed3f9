"""Every query that we hand out, asked of a real Prometheus that scrapes a real daemon while it trades.

`pytest -s tests/deploy/test_monitoring.py` prints what each panel and each alert found.
"""

import math
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from daemon.asking import RefusedError
from tests.daemon.service import Service, order
from tests.deploy.monitoring import RULES, RUNBOOKS, Query, fenced, filled, queries, rules, selectors_in
from tests.returns import history, write_returns
from tests.servers.prometheus import Prometheus, Series, needs_prometheus
from tests.servers.valkey import other_hand, running

pytestmark = needs_prometheus

INSTANCE = "paper-1"
STREAM, HALT = "execd:signals", "execd:halt"
WAIT_S = 20.0

Told = list[dict[str, Any]]


class Scene:
    """A daemon that trades, the server that watches it, and what that told while trading was halted."""

    def __init__(self, service: Service, prometheus: Prometheus) -> None:
        self.service = service
        self.prometheus = prometheus
        self.told_in_halt: Told = []

    def until(self, holds: Callable[[], Any], what: str) -> Any:  # noqa: ANN401 - what was waited for
        """Return what is there once it is."""
        deadline = time.monotonic() + WAIT_S
        while not (found := holds()):
            assert time.monotonic() < deadline, f"{what} never came"
            time.sleep(0.02)
        return found

    def firing(self) -> Told:
        """The alerts that fire."""
        return [alert for alert in self.prometheus.alerts() if alert["state"] == "firing"]

    def is_seen(self, expr: str) -> list[Series]:
        """The series that an expression finds."""
        return self.prometheus.query(expr)


def free_port() -> int:
    """One that is free now; the daemon binds it in a moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Signals of all fates, fills, a halt that Prometheus hears of, a resume, and parents that are still worked."""
    folder, port = tmp_path_factory.mktemp("monitoring"), free_port()
    prometheus = Prometheus(folder / "prometheus", port=port, instance=INSTANCE, rules=RULES)
    with running(folder / "valkey") as server, other_hand(server) as hand:
        returns = write_returns(folder / "returns.csv", history(symbols=("ALFA", "BRAV")))
        risk = {"returns": str(returns), "window": 250}
        service = Service(folder / "service", server.settings, http={"port": port}, risk=risk)
        scene = Scene(service, prometheus)

        def publish(*signals: bytes) -> None:
            for each in signals:
                hand.xadd(STREAM, {"signal": each})

        try:
            service.start()
            prometheus.start()
            scene.until(lambda: scene.is_seen("execd_ready == 1"), "the first scrape")
            publish(order("fill"), order("short", symbol="BRAV", side="SELL"), order("too-large", qty=200_000))
            publish(b"no signal", order("fill"), order("rest", algo="LIMIT", price="97.00", duration_s=3_600))
            scene.until(lambda: scene.is_seen('sum(execd_parents_ended_total{reason="FILLED"}) == 2'), "two fills")
            hand.set(HALT, "enough")
            scene.told_in_halt = scene.until(
                lambda: [each for each in scene.firing() if each["labels"]["alertname"] == "ExecdHalted"], "an alert"
            )
            scene.until(lambda: scene.is_seen("execd_last_halt_left == 0"), "quiet")
            hand.delete(HALT)
            scene.until(lambda: resumes(service), "the resume")
            publish(*(order(algo, qty=6_000, algo=algo, duration_s=60, slices=60) for algo in ("TWAP", "VWAP")))
            scene.until(lambda: scene.is_seen('execd_parent_progress_ratio{algo="TWAP"} > 0'), "progress")
            scene.until(lambda: scene.is_seen("execd_vwap_deviation_ratio"), "a VWAP to compare")
            yield scene
        finally:
            prometheus.stop()
            service.kill()


def resumes(service: Service) -> bool:
    """Whether trading goes on; refused until the watch has seen that the key is gone."""
    try:
        return bool(service.ask("POST", "resume", {})["state"] == "ACTIVE")
    except RefusedError:
        return False


def is_finite(series: Series) -> bool:
    return math.isfinite(float(series["value"][1]))


def test_every_query_of_every_panel_finds_finite_series(scene: Scene) -> None:
    found: dict[Query, int] = {}

    def number(query: Query) -> int:
        series = scene.is_seen(filled(query.expr, INSTANCE))
        return len(series) if series and all(map(is_finite, series)) else 0

    for query in queries():
        found[query] = scene.until(partial(number, query), f"{query.board}, {query.panel}: {query.expr}")
    for query, count in found.items():
        print(f"{query.board:<16} {query.panel:<40} {count:>3}  {query.expr}")
    assert len(found) > 80


def test_every_alert_is_evaluated_and_names_series_that_exist(scene: Scene) -> None:
    evaluated = scene.until(
        lambda: [rule for rule in scene.prometheus.rules() if rule["health"] != "unknown"], "an evaluation"
    )
    assert {rule["name"]: rule["health"] for rule in evaluated} == dict.fromkeys(rules(), "ok")
    for name, rule in rules().items():
        numbers = {selector: len(scene.is_seen(selector)) for selector in selectors_in(rule["expr"])}
        print(f"{name:<28} {rule['labels']['severity']:<9} {rule['labels']['owner']:<11} {numbers}")
        assert all(numbers.values()), name


def test_every_query_of_a_runbook_finds_series(scene: Scene) -> None:
    asked = [
        line
        for page in sorted(RUNBOOKS.glob("*.md"))
        for block in fenced(page, "promql")
        for line in block.splitlines()
    ]
    assert len(asked) > 20
    assert [expr for expr in asked if not scene.is_seen(expr)] == []


def test_a_halt_is_told_with_its_owner_and_its_page(scene: Scene) -> None:
    (alert,) = scene.told_in_halt
    assert alert["labels"] == {
        "alertname": "ExecdHalted",
        "job": "execd",
        "instance": INSTANCE,
        "cause": "kill",
        "severity": "critical",
        "owner": "operations",
    }
    assert alert["annotations"]["runbook_url"] == "docs/runbooks/ExecdHalted.md"


def test_of_a_day_with_a_dead_letter_and_a_halt_nothing_else_is_told_than_that(scene: Scene) -> None:
    """What fires on a daemon that is well is no alert but noise."""
    told = {(each["labels"]["alertname"], each["labels"].get("event", "")) for each in scene.firing()}
    assert told - {("ExecdAcknowledgementsSlow", "")} == {
        ("ExecdSignalsUnusable", "SignalDead")
    }  # a busy machine is slow


def test_a_daemon_that_is_gone_is_told(scene: Scene) -> None:
    """Comes last: the daemon does not come back."""
    scene.service.kill()
    scene.until(lambda: scene.is_seen('ALERTS{alertname="ExecdDown"}'), "the alert, pending for its 10 s")
