"""One signal, sent by a person: `execd signal send`."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any
from uuid import uuid4

import typer

from core.signals import BadSignal, parse
from daemon.asking import ANSWER_S, NoAnswerError, RefusedError, ask, ask_redis
from daemon.desk import LATEST, AsUser, Folder
from daemon.place import Place, find


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
    ask_redis(place, user, "XADD", place.stream, "*", "signal", message)


def _to_channel(place: Place, user: str, message: bytes) -> None:
    if not ask_redis(place, user, "PUBLISH", place.channel, message):
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
    newest = ask_redis(place, user, "XREVRANGE", place.answers, "+", "-", "COUNT", 1)
    return newest[0][0].decode() if newest else "0-0"


def _answers(place: Place, user: str, signal_id: str, after: str, wait_s: float) -> Iterator[str]:
    """What the daemon says about the signal, until it is over or the time is."""
    deadline = time.monotonic() + wait_s
    working: set[str] = set()
    begun = False
    while (left_s := deadline - time.monotonic()) > 0 and not (begun and not working):
        block_ms = max(1, int(min(left_s, ANSWER_S / 2) * 1_000))
        found = ask_redis(place, user, "XREAD", "BLOCK", block_ms, "STREAMS", place.answers, after) or {}
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
