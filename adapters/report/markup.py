"""The HTML that pages are made of: every text that reaches it is escaped here and nowhere else.

Functions that take `str` escape it; `Html` is what has been through here, so that the type checker sees a text that
went past.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NewType

import msgspec

from adapters.report import text

Html = NewType("Html", str)

# Scripts: the files beside the page. Styles: the page's own, and those that the charts set.
POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def say(value: str) -> Html:
    """A text."""
    return Html(escape(value))


def join(parts: Iterable[Html]) -> Html:
    """Pieces one after the other."""
    return Html("".join(parts))


def tag(name: str, *children: Html, **attributes: str) -> Html:
    """An element; `class_` is its class, an attribute's underscore a hyphen."""
    said = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{said}>{join(children)}</{name}>")


def number(value: str) -> Html:
    """A table's cell with a number."""
    return tag("td", say(_typeset(value)), class_="n")


def cost(written: str) -> Html:
    """A table's cell with a cost, coloured by its sign."""
    return tag("td", say(_typeset(written)), class_=f"n {tone(written)}".strip())


def tone(written: str) -> str:
    """The colour of a cost as it is written: positive hurts; none for zero and for what is not known."""
    return "cost" if written[:1] == "+" else "gain" if written[:1] == "-" != written else ""


def cell(value: str) -> Html:
    """A table's cell with text."""
    return tag("td", say(value))


def wide(value: str) -> Html:
    """A table's cell with a sentence, which gets room for some words in a line."""
    return tag("td", say(value), class_="wide")


def link(target: str, label: str) -> Html:
    """A link to another page of the report."""
    return tag("a", say(label), href=target)


def table(head: Sequence[str], rows: Iterable[Sequence[Html]], *, foot: Sequence[Html] = ()) -> Html:
    """A table of cells; a head that begins with "#" stands above numbers."""
    titles = join(tag("th", say(name.lstrip("#")), **({"class_": "n"} if name[:1] == "#" else {})) for name in head)
    body = join(tag("tr", *row) for row in rows)
    ends = tag("tfoot", tag("tr", *foot)) if foot else Html("")
    whole = tag("table", tag("thead", tag("tr", titles)), tag("tbody", body), ends)
    return tag("div", whole, class_="scroll")


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """A list of names and values."""
    rows = (tag("div", tag("dt", say(name)), tag("dd", say(_typeset(value)))) for name, value in pairs)
    return tag("dl", *rows)


def tiles(figures: Iterable[tuple[str, str, str, str]]) -> Html:
    """The headline: (name, number, what else to know, tone)."""
    return tag(
        "div",
        *(
            tag(
                "div",
                tag("p", say(name), class_="name"),
                tag("p", say(_typeset(value)), class_=f"value {tone}".strip()),
                tag("p", say(_typeset(more)), class_="more"),
                class_="tile",
            )
            for name, value, more, tone in figures
        ),
        class_="tiles",
    )


def section(heading: str, *children: Html) -> Html:
    """A part of a page with its heading."""
    return tag("section", tag("h2", say(heading)), *children)


def chart(name: str, label: str) -> Html:
    """A place for the chart `name`; its text is seen until the chart is drawn."""
    missing = tag("p", say(f"{label}: this chart needs JavaScript and the file plotly.min.js beside this page."))
    return tag("div", missing, id=name, class_="chart", role="img", aria_label=label)


def page(title: str, style: str, body: Iterable[Html], charts: Mapping[str, Any]) -> str:
    """A whole document; `style` is trusted, `charts` are Plotly's figures by the name of their place."""
    head = (
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'),
        Html('<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'),
        tag("title", say(title)),
        tag("style", Html(style)),
    )
    scripts = _scripts(charts) if charts else Html("")
    whole = tag("html", tag("head", *head), tag("body", tag("main", *body), scripts), lang="en")
    return f"<!doctype html>\n{whole}\n"


def _scripts(charts: Mapping[str, Any]) -> Html:
    # "<" is all that can end the element that holds the data
    data = msgspec.json.encode(charts).decode().replace("<", "\\u003c")
    return join(
        (
            Html(f'<script type="application/json" id="charts">{data}</script>'),
            Html('<script src="plotly.min.js"></script><script src="report.js"></script>'),
        )
    )


def _typeset(value: str) -> str:
    """A number with a real minus sign; a dash where nothing is known."""
    return "–" if value == text.NONE else value.replace("-", "−") if value[:1] == "-" else value
