"""The configuration: one TOML file, environment variables over it, every key known, every error with its line.

`EXECD_LIMITS__POSITION_MAX=0.05` sets `position_max` in `[limits]`. An unknown key, a value of the wrong type or a
percent where a fraction belongs refuses to start: a setting that is silently ignored is a setting that is wrong.
A variable that begins with `EXECD_` and is no setting is refused too.
"""

import datetime as dt
import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from adapters.answers import AnswersSettings
from adapters.brokers.paper import PaperSettings
from adapters.market.synthetic import SyntheticSettings
from adapters.redis_link import RedisSettings
from adapters.signals.mqtt import MqttSettings
from adapters.store.engine import check_url
from algos.router import RouterSettings
from algos.venues import VenueSettings
from core.calendar import CALENDARS
from core.ids import check_tag
from core.instruments import Instrument
from core.units import BPS, ZERO
from daemon import credentials
from daemon.clock import SCALE_MAX
from daemon.control import ControlSettings
from daemon.halts import HaltSettings
from daemon.oms import OmsSettings
from risk.limits import NOT_AT_THE_GATE, Limits, version_of
from risk.scenarios import LAMBDA, WINDOW, WINDOW_MIN, jump
from risk.tail import CORRELATION
from risk.triggers import StopSettings
from tca.analyst import VWAP_ALERT_BPS

ENVIRONMENT_PREFIX = "EXECD_"
OPTIONS = credentials.VARIABLES | {"EXECD_DIR"}  # variables that are no settings: secrets, and options of commands
DEFAULT_VENUE = "paper"  # its table is [paper]; all others are in [venues]
VENUE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,15}")
ASK_S_MAX = 3_600  # of account.ask_s and account.reconcile_s
Setting = TypeVar("Setting")


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the file, the line where it can, and what to do."""


class DaemonConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[daemon] - who this daemon is."""

    account: str = "paper"
    tag: str = "X1"  # begins every client id: 1 to 4 letters and digits, a letter first
    world: Literal["paper", "live", "simulation"] = "paper"
    data_dir: str = "runs/execd"  # database, tape, the paper venue's own book
    placement: Literal["inline", "tasks"] = "inline"  # of the decision actors

    def __post_init__(self) -> None:
        check_tag(self.tag)
        if not self.data_dir.strip():
            raise ValueError("data_dir = '': the name of a folder belongs here")


class AccountConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[account] - what the account starts with, used once, when the database is new; and how it is looked after."""

    cash: Decimal = Decimal(1_000_000)
    currency: str = "USD"
    ask_s: float = 30.0  # between two questions to the venues how the account stands, seconds of market time
    reconcile_s: float = 60.0  # between two comparisons of our books with each venue's, likewise; 0: none while trading

    def __post_init__(self) -> None:
        if not 0 < self.ask_s <= ASK_S_MAX:
            raise ValueError(f"ask_s = {self.ask_s}: seconds between 0 and {ASK_S_MAX:,} belong here")
        if not 0 <= self.reconcile_s <= ASK_S_MAX:
            raise ValueError(
                f"reconcile_s = {self.reconcile_s}: seconds from 0, which is never, to {ASK_S_MAX:,} belong here"
            )


class ClockConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[clock] - the time of the run."""

    kind: Literal["system", "scaled"] = "system"
    scale: int = 1  # scaled: seconds of market time per second
    start: int | None = None  # scaled: where time begins, ns UTC; default: the first update of the market

    def __post_init__(self) -> None:
        if not 1 <= self.scale <= SCALE_MAX:
            raise ValueError(f"scale = {self.scale}: a number between 1 and {SCALE_MAX:,} belongs here")


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[store] - where the books are kept, and what survives what."""

    url: str = ""  # postgresql://ROLE@HOST/DATABASE; empty: execd.db in the data directory. No password in it
    sync: Literal["full", "normal"] | None = None  # full survives power loss, normal a killed process
    snapshot_every: int = 100_000  # events, those of the market among them, between two snapshots

    def __post_init__(self) -> None:
        if self.url:
            check_url(self.url)
        if self.snapshot_every < 1:
            raise ValueError(f"snapshot_every = {self.snapshot_every}: a positive number of events belongs here")


class MarketConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[market] - where market data comes from."""

    kind: Literal["synthetic", "replay"] = "synthetic"
    date: str = (
        ""  # synthetic: the trading day, YYYY-MM-DD; empty, on the system's clock: the session of now, or the next
    )
    seed: int = 1
    step_s: float = 5.0
    settings: SyntheticSettings = SyntheticSettings()
    tapes: tuple[str, ...] = ()  # replay: SYMBOL[@DATE]=FILE[,TRADES]

    def __post_init__(self) -> None:
        if self.date and not _is_date(self.date):
            raise ValueError(f"date = {self.date!r}: a trading day as YYYY-MM-DD belongs here")
        if self.seed < 0:
            raise ValueError(f"seed = {self.seed}: zero or more belongs here")
        if not (isfinite(self.step_s) and self.step_s > 0):
            raise ValueError(f"step_s = {self.step_s}: a positive number of seconds belongs here")


def _is_date(text: str) -> bool:
    try:
        return dt.date.fromisoformat(text).isoformat() == text  # one spelling of the several that are ISO
    except ValueError:
        return False


class SignalsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[signals] - where signals come from. Stream and channel are read where [redis] names a server."""

    files: tuple[str, ...] = ()  # JSON lines; "-" is standard input
    stream: str = "execd:signals"  # loses nothing; empty: not read
    group: str = "execd"  # of consumers of the stream: one for each daemon
    channel: str = ""  # of publish and subscribe, lossy by nature, for instance execd:signals:pubsub
    socket: str = ""  # a Unix socket for HTTP POST, for instance signals.sock in the data directory
    socket_group: str = ""  # may open it, besides the daemon's own user
    mqtt: MqttSettings = MqttSettings()

    def __post_init__(self) -> None:
        if self.stream and not self.group:
            raise ValueError("group = '': the stream is read by a group of consumers: name it")


class RiskConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[risk] - what expected shortfall is computed from. With returns, an order that it cannot judge is denied."""

    returns: str = ""  # daily simple returns, CSV or Parquet, a column a symbol; empty: no ES is checked
    window: int = WINDOW  # days: the scenarios
    decay: float = LAMBDA  # of the volatility that filters them
    correlation: float = CORRELATION  # above it symbols move together, and limits.cluster_max holds for them
    allowed: tuple[str, ...] = ()  # SYMBOL@DATE of jumps that are no splits
    check_s: float = 60.0  # how often the file is looked at

    def __post_init__(self) -> None:
        if self.window < WINDOW_MIN:
            raise ValueError(f"window = {self.window}: {WINDOW_MIN} days or more belong here")
        if not 0 < self.decay < 1:
            raise ValueError(f"decay = {self.decay}: a number between 0 and 1 belongs here")
        if not 0 < self.correlation < 1:
            raise ValueError(f"correlation = {self.correlation}: a number between 0 and 1 belongs here")
        if not (isfinite(self.check_s) and self.check_s > 0):
            raise ValueError(f"check_s = {self.check_s}: a positive number of seconds belongs here")
        for text in self.allowed:
            jump(text)


class AlgosConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[algos] - what algorithms know beforehand."""

    profiles: str = ""  # of volume, a file of `execd profile build`; empty: VWAP follows the usual U of a session


class VenueConfig(PaperSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[venues.NAME] - one more venue, with an account of its own; what is not said is as in a [paper] without keys.

    A name is of 16 lower-case letters, digits, _ and - at most, a letter first. Paper venues of one `seed` have their
    faults at the same time: give each its own.
    """

    kind: Literal["paper"] = "paper"
    cash: Decimal = ZERO  # of account.cash what lies there when its book is new; the rest is at the venue paper

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.cash.is_finite() and self.cash >= 0):
            raise ValueError(f"cash = {self.cash}: zero or more belongs here, as a part of account.cash")


class CostsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[costs] - what is expected of a parent before it trades, for record and router; what is alerted while it does."""

    model: Literal["sqrt", "almgren", "linear"] = "sqrt"  # almgren needs shares_outstanding of each instrument
    vwap_alert_bps: Decimal = (
        VWAP_ALERT_BPS  # A5, a live VWAP so far from the market's, for better or worse, is alerted
    )

    def __post_init__(self) -> None:
        if not (self.vwap_alert_bps.is_finite() and 0 < self.vwap_alert_bps <= BPS):
            raise ValueError(f"vwap_alert_bps = {self.vwap_alert_bps}: basis points between 0 and {BPS:,} belong here")


class HttpConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[http] - pages for machines on the loopback interface, read only: /metrics, /healthz, /readyz, /status."""

    port: int = 0  # 0: none

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65_536:  # noqa: PLR2004 - ports
            raise ValueError(f"port = {self.port}: a port belongs here, or 0")


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a run depends on besides its inputs."""

    daemon: DaemonConfig = DaemonConfig()
    account: AccountConfig = AccountConfig()
    clock: ClockConfig = ClockConfig()
    store: StoreConfig = StoreConfig()
    limits: Limits = Limits()
    shadow: Limits | None = None  # [limits] with what [shadow] changes in it; None: there is no [shadow]
    risk: RiskConfig = RiskConfig()
    algos: AlgosConfig = AlgosConfig()
    router: RouterSettings = RouterSettings()
    venue_router: VenueSettings = VenueSettings()
    costs: CostsConfig = CostsConfig()
    stops: StopSettings = StopSettings()
    oms: OmsSettings = OmsSettings()
    paper: PaperSettings = PaperSettings()
    venues: dict[str, VenueConfig] = {}
    market: MarketConfig = MarketConfig()
    signals: SignalsConfig = SignalsConfig()
    redis: RedisSettings = RedisSettings()
    answers: AnswersSettings = AnswersSettings()
    halt: HaltSettings = HaltSettings()
    control: ControlSettings = ControlSettings()
    http: HttpConfig = HttpConfig()
    instruments: dict[str, Instrument] = {}

    @property
    def all_venues(self) -> dict[str, PaperSettings]:
        """Every venue by its name, the default one first."""
        return {DEFAULT_VENUE: self.paper, **self.venues}

    @property
    def sync(self) -> Literal["full", "normal"]:
        """The durability in force."""
        return self.store.sync or ("full" if self.daemon.world == "live" else "normal")

    @property
    def data_dir(self) -> Path:
        """Where the run keeps its files."""
        return Path(self.daemon.data_dir)

    @property
    def halt_file(self) -> Path:
        """The file whose existence halts."""
        return Path(self.halt.file) if self.halt.file else self.data_dir / "HALT"

    @property
    def control_socket(self) -> Path:
        """The socket for status and commands."""
        return Path(self.control.socket) if self.control.socket else self.data_dir / "control.sock"

    @property
    def store_url(self) -> str:
        """The database's SQLAlchemy URL."""
        return self.store.url or f"sqlite:///{self.data_dir / 'execd.db'}"

    @property
    def limits_version(self) -> str:
        """The version that stands on every decision."""
        return version_of(self.limits)

    @property
    def shadow_version(self) -> str:
        """The version of the shadow limits; empty where there are none."""
        return version_of(self.shadow) if self.shadow is not None else ""


def hash_of(config: Config) -> str:
    """A name for everything in the configuration that can change a decision; where files lie and placement cannot."""
    replace, default = msgspec.structs.replace, DaemonConfig()
    deciding = replace(
        config,
        daemon=replace(config.daemon, data_dir=default.data_dir, placement=default.placement),
        store=StoreConfig(),
        signals=SignalsConfig(),
        redis=RedisSettings(),
        answers=AnswersSettings(),
        halt=HaltSettings(),
        risk=replace(config.risk, returns="", check_s=RiskConfig().check_s),
        algos=AlgosConfig(),
        control=ControlSettings(),
        http=HttpConfig(),
        market=replace(config.market, tapes=()),
    )
    return hashlib.sha256(msgspec.json.encode(deciding, order="deterministic")).hexdigest()[:12]


class Reading(NamedTuple):
    """What a file says, checked, and which limits it names: `position_max`, `symbols_default.order_qty_max` ..."""

    config: Config
    limits: frozenset[str]


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Read and check a configuration file; raises ConfigError."""
    return read(path, environment).config


def read(path: Path, environment: Mapping[str, str]) -> Reading:
    """Read and check a configuration file; raises ConfigError."""
    try:
        text = path.read_text()
        raw = tomllib.loads(text)
        return Reading(build(raw, environment, where=str(path), text=text), frozenset(_limits_in(raw)))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: give the path of a configuration file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    except RecursionError as error:  # of the parser, or of whoever goes through what it read
        raise ConfigError(f"{path}: not TOML: its tables or arrays are nested too deeply") from error


def _limits_in(raw: dict[str, Any]) -> Iterator[str]:
    """Names of limits in a sound file; of symbols and strategies, which come and go, only that there are any."""
    for name, value in raw.get("limits", {}).items():
        yield name
        if name == "symbols_default":
            yield from (f"{name}.{each}" for each in value)
        if name == "venues":
            yield from (f"{name}.{venue}.{each}" for venue, own in value.items() for each in own)


def build(raw: dict[str, Any], environment: Mapping[str, str], *, where: str, text: str = "") -> Config:
    """A checked configuration from what a file says and the environment changes; raises ConfigError."""
    source = _Source(where, text, environment)
    merged = _with_environment(raw, environment)
    instruments = _named(merged.get("instruments"))
    named = merged.pop("shadow", None)
    if named is not None:  # comes last: what is wrong with [limits] is not said of [shadow]
        merged["shadow"] = _over(merged.get("limits", {}), named)
    try:
        for symbol, facts in instruments.items():
            _convert(facts, Instrument, f"instruments.{symbol}", source)
        if isinstance(venues := merged.get("venues"), dict):
            for name, own in venues.items():
                _convert(own, VenueConfig, f"venues.{name}", source)
        config = _convert(merged, Config, "", source)
    except InvalidOperation as error:  # a comparison with NaN
        raise source.error("", "one of the settings is nan: write a number") from error
    _check(config, source)
    _check_shadow(config, named, source)
    return config


class _Source(msgspec.Struct, frozen=True):
    """Where settings come from, to tell people where to look."""

    where: str
    text: str
    environment: Mapping[str, str]

    def error(self, path: str, said: str) -> ConfigError:
        """`file:line: section.key: what is wrong`, or the environment variable where that is the culprit."""
        variable = ENVIRONMENT_PREFIX + path.upper().replace(".", "__")
        if variable in self.environment:
            return ConfigError(f"environment variable {variable}: {said}")
        line = _line_of(path, self.text)
        return ConfigError(f"{self.where}{f':{line}' if line else ''}: {path or 'configuration'}: {said}")


def _named(tables: Any) -> dict[str, Any]:  # noqa: ANN401 - any TOML value
    """The tables of instruments; [instruments.AAPL] need not say symbol = "AAPL" again."""
    if not isinstance(tables, dict):
        return {}
    for symbol, facts in tables.items():
        if isinstance(facts, dict):
            facts.setdefault("symbol", symbol)
    return tables


def _convert(raw: Any, kind: type[Setting], prefix: str, source: _Source) -> Setting:  # noqa: ANN401 - any TOML value
    try:
        return msgspec.convert(raw, kind, strict=False, str_keys=True)
    except msgspec.ValidationError as error:
        raise _located(str(error), prefix, source) from error


def _check(config: Config, source: _Source) -> None:
    for symbol, instrument in config.instruments.items():
        path, known = f"instruments.{symbol}", ", ".join(CALENDARS)
        if instrument.symbol != symbol:
            raise source.error(f"{path}.symbol", f"{instrument.symbol!r} is not {symbol!r}: use one name for it")
        if instrument.calendar not in CALENDARS:
            raise source.error(f"{path}.calendar", f"{instrument.calendar} is not one of {known}")
        if instrument.currency != config.account.currency:
            said = f"{instrument.currency}, but the account is in {config.account.currency}: one currency per account"
            raise source.error(f"{path}.currency", said)
    _check_limits(config, config.limits, "limits", source)
    if config.shadow is not None:
        _check_limits(config, config.shadow, "shadow", source)
    if config.daemon.world == "live" and config.sync != "full":
        raise source.error("store.sync", '"normal" loses orders at a power cut: live mode needs "full"')
    if not config.account.cash.is_finite() or config.account.cash <= ZERO:
        raise source.error("account.cash", f"{config.account.cash}: start with a positive amount")
    _check_venues(config, source)


def _check_venues(config: Config, source: _Source) -> None:
    """Each has a name of its own, and whoever names one finds it; what the market displays is not displayed twice."""
    venues = config.all_venues
    for name in config.venues:
        if name == DEFAULT_VENUE or not VENUE_NAME.fullmatch(name):
            said = (
                f"{name!r} names no further venue: lower-case letters and digits belong here, and [paper] has its own"
            )
            raise source.error(f"venues.{name}", said)
    if config.venues and sum((own.cash for own in config.venues.values()), ZERO) >= config.account.cash:
        raise source.error("venues", f"their cash leaves nothing of account.cash ({config.account.cash}) at paper")
    for symbol, instrument in config.instruments.items():
        for key, named in (("venue", (instrument.venue,)), ("venues", instrument.venues)):
            for venue in named:
                if venue not in venues:
                    raise source.error(f"instruments.{symbol}.{key}", f"{venue} is not one of {', '.join(venues)}")
        shown = sum((venues[venue].depth_share for venue in instrument.places), ZERO)
        if shown > 1:
            said = (
                f"the depth_share of {' and '.join(instrument.places)} adds up to {shown}: no more than 1 is displayed"
            )
            raise source.error(f"instruments.{symbol}.venues", said)


def _check_limits(config: Config, limits: Limits, table: str, source: _Source) -> None:
    """Whatever limits name is there."""
    venues = config.all_venues
    named: dict[str, tuple[str, ...]] = {f"{table}.symbols.{symbol}": (symbol,) for symbol in limits.symbols}
    named[f"{table}.restricted"] = limits.restricted
    for name, own in limits.strategies.items():
        named[f"{table}.strategies.{name}.symbols"] = own.symbols
        for venue in own.venues:
            if venue not in venues:
                said = f"{venue} is not one of {', '.join(venues)}"
                raise source.error(f"{table}.strategies.{name}.venues", said)
    for venue in limits.venues:
        if venue not in venues:
            raise source.error(f"{table}.venues.{venue}", f"{venue} is not one of {', '.join(venues)}")
    for path, symbols in named.items():
        for symbol in symbols:
            if symbol not in config.instruments:
                raise source.error(path, f"{symbol}: there is no such instrument")


def _check_shadow(config: Config, named: Any, source: _Source) -> None:  # noqa: ANN401 - any TOML value
    """What [shadow] names is judged at the gate: anything else would be silently passed over."""
    if config.shadow is None:
        return
    idle = [name for name in named if name in NOT_AT_THE_GATE]
    strategies = named.get("strategies", {})
    idle += [f"strategies.{name}.sources" for name, own in strategies.items() if "sources" in own]
    if idle:
        raise source.error(f"shadow.{idle[0]}", "no check of the gate compares with it, so no shadow does: remove it")


def _over(base: Any, changes: Any) -> Any:  # noqa: ANN401 - any TOML value
    """Tables with those of the changes in them, the changes winning."""
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    return base | {key: _over(base.get(key), value) for key, value in changes.items()}


def _with_environment(raw: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    merged: dict[str, Any] = _copied(raw)
    for name, value in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in OPTIONS:
            continue
        if "__" not in name:
            raise ConfigError(f"environment variable {name}: {_hint(name)}")
        keys = name.removeprefix(ENVIRONMENT_PREFIX).split("__")
        table = merged
        for key in keys[:-1]:
            table = table.setdefault(_known(table, key), {})
            if not isinstance(table, dict):
                raise ConfigError(f"environment variable {name}: {key.lower()} is a value, not a table")
        table[_known(table, keys[-1])] = value
    return merged


def _hint(variable: str) -> str:
    meant = _spelled(variable.removeprefix(ENVIRONMENT_PREFIX), Config)
    if meant is None:
        return "there is no such setting: remove it, or write EXECD_TABLE__KEY for the key of a table"
    return f"two underscores between table and key: {ENVIRONMENT_PREFIX}{meant}"


def _spelled(words: str, kind: type[msgspec.Struct]) -> str | None:
    """What comes after the prefix, with two underscores behind each table; None where it begins with no table."""
    for field in msgspec.structs.fields(kind):
        name = field.name.upper()
        if words.startswith(f"{name}_") and isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            rest = words.removeprefix(f"{name}_")
            return f"{name}__{_spelled(rest, field.type) or rest}"
    return None


def _known(table: dict[str, Any], key: str) -> str:
    """Symbols are upper case and keys lower case: take the spelling that is there, else the lower one."""
    return key if key in table else key.lower()


def _copied(value: Any) -> Any:  # noqa: ANN401 - any TOML value
    return {key: _copied(item) for key, item in value.items()} if isinstance(value, dict) else value


def _located(message: str, prefix: str, source: _Source) -> ConfigError:
    """What msgspec says, with the setting that it is about."""
    match = re.search(r" - at `\$\.?(.*?)`$", message)
    said = message[: match.start()] if match else message
    is_unknown = "unknown field" in said
    key = re.search(r"unknown field `(.*?)`", said) if is_unknown else re.match(r"(\w+) = ", said)  # ours begin so
    parts = (prefix, match.group(1) if match else "", key.group(1) if key else "")
    if is_unknown:
        said = "there is no such setting: remove it or correct its spelling"
    return source.error(".".join(part for part in parts if part), said)


def _line_of(path: str, text: str) -> int | None:
    """The line on which a dotted key is set, None where it is not found (it came from the environment)."""
    wanted = [part for part in re.split(r"\.|\[(?:\.\.\.|\d+)\]", path) if part]
    table: list[str] = []
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+\s*(.*?)\s*\]+", line)
        key = re.match(r"\s*([\w.\"'-]+)\s*=", line)
        if header:
            table = [part.strip("\"' ") for part in header.group(1).split(".")]
            here = table
        elif key:
            here = table + [part.strip("\"' ") for part in key.group(1).split(".")]
        else:
            continue
        same = _common(here, wanted)
        if same == len(here) and (best is None or same > best[0]):
            best = (same, number)
    return best[1] if best else None


def _common(here: list[str], wanted: list[str]) -> int:
    return next((i for i, (a, b) in enumerate(zip(here, wanted, strict=False)) if a != b), min(len(here), len(wanted)))
