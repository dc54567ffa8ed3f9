"""What is on record, as lines for a terminal. `--json` has every digit, and times in ns."""

import datetime as dt
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from core.units import NS_PER_MS, NS_PER_S

PLACES = 8  # a decimal is shown no finer: an average price has as many as there are
TIMES_FROM = 10**17  # a number from here on is a time, ns UTC: 1973, and more than anything that is counted
SHOWN = 4  # members of a longer list

_LONG = re.compile(rf"-?\d+\.\d{{{PLACES + 1},}}")

Row = dict[str, Any]


def columns(rows: list[Row]) -> str:
    """Rows as aligned text under their names; times are UTC."""
    if not rows:
        return "none"
    shown = [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in shown) for i in range(len(shown[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in shown)


def story(order: str, entries: list[Row]) -> Iterator[str]:
    """Entries of the journal about one order, a line each: when, its place, what, and all that it says but nothing."""
    for entry in entries:
        said = json.loads(entry["payload"], parse_float=Decimal)
        facts = " ".join(f"{name}={value}" for name, value in _facts(said) if value != order)
        yield f"{cell(entry['ts'])}  {entry['seq']:>9}  {entry['type']:<18}  {facts}".rstrip()


def cell(value: object) -> str:
    """One value, one word unless it is text; a dash for none."""
    if value is None or value == "":
        return "-"
    if isinstance(value, Decimal):
        return _short(str(value))
    if isinstance(value, int) and value >= TIMES_FROM:
        return f"{dt.datetime.fromtimestamp(value // NS_PER_S, dt.UTC):%Y-%m-%dT%H:%M:%S}.{_ms(value):03d}"
    return str(value)


def _short(text: str) -> str:
    return f"{Decimal(text):.{PLACES}f}".rstrip("0").rstrip(".") if _LONG.fullmatch(text) else text


def _ms(ts: int) -> int:
    return ts % NS_PER_S // NS_PER_MS


def _facts(said: Row, above: str = "") -> Iterator[tuple[str, str]]:
    """Names and values; an event within another is on record before it, and only named."""
    for name, value in said.items():
        if value in (None, "", [], False) or (name in {"ts", "type"} and not above):
            continue
        if isinstance(value, dict):
            if "type" not in value:
                yield from _facts(value, f"{above}{name}.")
            elif "cl_ord_id" in value:
                yield "cl_ord_id", value["cl_ord_id"]
        elif isinstance(value, list):
            few = [_plain(each) for each in value]
            yield above + name, ",".join(few if len(few) <= SHOWN else [*few[: SHOWN - 1], "...", few[-1]])
        else:
            yield above + name, _plain(value)


def _plain(value: object) -> str:
    """A value of JSON, where decimals are text; in quotes where it has spaces."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if " " in value else _short(value)
    return cell(value)
