"""The project as a tool sees it: what the wheel holds, and what the locks pin."""

import itertools
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PACKAGES = {"core", "daemon", "adapters", "risk", "algos", "tca", "migrations"}


def project() -> dict[str, Any]:
    """Return pyproject.toml as a table."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def canonical(requirement: str) -> str:
    """Return the name at the head of a requirement, spelled as an index spells it."""
    found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def pins(lock: str) -> dict[str, set[str]]:
    """Return the versions a lock pins, by name; a name has several where they depend on the platform."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in (ROOT / "requirements" / lock).read_text().splitlines():
        if pin := re.match(r"([a-z0-9-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", line):
            found[pin[1]].add(pin[2])
    return found


def test_the_wheel_holds_exactly_our_packages(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    version = project()["project"]["version"]
    assert {name.split("/")[0] for name in names} == PACKAGES | {f"execd-{version}.dist-info"}
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    data = {path.relative_to(ROOT).as_posix() for path in found if path.suffix not in {".py", ".pyc"}}
    assert len(data) >= 4
    assert data <= set(names), "templates, the report's assets and the demonstration's configuration go along"


def test_daemon_is_ours() -> None:
    import daemon  # noqa: PLC0415 - the import is what is tested: an index has a package of that name too

    assert daemon.__file__ is not None
    assert Path(daemon.__file__).resolve().parent == ROOT / "daemon"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_names_no_host_and_no_path_of_a_machine(lock: Path) -> None:
    for number, line in enumerate(lock.read_text().splitlines(), start=1):
        assert "://" not in line, f"{lock.name}:{number} names a host"
        assert "file:" not in line, f"{lock.name}:{number} names a file"
        assert not re.search(r"(^|[\s=(@])(/|~/|[A-Za-z]:\\)", line), f"{lock.name}:{number} names a path"
        assert not re.match(r"\s*-(i|f|-index-url|-extra-index-url|-find-links)\b", line), f"{lock.name}:{number}"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_of_a_lock_has_a_hash(lock: Path) -> None:
    lines = lock.read_text().splitlines()
    bare = [a for a, b in itertools.pairwise(lines) if "==" in a and "--hash=sha256:" not in b]
    assert [line for line in bare if not line.lstrip().startswith("#")] == []


def test_the_run_lock_pins_every_direct_dependency() -> None:
    table = project()["project"]
    direct = {canonical(d) for d in table["dependencies"] + table["optional-dependencies"]["demo"]}
    assert direct - pins("run.txt").keys() == set()


def test_the_dev_lock_pins_every_tool_of_development() -> None:
    direct = {canonical(d) for d in project()["dependency-groups"]["dev"] if isinstance(d, str)}
    assert direct - pins("dev.txt").keys() == set()


def test_the_dev_lock_agrees_with_the_run_lock() -> None:
    run, dev = pins("run.txt"), pins("dev.txt")
    assert run
    assert {name: dev.get(name) for name in run} == run
