"""`execd simulate --compare`: the same parents under each algorithm, side by side; one that fails spoils no other."""

import json
import multiprocessing
import os
import re
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import pytest

from core.signals import Algo, parse
from daemon import comparing
from daemon.cli import ExitCode
from daemon.compared import conclude
from daemon.comparing import Ran, algos_of, run, signals_under
from daemon.config import Config, ConfigError, load
from daemon.markets import open_market
from daemon.simulate import simulate
from tca.compare import Comparison
from tests.adapters.store.test_projections import REPORT
from tests.daemon.crashing import OPEN, SIGNALS, config, write_signals
from tests.daemon.service import Execd
from tests.daemon.test_cli import CONFIG


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """A folder with a configuration and signals."""
    write_signals(tmp_path / "in")
    (tmp_path / "in" / "execd.toml").write_text(CONFIG.format(folder=tmp_path))
    return tmp_path


def compare(execd: Execd, day: Path, algos: str, *more: object) -> tuple[int, str, str]:
    inputs = ("--config", day / "in" / "execd.toml", "--signals", day / "in" / "signals.jsonl")
    return execd("simulate", *inputs, "--out", day / "out", "--compare", algos, *more)


def configs(folder: Path, *algos: str) -> Mapping[str, Config]:
    for algo in algos:
        write_signals(folder / algo)
    return {algo: config(folder / algo) for algo in algos}


# What is compared -----------------------------------------------------------------------------------------------------


def test_only_the_algorithm_of_a_signal_changes(tmp_path: Path) -> None:
    write_signals(tmp_path / "in")
    file = tmp_path / "in" / "signals.jsonl"
    file.write_text(f"# a comment\n\n[{','.join(file.read_text().splitlines())}]\n")
    before = parse(file.read_text().splitlines()[-1].encode())
    after = [one for line in signals_under(Algo.POV, file).splitlines() for one in parse(line)]
    assert len(after) == len(SIGNALS)
    for old, new in zip(before, after, strict=True):
        assert new == msgspec.structs.replace(old, how=msgspec.structs.replace(old.how, algo=Algo.POV))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "line",
    [
        {"kind": "stop", "stop_px": 90, "limit_offset": 1},
        {"kind": "stop", "trail": "0.5", "how": {"algo": "POV", "participation": 0.1}},
        {"kind": "amend", "amends": "s0", "change": {"price": 99}},
    ],
)
def test_stops_and_amendments_stay_as_they_are(tmp_path: Path, line: dict[str, object]) -> None:
    text = json.dumps({"signal_id": "s", "ts": OPEN, "strategy": "crash", "symbol": "AAA"} | line).encode()
    (tmp_path / "signals.jsonl").write_bytes(text)
    for algo in (Algo.VWAP, Algo.LIMIT):  # of which a stop could have no price
        assert parse(signals_under(algo, tmp_path / "signals.jsonl")) == parse(text)


def test_an_algorithm_that_lacks_what_it_needs_is_refused_with_the_line(execd: Execd, day: Path) -> None:
    code, _, err = compare(execd, day, "twap,limit")
    file = day / "in" / "signals.jsonl"
    words = f"execd: {file}:1: algo LIMIT needs a price: add it, or compare other algorithms\n"
    assert (code, err) == (ExitCode.USAGE, words)
    assert not (day / "out").exists()


def test_a_line_that_is_no_signal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "signals.jsonl").write_text('\n{"kind": "wish"}\n')
    with pytest.raises(ConfigError, match=r"signals.jsonl:2: .*: mend it, a comparison needs every parent"):
        signals_under(Algo.TWAP, tmp_path / "signals.jsonl")


@pytest.mark.parametrize(
    "said,words",
    [
        ("twap,best", "BEST is not one of auto, market, limit, twap,"),
        ("twap,", "nothing is not one of"),
        ("twap", "name two algorithms or more, each of them once"),
        ("twap,pov,TWAP", "name two algorithms or more, each of them once"),
    ],
)
def test_what_cannot_be_compared_is_refused(said: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        algos_of(said)


def test_names_may_be_written_as_people_do() -> None:
    assert algos_of("twap, Pov,IS") == [Algo.TWAP, Algo.POV, Algo.IS]


def test_where_nothing_was_traded_there_is_nothing_to_pair(tmp_path: Path) -> None:
    """As where every signal was refused: no run has a parent."""
    why = ("2 ORDER_SIZE (9 shares are too many)", "1 EXPIRED")
    said = conclude({}, {"TWAP": Ran([], {}, why), "POV": Ran([], {}, why)}, tmp_path, as_json=False)
    assert "TWAP, POV: not every signal became a parent: 2 ORDER_SIZE (9 shares are too many); 1 EXPIRED\n" in said
    assert re.search(r"^POV +vs VWAP +0 +0 +0 +- +- +-$", said, re.MULTILINE)
    assert "0 parents on 0 days; the same under TWAP, POV." in (tmp_path / "compare.html").read_text()


# The runs -------------------------------------------------------------------------------------------------------------


def test_algorithms_are_shown_side_by_side_and_each_run_is_what_it_is_alone(
    execd: Execd, day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "LINE_S", 0.0)
    code, out, err = compare(execd, day, "twap,market")
    assert code == ExitCode.OK, err
    assert re.search(r"^TWAP +4 +3 +75\.0% +-?\d", out, re.MULTILINE)
    assert re.search(r"^MARKET +4 +3 +75\.0% +-?\d", out, re.MULTILINE)
    assert re.search(r"^MARKET +vs arrival +3 +1 +1 +-?\d+\.\d\d +-?\d+\.\d\d +-$", out, re.MULTILINE)
    assert "All parents are of one day, and one day tells nothing of others: no interval." in out
    assert re.search(r"^TWAP: 1 of 4 parents had no execution: crash s3 AAA$", out, re.MULTILINE)
    assert out.endswith(f"page      {day / 'out' / 'compare.html'}\n")
    assert "MARKET less TWAP, vs arrival" in (day / "out" / "compare.html").read_text()
    assert re.search(r"^TWAP 2026-06-15 \d\d:\d\d:\d\d New York", err, re.MULTILINE)
    assert "TWAP done   MARKET done" in err
    alone = ("--config", day / "in" / "execd.toml", "--signals", day / "out" / "market" / "signals.jsonl")
    assert costs(execd("simulate", *alone, "--out", day / "alone", "--json")[1]) == costs(
        execd("report", "--dir", day / "out" / "market", "--json")[1]
    )


def costs(report: str) -> list[dict[str, object]]:
    return [parent["cost"] for parent in json.loads(report)["parents"]]


def test_what_is_gathered_of_a_run_is_in_its_cost_reports(tmp_path: Path) -> None:
    settings = configs(tmp_path, "TWAP")["TWAP"]
    signals = settings.data_dir / "signals.jsonl"
    lines = signals.read_text().splitlines()
    large = {**json.loads(lines[0]), "signal_id": "large", "qty": 20_000}
    signals.write_text("\n".join([json.dumps(large), *lines]))
    simulate(settings, open_market(settings))
    ran = comparing.gather(settings)
    assert ran.turned_away == ("1 ORDER_SIZE (20000 shares are more than 10000 in one order)",)
    assert [outcome.parent for outcome in ran.outcomes] == [
        "crash s0 AAA",
        "crash s1 BBB",
        "crash s2 BBB",
        "crash s3 AAA",
    ]
    assert {outcome.day for outcome in ran.outcomes} == {"2026-06-15"}
    assert set(ran.ids) == {outcome.parent for outcome in ran.outcomes}
    market = ran.outcomes[1].costs
    assert market.arrival is not None
    assert market.spread is not None
    assert market.arrival > 0  # a market order pays
    assert market.spread > 0
    assert ran.outcomes[3].costs.arrival is None  # nobody sold at a price of one


def test_the_parents_of_a_stops_exit_are_told_apart_and_paired(execd: Execd, day: Path) -> None:
    """Three hundred shares are closed by orders of at most a hundred."""
    file = day / "in" / "execd.toml"
    file.write_text(file.read_text().replace("order_qty_max = 10_000\n", "order_qty_max = 100\n"))
    buys = [
        {"kind": "order", "signal_id": f"in {k}", "side": "BUY", "qty": 100, "ts": OPEN + k * 10**11} for k in (1, 2, 3)
    ]
    stop = {"kind": "stop", "signal_id": "out", "trail": "0.02", "ts": OPEN + 3_600 * 10**9}
    each = {"strategy": "crash", "symbol": "AAA", "how": {"duration_s": 600}}
    lines = [json.dumps(each | buy) for buy in buys]
    (day / "in" / "signals.jsonl").write_text(
        "\n".join([*lines, json.dumps(each | stop | {"how": {"algo": "MARKET"}})])
    )
    code, out, err = compare(execd, day, "twap,vwap", "--json")
    assert code == ExitCode.OK, err
    found = msgspec.json.decode(out, type=Comparison)
    assert found.parents == 6
    assert [(row.parents, row.completed, row.missing) for row in found.rows] == [(6, 6, ())] * 2
    settings = load(file, {"EXECD_DAEMON__DATA_DIR": str(day / "out" / "vwap")})
    names = [outcome.parent for outcome in comparing.gather(settings).outcomes]
    assert names == [f"crash 'in {k}' AAA" for k in (1, 2, 3)] + ["crash out AAA", "crash out AAA 2", "crash out AAA 3"]


def test_a_name_with_spaces_is_no_other_name() -> None:
    one, other = (msgspec.structs.replace(REPORT, parent_id=name, strategy=name) for name in ("a", "a b"))
    names = comparing._names([one, other], {"a": "b c", "a b": "c"})
    assert names == {"a": "a 'b c' AAPL", "a b": "'a b' c AAPL"}


def test_runs_whose_inputs_are_wrong_end_in_one_line(execd: Execd, day: Path) -> None:
    code, out, err = compare(execd, day, "twap,pov", "--tape", "AAA=none.csv")
    assert (code, out) == (ExitCode.USAGE, "")
    assert err.splitlines()[-1].startswith("execd: ")
    assert "none.csv" in err
    assert list((day / "out").iterdir()) == []  # the same command, mended, is not refused for its folder


def dying(settings: Config, mouth: Connection) -> None:
    """A child process that ends without a word, where it works on VWAP."""
    if settings.data_dir.name == "vwap":
        os._exit(3)
    comparing._work(settings, mouth)


def test_a_run_that_crashes_is_named_and_the_others_are_kept(
    execd: Execd, day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "_work", dying)
    code, out, err = compare(execd, day, "vwap,twap,market", "--json")
    assert code == ExitCode.FAILED
    found = msgspec.json.decode(out, type=Comparison)
    assert [(row.algo, row.parents) for row in found.rows] == [("TWAP", 4), ("MARKET", 4)]
    assert {each.algo for each in found.differences} == {"MARKET"}  # to the first that stands
    assert "VWAP failed and is not in here: its process ended with 3" in (day / "out" / "compare.html").read_text()
    log = day / "out" / "vwap" / "log.jsonl"
    assert err.splitlines()[-1] == f"execd: VWAP: its process ended with 3; its log is {log}"


def test_who_interrupts_ends_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def interrupted(*_: object, **__: object) -> None:
        started.extend(child.pid or 0 for child in multiprocessing.active_children())
        raise KeyboardInterrupt

    monkeypatch.setattr(comparing, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(configs(tmp_path, "TWAP", "VWAP"))
    assert started
    assert not multiprocessing.active_children()


def test_a_market_says_when_it_ends(tmp_path: Path) -> None:
    opened = open_market(configs(tmp_path, "TWAP")["TWAP"])
    assert opened.start == OPEN
    assert max(update.ts for update in opened.market.updates) <= opened.end
