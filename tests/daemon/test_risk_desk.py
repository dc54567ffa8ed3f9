"""`execd risk show`, `check` and `regime` before a daemon that trades under a risk model, and what SQL says later."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
import redis

from adapters.valkey import PrivateValkey
from core.signals import AMOUNT_BOUNDS
from daemon.cli import ExitCode
from daemon.risk_desk import lines_of
from risk.checks import CHECKS
from risk.scenarios import build
from tests.daemon.service import Execd, Make, Service, order, publish
from tests.returns import history, write_returns

SYMBOLS = ("ALFA", "BRAV")


def version(seed: int = 1) -> str:
    """Of the model of these returns."""
    return build(history(symbols=SYMBOLS, seed=seed), window=250).version


def write(path: Path, seed: int = 1) -> Path:
    return write_returns(path, history(symbols=SYMBOLS, seed=seed))


@pytest.fixture
def service(make: Make, valkey: PrivateValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Under a risk model of two symbols, that it looks at often; the market is in a crisis, as its data is old."""
    risk = {"returns": str(write(tmp_path / "returns.csv")), "window": 250, "check_s": 0.05}
    made = make("service", valkey.settings, risk=risk, limits={"es_max": 0.001}).start()
    monkeypatch.setenv("EXECD_DIR", str(made.folder))
    return made


def shown(execd: Execd) -> dict[str, object]:
    code, out, errors = execd("risk", "show", "--json")
    assert (code, errors) == (ExitCode.OK, "")
    answer: dict[str, object] = json.loads(out)
    return answer


def asked(execd: Execd, **fields: object) -> tuple[int, str, str]:
    return execd("risk", "check", "--order", json.dumps({"symbol": "ALFA", "side": "BUY", "qty": 100} | fields))


def test_show_says_what_is_used_and_what_drives_the_tail(service: Service, hand: redis.Redis, execd: Execd) -> None:
    publish(hand, order("long", qty=1_000))
    service.until(lambda: service.events("ParentEnded"), "a position")
    code, out, errors = execd("risk", "show")
    assert (code, errors) == (ExitCode.OK, "")
    lines = out.splitlines()
    assert lines[0].startswith("risk score ")
    assert any(line.startswith("shortfall_plain ") for line in lines)
    assert "regime CRISIS by the data: plain expected shortfall may reach 60% of its limit" in lines
    assert f"model {version()}: 250 days up to 2024-09-16, 2 symbols" in lines
    assert sum(line.startswith("  ALFA ") for line in lines) == 2
    model = shown(execd)["model"]
    assert isinstance(model, dict)
    for view in model["views"]:
        (part,) = view["components"]
        assert part["symbol"] == "ALFA"
        assert part["part"] == pytest.approx(view["held"])
        assert view["low"] < view["held"] < view["high"]


@pytest.mark.parametrize("equity,base", [("190000", "100000.5"), ("100000.5", "100000.5")])
def test_show_names_the_equity_that_orders_are_judged_by_where_it_is_not_that_of_now(equity: str, base: str) -> None:
    risk = {"score": 5, "fullest": "gross", "limits": "v", "equity": equity, "base": base, "model": None}
    lines = lines_of(risk | {"uses": [], "overrides": [], "old_marks": [], "stopped": {}})
    assert f"equity {float(equity):,.2f} " in lines[0]
    assert any(line.startswith("orders are sized and judged by 100,000.50, ") for line in lines) == (equity != base)


def test_check_says_what_each_check_says_and_sends_nothing(service: Service, execd: Execd) -> None:
    code, out, errors = asked(execd)
    assert (code, errors) == (ExitCode.OK, "")
    lines = out.splitlines()
    assert lines[-1].startswith("would be accepted, under limits ")
    assert lines[-1].endswith("; its children are checked when they come")
    assert {line.split()[-1] for line in lines[:-1]} == {"passes"}
    code, out, errors = asked(execd, qty=50_000)
    assert code == ExitCode.REFUSED
    assert out.splitlines()[-1] == f"{'shortfall_is_allowed':<24} denies"
    assert errors.startswith("execd: would be denied: SHORTFALL, 0.00")
    assert " of 0.0006 of equity: plain expected shortfall could reach " in errors
    assert service.events("ParentAccepted") == service.events("OrderDenied") == []


@pytest.mark.parametrize(
    "order_text,said",
    [
        ("nonsense", "--order: no JSON object: JSON is malformed: invalid character (byte 4)"),
        ("[1]", "--order: no JSON object: Expected `object`, got `array`"),
        ('{"symbol": "ALFA", "side": "BUY"}', "no order: Object missing required field `qty`"),
        ('{"symbol": "ALFA", "side": "UP", "qty": 1}', "no order: Invalid enum value 'UP' - at `$.side`"),
        (
            '{"symbol": "ALFA", "side": "BUY", "qty": "nan"}',
            f"no order: qty = NaN: a number {AMOUNT_BOUNDS} belongs here",
        ),
        (
            '{"symbol": "ALFA", "side": "BUY", "qty": 1, "price": "1e999999999"}',
            f"no order: price = 1E+999999999: a number {AMOUNT_BOUNDS} belongs here",
        ),
    ],
)
def test_what_is_no_order_is_told_in_words(service: Service, execd: Execd, order_text: str, said: str) -> None:
    del service
    code, _, errors = execd("risk", "check", "--order", order_text)
    assert (code, errors) == (ExitCode.USAGE if said.startswith("--order") else ExitCode.REFUSED, f"execd: {said}\n")


def test_a_regime_is_set_by_hand_outlives_a_kill_and_is_left_to_the_data_again(service: Service, execd: Execd) -> None:
    said = (ExitCode.OK, "VOLATILE: plain expected shortfall may reach 80% of its limit\n", "")
    assert execd("risk", "regime", "VOLATILE") == said
    service.until(lambda: service.rows("select 1 from commands"), "the record")
    service.kill()
    service.start()
    assert "regime VOLATILE by hand: " in execd("risk", "show")[1]
    said = (ExitCode.OK, "CRISIS: plain expected shortfall may reach 60% of its limit\n", "")
    assert execd("risk", "regime", "auto") == said
    refused = (ExitCode.REFUSED, "", "execd: PANIC is none of NORMAL, VOLATILE, CRISIS\n")
    assert execd("risk", "regime", "PANIC") == refused
    expected = [("VOLATILE", 1), ("", 1), ("PANIC is none of NORMAL, VOLATILE, CRISIS", 0)]
    service.until(lambda: service.rows("select text, done from commands order by seq") == expected, "all on record")


def test_without_a_risk_model_there_is_no_regime_to_set(make: Make, execd: Execd) -> None:
    made = make("plain", signals={"socket": "signals.sock"}).start()
    code, _, errors = execd("risk", "regime", "CRISIS", "--dir", made.folder)
    refusal = "execd: this account is run without a risk model: set risk.returns\n"
    assert (code, errors) == (ExitCode.REFUSED, refusal)
    assert "no risk model: set risk.returns to a file" in execd("risk", "show", "--dir", made.folder)[1]


def test_a_denial_read_back_from_sql_explains_itself(service: Service, hand: redis.Redis, execd: Execd) -> None:
    publish(hand, order("large", qty=50_000))
    service.until(lambda: service.events("OrderDenied"), "a denial")
    limits = shown(execd)["limits"]
    ((reason, value, limit, headroom, unit, most, under, text, checks, duration_ns),) = service.rows(
        'select reason, value, "limit", headroom, unit, max_qty, limits_version, text, checks, duration_ns '
        "from risk_decisions"
    )
    assert (reason, Decimal(limit), unit, under) == ("SHORTFALL", Decimal("0.0006"), "of equity", limits)
    assert Decimal(headroom) == Decimal(limit) - Decimal(value) < 0
    assert checks == len(CHECKS)
    assert duration_ns > 0
    assert 0 < Decimal(most) < 50_000
    assert f"by model {version()}" in text
    assert asked(execd, qty=int(Decimal(most)) * 9 // 10)[0] == ExitCode.OK


def test_an_approval_read_back_from_sql_says_how_near_it_came(service: Service, hand: redis.Redis) -> None:
    publish(hand, order("small", qty=100))
    service.until(lambda: service.events("OrderApproved"), "an approval")
    found = service.rows(
        'select verdict, nearest, value, "limit", headroom, unit from risk_decisions order by seq limit 2'
    )
    assert [verdict for verdict, *_ in found] == ["accepted", "approved"]
    for _, nearest, value, limit, headroom, unit in found:
        assert (nearest, Decimal(limit), unit) == ("SHORTFALL", Decimal("0.0006"), "of equity")
        assert 0 < Decimal(value) < Decimal(limit)
        assert Decimal(headroom) == Decimal(limit) - Decimal(value)


def test_returns_that_change_make_another_model_and_bad_ones_leave_the_old_one(
    service: Service, execd: Execd, tmp_path: Path
) -> None:
    file = tmp_path / "returns.csv"

    def model() -> dict[str, object]:
        found = shown(execd)["model"]
        assert isinstance(found, dict)
        return found

    second = version(2)
    write(file, seed=2)
    service.until(lambda: model()["version"] == second, "the second model")
    file.write_text("date,ALFA\n2024-01-01,x\n")
    service.until(lambda: model()["error"], "an error")
    assert model()["version"] == second
    assert f"the newest returns are not used: {file}: " in execd("risk", "show")[1]


def test_a_daemon_that_starts_without_usable_returns_opens_nothing_and_says_why(
    make: Make, valkey: PrivateValkey, hand: redis.Redis, tmp_path: Path
) -> None:
    made = make("bare", valkey.settings, risk={"returns": str(tmp_path / "none.csv")}).start()
    publish(hand, order("one"))
    made.until(lambda: made.events("OrderDenied"), "a denial")
    ((reason, text),) = made.rows("select reason, text from risk_decisions")
    assert (reason, text) == ("NO_SCENARIOS", "there is no risk model: see `execd risk show`")
    assert "there is no model: orders that open are denied" in made.execd("risk", "show").stdout
