"""The report as a folder of static pages: works offline, from a mail or a USB stick, with one script for all charts.

Charts need the package plotly at the time of writing; without it the pages hold the same numbers in their tables.
"""

from importlib import resources
from pathlib import Path
from urllib.parse import quote

from adapters.report import backtest_page, compare_page, index_page, parent_page, text
from adapters.report.data import RunReport
from adapters.report.markup import page


def write(report: RunReport, out_dir: Path) -> Path:
    """Write the pages into a folder, which is made where it is missing; returns the page to open first."""
    out_dir.mkdir(parents=True, exist_ok=True)
    has_charts = _write_scripts(out_dir)
    style = _asset("report.css")
    body = index_page.body(report, _href, has_charts=has_charts)
    index = out_dir / "index.html"
    _write(index, page("Execution report", style, body, index_page.figures(report) if has_charts else {}))
    ids = [None, *(parent.cost.parent_id for parent in report.parents), None]
    for parent, before, after in zip(report.parents, ids, ids[2:], strict=False):
        body = parent_page.body(parent, has_charts=has_charts, before=_way(before), after=_way(after))
        charts = parent_page.figures(parent) if has_charts else {}
        _write(out_dir / _file(parent.cost.parent_id), page(text.title(parent.cost), style, body, charts))
    return index


def write_backtest(report: backtest_page.Backtest, out: Path) -> Path:
    """Write the page of a risk backtest, and the scripts beside it; returns the page."""
    out.parent.mkdir(parents=True, exist_ok=True)
    has_charts = _write_scripts(out.parent)
    body = backtest_page.body(report, has_charts=has_charts)
    charts = backtest_page.figures(report) if has_charts else {}
    _write(out, page("Risk backtest", _asset("report.css"), body, charts))
    return out


def write_comparison(report: compare_page.Comparison, out: Path) -> Path:
    """Write the page of algorithms side by side, and the scripts beside it; returns the page."""
    out.parent.mkdir(parents=True, exist_ok=True)
    has_charts = _write_scripts(out.parent)
    body = compare_page.body(report, has_charts=has_charts)
    charts = compare_page.figures(report) if has_charts else {}
    _write(out, page("Algorithms side by side", _asset("report.css"), body, charts))
    return out


def _write_scripts(out_dir: Path) -> bool:
    """Put the scripts beside the pages; False without plotly."""
    try:
        from plotly.offline import get_plotlyjs  # noqa: PLC0415 - an optional dependency, and slow to import
    except ImportError:
        return False
    _write(out_dir / "plotly.min.js", get_plotlyjs())
    _write(out_dir / "report.js", _asset("report.js"))
    return True


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")


def _file(parent_id: str) -> str:
    """The name of a parent's page: an id that is no plain word cannot leave the folder, nor meet another one."""
    return f"parent-{quote(parent_id, safe='')}.html"


def _href(parent_id: str) -> str:
    return quote(_file(parent_id))


def _way(parent_id: str | None) -> str | None:
    return None if parent_id is None else _href(parent_id)
