"""The commands of a desk before a daemon that trades, that is halted, that is not there, and that hangs."""

import io
import json
import os
import pwd
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis

from adapters.valkey import PrivateValkey
from daemon import asking, desk, drill
from daemon.cli import ExitCode
from daemon.place import Place
from tests.daemon.service import HALT, OPEN, WAIT_S, Execd, Make, Service, order, publish, resting, working
from tests.servers.valkey import running

CHANNEL = "execd:signals:pubsub"


@pytest.fixture
def service(make: Make, valkey: PrivateValkey, monkeypatch: pytest.MonkeyPatch) -> Service:
    """One that reads every way; commands find it without a name."""
    made = make("service", valkey.settings, signals={"channel": CHANNEL, "socket": "signals.sock"}).start()
    monkeypatch.setenv("EXECD_DIR", str(made.folder))
    return made


def done(execd: Execd, *words: str) -> str:
    """What a command says that does what it is asked."""
    code, out, errors = execd(*words)
    assert (code, errors) == (ExitCode.OK, ""), out
    return out


def resumed(execd: Execd, service: Service) -> None:
    """Resume, once the watch has seen that key and file are gone."""
    service.until(lambda: execd("resume")[0] == ExitCode.OK, "the resume")
    service.until_state("ACTIVE")


# Halt and resume ------------------------------------------------------------------------------------------------------


def test_halt_and_resume_say_how_trading_stands(service: Service, execd: Execd) -> None:
    refusal = "execd: nobody has halted trading; what holds it back: nothing\n"
    service.until(lambda: execd("resume") == (ExitCode.REFUSED, "", refusal), "a refusal")
    for _ in range(2):
        assert re.fullmatch(r"halted: trading is HALTED by (\w+, )*kill\n", done(execd, "halt", "--text", "enough"))
    user = pwd.getpwuid(os.getuid()).pw_name
    assert f"held back by         kill: enough, by {user} ({os.getuid()})\n" in done(execd, "status")
    assert done(execd, "resume").startswith("resumed: trading is ")
    service.until_state("ACTIVE")
    expected = [("resume", 0), ("halt", 1), ("halt", 1), ("resume", 1)]
    service.until(
        lambda: service.rows("select command, done from commands order by seq")[-4:] == expected, "the record"
    )


def test_resume_is_refused_while_key_or_file_is_there(service: Service, execd: Execd, hand: redis.Redis) -> None:
    hand.set(HALT, "")
    service.until_state("HALTED")
    assert execd("resume") == (ExitCode.REFUSED, "", f"execd: the key {HALT} is still set: delete it first\n")
    file = service.folder / "HALT"
    file.touch()
    hand.delete(HALT)
    said = f"execd: the file {file} is still there: remove it first\n"
    service.until(lambda: execd("resume") == (ExitCode.REFUSED, "", said), "the file")
    assert service.status()["state"] == "HALTED"
    file.unlink()
    resumed(execd, service)


def test_the_key_can_be_set_from_here_and_stands_until_it_is_deleted(
    service: Service, execd: Execd, hand: redis.Redis
) -> None:
    said = f"halted: the key {HALT} is set; delete it before `execd resume`\n"
    assert done(execd, "halt", "--key", "--text", "enough") == said
    assert hand.get(HALT) == b"enough"
    service.until_state("HALTED")
    assert execd("resume")[0] == ExitCode.REFUSED
    hand.delete(HALT)
    resumed(execd, service)


# Strategies that repeat themselves ------------------------------------------------------------------------------------


def test_a_strategy_that_repeats_itself_is_stopped_over_restarts_until_a_person_names_it(
    make: Make, valkey: PrivateValkey, hand: redis.Redis, execd: Execd, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make("repeating", valkey.settings, limits={"repeats_max": 2}).start()
    monkeypatch.setenv("EXECD_DIR", str(service.folder))
    publish(hand, *(order(f"r{number}", qty=number) for number in (1, 2, 3)))
    service.until(lambda: service.events("OrderDenied"), "the denial")
    assert service.events("OrderDenied")[0]["reason"] == "REPEATS"
    said = r"desk: 2 parents to BUY ALFA within \d+\.\d s, of late \S+, \S+"
    assert re.search(
        rf"^stopped {{14}}{said}; `execd resume --strategy` lets it go on$", done(execd, "status"), re.MULTILINE
    )
    assert re.search(r"^desk is stopped: 2 parents to BUY ALFA ", done(execd, "risk", "show"), re.MULTILINE)
    service.kill()
    service.start()
    assert list(service.status()["stopped"]) == ["desk"]
    assert execd("resume")[0] == ExitCode.REFUSED  # nobody has halted trading
    assert execd("resume", "--strategy", "dusk") == (
        ExitCode.REFUSED,
        "",
        "execd: dusk is not stopped; what is: desk\n",
    )
    assert done(execd, "resume", "--strategy", "desk") == "desk goes on: trading is ACTIVE\n"
    assert service.status()["stopped"] == {}
    publish(hand, order("r4", qty=4))
    service.until(lambda: len(service.events("ParentAccepted")) == 3, "one more parent")
    user = f"{pwd.getpwuid(os.getuid()).pw_name} ({os.getuid()})"
    (stop, resume) = service.rows("select state, by from halts where cause = 'repeats' order by seq")
    assert (tuple(stop), tuple(resume)) == (("STOPPED", ""), ("RESUMED", user))
    assert service.rows("select command, done from commands order by seq")[-1] == ("resume desk", 1)


# Flatten --------------------------------------------------------------------------------------------------------------


def test_flatten_closes_one_position_or_all_and_only_while_trading_stands(
    service: Service, execd: Execd, hand: redis.Redis
) -> None:
    publish(hand, order("long", qty=5), order("short", symbol="BRAV", side="SELL", qty=2))
    service.until(lambda: len(service.events("ParentEnded")) == 2, "two positions")
    code, out, errors = execd("flatten", "all")
    assert (code, out) == (ExitCode.REFUSED, "")
    assert errors.startswith("execd: trading is ACTIVE, and live parents would trade against it: `execd halt` first")
    done(execd, "halt")
    refusal = "execd: NONE is not among the instruments: close it at the broker\n"
    assert execd("flatten", "NONE") == (ExitCode.REFUSED, "", refusal)
    said = done(execd, "flatten", "ALFA").splitlines()
    assert said[0] == "SELL 5 ALFA of desk: live"
    assert re.fullmatch(r"`execd positions` and `execd parents` follow flatten-\d+", said[1])
    service.until(lambda: len(service.events("ParentEnded")) == 3, "the first one closed")
    assert done(execd, "flatten", "all").startswith("BUY 2 BRAV of desk: live\n")
    service.until(lambda: len(service.events("ParentEnded")) == 4, "both closed")
    assert done(execd, "flatten", "all").startswith("nothing to close\n")
    held = {row["symbol"]: row["qty"] for row in json.loads(done(execd, "positions", "--json"))}
    assert held == {"ALFA": "0", "BRAV": "0"}


# Stops ----------------------------------------------------------------------------------------------------------------


def test_stops_say_where_they_fire_and_how_far_that_is_while_the_daemon_runs(
    service: Service, execd: Execd, hand: redis.Redis
) -> None:
    publish(hand, order("long", qty=5))
    service.until(lambda: service.events("ParentEnded"), "a position")
    facts = {"kind": "stop", "strategy": "desk", "symbol": "ALFA", "ts": OPEN + 1}
    publish(hand, json.dumps({**facts, "signal_id": "wide", "trail_fraction": "0.9"}).encode())
    service.until(lambda: service.rows("select 1 from stops"), "a stop on record")
    (row,) = json.loads(done(execd, "stops", "--json"))
    level, away, money = (Decimal(row[name]) for name in ("level", "away_pct", "away_money"))
    assert level == Decimal(row["price"]) / 10
    mark = level + money / 5  # to the tenth of a cent
    assert mark == pytest.approx(Decimal(row["price"]), rel=Decimal("0.1"))
    assert away == pytest.approx(100 * (mark - level) / mark, abs=Decimal("0.02"))
    assert "away_money" in done(execd, "stops").splitlines()[0]
    assert "   1 stops held   " in done(execd, "status")
    assert json.loads(done(execd, "status", "--json"))["daemon"]["stops"] == 1
    service.kill()
    (row,) = json.loads(done(execd, "stops", "--json"))
    assert (row["state"], row["level"], row["away_pct"], row["away_money"]) == ("held", None, None, None)


# Single parents -------------------------------------------------------------------------------------------------------


def test_one_parent_is_paused_amended_and_let_go_on_over_a_restart_and_cancelled_while_halted(
    service: Service, execd: Execd, hand: redis.Redis
) -> None:
    publish(hand, *resting(2))
    working(service, 2)
    name, other = (row["parent_id"] for row in service.ask("GET", "live")["parents"])
    least = f"{name} has 100 done or working: ask for no less, or pause it first, which takes back what works"
    assert execd("parent", "amend", name, "--qty", "40") == (ExitCode.REFUSED, "", f"execd: {least}\n")
    assert done(execd, "parent", "pause", name).startswith(f"{name} is paused: 100 at 97.00 until ")
    working(service, 1)
    assert done(execd, "parent", "amend", name, "--qty", "40", "--price", "96.50").startswith(
        f"{name} is paused: 40 at 96.50 until "
    )
    given = f"parent {name} amend qty 40 price 96.50"
    service.until(lambda: (given,) in service.rows("select command from commands where done"), "the record")
    service.kill()
    service.start()
    live = {row["parent_id"]: row for row in service.ask("GET", "live")["parents"]}
    assert (live[name]["held"], live[name]["order_qty"], live[other]["held"]) == (True, "40", False)
    assert done(execd, "parent", "resume", name).startswith(f"{name} is live: 40 at 96.50 until ")
    working(service, 2)
    sent = service.rows("select parent_id, order_qty, price from orders order by approved")
    assert [row[1:] for row in sent if row[0] == name] == [("100", "97.00"), ("40", "96.50")]
    done(execd, "halt")
    code, _, errors = execd("parent", "amend", name, "--qty", "50")
    assert (code, errors) == (ExitCode.REFUSED, "execd: it stays as it is: STATE, trading is HALTED by kill\n")
    assert done(execd, "parent", "cancel", name).startswith(f"{name} is ending")
    service.until(lambda: service.events("ParentEnded"), "the end")
    (end,) = service.events("ParentEnded")
    assert (end["parent_id"], end["reason"], end["order_qty"], end["leaves_qty"]) == (name, "TAKEN_BACK", "40", "40")
    assert execd("parent", "pause", name) == (ExitCode.REFUSED, "", f"execd: {name} is over: TAKEN_BACK\n")
    (row,) = [row for row in json.loads(done(execd, "parents", "--json")) if row["parent_id"] == name]
    assert (row["order_qty"], row["state"], row["reason"]) == ("40", "ended", "TAKEN_BACK")


@pytest.mark.parametrize(
    "words,code,said",
    [
        (("amend", "P1"), ExitCode.REFUSED, "give qty, price, end or urgency to AMEND"),
        (("amend", "P1", "--qty", "0"), ExitCode.REFUSED, "qty 0 is not a positive number"),
        (("amend", "P1", "--end", "15:30"), ExitCode.USAGE, "--end 15:30: a time with its zone belongs here"),
        (("amend", "P1", "--end", "2026-06-15T15:30"), ExitCode.USAGE, "--end 2026-06-15T15:30: a time with its zone"),
        (("cancel", "P1"), ExitCode.REFUSED, "P1 is not live: `execd parents` lists what is"),
    ],
)
def test_what_cannot_become_of_a_parent_is_refused_with_words(
    service: Service, execd: Execd, words: tuple[str, ...], code: ExitCode, said: str
) -> None:
    found, out, errors = execd("parent", *words)
    assert (found, out) == (code, "")
    assert errors.startswith(f"execd: {said}")


# Signals by hand ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["", "stream", "channel", "socket"])
def test_a_signal_by_hand_is_followed_to_its_end(service: Service, execd: Execd, way: str) -> None:
    typed = {"kind": "order", "symbol": "ALFA", "side": "BUY", "qty": 3, "how": {"algo": "MARKET"}}
    via = ("--via", way) if way else ()
    service.until(lambda: all(not actor["error"] for actor in service.status()["actors"]), "every edge")
    first, *lines = done(execd, "signal", "send", json.dumps(typed), *via, "--wait", "20").splitlines()
    assert re.fullmatch(rf"sent hand-[0-9a-f]{{12}} by {way or 'stream'}", first)
    kinds = [line.split()[0] for line in lines]
    assert kinds[:2] == ["SignalAccepted", "ParentAccepted"]
    (end,) = [line for line in lines if line.startswith("ParentEnded")]
    assert re.search(r" reason FILLED .*cum_qty 3\b", end), end
    (taken,) = service.events("SignalAccepted")
    assert (taken["strategy"], taken["signal_id"]) == ("hand", first.split()[1])


def test_a_signal_may_come_from_standard_input(service: Service, execd: Execd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(order("piped", qty=1).decode()))
    assert done(execd, "signal", "send", "-") == "sent piped by stream\n"
    service.until(lambda: service.events("ParentEnded"), "the end")


@pytest.mark.parametrize(
    "words,code,said",
    [
        (("nonsense",), ExitCode.USAGE, "not JSON: "),
        (("[]",), ExitCode.USAGE, "one signal, a JSON object, belongs here"),
        (('{"kind": "order"}',), ExitCode.USAGE, "missing required field"),
        ((order("x").decode(), "--via", "pigeon"), ExitCode.REFUSED, "this run reads stream, channel, socket"),
    ],
    ids=["no JSON", "no object", "no signal", "no way"],
)
def test_what_is_no_signal_is_not_sent(
    service: Service, execd: Execd, words: tuple[str, ...], code: ExitCode, said: str
) -> None:
    found, out, errors = execd("signal", "send", *words)
    assert (found, out, len(errors.splitlines())) == (code, "", 1)
    assert said in errors
    assert service.events("SignalReceived") == service.events("SignalDead") == []


# A drill --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("redis", [True, False], ids=["with Redis", "without Redis"])
def test_a_drill_takes_everything_back_measures_it_and_leaves_trading_halted(
    make: Make, valkey: PrivateValkey, hand: redis.Redis, execd: Execd, monkeypatch: pytest.MonkeyPatch, *, redis: bool
) -> None:
    service = make("service", valkey.settings if redis else None, signals={"socket": "signals.sock"}).start()
    monkeypatch.setenv("EXECD_DIR", str(service.folder))
    for signal_ in resting(5):
        done(execd, "signal", "send", signal_.decode(), "--via", "socket")
    working(service, 5)
    said = done(execd, "halt", "--drill").splitlines()
    ms = r"\d+\.\d ms"
    assert re.fullmatch(
        rf"drill: heard {ms}, last order {ms}, last cancel {ms}, quiet {ms} after the halt; 0 orders left", said[0]
    )
    assert said[1:] == ["trading stays halted: `execd resume` lets it go on"]
    working(service, 0)
    assert not hand.exists(HALT)
    service.until(lambda: service.rows("select 1 from commands where text like 'drill: heard%'"), "the record")
    refusal = "execd: trading is HALTED already: a drill would measure nothing\n"
    assert execd("halt", "--drill") == (ExitCode.REFUSED, "", refusal)
    resumed(execd, service)


@pytest.fixture
def drilling(make: Make, valkey: PrivateValkey, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service with Redis whose halt key a drill may set."""
    service = make("service", valkey.settings).start()
    monkeypatch.setenv("EXECD_DIR", str(service.folder))
    return service


def during_a_drill(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen once the key is set, before the drill has an end."""
    await_quiet = drill._await_quiet

    def meanwhile(place: Place, began_ns: int) -> dict[str, Any]:
        act()
        return await_quiet(place, began_ns)

    monkeypatch.setattr(drill, "_await_quiet", meanwhile)


@pytest.mark.usefixtures("drilling")
def test_a_drill_is_refused_where_somebody_halts_by_the_key(
    execd: Execd, hand: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = asking.ask
    monkeypatch.setattr(drill, "ask", lambda *words: ask(*words) | {"state": "ACTIVE"})  # the daemon has not heard yet
    hand.set(HALT, "enough")
    refusal = f"execd: the key {HALT} is there: somebody halts by it, and not for a drill\n"
    assert execd("halt", "--drill") == (ExitCode.REFUSED, "", refusal)
    assert hand.get(HALT) == b"enough"


def test_a_halt_during_a_drill_outlasts_it(
    drilling: Service, execd: Execd, hand: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    during_a_drill(monkeypatch, lambda: hand.set(HALT, "enough"))
    code, out, errors = execd("halt", "--drill")
    assert (code, out.splitlines()[0][:13]) == (ExitCode.OK, "drill: heard ")
    assert errors == f"the key {HALT} is not the drill's, or not any more: it stays as it is\n"
    assert hand.get(HALT) == b"enough"
    refusal = f"execd: the key {HALT} is still set: delete it first\n"
    assert execd("resume") == (ExitCode.REFUSED, "", refusal)
    assert drilling.status()["state"] == "HALTED"


def fail() -> None:
    raise asking.RefusedError("orders still work")


ENDINGS: dict[str, tuple[Callable[[], object], int, str]] = {
    "it fails": (fail, ExitCode.REFUSED, "execd: orders still work"),
    "SIGINT": (lambda: signal.raise_signal(signal.SIGINT), 130, ""),
    "SIGTERM": (lambda: signal.raise_signal(signal.SIGTERM), 143, ""),
    "SIGHUP": (lambda: signal.raise_signal(signal.SIGHUP), 129, ""),
}


@pytest.mark.usefixtures("drilling")
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_drill_that_fails_or_is_interrupted_takes_its_key_back_and_says_so(
    execd: Execd, hand: redis.Redis, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, ending: str
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background ignores it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    act, expected, said = ENDINGS[ending]
    seen: list[Any] = []

    def end() -> None:
        seen.append(hand.get(HALT))
        act()

    during_a_drill(monkeypatch, end)
    code, _, errors = execd("halt", "--drill", "--text", "rehearsal")
    assert (code, seen[0][:11]) == (expected, b"rehearsal (")
    assert errors.splitlines()[0] == f"the drill's key {HALT} is deleted"
    assert said in errors
    assert not hand.exists(HALT)


def test_a_key_that_cannot_be_taken_back_is_named(
    execd: Execd, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path / "valkey") as server:
        service = make("service", server.settings).start()
        monkeypatch.setenv("EXECD_DIR", str(service.folder))
        during_a_drill(monkeypatch, server.kill)
        code, _, errors = execd("halt", "--drill")
    assert code == ExitCode.OK
    assert errors.startswith(f"the drill's key {HALT} may still be set, look and delete it before `execd resume`: ")


# Nobody there ---------------------------------------------------------------------------------------------------------

ASKED = [
    ("resume",),
    ("flatten", "all"),
    ("halt", "--drill"),
    ("signal", "send", order("x").decode(), "--via", "socket"),
]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_where_no_daemon_runs_a_halt_is_left_for_the_next_start_and_all_else_says_so(
    service: Service, execd: Execd, ending: signal.Signals
) -> None:
    service.end(ending)
    assert done(execd, "status").endswith("daemon               does not run\n")
    for words in ASKED:
        code, out, errors = execd(*words)
        assert (code, out, len(errors.splitlines())) == (ExitCode.NO_DAEMON, "", 1), words
        assert errors.startswith("execd: no daemon answers at "), words
    lost = execd("signal", "send", order("lost").decode(), "--via", "channel")
    assert lost == (ExitCode.NO_DAEMON, "", f"execd: nobody listens to {CHANNEL}: the signal is lost\n")
    code, out, errors = execd("halt")
    file = service.folder / "HALT"
    assert (code, out) == (ExitCode.OK, f"halted by the file {file}: remove it before `execd resume`\n")
    assert errors.startswith("no daemon answers at ")
    service.start()
    service.until(lambda: service.causes() == {"kill"}, "the halt")
    assert execd("resume")[0] == ExitCode.REFUSED
    file.unlink()
    resumed(execd, service)


@pytest.mark.parametrize("words", [("halt",), ("halt", "--key"), *ASKED, ("orders",), ("status",)], ids=" ".join)
def test_a_folder_without_a_run_is_named(execd: Execd, tmp_path: Path, words: tuple[str, ...]) -> None:
    code, out, errors = execd(*words, "--dir", str(tmp_path))
    assert (code, out) == (ExitCode.USAGE, "")
    assert errors == f"execd: {tmp_path}: no run is there; name its data directory with --dir\n"
    assert list(tmp_path.iterdir()) == []


# A daemon that hangs --------------------------------------------------------------------------------------------------


@contextmanager
def frozen(service: Service) -> Iterator[None]:
    """It stands where it stood: its sockets are there, and nobody answers. Commands do not wait for long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "ANSWER_S", 0.2)
        patch.setattr(desk, "HALT_S", 0.2)
        service.send_signal(signal.SIGSTOP)
        yield
        service.send_signal(signal.SIGCONT)


def silent(service: Service, socket: str = "control.sock") -> str:
    return f"the daemon at {service.folder / socket} does not answer within 0 s: it hangs, or is stopped"


def test_a_daemon_that_hangs_is_told_from_one_that_does_not_run(service: Service, execd: Execd) -> None:
    with frozen(service):
        for words in ASKED:
            socket = "signals.sock" if "socket" in words else "control.sock"
            assert execd(*words) == (ExitCode.NO_DAEMON, "", f"execd: {silent(service, socket)}\n"), words
        assert done(execd, "status").splitlines()[-1] == f"daemon               {silent(service)}"
        assert json.loads(done(execd, "status", "--json"))["daemon"] == {"error": silent(service)}
    service.until_state("ACTIVE")


def test_a_halt_of_a_daemon_that_hangs_is_left_as_a_file_and_heard_once_it_goes_on(
    service: Service, execd: Execd
) -> None:
    file = service.folder / "HALT"
    with frozen(service), pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "ANSWER_S", WAIT_S)  # a halt waits for less than anything else
        code, out, errors = execd("halt")
        assert (code, out) == (ExitCode.OK, f"halted by the file {file}: remove it before `execd resume`\n")
        assert errors == f"{silent(service)}\n"
    service.until_state("HALTED")
    service.until(lambda: service.rows("select 1 from commands where command = 'halt' and done"), "the command itself")
    file.unlink()
    resumed(execd, service)


def test_what_was_given_up_is_not_done_when_the_daemon_goes_on(
    service: Service, execd: Execd, hand: redis.Redis
) -> None:
    publish(hand, order("long", qty=5))
    service.until(lambda: service.events("ParentEnded"), "a position")
    done(execd, "halt")
    with frozen(service):
        for words in (("resume",), ("flatten", "all")):
            assert execd(*words)[0] == ExitCode.NO_DAEMON
    given_up = "select command from commands where not done and text like 'whoever asked has given up%'"
    service.until(lambda: len(service.rows(given_up)) == 2, "two refusals")
    assert service.status()["state"] == "HALTED"
    assert service.events("FlattenRequested") == []
