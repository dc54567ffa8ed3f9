"""A halt on purpose, measured: from the moment in which the key was set until nothing works."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import typer

from daemon.asking import NoAnswerError, RefusedError, ask, ask_redis, redis_link
from daemon.place import Place

DRILL_S = 60.0  # how long a drill waits until nothing works
LOOK_S = 0.02  # between two looks


def drill(place: Place, user: str, text: str) -> None:
    """Halt, wait until nothing works, say how long it took and put it on record; raises NoAnswerError, RefusedError."""
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
    if ask_redis(place, user, "SET", place.halt_key, value, "NX") is None:
        raise _KeyIsThereError(f"the key {place.halt_key} is there: somebody halts by it, and not for a drill")


_DELETED = "the drill's key {} is deleted"


def _taken_back(place: Place, user: str, value: str) -> str:
    """Delete the key if its value is still ours; what became of it, in words."""
    key = place.halt_key
    try:
        with redis_link(place, user) as link:
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

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _await_quiet(place: Place, began_ns: int) -> dict[str, Any]:
    deadline = time.monotonic() + DRILL_S
    while time.monotonic() < deadline:
        report: dict[str, Any] | None = ask(place.control, "GET", "status")["last_halt"]
        if report is not None and report["heard_ns"] >= began_ns and report["quiet_ns"]:
            return report
        time.sleep(LOOK_S)
    raise RefusedError(f"orders still work {DRILL_S:.0f} s after the halt: see `execd status` and the venue")
