"""Who may import whom, and what the pure packages may not touch: the layers of the design, enforced."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What a package may import of ours, besides itself.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "core": (),
    "adapters": ("core",),
    "risk": ("core",),
    "algos": ("core",),
    "tca": ("core",),
    "migrations": ("adapters.store.tables",),
    "daemon": ("core", "adapters", "risk", "algos", "tca", "migrations"),
}
OURS = frozenset(MAY_IMPORT) | {"tests", "docs", "deploy"}
PURE = frozenset({"core", "risk", "algos", "tca"})
# The clock, the dice, the log and every service: a pure package gets them as values or not at all.
IMPURE = frozenset(
    {
        "asyncio",
        "logging",
        "os",
        "prometheus_client",
        "random",
        "redis",
        "socket",
        "sqlalchemy",
        "structlog",
        "threading",
        "time",
    }
)
CLOCKS = frozenset({"now", "utcnow", "today"})  # of datetime and date
MARKER = re.compile(r"\b(TO[D]O|FIX[M]E|X[X]X)\b")  # spelled so as not to find itself


def within(module: str, allowed: str) -> bool:
    """Tell whether a module is the allowed one or lies inside it."""
    return module == allowed or module.startswith(f"{allowed}.")


def imports(tree: ast.Module, path: str) -> Iterator[tuple[int, str]]:
    """Yield line and full name of all that a module imports, wherever in it the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = path.split("/")[: -node.level] if node.level else []
            base = ".".join([*here, node.module] if node.module else here)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def violations(path: str, source: str) -> Iterator[str]:
    """Yield `file:line: rule` for each rule that a module breaks; `path` is relative to the checkout."""
    package = Path(path).parts[0]
    tree = ast.parse(source)
    if not ast.get_docstring(tree):
        yield f"{path}:1: a module begins with a docstring, one sentence in domain words"
    for number, line in enumerate(source.splitlines(), start=1):
        if found := MARKER.search(line):
            yield f"{path}:{number}: no {found[0]} in the tree: do it, or open an issue"
    if package not in MAY_IMPORT:
        return
    for number, name in imports(tree, path):
        top = name.split(".")[0]
        if top in OURS and not any(within(name, allowed) for allowed in (package, *MAY_IMPORT[package])):
            yield f"{path}:{number}: {package} may not import {name}"
        if package in PURE and top in IMPURE:
            yield f"{path}:{number}: {package} is pure and may not import {top}"
    if package in PURE:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in CLOCKS:
                owner = ast.unparse(node.value).split(".")[-1]
                if owner in {"datetime", "date"}:
                    rule = f"{package} has no clock: `now` is a parameter, not {owner}.{node.attr}"
                    yield f"{path}:{node.lineno}: {rule}"


def modules() -> list[str]:
    """Return the path of every module in the checkout that is ours."""
    return sorted(str(p.relative_to(ROOT)) for top in OURS for p in (ROOT / top).rglob("*.py"))


def test_the_tree_keeps_its_layers() -> None:
    found = [v for path in modules() for v in violations(path, (ROOT / path).read_text(encoding="utf-8"))]
    assert not found, "\n" + "\n".join(found)


def test_the_walk_sees_every_package() -> None:
    assert {path.split("/")[0] for path in modules()} >= set(MAY_IMPORT) | {"tests"}


@pytest.mark.parametrize(
    "path,line,rule",
    [
        ("core/a.py", "import risk", "core may not import risk"),
        ("core/a.py", "from tests import helpers", "core may not import tests.helpers"),
        ("risk/a.py", "from algos.twap import plan", "risk may not import algos.twap.plan"),
        ("risk/a.py", "from ..tca import quality", "risk may not import tca.quality"),
        ("adapters/a.py", "import daemon.bus as bus", "adapters may not import daemon.bus"),
        ("adapters/store/a.py", "def f():\n    import tca", "adapters may not import tca"),
        ("migrations/env.py", "from adapters import store", "migrations may not import adapters.store"),
        ("tca/a.py", "import os.path", "tca is pure and may not import os"),
        ("algos/a.py", "from asyncio import sleep", "algos is pure and may not import asyncio"),
        (
            "core/a.py",
            "import datetime as dt\nx = dt.datetime.now(dt.UTC)",
            "core has no clock: `now` is a parameter, not datetime.now",
        ),
        ("daemon/a.py", "# " + "TO" + "DO later", "no " + "TO" + "DO in the tree: do it, or open an issue"),
    ],
)
def test_the_walk_catches(path: str, line: str, rule: str) -> None:
    number = 2 + line.count("\n")
    assert list(violations(path, f'"""A module."""\n{line}\n')) == [f"{path}:{number}: {rule}"]


@pytest.mark.parametrize(
    "path,line",
    [
        (
            "risk/a.py",
            "import math\nimport numpy as np\nfrom core.units import Price\nfrom risk import limits",
        ),
        ("risk/a.py", "from . import limits\nfrom .limits import Limit\nx = float('1')"),
        (
            "migrations/env.py",
            "from adapters.store.tables import metadata\nfrom adapters.store import tables",
        ),
        (
            "daemon/a.py",
            "import asyncio\nimport time\nimport core, adapters.store, risk, algos, tca, migrations",
        ),
        ("tests/a.py", "import daemon.bus\nimport random"),
    ],
)
def test_the_walk_allows(path: str, line: str) -> None:
    assert list(violations(path, f'"""A module."""\n{line}\n')) == []


def test_the_walk_demands_a_docstring() -> None:
    (found,) = violations("core/a.py", "x = 1\n")
    assert found.startswith("core/a.py:1: a module begins with a docstring")
