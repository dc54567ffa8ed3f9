"""A page as a reader gets it: its tables' cells, its links, its charts' data, and what it would run or fetch."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from typing_extensions import override

_FETCHING = {"src", "href", "srcset", "poster", "action", "data", "formaction", "background"}


class Page(HTMLParser):
    """The page in a file, or as it is written."""

    def __init__(self, page: Path | str) -> None:
        super().__init__()
        self.source = page if isinstance(page, str) else page.read_text(encoding="utf-8")
        self.rows: list[list[str]] = []
        self.names: dict[str, str] = {}  # of definition lists
        self.fetched: list[str] = []
        self.places: list[str] = []  # ids of charts
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.charts: dict[str, Any] = {}
        self.policy = ""
        self._open: list[str] = []
        self._term = ""
        self._script = ""
        self.feed(self.source)
        self.close()

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.fetched += [value for name, value in given.items() if name in _FETCHING]
        self.handlers += [name for name in given if name.startswith("on") or name == "style"]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if given.get("class") == "chart":
            self.places.append(given["id"])
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag == "script":
            self._script = given.get("id", "")
        if tag not in {"meta", "br", "link"}:
            self._open.append(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    @override
    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"]:
            if self._script == "charts":
                self.charts = json.loads(data)
            return
        self.text += data
        if "td" in self._open or "th" in self._open:
            self.rows[-1][-1] += data
        elif self._open[-1:] == ["dt"]:
            self._term = data
        elif self._open[-1:] == ["dd"]:
            self.names[self._term] = data

    def row(self, begins: str) -> list[str]:
        """The one row whose first cell begins so."""
        (row,) = [row for row in self.rows if row[0].startswith(begins)]
        return row
