"""Dashboards and alert rules as tests read them: their panels, their queries, the metrics that a query names."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
GRAFANA, PROMETHEUS, RUNBOOKS = ROOT / "deploy/grafana", ROOT / "deploy/prometheus", ROOT / "docs/runbooks"
RULES, RULE_TESTS = PROMETHEUS / "execd.rules.yml", PROMETHEUS / "execd.rules.test.yml"
BOARDS = sorted(GRAFANA.glob("*.json"))

Json = dict[str, Any]

# What Grafana puts in place of its own variables; a test's run is shorter than all of them.
BUILT_IN = {"$__rate_interval": "1m", "$__interval": "1s", "$__range": "1m"}

_SELECTOR = re.compile(r"\b[a-zA-Z_:][\w:]*\s*\{[^{}]*\}")
_KEYWORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "group_left", "group_right"}


class Query(NamedTuple):
    """A query and where it stands."""

    board: str
    panel: str
    kind: str
    expr: str


def board(path: Path) -> Json:
    """A dashboard."""
    found: Json = json.loads(path.read_text())
    return found


def panels(found: Json) -> list[Json]:
    """The panels of a dashboard that show something."""
    return [panel for panel in found["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Query]:
    """Every query of every panel."""
    for path in BOARDS:
        for panel in panels(board(path)):
            for target in panel["targets"]:
                yield Query(path.stem, panel["title"], panel["type"], target["expr"])


@cache
def rules() -> dict[str, Json]:
    """The alert rules by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def fenced(page: Path, language: str = "") -> list[str]:
    """The blocks of code on a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def filled(expr: str, instance: str) -> str:
    """A panel's query as Grafana sends it."""
    for name, value in (BUILT_IN | {"$instance": instance}).items():
        expr = re.sub(rf"{re.escape(name)}\b", value, expr)
    return expr


def metrics_in(expr: str) -> set[str]:
    """The names of the metrics in an expression."""
    bare = re.sub(r'"[^"]*"', "", expr)
    bare = re.sub(r"\{[^{}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)", " ", bare)
    words = re.findall(r"\b([a-zA-Z_:][\w:]*)\b(?!\s*\()", bare)
    return {word for word in words if word not in _KEYWORDS}


def selectors_in(expr: str) -> list[str]:
    """The selectors in an expression: a metric, and its labels in braces where it has some."""
    with_labels = _SELECTOR.findall(expr)
    return [*with_labels, *sorted(metrics_in(_SELECTOR.sub(" ", expr)))]
