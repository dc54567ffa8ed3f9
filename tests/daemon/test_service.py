"""The daemon as a service, as a desk runs it: real processes, a real Valkey, real sockets, real signals."""

import json
import os
import re
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
import redis

from adapters.valkey import PrivateValkey
from core.causes import KILL
from daemon.asking import RefusedError, ask
from tests.daemon.service import HALT, STREAM, Make, Service, acknowledged, order, publish, resting, working
from tests.servers.valkey import entries, other_hand, running


@pytest.fixture
def service(make: Make, valkey: PrivateValkey) -> Service:
    """One that listens to the session's Valkey."""
    return make("service", valkey.settings).start()


# Signals --------------------------------------------------------------------------------------------------------------


def test_a_signal_on_the_stream_is_traded_acknowledged_answered_and_mirrored(
    service: Service, hand: redis.Redis
) -> None:
    publish(hand, order("one", qty=300), b"nonsense")
    service.until(lambda: acknowledged(hand), "the acknowledgement")
    service.until(lambda: service.events("ParentEnded"), "the end")
    (end,) = service.events("ParentEnded")
    assert (end["cum_qty"], end["reason"]) == ("300", "FILLED")

    def answered() -> set[str]:
        return {fields["type"] for _, fields in entries(hand, "execd:events") if fields["signal_id"] == "one"}

    service.until(lambda: "CostReport" in answered(), "its costs")
    assert {"SignalAccepted", "ParentAccepted", "OrderApproved", "FillBooked", "ParentEnded"} <= answered()
    ((_, letter),) = entries(hand, "execd:signals:dead")
    assert letter["text"] == "nonsense"
    service.until(lambda: b'"qty":"300"' in (hand.hget("execd:positions", "desk:ALFA") or b""), "the mirror")
    assert set(hand.hkeys("execd:prices")) == {b"ALFA", b"BRAV"}
    assert hand.hgetall("execd:orders") == {}


def test_all_ways_in_act_once_for_one_signal(make: Make, valkey: PrivateValkey, hand: redis.Redis) -> None:
    service = make("service", valkey.settings, signals={"channel": "execd:signals:pubsub", "socket": "signals.sock"})
    service.start()
    service.until(lambda: dict(hand.pubsub_numsub("execd:signals:pubsub"))[b"execd:signals:pubsub"], "a subscription")
    publish(hand, order("same"))
    hand.publish("execd:signals:pubsub", order("same"))
    answer = ask(str(service.folder / "signals.sock"), "POST", "signals", json.loads(order("same")))
    assert answer == {"received": 1, "dead": []}
    service.until(lambda: len(service.events("SignalReceived")) == 3, "three ways")
    assert len(service.events("SignalAccepted")) == len(service.events("ParentAccepted")) == 1
    assert {each["reason"] for each in service.events("SignalIgnored")} == {"DUPLICATE"}


# Halts ----------------------------------------------------------------------------------------------------------------


def test_the_key_stops_everything_and_its_deletion_does_not_resume(service: Service, hand: redis.Redis) -> None:
    publish(hand, *resting(20))
    working(service, 20)
    hand.set(HALT, "enough")
    service.until_state("HALTED")
    working(service, 0)
    service.until(lambda: (service.status()["last_halt"] or {}).get("quiet_ns"), "quiet")
    assert Counter(fact["ord_status"] for fact in service.venue("Ended")) == {"CANCELED": 20}
    with pytest.raises(RefusedError, match="still set"):
        service.ask("POST", "resume", {})
    hand.delete(HALT)
    publish(hand, order("late"))
    service.until(lambda: service.events("OrderDenied"), "a denial")
    assert service.events("OrderDenied")[0]["text"] == "trading is HALTED by kill"
    assert service.status()["state"] == "HALTED"
    assert service.ask("POST", "resume", {})["state"] == "ACTIVE"
    publish(hand, order("later"))
    service.until(lambda: any(end["reason"] == "FILLED" for end in service.events("ParentEnded")), "trading again")


def test_a_halt_takes_everything_back_where_every_actor_has_a_task_of_its_own(
    make: Make, valkey: PrivateValkey, hand: redis.Redis
) -> None:
    service = make("service", valkey.settings, daemon={"placement": "tasks"}).start()
    assert {each["placement"] for each in service.status()["actors"]} == {"task"}
    publish(hand, *resting(20))
    working(service, 20)
    hand.set(HALT, "enough")
    service.until_state("HALTED")
    working(service, 0)
    service.until(lambda: (service.status()["last_halt"] or {}).get("quiet_ns"), "quiet")
    publish(hand, order("late"))
    service.until(lambda: service.events("OrderDenied"), "a denial")
    assert Counter(fact["ord_status"] for fact in service.venue("Ended")) == {"CANCELED": 20}
    hand.delete(HALT)
    service.until(lambda: "ACTIVE" in _resumed(service), "the resume")
    publish(hand, order("later", qty=1))
    service.until(lambda: any(end["reason"] == "FILLED" for end in service.events("ParentEnded")), "trading again")


def test_a_halt_stands_over_a_restart_also_where_the_key_is_gone(service: Service, hand: redis.Redis) -> None:
    publish(hand, *resting(3))
    working(service, 3)
    hand.set(HALT, "1")
    service.until(lambda: KILL in [each["cause"] for each in service.events("TradingHalted")], "a halt on record")
    assert service.kill() == -signal.SIGKILL
    hand.delete(HALT)
    service.start()
    assert (service.status()["state"], service.causes()) == ("HALTED", {"kill"})
    service.until(lambda: service.status()["last_halt"], "the venue is asked again")
    assert len(service.venue("Ended")) == 3


def test_a_halt_that_the_database_did_not_take_stands_over_a_restart(make: Make) -> None:
    service = make().start()
    with closing(sqlite3.connect(service.folder / "execd.db", isolation_level=None)) as hog:
        hog.execute("begin exclusive")
        assert service.ask("POST", "halt", {"text": "the desk says stop"})["state"] == "HALTED"
        service.kill()
    assert [event for event in service.events("TradingHalted") if event["cause"] == "kill"] == []
    service.start()
    service.until_state("HALTED")
    (cause,) = service.status()["causes"]
    assert cause["text"] == "the desk says stop"
    assert service.ask("POST", "resume", {})["state"] == "ACTIVE"
    service.kill()  # what was answered stands
    service.start()
    service.until_state("ACTIVE")


def test_a_key_that_is_set_while_the_daemon_is_down_is_seen_before_anything_is_sent(
    service: Service, hand: redis.Redis
) -> None:
    service.kill()
    hand.set(HALT, "1")
    publish(hand, order("one"))
    service.start()
    service.until(lambda: service.events("OrderDenied"), "a denial")
    assert service.venue("Entered") == []


@pytest.mark.parametrize(
    "stop",
    [
        lambda service: (service.folder / "HALT").touch(),
        lambda service: service.send_signal(signal.SIGUSR1),
        lambda service: service.ask("POST", "halt", {"text": "enough"}),
    ],
    ids=["the file", "a process signal", "the control socket"],
)
def test_every_other_way_to_halt(make: Make, stop: Callable[[Service], object]) -> None:
    service = make().start()
    stop(service)
    service.until_state("HALTED")
    assert service.causes() == {"kill"}
    (service.folder / "HALT").unlink(missing_ok=True)
    service.until(lambda: "ACTIVE" in _resumed(service), "the resume")


def _resumed(service: Service) -> str:
    try:
        return str(service.ask("POST", "resume", {})["state"])
    except RefusedError:  # the watch has not yet seen that the file is gone
        return ""


def test_a_drawdown_halts_over_restarts_until_a_supervisor_resets_the_mark(
    make: Make, hand: redis.Redis, valkey: PrivateValkey
) -> None:
    service = make("drawn", valkey.settings, limits={"drawdown_max": 0.000_000_01}).start()
    publish(hand, order("dear", qty=50_000))  # the first spread is more than that
    service.until_state("HALTED")
    assert service.causes() == {"drawdown"}
    with pytest.raises(RefusedError, match="nobody has halted trading; what holds it back: drawdown"):
        service.ask("POST", "resume", {})
    service.kill()
    service.start()
    assert service.causes() == {"drawdown"}
    done = service.execd("risk", "reset-mark")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"high-water mark [\d.]+: trading is ACTIVE\n", done.stdout)
    states = [state for (state,) in service.rows("select state from halts where cause = 'drawdown' order by seq")]
    assert states == ["HALTED", "MARK", "RESUMED"]


def test_a_flatten_closes_everything_while_trading_is_halted(service: Service, hand: redis.Redis) -> None:
    publish(hand, order("long", qty=500), order("short", symbol="BRAV", side="SELL", qty=200))
    service.until(lambda: len(service.events("ParentEnded")) == 2, "two positions")
    with pytest.raises(RefusedError, match="live parents would trade against it"):
        service.ask("POST", "flatten", {"symbol": ""})
    service.ask("POST", "halt", {})
    answer = service.ask("POST", "flatten", {"symbol": ""})
    assert {(each["symbol"], each["side"], each["order_qty"], each["state"]) for each in answer["orders"]} == {
        ("ALFA", "SELL", "500", "live"),
        ("BRAV", "BUY", "200", "live"),
    }
    service.until(lambda: len(service.events("ParentEnded")) == 4, "both closed")
    held = {symbol: Decimal(qty) for _, symbol, qty in service.rows("select strategy, symbol, qty from positions")}
    assert held == {"ALFA": 0, "BRAV": 0}
    assert service.status()["state"] == "HALTED"
    commands = service.rows("select command, done from commands order by seq")
    assert commands == [("flatten", 0), ("halt", 1), ("flatten", 1)]


# Redis that goes ------------------------------------------------------------------------------------------------------


def test_without_redis_at_the_start_trading_waits_for_it(make: Make, tmp_path: Path) -> None:
    with running(tmp_path / "valkey") as server:
        server.stop()
        service = make("service", server.settings).start()
        assert (service.status()["state"], service.causes()) == ("HALTED", {"redis"})
        server.start()
        with other_hand(server) as hand:
            publish(hand, order("one"))
            service.until_state("ACTIVE")
            service.until(lambda: service.events("ParentEnded"), "the end")
            service.until(lambda: acknowledged(hand), "the acknowledgement")
        assert service.events("OrderDenied") == []


def test_while_redis_is_frozen_trading_pauses_and_every_signal_acts_once(make: Make, tmp_path: Path) -> None:
    with running(tmp_path / "valkey") as server, other_hand(server) as hand:
        service = make("service", server.settings).start()
        publish(hand, *resting(3))
        working(service, 3)
        os.kill(server.pid, signal.SIGSTOP)
        service.until_state("HALTED")
        assert service.causes() == {"redis"}
        working(service, 0)  # what could open a position is taken back
        os.kill(server.pid, signal.SIGCONT)
        publish(hand, *(order(f"s{number}") for number in range(20)))
        service.until_state("ACTIVE")
        service.until(lambda: acknowledged(hand), "the acknowledgements")
        service.until(lambda: len(service.events("SignalAccepted")) == 23, "every signal")
        assert len({each["signal_id"] for each in service.events("SignalAccepted")}) == 23
        assert service.events("OrderDenied") == []  # signals waited, and were not refused
        working(service, 3)  # and what was taken back is sent again


def test_in_live_mode_a_server_that_lets_anyone_in_is_trusted_with_nothing_until_it_does_not(
    make: Make, tmp_path: Path
) -> None:
    password = "correct-horse-battery"
    with running(tmp_path / "valkey") as server, other_hand(server, username="execd", password=password) as hand:
        with other_hand(server) as anyone:
            anyone.acl_setuser(
                "execd", enabled=True, passwords=[f"+{password}"], keys=["*"], channels=["*"], commands=["+@all"]
            )
        settings = type(server.settings)(url=server.settings.url, username="execd")
        publish(hand, order("one", qty=1))
        service = make("service", settings, daemon={"world": "live"}).start(EXECD_REDIS_PASSWORD=password)
        assert service.status()["state"] == "HALTED"
        (text,) = [each["text"] for each in service.status()["causes"] if each["cause"] == "redis"]
        assert text.endswith(
            "it lets the default user in without a password: turn that user off, and give us one of our own"
        )
        with pytest.raises(RefusedError, match="nobody has halted trading"):
            service.ask("POST", "resume", {})
        assert service.events("SignalReceived") == []
        hand.acl_setuser("default", enabled=False)
        service.until_state("ACTIVE")
        service.until(lambda: service.events("ParentEnded"), "the end")


def test_a_server_that_restarts_empty_loses_no_signal_that_acted_and_halts_nobody_for_good(
    make: Make, tmp_path: Path
) -> None:
    with running(tmp_path / "valkey", "--appendonly", "no") as server:
        service = make("service", server.settings).start()
        with other_hand(server) as hand:
            publish(hand, order("one"))
            service.until(lambda: acknowledged(hand), "the acknowledgement")
        server.kill()
        service.until_state("HALTED")
        server.start()
        with other_hand(server) as hand:
            publish(hand, order("one"), order("two"))
            service.until_state("ACTIVE")
            service.until(lambda: hand.exists(STREAM) and acknowledged(hand), "the acknowledgements")
        assert [each["signal_id"] for each in service.events("SignalAccepted")] == ["one", "two"]


def test_another_type_under_the_stream_is_said_and_trading_goes_on(
    make: Make, valkey: PrivateValkey, hand: redis.Redis
) -> None:
    hand.set(STREAM, "not a stream")
    service = make("service", valkey.settings).start()
    service.until(lambda: "WRONGTYPE" in service.log(), "a line in the log")
    actors = {actor["name"]: actor["error"] for actor in service.status()["actors"]}
    assert "WRONGTYPE" in actors[f"stream:{STREAM}"]
    assert service.status()["state"] == "ACTIVE"
    hand.delete(STREAM)
    publish(hand, order("one"))
    service.until(lambda: service.events("ParentEnded"), "the end")


# Crashes --------------------------------------------------------------------------------------------------------------


def test_a_daemon_that_is_killed_again_and_again_acts_once_for_each_signal(service: Service, hand: redis.Redis) -> None:
    number = 60
    for life in range(4):
        publish(hand, *(order(f"s{life * 15 + i}", qty=10 + i) for i in range(15)))
        service.until(lambda life=life: len(service.events("SignalAccepted")) > life * 15, "some of them")  # type: ignore[misc]
        assert service.kill() == -signal.SIGKILL
        service.start()
    service.until(lambda: acknowledged(hand), "the acknowledgements")
    service.until(lambda: len(service.events("ParentEnded")) == number, "every end")
    accepted = [each["signal_id"] for each in service.events("SignalAccepted")]
    assert (len(accepted), len(set(accepted))) == (number, number)
    sent = Counter(fact["order"]["cl_ord_id"] for fact in service.venue("Entered"))
    assert all(times == 1 for times in sent.values())
    executed = sum(Decimal(fact["last_qty"]) for fact in service.venue("Executed"))
    assert executed == sum(10 + i for i in range(15)) * 4


def test_secrets_are_nowhere(make: Make, tmp_path: Path) -> None:
    secret = "correct-horse-battery"
    acl = tmp_path / "users.acl"
    acl.write_text(f"user default off\nuser execd on >{secret} ~* &* +@all\n")
    with running(tmp_path / "valkey", "--aclfile", str(acl)) as server:
        settings = type(server.settings)(url=server.settings.url, username="execd")
        service = make("service", settings, http={"port": 0}).start(EXECD_REDIS_PASSWORD="wrong-" + secret)
        service.until(lambda: "redis" in service.causes(), "a refusal")
        service.kill()
        service.start(EXECD_REDIS_PASSWORD=secret)
        service.until_state("ACTIVE")
        service.stop()
    for file in service.folder.rglob("*"):
        if file.is_file() and not file.is_socket():
            assert secret.encode() not in file.read_bytes(), file
