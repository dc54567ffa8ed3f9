"""The documentation tells the truth: generated parts are fresh, links lead somewhere, examples and commands work."""

import inspect
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.events import Reason
from core.orders import TRANSITIONS
from core.signals import BadSignal, parse
from daemon.config import build, load
from docs import build as pages
from risk import checks as risk_checks

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "deploy/README.md"]
WITH_COMMANDS = [page for page in PAGES if page.name != "CHANGELOG.md"]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def fenced(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link]


def anchors(page: Path) -> set[str]:
    """Where a link may point to inside a page: its headings, as code hosts spell them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def named_commands(text: str) -> Iterator[list[str]]:
    """The words behind `execd` in code: in fenced blocks, in backticks."""
    code = re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)
    for said in re.findall(r"\bexecd((?: [a-z][a-z-]*)+)", "\n".join(code)):
        yield said.split()


def test_generated_parts_are_fresh() -> None:
    assert [name_of(page) for page in pages.stale()] == [], "run `make docs`"


def test_a_changed_part_is_found_and_made_anew() -> None:
    page = "before\n<!-- generated:exit-codes -->\nold\n<!-- /generated -->\nafter\n"
    fresh = pages.filled(page)
    assert "old" not in fresh
    assert pages.exit_codes() in fresh
    assert fresh.startswith("before\n")
    assert fresh.endswith("\nafter\n")
    assert pages.filled(fresh) == fresh


def test_a_part_that_nobody_makes_is_an_error() -> None:
    with pytest.raises(KeyError, match="no-such-part"):
        pages.filled("<!-- generated:no-such-part -->\n<!-- /generated -->")


def test_every_part_has_its_place() -> None:
    placed = re.findall(r"<!-- generated:([\w-]+) -->", "".join(page.read_text() for page in PAGES))
    assert sorted(placed) == sorted(pages.PARTS)


def test_the_table_of_checks_has_every_reason_that_a_check_denies_with_its_helpers_included() -> None:
    rows = pages.checks().splitlines()
    named = set(re.findall(r"\bReason\.(\w+)", inspect.getsource(risk_checks)))
    assert {reason for reason in named if not any(f"`{Reason[reason]}`" in row for row in rows)} == set()
    (rates,) = [row for row in rows if "`rate_is_kept`" in row]
    assert rates.endswith("| `PARENTS_PER_DAY`, `RATE` |")


def test_the_lifecycle_draws_every_move_that_changes_something() -> None:
    drawn: set[tuple[str, str, str]] = set()
    for start, end, said in re.findall(r"(\w+) --> (\w+) : (.+)", pages.lifecycle()):
        drawn |= {(start, end, trigger) for trigger in said.split(" / ")}
    moves = {(a, b, trigger) for a, row in TRANSITIONS.items() for trigger, b in row.items() if a is not b}
    framed = {(b, trigger) for a, b, trigger in drawn if a == "OPEN"}
    assert {move for move in moves if move not in drawn and move[1:] not in framed} == set()
    assert {move for move in drawn if move not in moves and move[0] != "OPEN"} == set()


def test_the_wiring_is_drawn_with_its_speakers() -> None:
    drawn = pages.wiring()
    assert 'source -->|"SignalReceived"| sizer' in drawn
    assert 'gate -.->|"OrderApproved"| sender' in drawn
    silent = [row for row in pages.listeners().splitlines() if re.match(r"\| `\w+` \|  \|", row)]
    assert silent == [], "an event that nobody says"


def test_comments_are_read_from_the_line_of_their_name() -> None:
    source = 'class A:\n    a: int = 1  # one\n    b: str = (\n        "#"\n    )  # two\n    # of nobody\n    c = 3\n'
    assert pages.comments(source) == {"a": "one", "b": "two", "c": ""}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{name_of(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{name_of(page)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_examples_of_signals_are_signals(page: Path) -> None:
    for example in fenced(page, "json"):
        assert [found for found in parse(example.encode()) if isinstance(found, BadSignal)] == []


def test_the_signals_page_shows_every_kind_and_every_reason() -> None:
    page = ROOT / "docs/signals.md"
    shown = {json.loads(example)["kind"] for example in fenced(page, "json") if not example.startswith("[")}
    assert shown == {"order", "strength", "target", "rebalance", "stop", "amend"}
    sizing = "".join((ROOT / name).read_text() for name in ("risk/sizing.py", "risk/triggers.py"))
    reasons = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)*)", f?"', sizing))
    assert len(reasons) > 5
    assert {reason for reason in reasons if f"| `{reason}` |" not in page.read_text()} == set()


def test_the_example_configuration_loads() -> None:
    config = load(ROOT / "deploy/execd.example.toml", {})
    assert config.daemon.world == "paper"
    assert config.instruments


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_examples_of_configuration_are_sound(page: Path) -> None:
    for example in fenced(page, "toml"):
        build(tomllib.loads(example), {}, where=name_of(page))


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_commands_that_are_named_exist(page: Path) -> None:
    known = [words.split() for words in pages.commands()]
    for said in named_commands(page.read_text()):
        assert any(said[: len(words)] == words for words in known), f"{name_of(page)}: execd {' '.join(said)}"


def test_the_readme_names_commands() -> None:
    assert len(list(named_commands((ROOT / "README.md").read_text()))) >= 5


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"`make ([a-z-]+)`", page.read_text()):
            assert target in targets, f"{name_of(page)}: make {target}"
