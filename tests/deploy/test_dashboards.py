"""The dashboards: sound in themselves, reviewable, and about metrics that exist; every metric has its place."""

import itertools
import json
import re
from pathlib import Path

import msgspec
import pytest
import yaml
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from core.causes import KILL
from daemon.config import RiskConfig
from daemon.drain import Halted
from daemon.metrics import Collector
from tests.daemon.crashing import config, write_signals
from tests.daemon.test_run import live
from tests.deploy.monitoring import (
    BOARDS,
    BUILT_IN,
    GRAFANA,
    Json,
    board,
    metrics_in,
    panels,
    queries,
    rules,
    selectors_in,
)
from tests.returns import history, write_returns

COLUMNS = 24
PANEL_KEYS = (
    *("id", "type", "title", "description", "gridPos", "datasource", "targets", "fieldConfig", "options"),
    "transformations",
)
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
OF_PROMETHEUS = {"up", "scrape_duration_seconds", "ALERTS"}  # its own, about every target
NEED_NO_LEGEND = {"stat", "table"}

every_board = pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all series of a daemon that has traded and was halted."""
    folder = tmp_path_factory.mktemp("exported") / "day"
    write_signals(folder)
    settings = config(folder)
    returns = write_returns(folder / "returns.csv", history(symbols=tuple(settings.instruments)))
    run = live(msgspec.structs.replace(settings, risk=RiskConfig(returns=str(returns), window=250)))
    run.actors.drain.last = Halted(KILL, 1, 2, 3, 4, 0)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(run))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    families = list(registry.collect())
    gauges = {metric.name for metric in families if metric.type == "gauge"}  # some without a sample at the moment
    return gauges | {sample.name for metric in families for sample in metric.samples}


def test_there_are_four() -> None:
    assert [path.stem for path in BOARDS] == ["execd-execution", "execd-health", "execd-overview", "execd-risk"]


@every_board
def test_its_file_is_laid_out_for_a_reviewer(path: Path) -> None:
    found = board(path)
    assert path.read_text() == json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    for panel in panels(found):
        assert list(panel) == [key for key in PANEL_KEYS if key in panel], panel["title"]


@every_board
def test_it_can_be_provisioned(path: Path) -> None:
    found = board(path)
    assert (found["uid"], found["schemaVersion"], found["refresh"], found["tags"]) == (path.stem, 38, "5s", ["execd"])
    assert "id" not in found  # Grafana's own number of it
    assert found["title"] == path.stem.replace("-", ": ", 1)
    variables = {each["name"]: each for each in found["templating"]["list"]}
    assert list(variables) == ["datasource", "instance"]
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    assert variables["instance"]["datasource"] == DATASOURCE


@every_board
def test_it_links_to_the_others(path: Path) -> None:
    others = {f"/d/{other.stem}" for other in BOARDS if other != path}
    links = board(path)["links"]
    assert {link["url"] for link in links} == others
    assert all(link["includeVars"] and link["keepTime"] for link in links)


@every_board
def test_ids_of_panels_are_unique(path: Path) -> None:
    ids = [panel["id"] for panel in board(path)["panels"]]
    assert ids == sorted(set(ids))


@every_board
def test_titles_of_panels_are_unique(path: Path) -> None:
    titles = [panel["title"] for panel in panels(board(path))]
    assert sorted(titles) == sorted(set(titles))


@every_board
def test_panels_lie_on_the_grid_and_not_on_each_other(path: Path) -> None:
    places = [panel["gridPos"] for panel in board(path)["panels"]]
    for place in places:
        assert min(place["x"], place["y"]) >= 0
        assert min(place["w"], place["h"]) >= 1
        assert place["x"] + place["w"] <= COLUMNS
    for a, b in itertools.combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, (a, b)


@every_board
def test_every_line_of_the_grid_is_full(path: Path) -> None:
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in board(path)["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == COLUMNS * (1 + max(y for _, y in taken))


@every_board
def test_every_panel_says_what_is_normal_and_in_which_unit(path: Path) -> None:
    for panel in panels(board(path)):
        defaults = panel["fieldConfig"]["defaults"]
        assert panel["description"].startswith("Normal: "), panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert defaults["unit"], panel["title"]
        steps = defaults["thresholds"]["steps"]
        values = [step["value"] for step in steps]
        assert values[0] is None
        assert values[1:] == sorted(values[1:]), panel["title"]


@every_board
def test_every_query_goes_to_the_data_source_that_was_chosen(path: Path) -> None:
    found = board(path)
    for panel in panels(found):
        assert panel["datasource"] == DATASOURCE, panel["title"]
        assert [target["datasource"] for target in panel["targets"]] == [DATASOURCE] * len(panel["targets"])
    assert [each["datasource"] for each in found["annotations"]["list"]] == [DATASOURCE]


@every_board
def test_every_series_has_a_name(path: Path) -> None:
    for panel in panels(board(path)):
        refs = [target["refId"] for target in panel["targets"]]
        assert refs == [chr(ord("A") + number) for number in range(len(refs))], panel["title"]
        assert panel["type"] in NEED_NO_LEGEND or all(target["legendFormat"] for target in panel["targets"])


@every_board
def test_every_variable_of_a_query_exists(path: Path) -> None:
    found = board(path)
    known = {f"${each['name']}" for each in found["templating"]["list"]} | set(BUILT_IN)
    said = {name for text in _expressions(found) for name in re.findall(r"\$\w+", text)}
    assert said - known == set()


@every_board
def test_every_query_is_about_the_daemon_that_was_chosen(path: Path) -> None:
    for panel in panels(board(path)):
        for target in panel["targets"]:
            of_it = ['instance="$instance"' in selector for selector in selectors_in(target["expr"])]
            assert all(of_it) != (panel["title"] == "All daemons"), target["expr"]


def _expressions(found: Json) -> list[str]:
    shown = [target["expr"] for panel in panels(found) for target in panel["targets"]]
    return shown + [each["target"]["expr"] for each in found["annotations"]["list"]]


def test_every_metric_that_is_named_exists(exported: set[str]) -> None:
    said = {name for path in BOARDS for expr in _expressions(board(path)) for name in metrics_in(expr)}
    said |= {name for rule in rules().values() for name in metrics_in(rule["expr"])}
    assert said - exported - OF_PROMETHEUS == set()


def test_every_metric_of_ours_is_on_a_panel_or_in_an_alert(exported: set[str]) -> None:
    said = {name for query in queries() for name in metrics_in(query.expr)}
    said |= {name for rule in rules().values() for name in metrics_in(rule["expr"])}
    of_histograms = re.compile(r"_(count|sum|bucket)$")  # one of the three will do
    assert {
        name
        for name in exported
        if name.startswith("execd_") and name not in said and of_histograms.sub("_bucket", name) not in said
    } == set()


def test_the_provisioning_example_is_of_the_files_here() -> None:
    (provider,) = yaml.safe_load((GRAFANA / "provisioning.example.yml").read_text())["providers"]
    assert (provider["type"], provider["folder"], list(provider["options"])) == ("file", "execd", ["path"])


@pytest.mark.parametrize(
    "expr,metrics,selectors",
    [
        ("execd_ready == 0", {"execd_ready"}, ["execd_ready"]),
        (
            'sum by (job, le) (rate(a_bucket{le="+Inf"}[5m])) / on (job) b > 1',
            {"a_bucket", "b"},
            ['a_bucket{le="+Inf"}', "b"],
        ),
        ('count(a{x=~"b|c"} == 0) or vector(0)', {"a"}, ['a{x=~"b|c"}']),
        ("a > 1 or (a and b == 1)", {"a", "b"}, ["a", "b"]),
    ],
)
def test_the_names_in_an_expression_are_found(expr: str, metrics: set[str], selectors: list[str]) -> None:
    assert (metrics_in(expr), selectors_in(expr)) == (metrics, selectors)
