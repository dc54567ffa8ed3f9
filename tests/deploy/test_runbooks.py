"""Runbooks: one for each alert, and what they tell a person to type, ask and look for is there."""

import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

from adapters.store.engine import open_engine, upgrade
from daemon.cli import app
from daemon.config import Config
from tests.deploy.monitoring import BOARDS, ROOT, RULES, RUNBOOKS, board, fenced, metrics_in, panels, queries, rules

PAGES = [RUNBOOKS / f"{name}.md" for name in rules()]
INDEX = RUNBOOKS / "README.md"
HEADINGS = ["What is lost meanwhile", "Look", "Do", "Do not", "When it ends"]
SOURCES = [path for package in ("daemon", "adapters", "core", "risk") for path in (ROOT / package).rglob("*.py")]

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def typed(page: Path) -> Iterator[list[str]]:
    """The commands of execd on a page, each as its words: lines of a block, or a piece of code in a sentence."""
    pieces = [line for block in fenced(page) for line in block.splitlines()]
    pieces += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE))
    yield from (shlex.split(piece)[1:] for piece in pieces if piece.startswith("execd "))


@cache
def program() -> Any:  # noqa: ANN401 - click's own, which typer brings along under its own name
    return typer.main.get_command(app)


def problem(words: list[str]) -> str:
    """Why a command cannot be typed so; empty where it can."""
    command = program()
    while words and hasattr(command, "commands"):
        name, *words = words
        if name not in command.commands:
            return f"there is no {name}"
        command = command.commands[name]
    options = {name: option for option in command.params for name in option.opts if name.startswith("-")}
    values = sum(1 for parameter in command.params if parameter.param_type_name == "argument")
    while words:
        word, *words = words
        if not word.startswith("-"):
            values -= 1
        elif word not in options:
            return f"there is no {word}"
        elif not options[word].is_flag:
            words = words[1:]
    return "" if values >= 0 else "more words than it takes"


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    assert {path.name for path in RUNBOOKS.glob("*.md")} == {page.name for page in PAGES} | {INDEX.name}


@every_page
def test_a_page_is_short_and_has_the_parts_of_all_pages(page: Path) -> None:
    lines = page.read_text().splitlines()
    rule = rules()[page.stem]
    assert lines[0] == f"# {page.stem}"
    assert lines[2].startswith(f"*{rule['labels']['severity']}, {rule['labels']['owner']}.* ")
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == HEADINGS
    assert 15 <= sum(bool(line) for line in lines) <= 40


def test_the_index_has_the_alerts_of_the_rules_in_their_order() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \| (\w+) \| .+ \|$", INDEX.read_text(), re.MULTILINE)
    assert rows == [(name, name, rule["labels"]["severity"], rule["labels"]["owner"]) for name, rule in rules().items()]


@pytest.mark.parametrize("page", [*PAGES, INDEX], ids=lambda page: page.stem)
def test_commands_of_execd_can_be_typed_so(page: Path) -> None:
    found = list(typed(page))
    assert {" ".join(words): problem(words) for words in found} == {" ".join(words): "" for words in found}


def test_most_pages_name_a_command() -> None:
    assert sum(bool(list(typed(page))) for page in PAGES) > len(PAGES) * 2 / 3


@pytest.mark.parametrize(
    "words,said",
    [
        ("flatten all", ""),
        ("signal send JSON --wait 5 --dir runs/a", ""),
        ("halt --drill", ""),
        ("halt --hard", "there is no --hard"),
        ("signal receive", "there is no receive"),
        ("verify twice", "more words than it takes"),
        ("cancel", "there is no cancel"),
    ],
)
def test_a_command_that_cannot_be_typed_so_is_found(words: str, said: str) -> None:
    assert problem(words.split()) == said


def test_every_query_of_the_database_runs(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'execd.db'}")
    upgrade(engine)
    engine.dispose()
    statements = [(page, text) for page in PAGES for block in fenced(page, "sql") for text in block.split(";")[:-1]]
    assert len(statements) > 10
    with closing(sqlite3.connect(f"file:{tmp_path / 'execd.db'}?mode=ro", uri=True)) as database:
        for page, text in statements:
            assert database.execute(text).fetchall() == [], page.stem


def test_every_metric_that_a_page_asks_for_is_on_a_panel_or_in_an_alert() -> None:
    """Those of panels and alerts are known to exist."""
    known = {name for query in queries() for name in metrics_in(query.expr)}
    known |= {name for rule in rules().values() for name in metrics_in(rule["expr"])}
    asked = {
        (page.stem, name)
        for page in PAGES
        for block in fenced(page, "promql")
        for line in block.splitlines()
        for name in metrics_in(line)
    }
    assert {(page, name) for page, name in asked if name not in known} == set()


@every_page
def test_lines_of_the_log_that_a_page_looks_for_are_logged(page: Path) -> None:
    source = "\n".join(path.read_text() for path in SOURCES)
    for said in re.findall(r'journalctl -u execd -g "([^"]+)"', page.read_text()):
        assert re.search(rf'_log\.\w+\("{re.escape(said)}"', source), said


def test_settings_that_are_named_exist() -> None:
    tables = {field.name: field.type for field in msgspec.structs.fields(Config) if field.name != "instruments"}
    shown = [text for path in BOARDS for text in [panel["description"] for panel in panels(board(path))]]
    texts = [*(page.read_text() for page in [*PAGES, INDEX]), RULES.read_text(), *shown]
    named = {pair for text in texts for pair in re.findall(rf"\b({'|'.join(tables)})\.([a-z][a-z_]*)\b", text)}
    named = {(table, key) for table, key in named if key not in {"md", "py", "toml"}}  # files
    assert len(named) > 10
    for table, key in named:
        assert key in {field.name for field in msgspec.structs.fields(tables[table])}, f"{table}.{key}"


def test_panels_and_boards_that_a_page_points_to_exist() -> None:
    titles = {found["title"] for found in map(board, BOARDS)}
    shown = {query.panel for query in queries()}
    for page in [*PAGES, INDEX]:
        text = " ".join(page.read_text().split())
        assert set(re.findall(r"\*(execd: \w+)\*", text)) <= titles
        for name in re.findall(r"[Pp]anel ((?:[A-Z]\w+)(?: (?!in\b|names\b)\w+)*)", text):
            assert name in shown, f"{page.stem}: {name}"
