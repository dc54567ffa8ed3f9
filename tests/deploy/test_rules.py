"""Alert rules: sound, tested one by one where promtool is, and each with somebody who looks after it."""

import re
import subprocess
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
import yaml

from core.causes import CAUSES, STARTUP
from tests.deploy.monitoring import PROMETHEUS, ROOT, RULE_TESTS, RULES, Json, fenced, rules
from tests.servers.prometheus import AMTOOL, PROMTOOL, needs_amtool, needs_promtool

SEVERITIES = {"critical", "warning"}
OWNERS = {"operations", "trading", "risk"}
ALERTMANAGER = PROMETHEUS / "alertmanager.example.yml"


@cache
def cases() -> dict[str, list[Json]]:
    """The unit tests' cases by alert: the alerts that each expects, and the input that it has."""
    found: dict[str, list[Json]] = defaultdict(list)
    for group in yaml.safe_load(RULE_TESTS.read_text())["tests"]:
        for case in group["alert_rule_test"]:
            found[case["alertname"]].append(case | {"name": group["name"], "input": group["input_series"]})
    return found


def tool(*command: str | Path | None) -> str:
    """What a checker says; fails where it is not content."""
    done = subprocess.run([str(word) for word in command], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_alert_says_how_bad_it_is_whose_it_is_and_where_to_read_on() -> None:
    for name, rule in rules().items():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, name
        assert re.fullmatch(r"Execd([A-Z][a-z]+)+", name)
        assert set(rule["labels"]) == {"severity", "owner"}, name
        assert rule["labels"]["severity"] in SEVERITIES, name
        assert rule["labels"]["owner"] in OWNERS, name
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, name
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"


def test_every_summary_names_the_daemon() -> None:
    assert [name for name, rule in rules().items() if "$labels.instance" not in rule["annotations"]["summary"]] == []


def test_a_description_tells_the_value_where_there_is_more_to_it_than_yes() -> None:
    yes_or_no = {name for name, rule in rules().items() if re.search(r"== [01]( or absent\(.*\))?$", rule["expr"])}
    without = {name for name, rule in rules().items() if "$value" not in rule["annotations"]["description"]}
    assert without == yes_or_no - {"ExecdHaltNotQuiet"}


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    found = cases()
    assert set(found) == set(rules())
    for name, of_alert in found.items():
        assert {bool(case["exp_alerts"]) for case in of_alert} == {True, False}, name
        for case in of_alert:
            word = "fires" if case["exp_alerts"] else "is silent: "
            assert case["name"].startswith(f"{name} {word}")


def test_a_case_expects_the_labels_and_the_page_of_its_rule() -> None:
    for name, rule in rules().items():
        for case in cases()[name]:
            for expected in case["exp_alerts"]:
                assert expected["exp_labels"].items() >= rule["labels"].items()
                assert expected["exp_annotations"]["runbook_url"] == rule["annotations"]["runbook_url"]


def test_every_cause_that_holds_trading_back_is_told() -> None:
    """The start is told where it does not end; whatever has no alert of its own is told as a halt that stays."""
    told = set()
    for cause in CAUSES:
        for name, rule in rules().items():
            for sign, pattern in re.findall(r'execd_halt_cause\{cause(!~|=)"([^"]*)"\}', rule["expr"]):
                if bool(re.fullmatch(pattern, cause)) == (sign == "="):
                    told.add((cause, name))
    assert {cause for cause, _ in told} == set(CAUSES) - {STARTUP}
    assert ("kill", "ExecdHalted") in told
    assert {cause for cause, name in told if name == "ExecdHalted"} & {"redis", "journal", "feed"} == set()


@needs_promtool
def test_the_rules_are_sound() -> None:
    assert f"{len(rules())} rules found" in tool(PROMTOOL, "check", "rules", RULES.name)


@needs_promtool
def test_the_rules_pass_their_unit_tests() -> None:
    assert "SUCCESS" in tool(PROMTOOL, "test", "rules", RULE_TESTS.name)


@needs_promtool
def test_the_example_of_prometheus_is_sound() -> None:
    assert "1 rule files found" in tool(PROMTOOL, "check", "config", "prometheus.example.yml")


def test_the_example_of_prometheus_asks_the_port_that_the_page_names() -> None:
    page = ROOT / "deploy/README.md"
    ports = {tomllib.loads(example)["http"]["port"] for example in fenced(page, "toml") if "[http]" in example}
    (job,) = yaml.safe_load((PROMETHEUS / "prometheus.example.yml").read_text())["scrape_configs"]
    (static,) = job["static_configs"]
    assert (job["job_name"], static["targets"]) == ("execd", [f"127.0.0.1:{port}" for port in ports])


@needs_amtool
def test_the_example_of_the_alertmanager_is_sound() -> None:
    assert "4 receivers" in tool(AMTOOL, "check-config", ALERTMANAGER.name)


@needs_amtool
@pytest.mark.parametrize(
    "labels,receivers",
    [
        ("severity=critical owner=trading", "pager,trading"),
        ("severity=critical owner=operations", "pager,operations"),
        ("severity=warning owner=risk", "risk"),
        ("severity=warning owner=operations", "operations"),
        ("severity=warning", "operations"),
    ],
)
def test_alerts_go_to_their_owners_and_critical_ones_wake_somebody(labels: str, receivers: str) -> None:
    said = tool(AMTOOL, "config", "routes", "test", f"--config.file={ALERTMANAGER.name}", *labels.split())
    assert said.strip() == receivers


def test_every_owner_and_severity_has_a_route() -> None:
    """What `amtool` would say, as far as it can be read off the file."""
    config = yaml.safe_load(ALERTMANAGER.read_text())
    matchers = {matcher for route in config["route"]["routes"] for matcher in route["matchers"]}
    assert matchers == {'severity="critical"', *(f'owner="{owner}"' for owner in OWNERS)}
    assert {receiver["name"] for receiver in config["receivers"]} == {"pager", *OWNERS}


def test_what_inhibits_and_is_inhibited_exists() -> None:
    named = re.findall(r"\bExecd[A-Z]\w+", ALERTMANAGER.read_text())
    assert set(named) - set(rules()) == set()
    assert len(named) > 5
