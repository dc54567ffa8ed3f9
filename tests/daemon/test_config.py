"""The configuration: every key known and reachable, every mistake named with its place, the environment on top."""

import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
import pytest

from core.impact import DEFAULT_MODEL, MODELS
from core.instruments import Instrument
from daemon.config import Config, ConfigError, CostsConfig, build, hash_of, load
from risk.limits import SymbolLimits, version_of

D = Decimal
WHERE = "execd.toml"
SHARE = "[instruments.AAPL]\n"


def read(text: str, environment: dict[str, str] | None = None) -> Config:
    return build(tomllib.loads(text), environment or {}, where=WHERE, text=text)


BARE_URL = "url: leave out what stands behind ? or #: write redis://HOST:PORT/DB or unix:///PATH"
MISTAKES = {
    "an unknown key": (
        "[limits]\nposition_max = 0.05\nposition_min = 1\n",
        "execd.toml:3: limits.position_min: there is no such setting: remove it or correct its spelling",
    ),
    "an unknown table": (
        "[account]\ncash = 5\n\n[limit]\nposition_max = 0.05\n",
        "execd.toml:4: limit: there is no such setting: remove it or correct its spelling",
    ),
    "an unknown key of an instrument": (
        SHARE + "lot = 1\n[instruments.MSFT]\nlot = 1\nlots = 1\n",
        "execd.toml:5: instruments.MSFT.lots: there is no such setting: remove it or correct its spelling",
    ),
    "a word for a number": (
        "[limits]\norders_per_s = 'many'\n",
        "execd.toml:2: limits.orders_per_s: Expected `int`, got `str`",
    ),
    "a fraction for a count": (
        "[limits]\norders_per_s = 1.5\n",
        "execd.toml:2: limits.orders_per_s: Expected `int`, got `float`",
    ),
    "a number for a table": ("instruments = 5\n", "execd.toml:1: instruments: Expected `object`, got `int`"),
    "a number for an instrument": (
        "[instruments]\nAAPL = 5\n",
        "execd.toml:2: instruments.AAPL: Expected `object`, got `int`",
    ),
    "a number in a list of files": (
        "[market]\ntapes = ['a', 5]\n",
        "execd.toml:2: market.tapes[1]: Expected `str`, got `int`",
    ),
    "thresholds of the router that cross": (
        "[router]\nmarket_below = 5_000\ntwap_up_to = 1_000\n",
        "execd.toml:1: router: market_below must lie between 0 and twap_up_to",
    ),
    "a model that nobody knows": (
        "[costs]\nmodel = 'guess'\n",
        "execd.toml:2: costs.model: Invalid enum value 'guess'",
    ),
    "a value that is not one of its kind": (
        "[daemon]\nworld = 'test'\n",
        "execd.toml:2: daemon.world: Invalid enum value 'test'",
    ),
    "a percent": (
        "# of equity\n[limits]\nposition_max = 8\n",
        "execd.toml:3: limits.position_max: position_max = 8: a fraction between 0 and 1 belongs here (percent?)",
    ),
    "a tag that cannot begin a client id": (
        "[daemon]\ntag = '9to5'\n",
        "execd.toml:1: daemon: daemon tag '9to5': use 1 to 4 letters and digits, a letter first",
    ),
    "a Redis URL that sets deadlines of its own": (
        "[redis]\nurl = 'redis://localhost:6379/0?socket_timeout=20'\n",
        f"execd.toml:1: redis: {BARE_URL}",
    ),
    "a Redis URL with what redis-py does not know": (
        "[redis]\nurl = 'unix:///run/valkey.sock#db'\n",
        f"execd.toml:1: redis: {BARE_URL}",
    ),
    "two currencies": (
        SHARE + "currency = 'EUR'\n",
        "execd.toml:2: instruments.AAPL.currency: EUR, but the account is in USD: one currency per account",
    ),
    "an unknown venue": (
        SHARE + "tick = 1\nvenue = 'MARS'\n",
        "execd.toml:3: instruments.AAPL.venue: MARS is not one of paper",
    ),
    "a venue among several that is not there": (
        SHARE + "tick = 1\nvenues = ['paper', 'MARS']\n",
        "execd.toml:3: instruments.AAPL.venues: MARS is not one of paper",
    ),
    "several venues without its own": (
        SHARE + "venues = ['fast']\n[venues.fast]\n",
        "execd.toml:1: instruments.AAPL: instrument AAPL: venues must name each once, and paper, its venue",
    ),
    "a market that is displayed twice": (
        SHARE + "venues = ['paper', 'fast']\n[venues.fast]\ndepth_share = 0.25\n",
        (
            "execd.toml:2: instruments.AAPL.venues: the depth_share of paper and fast adds up to 1.25: "
            "no more than 1 is displayed"
        ),
    ),
    "a second table for the default venue": (
        "[venues.paper]\nfee_bps = 1\n",
        (
            "execd.toml:1: venues.paper: 'paper' names no further venue: lower-case letters and digits belong here, "
            "and [paper] has its own"
        ),
    ),
    "a venue whose name is no file's": (
        "[venues.'A/B']\nfee_bps = 1\n",
        (
            "execd.toml:1: venues.A/B: 'A/B' names no further venue: lower-case letters and digits belong here, "
            "and [paper] has its own"
        ),
    ),
    "venues with more cash than there is": (
        "[account]\ncash = 100\n[venues.one]\ncash = 60\n[venues.two]\ncash = 40\n",
        "execd.toml: venues: their cash leaves nothing of account.cash (100) at paper",
    ),
    "a venue of a kind that nobody knows": (
        "[venues.fast]\nkind = 'moon'\n",
        "execd.toml:2: venues.fast.kind: Invalid enum value 'moon'",
    ),
    "an unknown calendar": (
        SHARE + "tick = 1\ncalendar = 'MARS'\n",
        "execd.toml:3: instruments.AAPL.calendar: MARS is not one of XNYS, XNAS, 24x7",
    ),
    "two names for one instrument": (
        SHARE + "symbol = 'MSFT'\n",
        "execd.toml:2: instruments.AAPL.symbol: 'MSFT' is not 'AAPL': use one name for it",
    ),
    "limits of an instrument that is not there": (
        "[limits.symbols.AAPL]\norder_qty_max = 1\n",
        "execd.toml:1: limits.symbols.AAPL: AAPL: there is no such instrument",
    ),
    "a restricted symbol that is not there": (
        "[limits]\nrestricted = ['AAPL']\n",
        "execd.toml:2: limits.restricted: AAPL: there is no such instrument",
    ),
    "a strategy's symbol that is not there": (
        "[limits.strategies.alpha]\nsymbols = ['AAPL']\n",
        "execd.toml:2: limits.strategies.alpha.symbols: AAPL: there is no such instrument",
    ),
    "a strategy's venue that is not there": (
        "[limits.strategies.alpha]\nvenues = ['MARS']\n",
        "execd.toml:2: limits.strategies.alpha.venues: MARS is not one of paper",
    ),
    "limits of a venue that is not there": (
        "[limits.venues.paper]\norders_per_s = 5\n[limits.venues.MARS]\norders_per_s = 5\n",
        "execd.toml:3: limits.venues.MARS: MARS is not one of paper",
    ),
    "a window without an end": (
        "[limits]\nduplicate_window_s = inf\n",
        "execd.toml:2: limits.duplicate_window_s: duplicate_window_s = inf: 0 to 86,400 s belong here",
    ),
    "a percent of the shadow limits": (
        "[shadow]\nposition_max = 8\n[limits]\nposition_max = 0.05\n",
        "execd.toml:2: shadow.position_max: position_max = 8: a fraction between 0 and 1 belongs here (percent?)",
    ),
    "a percent that they only take over": (
        "[shadow]\norders_per_s = 3\n[limits]\nposition_max = 8\n",
        "execd.toml:4: limits.position_max: position_max = 8: a fraction between 0 and 1 belongs here (percent?)",
    ),
    "an unknown key of the shadow limits": (
        "[shadow]\nposition_min = 1\n",
        "execd.toml:2: shadow.position_min: there is no such setting: remove it or correct its spelling",
    ),
    "no table of them": ("shadow = 5\n", "execd.toml:1: shadow: Expected `object | null`, got `int`"),
    "a shadow limit that no check compares with": (
        "[shadow]\norders_per_s = 3\ndaily_loss_max = 0.01\n",
        "execd.toml:3: shadow.daily_loss_max: no check of the gate compares with it, so no shadow does: remove it",
    ),
    "where signals may come from, for the record alone": (
        "[shadow.strategies.alpha]\nvenues = ['paper']\nsources = ['file:*']\n",
        (
            "execd.toml:3: shadow.strategies.alpha.sources: "
            "no check of the gate compares with it, so no shadow does: remove it"
        ),
    ),
    "a symbol that only they restrict, and that is not there": (
        "[shadow]\nrestricted = ['AAPL']\n",
        "execd.toml:2: shadow.restricted: AAPL: there is no such instrument",
    ),
    "live, and not durable": (
        "[daemon]\nworld = 'live'\n[store]\nsync = 'normal'\n",
        'execd.toml:4: store.sync: "normal" loses orders at a power cut: live mode needs "full"',
    ),
    "no cash": ("[account]\ncash = 0\n", "execd.toml:2: account.cash: 0: start with a positive amount"),
    "cash that is no number": (
        "[account]\ncash = nan\n",
        "execd.toml:2: account.cash: NaN: start with a positive amount",
    ),
    "a price that is no number": (
        "[market.settings.start_prices]\nAAPL = nan\n",
        "execd.toml: configuration: one of the settings is nan: write a number",
    ),
    "a snapshot after every nothing": (
        "[store]\nsnapshot_every = 0\n",
        "execd.toml:2: store.snapshot_every: snapshot_every = 0: a positive number of events belongs here",
    ),
    "a step of no time": (
        "[market]\nstep_s = 0\n",
        "execd.toml:2: market.step_s: step_s = 0.0: a positive number of seconds belongs here",
    ),
    "a step that is no number": (
        "[market]\nseed = 1\nstep_s = nan\n",
        "execd.toml:3: market.step_s: step_s = nan: a positive number of seconds belongs here",
    ),
    "a step without an end": (
        "[market]\nstep_s = inf\n",
        "execd.toml:2: market.step_s: step_s = inf: a positive number of seconds belongs here",
    ),
    "a seed below zero": ("[market]\nseed = -1\n", "execd.toml:2: market.seed: seed = -1: zero or more belongs here"),
    "a day that is none": (
        "[market]\ndate = '2026-02-30'\n",
        "execd.toml:2: market.date: date = '2026-02-30': a trading day as YYYY-MM-DD belongs here",
    ),
    "a day in another spelling": (
        "[market]\ndate = '20260615'\n",
        "execd.toml:2: market.date: date = '20260615': a trading day as YYYY-MM-DD belongs here",
    ),
    "a clock that stands": (
        "[clock]\nscale = 0\n",
        "execd.toml:2: clock.scale: scale = 0: a number between 1 and 100,000 belongs here",
    ),
    "a clock that nobody can follow": (
        "[clock]\nscale = 100_001\n",
        "execd.toml:2: clock.scale: scale = 100001: a number between 1 and 100,000 belongs here",
    ),
    "no folder": (
        "[daemon]\ndata_dir = ''\n",
        "execd.toml:2: daemon.data_dir: data_dir = '': the name of a folder belongs here",
    ),
    "a limit that limits nothing": (
        "[limits]\norders_per_s = 100_001\n",
        "execd.toml:2: limits.orders_per_s: orders_per_s = 100001: a positive number, 100,000 at most, belongs here",
    ),
    "a time-out that is always over": (
        "[oms]\nack_timeout_s = 0\n",
        "execd.toml:2: oms.ack_timeout_s: ack_timeout_s = 0.0: seconds between 0 and 86,400 belong here",
    ),
    "a comparison in the past": (
        "[account]\nreconcile_s = -1\n",
        "execd.toml:2: account.reconcile_s: reconcile_s = -1.0: seconds from 0, which is never, to 3,600 belong here",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_and_named_with_its_line(mistake: str) -> None:
    text, message = MISTAKES[mistake]
    with pytest.raises(ConfigError) as raised:
        read(text)
    assert str(raised.value) == message


ENVIRONMENT_MISTAKES = [
    (
        {"EXECD_LIMITS__POSITION_MAX": "8"},
        (
            "environment variable EXECD_LIMITS__POSITION_MAX: "
            "position_max = 8: a fraction between 0 and 1 belongs here (percent?)"
        ),
    ),
    (
        {"EXECD_LIMITS__POSITION_MIN": "1"},
        "environment variable EXECD_LIMITS__POSITION_MIN: there is no such setting: remove it or correct its spelling",
    ),
    ({"EXECD_ACCOUNT__CASH": "much"}, "environment variable EXECD_ACCOUNT__CASH: Invalid decimal string"),
    (
        {"EXECD_ACCOUNT__CASH__NOW": "5"},
        "environment variable EXECD_ACCOUNT__CASH__NOW: cash is a value, not a table",
    ),
    (
        {"EXECD_LIMITS_POSITION_MAX": "0.05"},
        (
            "environment variable EXECD_LIMITS_POSITION_MAX: "
            "two underscores between table and key: EXECD_LIMITS__POSITION_MAX"
        ),
    ),
    (
        {"EXECD_LIMITS_SYMBOLS_DEFAULT_ORDER_QTY_MAX": "5"},
        (
            "environment variable EXECD_LIMITS_SYMBOLS_DEFAULT_ORDER_QTY_MAX: "
            "two underscores between table and key: EXECD_LIMITS__SYMBOLS_DEFAULT__ORDER_QTY_MAX"
        ),
    ),
    (
        {"EXECD_DRI": "runs/first"},
        (
            "environment variable EXECD_DRI: there is no such setting: "
            "remove it, or write EXECD_TABLE__KEY for the key of a table"
        ),
    ),
]


@pytest.mark.parametrize("environment,message", ENVIRONMENT_MISTAKES)
def test_a_mistake_in_the_environment_names_the_variable_and_not_the_file(
    environment: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        read("[account]\ncash = 5\n[limits]\n", environment)
    assert str(raised.value) == message


def test_the_environment_changes_what_the_file_says() -> None:
    text = SHARE + "tick = 0.05\n[account]\ncash = 5\n"
    changed = read(
        text,
        {"EXECD_ACCOUNT__CASH": "7.5", "EXECD_INSTRUMENTS__AAPL__TICK": "0.10", "EXECD_LIMITS__ORDERS_PER_S": "3"},
    )
    plain = read(text)
    assert changed == msgspec.structs.replace(
        plain,
        account=msgspec.structs.replace(plain.account, cash=D("7.5")),
        instruments={"AAPL": msgspec.structs.replace(plain.instruments["AAPL"], tick=D("0.10"))},
        limits=msgspec.structs.replace(plain.limits, orders_per_s=3),
    )


def test_shadow_limits_are_the_limits_with_what_is_named_changed_in_them() -> None:
    base = (
        "[limits]\nposition_max = 0.05\n[limits.symbols_default]\norder_qty_max = 5\norder_notional_max = 7\n"
        "[limits.symbols.AAPL]\norder_qty_max = 3\n" + SHARE
    )
    assert read(base).shadow is None
    assert read(base).shadow_version == ""
    assert read(base + "[shadow]\n").shadow == read(base).limits
    text = base + "[shadow.symbols_default]\norder_qty_max = 4\n[shadow.symbols.AAPL]\norder_qty_max = 2\n"
    changed = read(text, {"EXECD_SHADOW__ORDERS_PER_S": "3", "EXECD_LIMITS__GROSS_MAX": "0.5"})
    assert changed.limits == msgspec.structs.replace(read(base).limits, gross_max=D("0.5"))
    assert changed.shadow == msgspec.structs.replace(
        changed.limits,
        orders_per_s=3,
        symbols_default=SymbolLimits(order_qty_max=D(4), order_notional_max=D(7)),
        symbols={"AAPL": SymbolLimits(order_qty_max=D(2))},
    )
    assert changed.shadow_version == version_of(changed.shadow) != changed.limits_version


@pytest.mark.parametrize("name", ["HOME", "EXECD_DIR", "execd_account__cash", "XEXECD_ACCOUNT__CASH"])
def test_other_variables_are_not_ours(name: str) -> None:
    assert read("", {name: "0"}) == Config()


def test_reading_leaves_what_was_read_as_it_is() -> None:
    raw = tomllib.loads(SHARE + "tick = 0.05\n")
    build(raw, {"EXECD_INSTRUMENTS__AAPL__TICK": "1"}, where=WHERE)
    assert raw == {"instruments": {"AAPL": {"tick": 0.05}}}


def test_a_decimal_is_what_is_written_and_not_what_a_float_makes_of_it() -> None:
    assert read("[limits]\nposition_max = 0.1\n").limits.position_max == D("0.1")


# Files ----------------------------------------------------------------------------------------------------------------


def test_a_file_is_read_and_its_name_stands_in_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "execd.toml"
    path.write_text("[account]\ncash = 5\n")
    assert load(path, {}).account.cash == 5
    path.write_text("[account]\ncash = -5\n")
    with pytest.raises(ConfigError) as raised:
        load(path, {})
    assert str(raised.value) == f"{path}:2: account.cash: -5: start with a positive amount"


@pytest.mark.parametrize("content,fault", [(b"[account\n", "not TOML: "), (b"a = '\xff'\n", "not TOML: ")])
def test_what_is_no_toml_is_refused(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "execd.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        load(path, {})
    assert str(raised.value).startswith(f"{path}: {fault}")


@pytest.mark.parametrize("text", ["a = " + "[" * 5_000, "a = " + "{a = " * 5_000, ".".join("a" * 5_000) + " = 1"])
def test_what_is_nested_too_deeply_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "execd.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load(path, {})
    assert str(raised.value) == f"{path}: not TOML: its tables or arrays are nested too deeply"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError) as raised:
        load(path, {})
    assert str(raised.value) == f"{path}: No such file or directory: give the path of a configuration file"


# Every setting --------------------------------------------------------------------------------------------------------


def leaves(kind: type[msgspec.Struct], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Path, type and default of every setting."""
    for field in msgspec.structs.fields(kind):
        path = (*prefix, field.name)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from leaves(field.type, path)
        else:
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory
            yield path, field.type, default


def another(kind: Any, default: Any) -> Any:  # noqa: ANN401 - any setting
    """A value of this type that is not the default and that no check minds."""
    if get_origin(kind) is Literal:
        return next(value for value in get_args(kind) if value != default)
    if get_origin(kind) in {UnionType, Union}:
        return another(next(each for each in get_args(kind) if each is not NoneType), default)
    if kind is bool:
        return not default
    if kind is int:
        return (default or 1) + 1
    if kind in {float, Decimal}:
        return float(default or 1) * 0.9
    return {str: "Z", tuple[str, ...]: ["Z"], tuple[float, float]: [1.5, 2.5], dict[str, Decimal]: {"Z": 1.5}}[kind]


SETTINGS = {".".join(path): (path, kind, default) for path, kind, default in leaves(Config)}
SPECIAL: dict[str, Any] = {  # that take not just any text
    "market.date": "2026-06-15",
    "store.url": "postgresql://execd@localhost/execd",
    "redis.url": "redis://localhost:6379/1",
    "risk.allowed": ["ALFA@2026-06-15"],
    "risk.window": 251,
}
UNLIKE_OTHERS = {  # the first ones name instruments or venues, the last is made of others
    *("instruments", "venues", "limits.symbols", "limits.strategies", "limits.venues", "limits.restricted"),
    "shadow",
}
PLAIN = {name: setting for name, setting in SETTINGS.items() if name not in UNLIKE_OTHERS}


@pytest.mark.parametrize("name", PLAIN)
def test_every_setting_can_be_set_and_changes_itself_alone(name: str) -> None:
    path, kind, default = PLAIN[name]
    value = SPECIAL.get(name) or another(kind, default)
    raw = value
    for key in reversed(path):
        raw = {key: raw}
    changed, plain = msgspec.to_builtins(build(raw, {}, where=WHERE)), msgspec.to_builtins(Config())
    assert changed != plain
    table = changed
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = msgspec.to_builtins(default() if callable(default) else default)
    assert changed == plain


@pytest.mark.parametrize(
    "name", [name for name, (_, kind, _) in PLAIN.items() if get_origin(kind) not in {tuple, dict}]
)
def test_every_plain_setting_can_be_set_by_the_environment(name: str) -> None:
    path, kind, default = PLAIN[name]
    value = SPECIAL.get(name) or another(kind, default)
    variable = "EXECD_" + "__".join(path).upper()
    raw = value
    for key in reversed(path):
        raw = {key: raw}
    assert build({}, {variable: str(value)}, where=WHERE) == build(raw, {}, where=WHERE)


@pytest.mark.parametrize(
    "field", [field.name for field in msgspec.structs.fields(Instrument) if field.name not in {"symbol", "venue"}]
)
def test_every_fact_of_an_instrument_can_be_set(field: str) -> None:
    values: dict[str, Any] = {"calendar": "24x7", "currency": "EUR", "venue_symbols": {"moon": "M"}, "volatility": 0.5}
    values |= {"short_sale_rule": "above_bid", "venues": ["paper"]}
    default = getattr(Instrument(symbol="AAPL"), field)
    value = values.get(field) or another(type(default) if default is not None else Decimal, default)
    facts = {"shortable": True, field: value}  # a locate needs it
    raw = {"instruments": {"AAPL": facts}, "account": {"currency": "EUR" if field == "currency" else "USD"}}
    assert getattr(build(raw, {}, where=WHERE).instruments["AAPL"], field) != default


# The hash -------------------------------------------------------------------------------------------------------------


def test_the_hash_is_that_of_the_settings_and_not_of_how_they_were_written() -> None:
    one = read("[limits]\nposition_max = 0.05\n[account]\ncash = 5\n" + SHARE + "[instruments.MSFT]\n")
    other = read("account = { cash = 5 }\n[instruments.MSFT]\n" + SHARE, {"EXECD_LIMITS__POSITION_MAX": "0.05"})
    assert hash_of(one) == hash_of(other)
    assert one.limits_version == other.limits_version


def test_the_hash_of_the_defaults_is_the_same_in_every_process() -> None:
    assert hash_of(Config()) == hash_of(read(""))
    assert len(hash_of(Config())) == 12


@pytest.mark.parametrize(
    "name", [name for name in PLAIN if name.split(".")[0] in {"limits", "oms", "paper", "account"}]
)
def test_the_hash_names_every_setting_that_decides(name: str) -> None:
    path, kind, default = PLAIN[name]
    raw: Any = another(kind, default)
    for key in reversed(path):
        raw = {key: raw}
    assert hash_of(build(raw, {}, where=WHERE)) != hash_of(Config())


def test_where_files_lie_is_not_part_of_the_hash(tmp_path: Path) -> None:
    text = f"[daemon]\ndata_dir = '{tmp_path}'\nplacement = 'tasks'\n[signals]\nfiles = ['a']\n"
    assert hash_of(read(text)) == hash_of(Config())


@pytest.mark.parametrize(
    "text,sync",
    [
        ("", "normal"),
        ("[daemon]\nworld = 'simulation'\n", "normal"),
        ("[daemon]\nworld = 'live'\n", "full"),
        ("[store]\nsync = 'full'\n", "full"),
    ],
)
def test_durability_follows_from_the_world_unless_it_is_set(text: str, sync: str) -> None:
    assert read(text).sync == sync


def test_the_store_lies_in_the_data_directory() -> None:
    assert read("[daemon]\ndata_dir = 'd'\n").store_url == "sqlite:///d/execd.db"


def test_every_model_of_pre_trade_cost_can_be_configured_and_the_default_is_the_models_own() -> None:
    assert set(get_args(CostsConfig.__annotations__["model"])) == set(MODELS)
    assert Config().costs.model == DEFAULT_MODEL


@pytest.mark.parametrize("value", ["0", "-1", "10001", "nan", "inf"])
def test_a_deviation_that_would_always_or_never_be_told_of_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"vwap_alert_bps = .*: basis points between 0 and 10,000 belong here"):
        read(f"[costs]\nvwap_alert_bps = {value}\n")
