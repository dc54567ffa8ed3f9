"""Commands of whoever runs a daemon: its state, halt, resume, flatten, a signal by hand.

They speak to the daemon over its control socket, as the user who types them. Only a halt has further ways: the halt
file, and the key in Redis, for the moment in which the socket does not answer.
"""

import http.client
import json
import signal as signal_
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer
from redis.exceptions import AuthenticationError, NoPermissionError

from adapters.redis_link import LINK_ERRORS, Link, RedisSettings
from core.signals import BadSignal, parse
from core.units import NS_PER_S
from daemon import credentials
from daemon.control import UNTIL
from daemon.place import Place, find

ANSWER_S = 10.0  # how long a command waits for the daemon
HALT_S = 2.0  # and how long a halt does, before it makes the file
DRILL_S = 60.0  # how long a drill waits until nothing works
LOOK_S = 0.02  # between two looks of a drill


class NoAnswerError(RuntimeError):
    """No daemon answers at the control socket."""


class AbsentError(NoAnswerError):
    """Because none is there."""


class RefusedError(RuntimeError):
    """The daemon, or Redis, refused; its words say why."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, within_s: float) -> None:
        super().__init__("execd", timeout=within_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(
    path: str, method: str, name: str, body: dict[str, Any] | None = None, *, within_s: float | None = None
) -> dict[str, Any]:
    """What the daemon answers at its control socket; raises NoAnswerError or RefusedError.

    Whoever got no answer in time has given up, and the daemon knows: what it finds later it does not do.
    """
    within_s = ANSWER_S if within_s is None else within_s
    until = {UNTIL: str(time.monotonic_ns() + int(within_s * NS_PER_S))}
    with closing(_UnixConnection(path, within_s)) as link:
        try:
            link.request(method, f"/{name}", body=None if body is None else json.dumps(body), headers=until)
            response = link.getresponse()
            answer = _decoded(response)
        except PermissionError:
            raise NoAnswerError(f"you may not open {path}: its group may, or sudo") from None
        except TimeoutError:
            said = f"the daemon at {path} does not answer within {within_s:.0f} s: it hangs, or is stopped"
            raise NoAnswerError(said) from None
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise AbsentError(f"no daemon answers at {path}: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswerError(f"no daemon answers at {path}: {error}") from error
    if response.status != http.client.OK:
        raise RefusedError(answer.get("error", str(response.status)))
    return answer


def _decoded(response: http.client.HTTPResponse) -> dict[str, Any]:
    body = response.read()
    try:
        answer: dict[str, Any] = json.loads(body)
    except ValueError:  # of what serves the socket, not of the daemon
        if response.status == http.client.OK:
            raise http.client.HTTPException("what it says is no JSON") from None
        return {"error": f"{response.status} {response.reason}"}
    return answer


Folder = Annotated[Path, typer.Option("--dir", "-d", help="Data directory of a run.", envvar="EXECD_DIR")]
AsUser = Annotated[str, typer.Option("--as", help="User at Redis; the password is $EXECD_REDIS_PASSWORD.")]
LATEST = Path("runs") / "latest"


def halt(
    folder: Folder = LATEST,
    text: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    key: Annotated[bool, typer.Option("--key", help="Set the key in Redis instead of asking the daemon.")] = False,
    drill: Annotated[bool, typer.Option("--drill", help="Measure how long it takes until nothing works.")] = False,
    user: AsUser = "",
) -> None:
    """Stop all trading and take everything back; it stands until `execd resume`."""
    place = find(folder)
    if drill:
        _drill(place, user, text or "drill")
        return
    if key:
        _set_key(place, user, text or "execd halt")
        typer.echo(f"halted: the key {place.halt_key} is set; delete it before `execd resume`")
        return
    try:
        answer = ask(place.control, "POST", "halt", {"text": text}, within_s=HALT_S)
    except NoAnswerError as error:
        _halt_without_daemon(place, error)
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


def resume(folder: Folder = LATEST) -> None:
    """Let trading go on after a halt, once the venues agree; refused while the halt key or file is there."""
    answer = ask(find(folder).control, "POST", "resume", {})
    left = f" by {', '.join(answer['causes'])}" if answer["causes"] else ""
    typer.echo(f"resumed: trading is {answer['state']}{left}")


def reset_mark(folder: Folder = LATEST) -> None:
    """Measure drawdowns from the present equity on; after one that halted trading, let it go on."""
    answer = ask(find(folder).control, "POST", "reset-mark", {})
    left = f" by {', '.join(answer['causes'])}" if answer["causes"] else ""
    typer.echo(f"high-water mark {answer['mark']}: trading is {answer['state']}{left}")


def flatten(
    what: Annotated[str, typer.Argument(help="A symbol, or `all`.")],
    folder: Folder = LATEST,
) -> None:
    """Close a position, or all of them, while trading is halted; never more than is held, within all price limits."""
    answer = ask(find(folder).control, "POST", "flatten", {"symbol": "" if what == "all" else what})
    for order in answer["orders"]:
        typer.echo("{side} {order_qty} {symbol} of {strategy}: {state} {reason}".format(**order).rstrip())
    if not answer["orders"]:
        typer.echo("nothing to close")
    typer.echo(f"`execd positions` and `execd parents` follow {answer['request']}")


def status_of(folder: Path) -> dict[str, Any] | None:
    """What the daemon of a run says of itself, or why it cannot be asked; None where none runs."""
    try:
        return ask(find(folder).control, "GET", "status")
    except (FileNotFoundError, AbsentError):
        return None
    except NoAnswerError as error:
        return {"error": str(error)}


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
    journal = status["journal"]
    lines.append(
        f"equity {status['equity']}   {status['parents']} live parents   {status['orders']} working orders   "
        f"{status['in_doubt']} in doubt   journal {journal['depth']} waiting {journal['trouble']}".rstrip()
    )
    lines.append(f"{'actor':<22} {'placement':<10} {'depth':>6} {'handled':>12} {'age s':>9}")
    lines += [
        f"{actor['name']:<22} {actor['placement']:<10} {actor['depth']:>6} {actor['handled']:>12,} "
        f"{'-' if actor['age_s'] is None else format(actor['age_s'], ',.1f'):>9}  {actor['error']}".rstrip()
        for actor in status["actors"]
    ]
    return "\n".join(lines)


# The drill ------------------------------------------------------------------------------------------------------------


def _drill(place: Place, user: str, text: str) -> None:
    before = ask(place.control, "GET", "status")
    if before["state"] == "HALTED":
        raise RefusedError("trading is HALTED already: a drill would measure nothing")
    began_ns = time.monotonic_ns()
    if place.redis:
        with _key_of_drill(place, user, text):
            report = _await_quiet(place, began_ns)
    else:
        ask(place.control, "POST", "halt", {"text": text})
        report = _await_quiet(place, began_ns)
    figures = {
        "heard": (report["heard_ns"] - began_ns) / 1e6,
        "last order": max(report["last_order_ns"] - began_ns, 0) / 1e6,
        "last cancel": max(report["last_cancel_ns"] - began_ns, 0) / 1e6,
        "quiet": (report["quiet_ns"] - began_ns) / 1e6,
    }
    said = ", ".join(f"{name} {ms:.1f} ms" for name, ms in figures.items())
    ask(place.control, "POST", "record", {"text": f"drill: {said}; {report['left']} left"})
    typer.echo(f"drill: {said} after the halt; {report['left']} orders left")
    typer.echo("trading stays halted: `execd resume` lets it go on")


@contextmanager
def _key_of_drill(place: Place, user: str, text: str) -> Iterator[None]:
    """The halt key, with a value that is ours alone; nobody else's is written over or deleted, whatever happens."""
    value = f"{text} ({uuid4().hex})"
    with _unwinding():
        try:
            _claim(place, user, value)
            yield
        except _KeyIsThereError:
            raise
        except BaseException:
            typer.echo(_taken_back(place, user, value), err=True)
            raise
        if (said := _taken_back(place, user, value)) != _DELETED.format(place.halt_key):
            typer.echo(said, err=True)


class _KeyIsThereError(RefusedError):
    pass


def _claim(place: Place, user: str, value: str) -> None:
    if _redis(place, user, "SET", place.halt_key, value, "NX") is None:
        raise _KeyIsThereError(f"the key {place.halt_key} is there: somebody halts by it, and not for a drill")


_DELETED = "the drill's key {} is deleted"


def _taken_back(place: Place, user: str, value: str) -> str:
    """Delete the key if its value is still ours; what became of it, in words."""
    key = place.halt_key
    try:
        with _redis_link(place, user) as link:
            link.ask("WATCH", key)  # what somebody sets from here on fails the EXEC
            if link.ask("GET", key) != value.encode():
                return f"the key {key} is not the drill's, or not any more: it stays as it is"
            link.ask("MULTI")
            link.ask("DEL", key)
            done = link.ask("EXEC") is not None
    except (NoAnswerError, RefusedError) as error:
        return f"the drill's key {key} may still be set, look and delete it before `execd resume`: {error}"
    return _DELETED.format(key) if done else f"the key {key} was set by somebody else just now: it stays as it is"


@contextmanager
def _unwinding() -> Iterator[None]:
    """What ends this process otherwise without a word unwinds it."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = {number: signal_.signal(number, leave) for number in (signal_.SIGTERM, signal_.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal_.signal(number, handler)


def _await_quiet(place: Place, began_ns: int) -> dict[str, Any]:
    deadline = time.monotonic() + DRILL_S
    while time.monotonic() < deadline:
        report: dict[str, Any] | None = ask(place.control, "GET", "status")["last_halt"]
        if report is not None and report["heard_ns"] >= began_ns and report["quiet_ns"]:
            return report
        time.sleep(LOOK_S)
    raise RefusedError(f"orders still work {DRILL_S:.0f} s after the halt: see `execd status` and the venue")


# Redis ----------------------------------------------------------------------------------------------------------------


@contextmanager
def _redis_link(place: Place, user: str) -> Iterator[Link]:
    """A connection; what goes wrong on it, in words."""
    if not place.redis:
        raise RefusedError("this run has no Redis: leave --key out")
    settings = RedisSettings(url=place.redis, username=user, ca_file=place.ca_file)
    link = Link(settings, credentials.credential(credentials.REDIS), deadline_s=ANSWER_S)
    try:
        link.open()
        yield link
    except AuthenticationError as error:
        said = f"does not let {user or 'the default user'} in: see --as and $EXECD_REDIS_PASSWORD"
        raise RefusedError(f"Redis at {place.redis} {said}") from error
    except NoPermissionError as error:
        raise RefusedError(f"Redis at {place.redis} does not allow it: {error}") from error
    except LINK_ERRORS as error:
        raise NoAnswerError(f"Redis at {place.redis}: {error}") from error
    finally:
        link.close()


def _redis(place: Place, user: str, *command: object) -> Any:  # noqa: ANN401 - whatever the server answers
    with _redis_link(place, user) as link:
        return link.ask(*command)


def _set_key(place: Place, user: str, text: str) -> None:
    _redis(place, user, "SET", place.halt_key, text)


# Signals by hand ------------------------------------------------------------------------------------------------------


def send(
    signal: Annotated[
        str, typer.Argument(help="JSON; `-`: from standard input. signal_id, ts, strategy may be absent.")
    ],
    folder: Folder = LATEST,
    via: Annotated[str, typer.Option(help="stream, channel or socket; default: the first that this run reads.")] = "",
    wait: Annotated[float, typer.Option(help="Seconds to wait for what becomes of it.")] = 0.0,
    user: AsUser = "",
) -> None:
    """Send one signal to a running daemon, and see what becomes of it."""
    place = find(folder)
    message = _completed(sys.stdin.read() if signal == "-" else signal, place)
    ways = {"stream": place.stream, "channel": place.channel, "socket": place.signal_socket}
    way = via or next((name for name, to in ways.items() if to), "")
    if not ways.get(way):
        raise RefusedError(f"this run reads {', '.join(name for name, to in ways.items() if to) or 'files alone'}")
    place_in_answers = _newest(place, user) if wait and place.answers else ""
    _SEND[way](place, user, message)
    signal_id = json.loads(message)["signal_id"]
    typer.echo(f"sent {signal_id} by {way}")
    if place_in_answers:
        for line in _answers(place, user, signal_id, place_in_answers, wait):
            typer.echo(line)


def _completed(text: str, place: Place) -> bytes:
    """The signal with what a person need not type; raises ValueError for what the daemon could not read."""
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError("one signal, a JSON object, belongs here")  # noqa: TRY004 - it is what a person typed
    fields.setdefault("signal_id", f"hand-{uuid4().hex[:12]}")
    fields.setdefault("strategy", "hand")
    fields.setdefault("ts", _market_time(place))
    message = json.dumps(fields).encode()
    (found,) = parse(message)
    if isinstance(found, BadSignal):
        raise ValueError(found.reason)  # noqa: TRY004 - as above
    return message


def _market_time(place: Place) -> int:
    """The daemon's time where it can be asked, for its clock may run faster than ours."""
    try:
        now: int = ask(place.control, "GET", "status").get("now", time.time_ns())
    except (NoAnswerError, RefusedError):
        return time.time_ns()
    return now


def _to_stream(place: Place, user: str, message: bytes) -> None:
    _redis(place, user, "XADD", place.stream, "*", "signal", message)


def _to_channel(place: Place, user: str, message: bytes) -> None:
    if not _redis(place, user, "PUBLISH", place.channel, message):
        raise NoAnswerError(f"nobody listens to {place.channel}: the signal is lost")


def _to_socket(place: Place, user: str, message: bytes) -> None:
    del user
    ask(place.signal_socket, "POST", "signals", json.loads(message))


_SEND: dict[str, Callable[[Place, str, bytes], None]] = {
    "stream": _to_stream,
    "channel": _to_channel,
    "socket": _to_socket,
}


def _newest(place: Place, user: str) -> str:
    newest = _redis(place, user, "XREVRANGE", place.answers, "+", "-", "COUNT", 1)
    return newest[0][0].decode() if newest else "0-0"


def _answers(place: Place, user: str, signal_id: str, after: str, wait_s: float) -> Iterator[str]:
    """What the daemon says about the signal, until it is over or the time is."""
    deadline = time.monotonic() + wait_s
    working: set[str] = set()
    begun = False
    while (left_s := deadline - time.monotonic()) > 0 and not (begun and not working):
        block_ms = max(1, int(min(left_s, ANSWER_S / 2) * 1_000))
        found = _redis(place, user, "XREAD", "BLOCK", block_ms, "STREAMS", place.answers, after) or {}
        for entry_id, flat in found.get(place.answers.encode(), []):
            after = entry_id.decode()
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            if fields[b"signal_id"].decode() != signal_id:
                continue
            kind, event = fields[b"type"].decode(), json.loads(fields[b"event"])
            yield f"{kind:<16} {_short(event)}"
            begun |= kind != "SignalAccepted"
            if kind == "ParentAccepted":
                working.add(event["parent"]["parent_id"])
            elif kind == "ParentEnded":
                working.discard(event["parent_id"])


_SHOWN = ("reason", "text", "symbol", "side", "order_qty", "ord_status", "last_qty", "last_px", "cum_qty", "avg_px")


def _short(event: dict[str, Any]) -> str:
    """The fields that a person wants to see."""
    facts = event | event.get("parent", {}) | event.get("order", {})
    return "  ".join(f"{name} {facts[name]}" for name in _SHOWN if facts.get(name) not in {None, ""})
