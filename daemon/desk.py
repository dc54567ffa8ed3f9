"""Commands of whoever runs a daemon: its state, halt, resume, flatten, single parents, limits, cash.

They speak to the daemon over its control socket, as the user who types them. Only a halt has further ways: the halt
file, and the key in Redis, for the moment in which the socket does not answer.
"""

import datetime as dt
from pathlib import Path
from typing import Annotated, Any

import typer

from core.units import NS_PER_S
from daemon.asking import AbsentError, NoAnswerError, RefusedError, ask, ask_redis
from daemon.drill import drill
from daemon.place import Place, find

NO_LEVEL = {"level": None, "away_pct": None, "away_money": None}
RELEASE_S = 30.0  # how long the release of a symbol may take: every venue is asked, and asked again
HALT_S = 2.0  # how long a halt waits for the daemon, before it makes the file

Folder = Annotated[Path, typer.Option("--dir", "-d", help="Data directory of a run.", envvar="EXECD_DIR")]
AsUser = Annotated[str, typer.Option("--as", help="User at Redis; the password is $EXECD_REDIS_PASSWORD.")]
LATEST = Path("runs") / "latest"


def halt(
    folder: Folder = LATEST,
    text: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    key: Annotated[bool, typer.Option("--key", help="Set the key in Redis instead of asking the daemon.")] = False,
    rehearse: Annotated[bool, typer.Option("--drill", help="Measure how long it takes until nothing works.")] = False,
    user: AsUser = "",
) -> None:
    """Stop all trading and take everything back; it stands until `execd resume`."""
    place = find(folder)
    if rehearse:
        drill(place, user, text or "drill")
        return
    if key:
        ask_redis(place, user, "SET", place.halt_key, text or "execd halt")
        typer.echo(f"halted: the key {place.halt_key} is set; delete it before `execd resume`")
        return
    try:
        answer = ask(place.control, "POST", "halt", {"text": text}, within_s=HALT_S)
    except NoAnswerError as error:
        _halt_without_daemon(place, error)
        return
    if "file" in answer:
        typer.echo(f"the daemon is starting: halted by the file {answer['file']}, remove it before `execd resume`")
        return
    typer.echo(f"halted: trading is {answer['state']} by {', '.join(answer['causes'])}")


def _halt_without_daemon(place: Place, error: NoAnswerError) -> None:
    """Nobody answers: leave the file, which a daemon that hangs or starts finds within a fifth of a second."""
    try:
        Path(place.halt_file).touch()
    except OSError as failure:
        said = f"and the file {place.halt_file} cannot be made: {failure.strerror}"
        raise RefusedError(f"NOT halted: {error}; {said}. Ask an operator or root, or try --key") from failure
    typer.echo(f"{error}", err=True)
    typer.echo(f"halted by the file {place.halt_file}: remove it before `execd resume`")


def resume(
    folder: Folder = LATEST,
    strategy: Annotated[str, typer.Option(help="Let this one go on, which was stopped, and nothing else.")] = "",
    symbol: Annotated[str, typer.Option(help="Release this one, which is in quarantine, and nothing else.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why a symbol is released, for the record.")] = "",
) -> None:
    """Let trading go on after a halt, once the venues agree; refused while the halt key or file is there."""
    order = {"strategy": strategy, "symbol": symbol, "text": reason}
    answer = ask(find(folder).control, "POST", "resume", order, within_s=RELEASE_S if symbol else None)
    if symbol:
        typer.echo(f"{symbol} is released: positions agree")
        if answer["executions"]:
            typer.echo(f"{answer['executions']} executions that one side alone has are no breaks any more")
        if answer["stops"]:
            typer.echo(f"{answer['stops']} of its stops stay suspended: set them again")
        return
    left = f" by {', '.join(answer['causes'])}" if answer["causes"] else ""
    typer.echo(f"{strategy or 'resumed'}{' goes on' if strategy else ''}: trading is {answer['state']}{left}")


def reset_mark(folder: Folder = LATEST) -> None:
    """Measure drawdowns from the present equity on; after one that halted trading, let it go on."""
    answer = ask(find(folder).control, "POST", "reset-mark", {})
    left = f" by {', '.join(answer['causes'])}" if answer["causes"] else ""
    typer.echo(f"high-water mark {answer['mark']}: trading is {answer['state']}{left}")


Amount = Annotated[str, typer.Argument(help="Money, in the account's currency.")]
Why = Annotated[str, typer.Option("--reason", help="Why, for the record.")]


def deposit(amount: Amount, reason: Why, folder: Folder = LATEST) -> None:
    """Say that cash has come into the account; the paper venue takes it now. It counts as no gain."""
    _move("deposit", amount, reason, folder)


def withdraw(amount: Amount, reason: Why, folder: Folder = LATEST) -> None:
    """Say that cash has left the account; the paper venue pays it out now. It counts as no loss."""
    _move("withdraw", amount, reason, folder)


def _move(command: str, amount: str, reason: str, folder: Path) -> None:
    answer = ask(find(folder).control, "POST", command, {"amount": amount, "text": reason})
    typer.echo(
        f"{command} {amount}: cash {answer['cash']}, equity {answer['equity']}, high-water mark {answer['mark']}"
    )


def split(
    symbol: Annotated[str, typer.Argument(help="Whose shares.")],
    ratio: Annotated[str, typer.Argument(help="New to old: 4:1 is four shares from one, 1:10 one from ten.")],
    reason: Why,
    folder: Folder = LATEST,
) -> None:
    """Say that a symbol was split; positions and prices follow, at the paper venue too. Nothing may be live in it."""
    answer = ask(find(folder).control, "POST", "split", {"symbol": symbol, "ratio": ratio, "text": reason})
    for strategy, position in answer["positions"].items():
        typer.echo(f"{strategy} holds {position['qty']} {symbol} at {position['avg_px']}")
    typer.echo(f"{symbol} {ratio}: equity {answer['equity']}; its next quote says what a share is worth")


def regime(
    what: Annotated[str, typer.Argument(help="NORMAL, VOLATILE or CRISIS; `auto`: what the data says.")],
    folder: Folder = LATEST,
) -> None:
    """Say what the market's regime is, which scales the limit on expected shortfall, or leave it to the data again."""
    answer = ask(find(folder).control, "POST", "regime", {"text": "" if what == "auto" else what})
    typer.echo(f"{answer['regime']}: plain expected shortfall may reach {answer['multiplier']:.0%} of its limit")


def reload(folder: Folder = LATEST) -> None:
    """Have the limits of the configuration file read again, all or none; nothing else changes before the next start."""
    answer = ask(find(folder).control, "POST", "reload", {})
    for name, (before, after) in answer["changed"].items():
        typer.echo(f"{name:<32} {_in_words(before)} -> {_in_words(after)}")
    typer.echo(f"limits {answer['version']}{' are in force' if answer['changed'] else ': nothing has changed'}")
    if answer["shadow"]:
        typer.echo(f"limits {answer['shadow']} judge beside them, for the record alone")
    if answer["waits"]:
        typer.echo(f"takes effect at the next start: {', '.join(answer['waits'])}")


def _in_words(limit: Any) -> str:  # noqa: ANN401 - any value of JSON
    if isinstance(limit, list):
        return ", ".join(limit) or "none"
    return "-" if limit is None else str(limit)


def flatten(
    what: Annotated[str, typer.Argument(help="A symbol, or `all`.")],
    folder: Folder = LATEST,
) -> None:
    """Close a position, or all of them, while trading is halted; never more than is held, within all price limits."""
    answer = ask(find(folder).control, "POST", "flatten", {"symbol": "" if what == "all" else what})
    for order in answer["orders"]:
        typer.echo("{side} {order_qty} {symbol} of {strategy}: {state} {reason}".format(**order).rstrip())
    for symbol, qty in answer["coming_back"].items():
        typer.echo(f"{qty} {symbol} are on their way back, and closed once they are")
    for symbol in (
        answer["held"].keys() - {order["symbol"] for order in answer["orders"]} - answer["coming_back"].keys()
    ):
        typer.echo(f"{answer['held'][symbol]} {symbol} stay held: what works closes them, or a limit lets no order be")
    for symbol, stands in answer["opposed"].items():
        where = ", ".join(f"{qty} at {venue}" for venue, qty in stands["venues"].items())
        whose = ", ".join(f"{qty} of {strategy}" for strategy, qty in stands["strategies"].items())
        typer.echo(f"{symbol} lies on both sides, {where} ({whose or 'of no strategy'}): a flatten closes only the sum")
        typer.echo("once trading goes on a sale closes the one, a purchase the other: have each strategy close its own")
    if not answer["held"] and not answer["opposed"]:
        typer.echo("nothing to close")
    typer.echo(f"`execd positions` and `execd parents` follow {answer['request']}")


Parent = Annotated[str, typer.Argument(metavar="ID", help="A live parent, of `execd parents`.")]


def cancel(parent: Parent, folder: Folder = LATEST) -> None:
    """End one parent: what works is taken back, what is not done stays undone. Also while trading is halted."""
    _change(parent, {"action": "CANCEL"}, folder)


def pause(parent: Parent, folder: Folder = LATEST) -> None:
    """Take back what works of one parent and send nothing more until `execd parent resume`; its end does not move."""
    _change(parent, {"action": "PAUSE"}, folder)


def go_on(parent: Parent, folder: Folder = LATEST) -> None:
    """Let one parent go on that was paused; it catches up with its curve little by little."""
    _change(parent, {"action": "RESUME"}, folder)


def amend(
    parent: Parent,
    folder: Folder = LATEST,
    *,
    qty: Annotated[str, typer.Option(help="In all, with what is done; more of it is judged by the gate.")] = "",
    price: Annotated[str, typer.Option(help="Limit price.")] = "",
    end: Annotated[
        str, typer.Option(help="Time with its zone, as 2026-06-15T15:30-04:00; at most its session's.")
    ] = "",
    urgency: Annotated[str, typer.Option(help="Of IS and ADAPTIVE: LOW, NORMAL, HIGH or IMMEDIATE.")] = "",
) -> None:
    """Change one parent while it works: what is not done is planned anew, from now on."""
    given = {"qty": qty, "price": price, "urgency": urgency}
    change: dict[str, object] = {name: value for name, value in given.items() if value}
    if end:
        change["end"] = _moment(end)
    _change(parent, change, folder)


def _moment(text: str) -> int:
    """A time that somebody typed, ns; raises ValueError."""
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(f"--end {text}: a time with its zone belongs here, as 2026-06-15T15:30-04:00")
    return int(time.timestamp()) * NS_PER_S


def _change(parent: str, change: dict[str, object], folder: Path) -> None:
    answer = ask(find(folder).control, "POST", "parent", {"parent_id": parent, "change": change})
    said = "" if "order_qty" not in answer else f": {answer['order_qty']}"
    if answer.get("price") is not None:
        said += f" at {answer['price']}"
    if "end" in answer:
        said += f" until {dt.datetime.fromtimestamp(answer['end'] // NS_PER_S, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
    typer.echo(f"{answer['parent']} is {answer['standing']}{said}")


def status_of(folder: Path) -> dict[str, Any] | None:
    """What the daemon of a run says of itself, or why it cannot be asked; None where none runs."""
    try:
        return ask(find(folder).control, "GET", "status")
    except (FileNotFoundError, AbsentError):
        return None
    except NoAnswerError as error:
        return {"error": str(error)}


def levels_of(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Where stops fire now, by strategy and stop; of a daemon that does not run nothing is known."""
    try:
        rows = ask(find(folder).control, "GET", "stops")["stops"]
    except (FileNotFoundError, NoAnswerError):
        return {}
    return {(row["strategy"], row["stop_id"]): NO_LEVEL | row for row in rows}


def in_words(status: dict[str, Any] | None) -> str:
    """A daemon's state, a few lines and its actors."""
    if status is None:
        return "daemon               does not run"
    if "error" in status:
        return f"daemon               {status['error']}"
    if not status["ready"]:
        return f"daemon               starting, {status['up_s']:.0f} s"
    lines = [f"daemon               {status['state']}, up {status['up_s']:,.0f} s"]
    lines += [
        f"held back by         {each['cause']}: {each['text']}{', by ' if each['by'] else ''}{each['by']}"
        for each in status["causes"]
    ]
    lines += [
        f"stopped              {strategy}: {text}; `execd resume --strategy` lets it go on"
        for strategy, text in status["stopped"].items()
    ]
    lines += [f"venue {each['venue']:<14} away: {each['away']}" for each in status["venues"] if each["away"]]
    journal, broker = status["journal"], status["broker"]
    if broker is not None and broker["equity"] is not None:
        lines.append(f"by {broker['venue']}'s books  equity {broker['equity']}, by ours {status['marked']} now")
    lines.append(
        f"equity {status['equity']}   {status['parents']} live parents   {status['orders']} working orders   "
        f"{status['stops']} stops held   {status['in_doubt']} in doubt   "
        f"journal {journal['depth']} waiting {journal['trouble']}".rstrip()
    )
    lines.append(f"{'actor':<22} {'placement':<10} {'depth':>6} {'handled':>12} {'age s':>9}")
    lines += [
        f"{actor['name']:<22} {actor['placement']:<10} {actor['depth']:>6} {actor['handled']:>12,} "
        f"{'-' if actor['age_s'] is None else format(actor['age_s'], ',.1f'):>9}  {actor['error']}".rstrip()
        for actor in status["actors"]
    ]
    return "\n".join(lines)
