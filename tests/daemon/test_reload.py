"""Limits are read again without a restart: all or none, on record, and no verdict between two versions."""

import json
import os
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from adapters.store import tables
from core.events import LimitsSet, ShadowSet
from daemon import reload
from daemon.asking import RefusedError, ask
from daemon.cli import ExitCode
from daemon.clock import SimulatedClock
from daemon.config import Config, load
from daemon.halts import Refused
from daemon.markets import open_market
from daemon.printed import cell
from daemon.reload import BYTES_MAX, Reloaded, Source
from daemon.run import Run
from risk.limits import plain, version_of
from tests.daemon.service import BASE, OPEN, Execd, Make, Service, merged, order, toml
from tests.daemon.test_recovery import MIDDAY, QUARTER, config, play

# What a file says -----------------------------------------------------------------------------------------------------


class Desk:
    """A run that has not begun, its file, and what it published."""

    def __init__(self, folder: Path, **changes: Any) -> None:  # noqa: ANN401 - tables
        self.file = folder / "execd.toml"
        self.write(**changes)
        source = Source(self.file, {})
        settings = source.read()
        clock = SimulatedClock(OPEN)
        self.run = Run(settings, open_market(settings).market, clock, threaded=False, source=source)
        self.trace: list[object] = []
        self.run.bus.tap(lambda _, event: self.trace.append(event))

    def close(self) -> None:
        self.run.journal.close()
        self.run._lock.release()
        self.run.engine.dispose()

    def write(self, **changes: Any) -> None:  # noqa: ANN401 - tables
        base = merged(BASE, {"daemon": {"data_dir": str(self.file.parent / "run")}})
        self.file.write_text(toml(merged(base, changes)))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


SOUND: list[tuple[dict[str, Any], dict[str, tuple[Any, Any]], tuple[str, ...]]] = [
    ({}, {}, ()),
    ({"limits": {"orders_per_s": 7}}, {"orders_per_s": (10_000, 7)}, ()),
    (
        {"limits": {"position_max": 0.5, "restricted": ["ALFA"], "symbols_default": {"order_qty_max": 5}}},
        {
            "position_max": ("1", "0.5"),
            "restricted": ([], ["ALFA"]),
            "symbols_default.order_qty_max": ("100000", "5"),
        },
        (),
    ),
    (
        {"limits": {"symbols": {"BRAV": {"order_qty_max": 9}}}},
        {"symbols.BRAV.order_qty_max": (None, "9"), "symbols.BRAV.order_notional_max": (None, "unset")},
        (),
    ),
    (
        {"limits": {"venues": {"paper": {"orders_per_s": 7}}}},
        {
            "venues.paper.order_notional_max": (None, "unset"),
            "venues.paper.orders_per_s": (None, 7),
            "venues.paper.messages_per_s": (None, "unset"),
        },
        (),
    ),
    (
        {"limits": {"orders_per_s": 7}, "http": {"port": 9_464}, "instruments": {"BRAV": {"adv": 3_000_000}}},
        {"orders_per_s": (10_000, 7)},
        ("http", "instruments"),
    ),
    ({"halt": {"drain_s": 5.0}}, {}, ("halt",)),
]


@pytest.mark.parametrize("changes,changed,waits", SOUND)
async def test_limits_change_at_once_and_other_sections_wait(
    desk: Desk, changes: dict[str, Any], changed: dict[str, tuple[Any, Any]], waits: tuple[str, ...]
) -> None:
    desk.write(**changes)
    wanted = load(desk.file, {}).limits
    assert await desk.run.reloader.reload("alice") == Reloaded(version_of(wanted), "", changed, waits)
    assert (desk.run.actors.limits.current, desk.run.actors.limits.version) == (wanted, version_of(wanted))
    event = LimitsSet(ts=OPEN, version=version_of(wanted), limits=plain(wanted), by="alice")
    assert desk.trace == ([event] if changed else [])
    assert (await desk.run.reloader.reload("alice")).changed == {}  # the same file once more
    assert len(desk.trace) == bool(changed)


async def test_shadow_limits_come_change_and_go_with_the_file(desk: Desk) -> None:
    limits, in_force = desk.run.actors.limits, load(desk.file, {}).limits_version

    async def reloaded(**tables: Any) -> tuple[dict[str, tuple[Any, Any]], str]:  # noqa: ANN401 - tables
        desk.write(**tables)
        said = await desk.run.reloader.reload("alice")
        assert said.shadow == limits.shadow_version == load(desk.file, {}).shadow_version
        assert said.waits == ()
        return said.changed, said.shadow

    changed, first = await reloaded(shadow={"position_max": 0.5})
    assert changed == {"shadow.position_max": (None, "0.5")}
    assert limits.shadow == msgspec.structs.replace(limits.current, position_max=Decimal("0.5"))
    assert limits.version == in_force
    assert desk.trace == [ShadowSet(ts=OPEN, version=first, limits=plain(limits.shadow), by="alice")]
    changed, second = await reloaded(shadow={"position_max": 0.4}, limits={"orders_per_s": 7})  # they follow the others
    assert changed == {"orders_per_s": (10_000, 7), "shadow.position_max": ("0.5", "0.4")}
    assert limits.shadow == msgspec.structs.replace(limits.current, position_max=Decimal("0.4"))
    assert [type(event) for event in desk.trace[1:]] == [LimitsSet, ShadowSet]
    assert await reloaded(shadow={"position_max": 0.4}, limits={"orders_per_s": 7}) == ({}, second)
    assert await reloaded(limits={"orders_per_s": 7}) == ({"shadow.position_max": ("0.4", None)}, "")
    assert limits.shadow is None
    assert desk.trace[3:] == [ShadowSet(ts=OPEN, version="", limits={}, by="alice")]


async def test_unsound_shadow_limits_change_nothing_at_all(desk: Desk) -> None:
    desk.write(limits={"orders_per_s": 7}, shadow={"position_max": 8})
    before = desk.run.actors.limits.current
    with pytest.raises(Refused, match=r"shadow\.position_max: position_max = 8: a fraction"):
        await desk.run.reloader.reload("alice")
    assert (desk.run.actors.limits.current, desk.run.actors.limits.shadow, desk.trace) == (before, None, [])


def piped(desk: Desk) -> None:
    desk.file.unlink()
    os.mkfifo(desk.file)


BROKEN: list[tuple[Callable[[Desk], object], str]] = [
    (
        lambda desk: desk.write(limits={"orders_per_s": 7, "position_max": 8}),
        "execd.toml:{position_max}: limits.position_max: position_max = 8: a fraction between 0 and 1 belongs here",
    ),
    (
        lambda desk: desk.write(limits={"orders_per_s": "many"}),
        "execd.toml:{orders_per_s}: limits.orders_per_s: Expected `int`, got `str`",
    ),
    (
        lambda desk: desk.write(limits={"orders_per_s": 7, "positon_max": 1}),
        "execd.toml:{positon_max}: limits.positon_max: there is no such setting: remove it or correct its spelling",
    ),
    (
        lambda desk: desk.write(limits={"orders_per_s": 7}, http={"port": -1}),
        "execd.toml:{port}: http.port: port = -1: a port belongs here, or 0",
    ),
    (
        lambda desk: desk.write(limits={"orders_per_s": 7, "restricted": ["NONE"]}),
        "execd.toml:{restricted}: limits.restricted: NONE: there is no such instrument",
    ),
    (lambda desk: desk.file.write_text("[limits\n"), "execd.toml: not TOML: "),
    (lambda desk: desk.file.write_bytes(b"\xff"), "execd.toml: not TOML: "),
    (
        lambda desk: desk.file.write_text(""),
        "execd.toml: limits.duplicate_window_s is no longer set, nor 8 more: is the file",
    ),
    (
        lambda desk: desk.file.write_text(desk.file.read_text().partition("[limits.symbols_default]")[0]),
        "execd.toml: limits.symbols_default is no longer set, nor 2 more: is the file whole? To go back to a default",
    ),
    (
        lambda desk: desk.file.write_text(desk.file.read_text().replace("orders_per_s = 10000\n", "")),
        "execd.toml: limits.orders_per_s is no longer set: is the file whole? To go back to a default write it",
    ),
    (lambda desk: desk.file.write_text("#" * (BYTES_MAX + 1)), "execd.toml: 4,000,001 bytes are no configuration"),
    (piped, "execd.toml: no regular file: write the configuration to one"),
    (lambda desk: desk.file.unlink(), "execd.toml: No such file or directory: give the path of a configuration file"),
]


@pytest.mark.parametrize("spoil,said", BROKEN)
async def test_a_file_that_is_not_sound_changes_nothing_and_the_refusal_says_where(
    desk: Desk, spoil: Callable[[Desk], object], said: str
) -> None:
    before = desk.run.actors.limits.current
    spoil(desk)
    with pytest.raises(Refused) as refused:
        await desk.run.reloader.reload("alice")
    assert str(refused.value).startswith("the limits are as they were: ")
    name, _, rest = said.partition(":{")
    if rest:
        field, _, rest = rest.partition("}")
        (line,) = [n for n, text in enumerate(desk.file.read_text().splitlines(), 1) if text.startswith(f"{field} =")]
        said = f"{name}:{line}{rest}"
    assert said in str(refused.value)
    assert desk.run.actors.limits.current is before
    assert desk.trace == []


async def test_whatever_else_goes_wrong_with_a_file_is_a_refusal_too(desk: Desk) -> None:
    def fail() -> None:
        raise RecursionError("too deep")

    desk.run.reloader._source.read = fail  # type: ignore[union-attr, method-assign]
    with pytest.raises(Refused, match="the limits are as they were: too deep"):
        await desk.run.reloader.reload("alice")


async def test_a_file_that_hangs_is_given_up_and_the_next_reading_is_not_held_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "READ_S", 0.05)
    released, source = threading.Event(), desk.run.reloader._source
    assert source is not None
    with monkeypatch.context() as hung:
        hung.setattr(source, "read", lambda: released.wait(30))
        with pytest.raises(Refused, match="the file was not read"):
            await desk.run.reloader.reload("alice")
    monkeypatch.setattr(reload, "READ_S", 30.0)
    desk.write(limits={"orders_per_s": 7})
    assert (await desk.run.reloader.reload("alice")).changed == {"orders_per_s": (10_000, 7)}
    released.set()


async def test_symbols_and_strategies_come_and_go(desk: Desk) -> None:
    own = {"symbols": {"BRAV": {"order_qty_max": 9}}, "strategies": {"desk": {"symbols": ["ALFA"]}}}
    desk.write(limits=own)
    await desk.run.reloader.reload("alice")
    desk.write(limits={"symbols": {"ALFA": {"order_qty_max": 9}}, "strategies": {"night": {}}})
    await desk.run.reloader.reload("alice")
    assert set(desk.run.actors.limits.current.symbols) == {"ALFA"}
    assert set(desk.run.actors.limits.current.strategies) == {"night"}


async def test_a_venues_own_limit_does_not_go_unsaid(desk: Desk) -> None:
    desk.write(limits={"venues": {"paper": {"orders_per_s": 7, "messages_per_s": 9}}})
    await desk.run.reloader.reload("alice")
    desk.write(limits={"venues": {"paper": {"messages_per_s": 9}}})
    with pytest.raises(Refused, match=r"limits\.venues\.paper\.orders_per_s is no longer set"):
        await desk.run.reloader.reload("alice")
    assert desk.run.actors.limits.current.orders_per_s_at("paper") == 7


async def test_a_run_without_a_file_says_so(desk: Desk) -> None:
    desk.run.reloader._source = None
    with pytest.raises(Refused, match="not started with a configuration file"):
        await desk.run.reloader.reload("alice")


# Starts ---------------------------------------------------------------------------------------------------------------


def sets(run: Run) -> list[tuple[str, str]]:
    """Whoever set limits on record, and their versions."""
    journal = tables.journal
    with run.engine.connect() as connection:
        found = connection.execute(
            select(journal.c.payload).where(journal.c.type == "LimitsSet").order_by(journal.c.seq)
        )
        events = [json.loads(payload) for payload in found.scalars()]
    return [(event["by"], event["version"]) for event in events]


def test_a_start_sets_the_limits_of_the_configuration_where_they_are_others(tmp_path: Path) -> None:
    settings = config(tmp_path / "day")
    other = msgspec.structs.replace(settings.limits, orders_per_s=2)
    first, second = settings.limits_version, version_of(other)
    run, _ = play(settings, until=MIDDAY, then=other)
    assert sets(run) == [("start", first), ("desk", second)]
    run, _ = play(settings, until=MIDDAY + 1)
    assert sets(run) == [("start", first), ("desk", second), ("start", first)]
    run, _ = play(settings, until=MIDDAY + 2)  # the same again
    assert len(sets(run)) == 3
    assert run.actors.limits.current == settings.limits


def test_decisions_keep_the_version_that_was_in_force_and_can_be_read_beside_its_numbers(tmp_path: Path) -> None:
    settings = config(tmp_path / "day")
    other = msgspec.structs.replace(settings.limits, orders_per_s=2)
    run, _ = play(settings, then=other)
    decisions, limits = tables.risk_decisions, tables.limits
    joined = select(decisions.c.ts, limits.c.text).join(limits, limits.c.version == decisions.c.limits_version)
    with run.engine.connect() as connection:
        rows = connection.execute(joined).all()
        number = len(connection.execute(select(decisions.c.seq)).all())
    assert len(rows) == number
    rates = {ts >= QUARTER: json.loads(text)["orders_per_s"] for ts, text in rows}
    assert rates == {False: settings.limits.orders_per_s, True: 2}
    assert len({(ts >= QUARTER, text) for ts, text in rows}) == 2


# Beside them ----------------------------------------------------------------------------------------------------------


def watched(settings: Config, **changes: Any) -> Config:  # noqa: ANN401 - limits
    """The same day with shadow limits."""
    return msgspec.structs.replace(settings, shadow=msgspec.structs.replace(settings.limits, **changes))


def traded(run: Run) -> list[dict[str, Any]]:
    """The journal as it is on record."""
    journal = tables.journal
    with run.engine.connect() as connection:
        payloads = connection.execute(select(journal.c.payload).order_by(journal.c.seq)).scalars()
        return [json.loads(payload) for payload in payloads]


TIGHT = {"position_max": Decimal("0.001"), "orders_per_s": 1}
SHADOW = {"ShadowSet", "ShadowVerdict"}


def test_a_day_beside_shadow_limits_is_the_same_day(tmp_path: Path) -> None:
    plainly, _ = play(config(tmp_path / "plain"))
    beside, _ = play(watched(config(tmp_path / "beside"), **TIGHT))
    without, trace = (
        [event for event in traded(run) if event["type"] not in {"DaemonStarted", *SHADOW}] for run in (plainly, beside)
    )
    assert trace == without
    assert not [event for event in traded(plainly) if event["type"] in SHADOW]
    assert [event for event in traded(beside) if event["type"] == "ShadowVerdict"]


def test_what_shadow_limits_would_have_done_is_on_record_and_counted(tmp_path: Path, execd: Execd) -> None:
    settings = watched(config(tmp_path / "day"), **TIGHT)
    play(settings, until=QUARTER)
    run, _ = play(settings)  # they are not set again
    said = traded(run)
    assert [event["version"] for event in said if event["type"] == "ShadowSet"] == [settings.shadow_version]
    verdicts = [event for event in said if event["type"] in {"ParentAccepted", "OrderApproved", "OrderDenied"}]
    differ = [event for event in said if event["type"] == "ShadowVerdict"]
    assert {event["shadow_version"] for event in differ} == {settings.shadow_version}
    code, out, _ = execd("risk", "shadow", "--dir", settings.data_dir, "--json")
    found = json.loads(out)
    assert (code, found["version"], found["verdicts"]) == (ExitCode.OK, settings.shadow_version, len(verdicts))
    counts = {
        name: sum(row[name] for row in found["reasons"] if name == "alike" or row["reason"] == "POSITION")
        for name in ("alike", "tighter", "wider")
    }
    by_position = [event for event in differ if event["reason"] == "POSITION"]
    assert counts == {"alike": len(verdicts) - len(differ), "tighter": len(by_position), "wider": 0}
    code, out, _ = execd("risk", "shadow", "--dir", settings.data_dir, "--limit", 1)
    assert code == ExitCode.OK
    title, *lines = out.splitlines()
    assert title.startswith(f"shadow limits {settings.shadow_version} since ")
    assert title.endswith(f": {len(verdicts)} verdicts")
    head, *rows, blank, columns, newest = lines
    assert (head.split(), len(rows), blank) == (["reason", "alike", "tighter", "wider"], len(found["reasons"]), "")
    shown = dict(zip(columns.split(), newest.split(), strict=False))
    assert {name: cell(differ[-1][name]) for name in ("ts", "symbol", "shadow_qty", "reason")}.items() <= shown.items()


def test_without_shadow_limits_the_command_says_how_to_have_some(tmp_path: Path, execd: Execd) -> None:
    settings = config(tmp_path / "day")
    play(settings, until=QUARTER)
    code, out, errors = execd("risk", "shadow", "--dir", settings.data_dir)
    assert (code, errors) == (ExitCode.OK, "")
    assert out == "no shadow limits: write those that are to differ into [shadow], then `execd risk reload`\n"
    assert execd("risk", "shadow", "--dir", settings.data_dir, "--json")[1] == "null\n"


# A real process -------------------------------------------------------------------------------------------------------


def send(service: Service, *signals: bytes) -> None:
    for each in signals:
        ask(str(service.folder / "signals.sock"), "POST", "signals", json.loads(each))


@pytest.fixture
def service(make: Make, monkeypatch: pytest.MonkeyPatch) -> Service:
    made = make("service", signals={"socket": "signals.sock"}).start()
    monkeypatch.setenv("EXECD_DIR", str(made.folder))
    return made


def test_the_command_says_what_has_changed_and_what_waits(service: Service, execd: Execd) -> None:
    first = service.status()["limits"]
    assert execd("risk", "reload") == (ExitCode.OK, f"limits {first}: nothing has changed\n", "")
    service.write(limits={"orders_per_s": 7, "restricted": ["ALFA", "BRAV"]}, http={"port": 9_999})
    code, out, errors = execd("risk", "reload")
    second = service.status()["limits"]
    assert (code, errors) == (ExitCode.OK, "")
    assert out.splitlines() == [
        f"{'orders_per_s':<32} 10000 -> 7",
        f"{'restricted':<32} none -> ALFA, BRAV",
        f"limits {second} are in force",
        "takes effect at the next start: http",
    ]
    service.write(limits={"orders_per_s": 0})
    code, out, errors = execd("risk", "reload")
    assert (code, out) == (ExitCode.REFUSED, "")
    assert f"the limits are as they were: {service.config}:" in errors
    assert errors.endswith(": orders_per_s = 0: a positive number, 100,000 at most, belongs here\n")
    assert service.status()["limits"] == second != first
    given = [("reload", 1), ("reload", 1), ("reload", 0)]
    service.until(lambda: service.rows("select command, done from commands order by seq") == given, "all on record")
    start, desk = service.events("LimitsSet")
    (by,) = {author for (author,) in service.rows("select by from commands")}
    assert (start["by"], desk["by"]) == ("start", by)


def test_a_denial_is_read_beside_the_limits_that_made_it_and_a_kill_keeps_both(service: Service) -> None:
    first = service.status()["limits"]
    service.write(limits={"symbols_default": {"order_qty_max": 50}})
    service.ask("POST", "reload", {})
    second = service.status()["limits"]
    send(service, order("large", qty=100))
    service.until(lambda: service.events("OrderDenied"), "a denial")
    service.write(limits={"symbols_default": {"order_qty_max": 200}})
    service.kill()
    service.start()
    third = service.status()["limits"]
    assert len({first, second, third}) == 3
    send(service, order("large-again", qty=100))
    service.until(lambda: service.events("ParentAccepted"), "an acceptance")
    service.until(lambda: service.rows("select 1 from risk_decisions where verdict = 'accepted'"), "its row")
    rows = service.rows(
        "select d.verdict, d.limits_version, json_extract(l.text, '$.symbols_default.order_qty_max') "
        "from risk_decisions d join limits l on l.version = d.limits_version where d.cl_ord_id = '' order by d.seq"
    )
    assert rows == [("denied", second, "50"), ("accepted", third, "200")]
    numbers = "select cast(value as int), cast(\"limit\" as int) from risk_decisions where verdict = 'denied'"
    assert service.rows(numbers) == [(100, 50)]
    assert [event["version"] for event in service.events("LimitsSet")] == [first, second, third]


def test_shadow_limits_come_by_a_reload_and_outlive_a_kill_with_what_they_said(service: Service, execd: Execd) -> None:
    service.write(shadow={"symbols_default": {"order_qty_max": 50}})
    code, out, errors = execd("risk", "reload")
    assert (code, errors) == (ExitCode.OK, "")
    in_force, version = service.status()["limits"], load(service.config, {}).shadow_version
    assert out.splitlines() == [
        f"{'shadow.symbols_default.order_qty_max':<32} - -> 50",
        f"limits {in_force} are in force",
        f"limits {version} judge beside them, for the record alone",
    ]
    send(service, order("one", qty=100))
    service.until(lambda: service.rows("select 1 from shadow_verdicts where cl_ord_id != ''"), "a child's difference")
    service.kill()
    service.start()
    send(service, order("two", qty=100))
    sought = "select 1 from shadow_verdicts where cl_ord_id = ''"
    service.until(lambda: len(service.rows(sought)) == 2, "the second parent's")
    assert set(service.rows("select outcome, reason, in_force_qty, shadow_qty, max_qty from shadow_verdicts")) == {
        ("tighter", "ORDER_SIZE", "100", "0", "50")
    }
    assert [(event["by"] == "start", event["version"]) for event in service.events("ShadowSet")] == [(False, version)]
    assert service.events("OrderDenied") == []


def test_a_hang_up_reads_the_limits_again_and_a_broken_file_ends_nothing(service: Service) -> None:
    first = service.status()["limits"]
    service.config.write_text("[limits]\norders_per_s = 'many'\n")
    service.send_signal(signal.SIGHUP)
    refused = f"the limits are as they were: {service.config}:2: limits.orders_per_s: Expected `int`, got `str`"
    service.until(lambda: refused in service.log(), "the refusal in the log")
    assert service.status()["limits"] == first
    service.write(limits={"orders_per_s": 7})
    service.send_signal(signal.SIGHUP)
    service.until(lambda: service.status()["limits"] != first, "other limits")
    assert service.log().count(refused) == 1
    service.until(lambda: len(service.events("LimitsSet")) == 2, "it on record")
    event = service.events("LimitsSet")[1]
    assert (event["by"], event["limits"]["orders_per_s"]) == ("SIGHUP", 7)
    send(service, order("one"))
    service.until(lambda: service.events("ParentEnded"), "trading goes on")


@pytest.mark.parametrize("placement", ["inline", "tasks"])
def test_orders_that_meet_reloads_are_judged_by_one_version_each(make: Make, placement: str) -> None:
    service = make("busy", daemon={"placement": placement}, signals={"socket": "signals.sock"}).start()
    service.until(lambda: service.ask("GET", "check?symbol=ALFA&side=BUY&qty=1")["passes"], "a price")
    sizes = (50, 150)
    for number in range(30):
        service.write(limits={"symbols_default": {"order_qty_max": sizes[number % 2]}})
        service.send_signal(signal.SIGHUP)
        send(service, *(order(f"s{number}-{i}", qty=100) for i in range(3)))
    service.until(lambda: len(service.rows("select 1 from risk_decisions where cl_ord_id = ''")) == 90, "all verdicts")
    in_force, verdicts = "", Counter[tuple[str, str]]()
    numbers = {}
    for (payload,) in service.rows("select payload from journal order by seq"):
        event = json.loads(payload)
        if event["type"] == "LimitsSet":
            in_force = event["version"]
            numbers[in_force] = event["limits"]["symbols_default"]["order_qty_max"]
        elif event["type"] in {"OrderDenied", "ParentAccepted", "OrderApproved"}:
            assert event["limits_version"] == in_force
            if event["type"] == "OrderDenied":
                assert (event["reason"], event["limit"], numbers[in_force]) == ("ORDER_SIZE", "50", "50"), event
            verdicts[event["type"], numbers[in_force]] += 1
    assert verdicts["ParentAccepted", "50"] == verdicts["OrderApproved", "50"] == 0
    assert verdicts["OrderDenied", "50"]
    assert verdicts["ParentAccepted", "150"]


def test_a_reload_while_the_database_is_away_holds_and_says_so(service: Service) -> None:
    first = service.status()["limits"]
    service.write(limits={"orders_per_s": 7})
    with closing(sqlite3.connect(service.folder / "execd.db", isolation_level=None)) as hog:
        hog.execute("begin exclusive")
        with pytest.raises(RefusedError, match="they are in force, and will be on record once the database is back"):
            service.ask("POST", "reload", {})
        assert service.status()["limits"] != first
    service.until(lambda: len(service.events("LimitsSet")) == 2, "it on record")


def test_a_hang_up_while_the_daemon_starts_is_done_once_it_has(make: Make) -> None:
    service = make("early").start(ready=False)
    service.until((service.folder / "run.json").exists, "its handlers")
    service.write(limits={"orders_per_s": 7})
    wanted = load(service.config, {}).limits_version
    service.send_signal(signal.SIGHUP)
    service.until(lambda: service.status().get("limits") == wanted, "other limits")
