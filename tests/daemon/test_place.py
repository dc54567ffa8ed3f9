"""Where a run is: what a daemon leaves in its data directory is what a command finds, and holds no secret."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from daemon import place
from daemon.config import build
from daemon.place import FILE, Place

FULL: dict[str, Any] = {
    "daemon": {"account": "desk"},
    "redis": {"url": "redis://localhost:1", "username": "execd"},
    "signals": {"channel": "c", "socket": "signals.sock"},
}


def remembered(folder: Path, **tables: Any) -> Place:  # noqa: ANN401 - tables
    raw = {**tables, "daemon": {**tables.get("daemon", {}), "data_dir": str(folder)}}
    place.remember(build(raw, {}, where="test"))
    return place.find(folder)


def test_what_is_remembered_is_found(tmp_path: Path) -> None:
    assert remembered(tmp_path, **FULL) == Place(
        account="desk",
        pid=os.getpid(),
        store=f"sqlite:///{tmp_path}/execd.db",
        control=f"{tmp_path}/control.sock",
        halt_file=f"{tmp_path}/HALT",
        halt_key="execd:halt",
        redis="redis://localhost:1",
        stream="execd:signals",
        channel="c",
        signal_socket=f"{tmp_path}/signals.sock",
        answers="execd:events",
    )


def test_without_redis_nothing_of_it_is_named(tmp_path: Path) -> None:
    found = remembered(tmp_path, signals={"channel": "c"})
    assert (found.redis, found.stream, found.channel, found.answers, found.signal_socket) == ("", "", "", "", "")


def test_every_path_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    relative = {"signals": {"socket": "s.sock"}, "control": {"socket": "run/c.sock"}, "halt": {"file": "STOP"}}
    found = remembered(Path("data"), **relative)
    monkeypatch.chdir("/")
    assert (found.signal_socket, found.halt_file) == (f"{tmp_path}/data/s.sock", f"{tmp_path}/STOP")
    assert found.control == f"{tmp_path}/run/c.sock"
    assert found == place.find(tmp_path / "data")


def test_a_new_start_takes_the_place_of_the_last_one_as_a_whole(tmp_path: Path) -> None:
    remembered(tmp_path, **FULL)
    before = (tmp_path / FILE).open("rb")
    with before:
        assert remembered(tmp_path, daemon={"account": "next"}).account == "next"
        assert json.loads(before.read())["account"] == "desk"  # whoever read the old one read all of it
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_where_no_run_is_somebody_is_told_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        place.find(tmp_path)
    assert str(caught.value) == f"{tmp_path}: no run is there; name its data directory with --dir"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"account": 1}'])
def test_a_file_of_another_version_says_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(ValueError, match=r"start the daemon once, it writes the file anew$") as caught:
        place.find(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / FILE))
