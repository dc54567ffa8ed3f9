"""`execd risk show`, `check` and `override`: how an account stands, what an order would meet, a way around it."""

import json
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
import typer

from daemon.asking import RefusedError, ask
from daemon.desk import LATEST, Folder
from daemon.place import find
from risk.overrides import EXPIRES_S
from risk.use import OF_EQUITY

BAR = 20  # characters

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


def show(folder: Folder = LATEST, *, as_json: AsJson = False) -> None:
    """Limits, their use and headroom, expected shortfall with its interval, the regime, and what adds most to it."""
    risk = ask(find(folder).control, "GET", "risk")
    typer.echo(json.dumps(risk, indent=1) if as_json else "\n".join(lines_of(risk)))


def check(
    order: Annotated[str, typer.Option(help='JSON: {"symbol": "AAPL", "side": "BUY", "qty": 100, "price": 190.5}.')],
    folder: Folder = LATEST,
    *,
    as_json: AsJson = False,
) -> None:
    """Ask the gate about an order as a parent, against the live state; nothing is sent. Exit 7: it would be denied."""
    answer = ask(find(folder).control, "GET", f"check?{urlencode(_fields(order))}")
    if as_json:
        typer.echo(json.dumps(answer, indent=1))
    else:
        for each in answer["checks"]:
            typer.echo(f"{each['check']:<24} {'passes' if each['denial'] is None else 'denies'}")
    if not answer["passes"]:
        raise RefusedError(f"would be denied: {_said(answer['checks'][-1]['denial'])}")
    if not as_json:
        typer.echo(f"would be accepted, under limits {answer['limits']}; its children are checked when they come")


def _fields(order: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(order, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise ValueError(f"--order: no JSON object: {error}") from error


def _said(denial: dict[str, Any]) -> str:
    numbers = f", {float(denial['value']):,.4g} of {float(denial['limit']):,.4g} {denial['unit']}"
    most = f"; {denial['max_qty']} would pass this check" if denial["max_qty"] is not None else ""
    return f"{denial['reason']}{numbers if denial['unit'] else ''}: {denial['text']}{most}"


def lines_of(risk: dict[str, Any]) -> list[str]:
    """One page for people."""
    equity, base = float(risk["equity"]), float(risk["base"])
    lines = [
        f"risk score {risk['score']} of 100, by {risk['fullest']}   equity {equity:,.2f}   limits {risk['limits']}",
        *_base_lines(equity, base),
        "",
        f"{'limit':<20} {'used':>10} {'of':>10} {'left':>10}  ",
    ]
    for use in risk["uses"]:
        shown = "{:>10.2%}" if use["unit"] == OF_EQUITY else "{:>10,.0f}"
        numbers = " ".join(shown.format(value) for value in (use["value"], use["most"], use["most"] - use["value"]))
        full = min(max(round(BAR * use["ratio"]), 0), BAR)
        lines.append(f"{use['limit']:<20} {numbers}  {'#' * full}{'.' * (BAR - full)} {use['of']}".rstrip())
    for override in risk["overrides"]:
        wanted, by = override["proposed"], override["granted_by"]
        lines.append(
            "override {override_id}: {side} at most {order_qty} {symbol} of {strategy} in spite of {reason}, "
            "proposed by {by}: {text}".format(**wanted)
            + (f"; granted by {by}" if by else "; waits for another supervisor")
        )
    lines += [
        f"the mark of {mark['symbol']} is {mark['age_s']:,.0f} s old: equity counts less of what is held at it"
        for mark in risk["old_marks"]
    ]
    lines += [f"{strategy} is stopped: {text}" for strategy, text in risk["stopped"].items()]
    return [*lines, "", *_model_lines(risk["model"], base)]


def _base_lines(equity: float, base: float) -> list[str]:
    if base == equity:
        return []
    why = "a higher equity has not stood yet, or the broker's newest report shows less"
    return [f"orders are sized and judged by {base:,.2f}, and positions below measured by it: {why}"]


def override(
    step: Annotated[str, typer.Argument(help="Nothing, to propose; `confirm`, to grant what another proposed.")] = "",
    override_id: Annotated[str, typer.Argument(help="Which one to confirm.")] = "",
    folder: Folder = LATEST,
    *,
    order: Annotated[
        str, typer.Option(help='JSON: {"strategy": "alpha", "symbol": "AAPL", "side": "BUY", "qty": 100}, qty at most.')
    ] = "",
    reason_code: Annotated[str, typer.Option(help="By which it would be denied, as POSITION.")] = "",
    why: Annotated[str, typer.Option(help="For the record.")] = "",
    expires: Annotated[int, typer.Option(help="Seconds until it is over, from now on.")] = EXPIRES_S,
) -> None:
    """Have one order let in that one check denies: a supervisor proposes, another one confirms; off unless set."""
    control = find(folder).control
    if step:
        if step != "confirm" or not override_id:
            raise ValueError(f"{step}: `execd risk override confirm ID` belongs here")
        ask(control, "POST", "confirm", {"override_id": override_id})
        typer.echo(f"granted {override_id}: the next order that fits passes, once")
        return
    wanted = _fields(order) | {"reason": reason_code, "expires_s": expires}
    answer = ask(control, "POST", "override", {"symbol": wanted.get("symbol", ""), "text": why, "override": wanted})
    typer.echo("proposed {override}: within {expires_s} s another supervisor confirms it".format(**answer))


def _model_lines(model: dict[str, Any] | None, base: float) -> list[str]:
    if model is None:
        return ["no risk model: set risk.returns to a file of daily returns, and expected shortfall is checked, too"]
    by = "by hand" if model["overridden"] else "by the data"
    lines = [
        f"regime {model['regime']} {by}: plain expected shortfall may reach {model['multiplier']:.0%} of its limit"
    ]
    if model["error"]:
        lines.append(f"the newest returns are not used: {model['error']}")
    if model["version"] is None:
        return [*lines, "there is no model: orders that open are denied"]
    lines.append(
        f"model {model['version']}: {model['scenarios']} days up to {model['date']}, {model['symbols']} symbols"
        + "".join(f", {proxy['symbol']} filled by {proxy['sector']} on {proxy['days']}" for proxy in model["proxies"])
    )
    for view in model["views"]:
        if not view["components"]:
            continue  # nothing is held
        lines.append(
            f"{view['view']:<10} expected shortfall of one day, 97.5 %: {view['held']:>12,.2f} "
            f"({view['low']:,.0f} to {view['high']:,.0f}, 95 %), value at risk {view['value_at_risk']:,.2f}"
        )
        for part in view["components"]:
            share = f" {part['part'] / base:>8.3%} of equity" if base > 0 else ""
            lines.append(f"  {part['symbol']:<18} {part['part']:>12,.2f}{share}")
    return lines
